//! Go programs of this repository: each built once into `target/`, and again only when its sources change.
//!
//! A first build takes minutes; later ones in other checkouts find the parts in Go's own cache, as long as the flags are
//! the same. So they stand here and nowhere else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::TestbedError;

/// A program, and how it is built.
pub(crate) struct GoProgram {
    /// What it is, for those who wait.
    pub(crate) what: String,
    /// The folder of its module.
    pub(crate) module: PathBuf,
    /// What lies there and decides about it.
    pub(crate) sources: &'static [&'static str],
    /// The package of its `main`.
    pub(crate) package: &'static str,
    /// For the linker, besides leaving out symbols.
    pub(crate) stamp: String,
    /// Its name below `target/`, and that of the folder there.
    pub(crate) name: &'static str,
}

/// No C compiler is needed, and whatever flags the caller has set for Go do not fill the cache with a second build.
const ENVIRONMENT: [(&str, &str); 3] = [("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off")];

impl GoProgram {
    /// Builds it unless what is there is current; answers the folder it lies in, or why there is none. One build at a
    /// time: a second caller waits for the first.
    pub(crate) fn build(&self) -> Result<Result<PathBuf, String>, TestbedError> {
        let folder = repository().join("target").join(self.name);
        fs::create_dir_all(&folder).map_err(TestbedError::io(format!("create {}", folder.display())))?;
        let lock =
            File::create(folder.join("lock")).map_err(TestbedError::io("create the lock of the build"))?;
        lock.lock().map_err(TestbedError::io("wait for another build"))?;

        let fingerprint = self.fingerprint()?;
        let built = folder.join("built-from");
        if fs::read_to_string(&built).is_ok_and(|from| from == fingerprint) {
            return Ok(Ok(folder));
        }
        if Command::new("go").arg("version").output().is_err() {
            return Ok(Err("Go is not to be found".into()));
        }
        eprintln!(
            "building {} for tests into {} (minutes the first time, then about half a minute)",
            self.what,
            folder.display()
        );
        self.run(&folder)?;
        fs::write(&built, fingerprint).map_err(TestbedError::io(format!("write {}", built.display())))?;
        Ok(Ok(folder))
    }

    fn fingerprint(&self) -> Result<String, TestbedError> {
        let mut content = String::new();
        for name in self.sources {
            let path = self.module.join(name);
            content +=
                &fs::read_to_string(&path).map_err(TestbedError::io(format!("read {}", path.display())))?;
        }
        content += &format!("{ENVIRONMENT:?} {:?}", self.arguments());
        let digest = ring::digest::digest(&ring::digest::SHA256, content.as_bytes());
        Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn run(&self, folder: &Path) -> Result<(), TestbedError> {
        let fresh = folder.join(format!("{}.new", self.name));
        let status = Command::new("go")
            .args(self.arguments())
            .arg("-o")
            .arg(&fresh)
            .arg(self.package)
            .envs(ENVIRONMENT)
            .current_dir(&self.module)
            .status()
            .map_err(TestbedError::io("run go build"))?;
        if !status.success() {
            return Err(TestbedError::Build(format!("go build: {status}")));
        }
        // Renamed only when it is whole, so that a build that was interrupted leaves nothing that runs.
        fs::rename(&fresh, folder.join(self.name)).map_err(TestbedError::io("put the program in its place"))
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        let flags = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags"];
        flags.into_iter().map(str::to_owned).chain([format!("-s -w{}", self.stamp)]).collect()
    }
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// The version of a module that a `go.mod` requires.
pub(crate) fn required(go_mod: &str, module: &str) -> Option<String> {
    let lines = go_mod.lines().map(|line| line.trim().trim_start_matches("require "));
    let version = |line: &str| {
        let (name, version) = line.split_once(' ')?;
        (name == module).then(|| version.split_whitespace().next().map(str::to_owned))?
    };
    lines.into_iter().find_map(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_go_mod() {
        let go_mod = "module m\nrequire one v1.2.3\nrequire (\n\tk8s.io/base v0.34.4\n\tk8s.io/kubernetes v1.34.4 // why\n)\n";
        assert_eq!(required(go_mod, "k8s.io/kubernetes").as_deref(), Some("v1.34.4"));
        assert_eq!(required(go_mod, "one").as_deref(), Some("v1.2.3"));
        assert_eq!(required(go_mod, "k8s.io"), None);
    }
}
