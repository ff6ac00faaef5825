//! Where the programs of a control plane come from.
//!
//! They are a caller's (`KUBEBUILDER_ASSETS`), or ours: one Go program in `testenv/`, built into `target/testenv/`. A
//! first build compiles all of Kubernetes' control plane and takes minutes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TestbedError;
use crate::golang::{GoProgram, repository, required};

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

/// Builds the programs unless what is there is current.
pub fn build() -> Result<Result<Programs, String>, TestbedError> {
    let module = repository().join("testenv");
    let go_mod =
        fs::read_to_string(module.join("go.mod")).map_err(TestbedError::io("read testenv/go.mod"))?;
    let version = required(&go_mod, "k8s.io/kubernetes")
        .ok_or_else(|| TestbedError::Build("go.mod requires no version of k8s.io/kubernetes".into()))?;
    let testenv = GoProgram {
        what: format!("Kubernetes {version}"),
        module,
        sources: &["go.mod", "go.sum", "main.go"],
        package: ".",
        stamp: stamp(&version),
        name: "testenv",
    };
    let Ok(folder) = testenv.build()? else {
        return Ok(Err(
            "neither Go, nor KUBEBUILDER_ASSETS, nor TIDEGATE_TEST_KUBECONFIG is to be found".into()
        ));
    };
    for name in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        let link = folder.join(name);
        match std::os::unix::fs::symlink("testenv", &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(TestbedError::io(format!("link {}", link.display()))(error));
            }
            _ => {}
        }
    }
    Ok(Programs::within(&folder))
}

/// Clients cannot read the version of a server that does not know major and minor.
fn stamp(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    set("gitVersion", version) + &set("gitMajor", major) + &set("gitMinor", minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_knows_its_version() {
        let stamp = stamp("v1.34.4");
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
