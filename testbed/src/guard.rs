//! Nothing outlives its owner: not when a test panics, and not when it is killed.
//!
//! All programs of a control plane share a process group. A guard, a shell of two lines, waits for its standard input to
//! end. Only the owner holds the other end of that pipe, so it ends when the owner lets go of it or dies of whatever;
//! then the guard kills the group and removes the files. A signal tied to the owner's death would do for one program,
//! but is sent when the *thread* that started it ends, which in tests is long before the process does.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `kill -KILL -- -GROUP` is an error in dash; `-s KILL` is what every shell understands.
const SCRIPT: &str = r#"
cat >/dev/null
kill -s KILL -- "-$1" 2>/dev/null
rm -rf -- "$2" 2>/dev/null || { sleep 0.2; rm -rf -- "$2"; }
"#;

/// Programs that end together, and the folder that goes with them.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    programs: Vec<Child>,
    group: i32,
}

impl Guard {
    /// Starts the first program, whose process group all others join, and guards it.
    pub(crate) fn begin(first: &mut Command, folder: &Path) -> io::Result<Guard> {
        let mut leader = first.process_group(0).spawn()?;
        let group = i32::try_from(leader.id()).expect("process ids are small");
        let mut guard = Command::new("/bin/sh");
        guard.args(["-c", SCRIPT, "guard", &group.to_string()]).arg(folder);
        // A group of its own: an interrupt at the terminal must not end the guard before it has done its work.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match guard.spawn() {
            Ok(shell) => Ok(Guard { shell, programs: vec![leader], group }),
            Err(error) => {
                let _ = leader.kill();
                let _ = leader.wait();
                Err(error)
            }
        }
    }

    /// Starts another program.
    pub(crate) fn add(&mut self, program: &mut Command) -> io::Result<()> {
        self.programs.push(program.process_group(self.group).spawn()?);
        Ok(())
    }

    /// The programs' process ids, in the order in which they were started.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.programs.iter().map(Child::id).collect()
    }

    /// The process group of them all.
    pub(crate) fn group(&self) -> i32 {
        self.group
    }

    /// Whether one of the programs has ended: its place in the order.
    pub(crate) fn ended(&mut self) -> Option<usize> {
        self.programs.iter_mut().position(|program| !matches!(program.try_wait(), Ok(None)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        for program in &mut self.programs {
            let _ = program.wait();
        }
    }
}
