//! The program as a user runs it, in a folder of its own.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each file uses a part of them")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A folder with files, for one test.
pub struct Folder(PathBuf);

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub const MANIFEST: &str = include_str!("../../../scenarios/manifests/web-canary.yaml");

impl Folder {
    /// An empty folder of this name.
    pub fn new(name: &str) -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    pub fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }

    /// Runs `tidegate` with these words, split at blanks.
    pub fn run(&self, words: &str) -> Ran {
        self.run_into(words, Stdio::piped())
    }

    /// Runs `tidegate` with its output going elsewhere.
    pub fn run_into(&self, words: &str, out: Stdio) -> Ran {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        self.finish(program.args(words.split_whitespace()), out)
    }

    /// Runs a line of shell that finds `tidegate`.
    pub fn shell(&self, line: &str) -> Ran {
        let folder = PathBuf::from(env!("CARGO_BIN_EXE_tidegate"));
        let folder = folder.parent().unwrap();
        let line = format!("PATH=\"{}:$PATH\"; {line}", folder.display());
        self.finish(Command::new("sh").args(["-c", &line]), Stdio::piped())
    }

    fn finish(&self, program: &mut Command, out: Stdio) -> Ran {
        program.current_dir(&self.0).env_remove("NO_COLOR").stdin(Stdio::null());
        let ran = program.stdout(out).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) }
    }
}

/// A scenario in which `web` gets a new image and must end so.
pub fn scenario(given: &str, ends: &str) -> String {
    format!(
        "about: An update.\ngiven: {given}\nwhen:\n- at: 0s\n  set_image: {{rollout: web, image: \"web:v2\"}}\nthen:\n  ends: {ends}\n"
    )
}
