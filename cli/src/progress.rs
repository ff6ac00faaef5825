//! How far long work has come: one line on a terminal, rewritten in place and erased at the end; nothing elsewhere.

use std::io::{IsTerminal, Write};

/// The line. It is erased when this goes away.
pub struct Progress {
    shown: bool,
    total: usize,
    done: usize,
}

/// Wide enough for a name, narrow enough for every terminal: a line that wraps could not be erased.
const WIDEST: usize = 72;

impl Progress {
    /// Nothing of so many things is done. One thing alone is not worth a line.
    pub fn of(total: usize) -> Progress {
        Progress { shown: total > 1 && std::io::stderr().is_terminal(), total, done: 0 }
    }

    /// The next thing begins.
    pub fn next(&mut self, what: &str) {
        self.done += 1;
        if self.shown {
            let line = line(self.done, self.total, what);
            self.write(&line);
        }
    }

    /// Takes the line away, so that something else can be said.
    pub fn erase(&mut self) {
        if self.shown {
            self.write("");
        }
    }

    fn write(&mut self, line: &str) {
        // Not being able to show progress is no reason to stop.
        let mut terminal = std::io::stderr().lock();
        let _ = write!(terminal, "\r\x1b[K{line}").and_then(|()| terminal.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}

fn line(done: usize, total: usize, what: &str) -> String {
    let line: String = format!("{done} of {total}  {what}").chars().filter(|c| !c.is_control()).collect();
    match line.char_indices().nth(WIDEST) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::{WIDEST, line};

    #[test]
    fn a_line_says_how_far_and_never_wraps() {
        assert_eq!(line(3, 61, "scenarios/canary/basic.yaml"), "3 of 61  scenarios/canary/basic.yaml");
        assert_eq!(line(1, 2, &"x".repeat(200)).chars().count(), WIDEST + 1);
        assert_eq!(line(1, 2, "a\nb\x1b[2J"), "1 of 2  ab[2J");
    }
}
