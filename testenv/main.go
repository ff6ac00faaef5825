// A control plane for tests: etcd, kube-apiserver and kube-controller-manager in one program.
//
// The first argument, or the name it is called by, says which of them to be. The rest is that program's own
// command line. One program instead of three shares what they have in common on disk and in the build.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// Each takes a whole command line, its own name first, and returns the exit code.
var programs = map[string]func(args []string) int{
	"etcd": func(args []string) int {
		etcdmain.Main(args)
		return 0
	},
	"kube-apiserver": func(args []string) int {
		os.Args = args
		return cli.Run(apiserver.NewAPIServerCommand())
	},
	"kube-controller-manager": func(args []string) int {
		os.Args = args
		return cli.Run(controllermanager.NewControllerManagerCommand())
	},
}

func main() {
	for skip := range min(2, len(os.Args)) {
		if run, known := programs[filepath.Base(os.Args[skip])]; known {
			os.Exit(run(os.Args[skip:]))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: testenv etcd|kube-apiserver|kube-controller-manager [arguments]")
	os.Exit(2)
}
