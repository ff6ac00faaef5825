//! What changed in a trace, line by line.

use std::path::PathBuf;

use super::snapshot::Snapshot;

/// How a trace differs from its snapshot.
pub struct Difference {
    /// The snapshot.
    pub snapshot: PathBuf,
    /// The line of the snapshot where it begins, counted from 1.
    pub line: usize,
    lines: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    Gone,
    New,
}

struct Line {
    change: Change,
    text: String,
}

/// So many unchanged lines are shown around a change.
const AROUND: usize = 2;
/// Longer changes are shown as all old lines, then all new ones.
const MOST: usize = 4_000_000;

impl Difference {
    /// Compares.
    pub fn of(snapshot: PathBuf, old: &Snapshot, new: &str) -> Difference {
        let lines = compare(old.trace(), new);
        let same = lines.iter().take_while(|line| line.change == Change::Same).count();
        Difference { snapshot, line: old.first_line() + same, lines }
    }

    /// Lines that begin with `- ` or `+ ` where something changed, with a few others around; `…` where lines are
    /// left out.
    pub fn shown(&self) -> Vec<String> {
        let is_near = |at: usize| {
            let near = at.saturating_sub(AROUND)..(at + AROUND + 1).min(self.lines.len());
            self.lines[near].iter().any(|line| line.change != Change::Same)
        };
        let (mut out, mut left_out) = (Vec::new(), false);
        for (at, line) in self.lines.iter().enumerate() {
            if !is_near(at) {
                left_out = true;
                continue;
            }
            if left_out && !out.is_empty() {
                out.push("  …".to_owned());
            }
            left_out = false;
            let sign = match line.change {
                Change::Same => ' ',
                Change::Gone => '-',
                Change::New => '+',
            };
            out.push(format!("{sign} {}", line.text).trim_end().to_owned());
        }
        out
    }
}

fn compare(old: &str, new: &str) -> Vec<Line> {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.trim_end().lines().collect(), new.trim_end().lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let line = |change: Change| move |text: &&str| Line { change, text: (*text).to_owned() };
    let mut lines: Vec<Line> = old[..head].iter().map(line(Change::Same)).collect();
    middle(&old[head..old.len() - tail], &new[head..new.len() - tail], &mut lines);
    lines.extend(old[old.len() - tail..].iter().map(line(Change::Same)));
    lines
}

/// The longest common subsequence stays, everything else goes or comes.
fn middle(old: &[&str], new: &[&str], lines: &mut Vec<Line>) {
    let mut push = |change, text: &str| lines.push(Line { change, text: text.to_owned() });
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > MOST {
        old.iter().for_each(|text| push(Change::Gone, text));
        new.iter().for_each(|text| push(Change::New, text));
        return;
    }
    // The length of the longest common subsequence of what follows each pair of places.
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a * width + b] = if old[a] == new[b] {
                common[(a + 1) * width + b + 1] + 1
            } else {
                common[(a + 1) * width + b].max(common[a * width + b + 1])
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            push(Change::Same, old[a]);
            (a, b) = (a + 1, b + 1);
        } else if b == new.len()
            || (a < old.len() && common[(a + 1) * width + b] >= common[a * width + b + 1])
        {
            push(Change::Gone, old[a]);
            a += 1;
        } else {
            push(Change::New, new[b]);
            b += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> String {
        let snapshot = Snapshot::of("a.yaml", None, old);
        Difference::of(PathBuf::new(), &snapshot, new).shown().join("\n")
    }

    #[test]
    fn a_difference_shows_what_changed_and_a_little_around_it() {
        assert_eq!(shown("a\nb\nc\nd\ne\n", "a\nb\nc\nX\ne\n"), "  b\n  c\n- d\n+ X\n  e");
        assert_eq!(shown("a\n", "a\nb\n"), "  a\n+ b");
        assert_eq!(shown("a\na\n", "a\n"), "  a\n- a");
    }

    #[test]
    fn what_lies_between_two_changes_is_left_out() {
        assert_eq!(
            shown("a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n"),
            "- a\n+ A\n  1\n  2\n  …\n  5\n  6\n- b\n+ B"
        );
    }

    #[test]
    fn the_line_is_that_of_the_snapshot_file() {
        let snapshot = Snapshot::of("a.yaml", None, "a\nb\nc\n");
        assert_eq!(Difference::of(PathBuf::new(), &snapshot, "a\nb\nC\n").line, 6);
    }
}
