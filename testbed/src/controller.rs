//! The controller under test: the real program in a process of its own, killed and started again at will.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::TestbedError;
use crate::credentials::random_hex;
use crate::golang::repository;
use crate::guard::Guard;

/// A running `tidegate controller`. It goes with this value, as by a `kill -9`.
#[derive(Debug)]
pub struct Controller {
    launch: Launch,
    guard: Option<Guard>,
    folder: PathBuf,
}

#[derive(Clone, Debug)]
struct Launch {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
    extras: Extras,
}

/// What a controller is told beside where it is to work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Extras {
    /// Arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
}

impl Controller {
    /// Starts one for a namespace, or for all of them.
    pub fn start(
        program: &Path,
        kubeconfig: &Path,
        namespace: Option<&str>,
    ) -> Result<Controller, TestbedError> {
        Controller::start_with(program, kubeconfig, namespace, Extras::default())
    }

    /// Starts one that is told more.
    pub fn start_with(
        program: &Path,
        kubeconfig: &Path,
        namespace: Option<&str>,
        extras: Extras,
    ) -> Result<Controller, TestbedError> {
        let launch = Launch {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            namespace: namespace.map(str::to_owned),
            extras,
        };
        let mut controller = Controller { launch, guard: None, folder: PathBuf::new() };
        controller.begin()?;
        Ok(controller)
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.guard = None;
    }

    /// Starts it, knowing nothing.
    pub fn begin(&mut self) -> Result<(), TestbedError> {
        self.kill();
        self.folder = std::env::temp_dir().join(format!("tidegate-controller-{}", random_hex()?));
        fs::create_dir(&self.folder).map_err(TestbedError::io("create the controller's folder"))?;
        let mut command = self.launch.command(&self.folder)?;
        let guard = Guard::begin(&mut command, &self.folder);
        self.guard = Some(guard.map_err(TestbedError::io("start the controller"))?);
        Ok(())
    }

    /// What it said last.
    pub fn log(&self) -> String {
        let text = fs::read(self.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Launch {
    fn command(&self, folder: &Path) -> Result<Command, TestbedError> {
        let log =
            File::create(folder.join("log")).map_err(TestbedError::io("create the controller's log"))?;
        let errors = log.try_clone().map_err(TestbedError::io("share the controller's log"))?;
        let mut command = Command::new(&self.program);
        command.arg("controller").arg("--kubeconfig").arg(&self.kubeconfig);
        // Several of them run side by side, each alone in its namespace; after a kill no lease may be waited for.
        command.args(["--healthzPort=0", "--metricsPort=0", "--leader-elect=false"]);
        if let Some(namespace) = &self.namespace {
            command.arg("--namespaced").args(["--namespace", namespace]);
        }
        command.args(&self.extras.arguments);
        command.envs(self.extras.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors);
        Ok(command)
    }
}

/// Builds the program, and answers where it is.
pub fn program() -> Result<PathBuf, TestbedError> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(repository())
        .args(["build", "--quiet", "--locked", "-p", "tidegate", "--bin", "tidegate"]);
    let done = cargo.status().map_err(TestbedError::io("run cargo"))?;
    if done.success() { built() } else { Err(TestbedError::Build(format!("no controller: {done}"))) }
}

/// Where the program is that was built before: beside the folder of the program that asks, as Cargo lays them out.
pub fn built() -> Result<PathBuf, TestbedError> {
    let me = std::env::current_exe().map_err(TestbedError::io("find this program"))?;
    let folder = me.parent().expect("a program lies in a folder");
    let target = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let program = target.join("tidegate");
    if program.is_file() {
        return Ok(program);
    }
    Err(TestbedError::Build(format!("no controller: {} is not there", program.display())))
}
