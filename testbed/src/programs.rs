//! Where the programs of a control plane come from.
//!
//! They are a caller's (`KUBEBUILDER_ASSETS`), or ours: one Go program in `testenv/`, built once into `target/testenv/`
//! and again only when its sources change. A first build compiles all of Kubernetes' control plane and takes minutes;
//! later ones in other checkouts find the parts in Go's own cache, as long as the flags are the same. So they stand here
//! and nowhere else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::TestbedError;

/// What the caller's environment says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// The kubeconfig of a cluster to borrow: `TIDEGATE_TEST_KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// A folder with the programs of a control plane: `KUBEBUILDER_ASSETS`.
    pub assets: Option<PathBuf>,
    /// Whether having no cluster is a failure: `TIDEGATE_REQUIRE_TESTENV`.
    pub required: bool,
}

impl Settings {
    /// Reads the environment of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the testbed is a tool; its callers configure it like envtest"
    )]
    pub fn from_environment() -> Settings {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Settings {
            kubeconfig: set("TIDEGATE_TEST_KUBECONFIG").map(PathBuf::from),
            assets: set("KUBEBUILDER_ASSETS").map(PathBuf::from),
            required: set("TIDEGATE_REQUIRE_TESTENV").is_some_and(|value| value != "0"),
        }
    }
}

/// The programs of a control plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Programs {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub apiserver: PathBuf,
    /// The built-in controllers; a caller may have none, and then there are no pods and no garbage collection.
    pub controller_manager: Option<PathBuf>,
}

impl Programs {
    /// Finds or builds the programs; answers why there are none.
    pub fn get(settings: &Settings) -> Result<Result<Programs, String>, TestbedError> {
        match &settings.assets {
            Some(assets) => Ok(Programs::within(assets)),
            None => build(),
        }
    }

    /// The programs in a folder.
    fn within(folder: &Path) -> Result<Programs, String> {
        let program = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { Ok(path) } else { Err(format!("{} is missing", path.display())) }
        };
        Ok(Programs {
            etcd: program("etcd")?,
            apiserver: program("kube-apiserver")?,
            controller_manager: program("kube-controller-manager").ok(),
        })
    }
}

/// Builds the programs unless what is there is current. One build at a time: a second caller waits for the first.
pub fn build() -> Result<Result<Programs, String>, TestbedError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    let (sources, folder) = (root.join("testenv"), root.join("target/testenv"));
    fs::create_dir_all(&folder).map_err(TestbedError::io(format!("create {}", folder.display())))?;
    let lock = File::create(folder.join("lock")).map_err(TestbedError::io("create the lock of the build"))?;
    lock.lock().map_err(TestbedError::io("wait for another build"))?;

    let recipe = Recipe::read(&sources)?;
    let built = folder.join("built-from");
    if fs::read_to_string(&built).is_ok_and(|from| from == recipe.fingerprint) {
        return Ok(Programs::within(&folder));
    }
    if Command::new("go").arg("version").output().is_err() {
        return Ok(Err(
            "neither Go, nor KUBEBUILDER_ASSETS, nor TIDEGATE_TEST_KUBECONFIG is to be found".into()
        ));
    }
    eprintln!(
        "building Kubernetes {} for tests into {} (minutes the first time, then about half a minute)",
        recipe.version,
        folder.display()
    );
    recipe.run(&sources, &folder)?;
    fs::write(&built, recipe.fingerprint).map_err(TestbedError::io(format!("write {}", built.display())))?;
    Ok(Programs::within(&folder))
}

/// How the program is built.
struct Recipe {
    version: String,
    arguments: Vec<String>,
    fingerprint: String,
}

/// No C compiler is needed, and whatever flags the caller has set for Go do not fill the cache with a second build.
const ENVIRONMENT: [(&str, &str); 3] = [("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off")];
const SOURCES: [&str; 3] = ["go.mod", "go.sum", "main.go"];

impl Recipe {
    fn read(sources: &Path) -> Result<Recipe, TestbedError> {
        let mut content = String::new();
        for name in SOURCES {
            let path = sources.join(name);
            content +=
                &fs::read_to_string(&path).map_err(TestbedError::io(format!("read {}", path.display())))?;
        }
        let version = version_of(&content)
            .ok_or_else(|| TestbedError::Build("go.mod requires no version of k8s.io/kubernetes".into()))?;
        let arguments = arguments(&version);
        content += &format!("{ENVIRONMENT:?} {arguments:?}");
        let digest = ring::digest::digest(&ring::digest::SHA256, content.as_bytes());
        let fingerprint = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Recipe { version, arguments, fingerprint })
    }

    fn run(&self, sources: &Path, folder: &Path) -> Result<(), TestbedError> {
        let fresh = folder.join("testenv.new");
        let status = Command::new("go")
            .args(&self.arguments)
            .arg("-o")
            .arg(&fresh)
            .arg(".")
            .envs(ENVIRONMENT)
            .current_dir(sources)
            .status()
            .map_err(TestbedError::io("run go build"))?;
        if !status.success() {
            return Err(TestbedError::Build(format!("go build: {status}")));
        }
        // Renamed only when it is whole, so that a build that was interrupted leaves nothing that runs.
        fs::rename(&fresh, folder.join("testenv"))
            .map_err(TestbedError::io("put the program in its place"))?;
        for name in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            let link = folder.join(name);
            if link.symlink_metadata().is_err() {
                std::os::unix::fs::symlink("testenv", &link)
                    .map_err(TestbedError::io(format!("link {}", link.display())))?;
            }
        }
        Ok(())
    }
}

/// The version of Kubernetes that a `go.mod` requires.
fn version_of(go_mod: &str) -> Option<String> {
    let line = go_mod.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn arguments(version: &str) -> Vec<String> {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    // Clients cannot read the version of a server that does not know major and minor.
    let stamp = set("gitVersion", version) + &set("gitMajor", major) + &set("gitMinor", minor);
    let flags = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags"];
    flags.into_iter().map(str::to_owned).chain([format!("-s -w{stamp}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_go_mod() {
        let go_mod = "module m\nrequire (\n\tk8s.io/component-base v0.34.4\n\tk8s.io/kubernetes v1.34.4\n)\n";
        assert_eq!(version_of(go_mod).as_deref(), Some("v1.34.4"));
        let stamp = arguments("v1.34.4").pop().unwrap();
        assert!(
            stamp.ends_with("version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"),
            "{stamp}"
        );
    }

    #[test]
    fn a_folder_without_an_api_server_is_no_control_plane() {
        let missing = Programs::within(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert!(missing.ends_with("etcd is missing"), "{missing}");
    }
}
