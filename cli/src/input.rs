//! Reading files and standard input, and showing what is wrong with them.

use std::io::{IsTerminal, Read};
use std::path::Path;

use tidegate_api::yaml::SourceError;
use tidegate_sim::scenario::{Files, yaml_error};

use crate::glob;

/// A text with its name.
pub struct Input {
    pub name: String,
    pub text: String,
}

/// Reads a file, or standard input for `-`.
pub fn read(file: &str) -> Result<Input, SourceError> {
    let (name, bytes) = if file == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        ("<stdin>", read.map(|_| bytes))
    } else {
        (file, std::fs::read(file))
    };
    let bytes = bytes.map_err(|why| yaml_error(name, &format!("cannot be read: {why}")))?;
    let text = String::from_utf8(bytes).map_err(|_| yaml_error(name, "this is not UTF-8 text"))?;
    Ok(Input { name: name.to_owned(), text })
}

/// The files beside a scenario.
pub struct Beside<'a>(pub &'a Path);

impl Beside<'_> {
    fn folder(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new(""))
    }
}

impl Files for Beside<'_> {
    fn text(&self, file: &str) -> Result<String, String> {
        std::fs::read_to_string(self.folder().join(file)).map_err(|why| why.to_string())
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        glob::matching(self.folder(), pattern)
    }
}

/// Shows a problem with its place on standard error.
pub fn complain(error: &SourceError) {
    eprint!("{}", error.render(color(std::io::stderr().is_terminal())));
}

/// Whether to use colours: on a terminal, unless `NO_COLOR` is set.
#[expect(clippy::disallowed_methods, reason = "the command line is where configuration is read")]
pub fn color(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
