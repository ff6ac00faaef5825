//! Writing what a command has to say.

use std::io::{ErrorKind, Write};

use crate::Exit;

/// Writes to standard output and answers how the command ends: as it would, or because nobody could be told.
pub fn say(text: &str, exit: Exit) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit,
        // Whoever reads has seen enough.
        Err(why) if why.kind() == ErrorKind::BrokenPipe => exit,
        Err(why) => {
            eprintln!("error: cannot write to standard output: {why}");
            exit.max(Exit::OutsideFailed)
        }
    }
}
