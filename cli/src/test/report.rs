//! The result of a suite, for people and for CI systems. `docs/output.md` tells the shapes.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Fault, Verdict};

/// For people: what failed, then the sums.
pub fn text(verdicts: &[Verdict], written: usize, color: bool) -> String {
    let ink = |code: &str, text: &str| {
        if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let mut out = String::new();
    for verdict in failed(verdicts) {
        out += &format!("{} {}\n", ink("1;31", "FAILED"), verdict.scenario);
        for fault in &verdict.faults {
            for line in fault.text(color).lines() {
                let line = match line.get(..2) {
                    Some("- ") => ink("31", line),
                    Some("+ ") => ink("32", line),
                    _ => line.to_owned(),
                };
                out += &format!("    {line}\n");
            }
        }
    }
    if written > 0 {
        out += &format!("{written} snapshots written\n");
    }
    out + &sums(verdicts) + "\n"
}

/// JUnit: one test case a scenario.
pub fn junit(verdicts: &[Verdict]) -> String {
    let errors = failed(verdicts).filter(|verdict| verdict.is_error()).count();
    let failures = failed(verdicts).count() - errors;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out += &format!(
        "<testsuite name=\"tidegate\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
        verdicts.len()
    );
    for verdict in verdicts {
        let (class, name) = split(&verdict.scenario);
        out += &format!("  <testcase classname=\"{}\" name=\"{}\"", xml(class), xml(name));
        if verdict.faults.is_empty() {
            out += "/>\n";
            continue;
        }
        let element = if verdict.is_error() { "error" } else { "failure" };
        let titles = titles(verdict);
        let faults: Vec<String> = verdict.faults.iter().map(|fault| fault.text(false)).collect();
        out += &format!(
            "><{element} message=\"{}\">{}</{element}></testcase>\n",
            xml(&titles),
            xml(&faults.join("\n"))
        );
    }
    out + "</testsuite>\n"
}

/// A table of all folders, then each scenario that failed with its faults and the difference of its trace.
pub fn markdown(verdicts: &[Verdict]) -> String {
    let mut out = format!("## Scenarios: {}\n\n", sums(verdicts));
    out += "| Folder | Passed | Failed |\n|---|--:|--:|\n";
    let mut folders: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for verdict in verdicts {
        let (passed, failed) = folders.entry(split(&verdict.scenario).0).or_default();
        *(if verdict.faults.is_empty() { passed } else { failed }) += 1;
    }
    for (folder, (passed, failed)) in folders {
        out += &format!("| {} | {passed} | {failed} |\n", code(folder).replace('|', "\\|"));
    }
    for verdict in failed(verdicts) {
        out += &format!("\n### {}: {}\n", code(&verdict.scenario), titles(verdict));
        if !verdict.about.is_empty() {
            out += &format!("\n{}\n", plain(&verdict.about));
        }
        for fault in &verdict.faults {
            out += &match fault {
                Fault::Unreadable(error) => block("text", &error.render(false)),
                Fault::Differs(difference) => block("diff", &difference.shown().join("\n")),
                Fault::Failed(_) | Fault::NoSnapshot(_) | Fault::Outside(..) => {
                    format!("\n* {}\n", plain(&fault.text(false)))
                }
            };
        }
    }
    out
}

/// Workflow commands of GitHub Actions: an annotation for each fault, then the sums.
pub fn github(verdicts: &[Verdict]) -> String {
    let mut out = String::new();
    for verdict in failed(verdicts) {
        for fault in &verdict.faults {
            let (file, line) = fault.place(&verdict.scenario);
            let title = format!("{}: {}", split(&verdict.scenario).1, fault.title());
            out += &format!(
                "::error file={},line={line},title={}::{}\n",
                property(&file),
                property(&title),
                data(fault.text(false).trim_end())
            );
        }
    }
    out + &sums(verdicts) + "\n"
}

fn failed(verdicts: &[Verdict]) -> impl Iterator<Item = &Verdict> {
    verdicts.iter().filter(|verdict| !verdict.faults.is_empty())
}

/// `61 passed, 2 failed`.
fn sums(verdicts: &[Verdict]) -> String {
    let failed = failed(verdicts).count();
    format!("{} passed, {failed} failed", verdicts.len() - failed)
}

/// The folder and the name without its ending.
fn split(scenario: &str) -> (&str, &str) {
    let path = Path::new(scenario);
    let folder = path.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
    (folder, path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(scenario))
}

fn titles(verdict: &Verdict) -> String {
    let mut titles: Vec<&str> = verdict.faults.iter().map(Fault::title).collect();
    titles.dedup();
    titles.join(", ")
}

impl Verdict {
    /// Whether the scenario could not be judged at all.
    fn is_error(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::Unreadable(_) | Fault::Outside(..)))
    }
}

impl Fault {
    fn text(&self, color: bool) -> String {
        match self {
            Fault::Unreadable(error) => error.render(color),
            Fault::Failed(failure) => failure.to_string(),
            Fault::NoSnapshot(at) => format!("no snapshot {}: run with --accept", at.display()),
            Fault::Differs(difference) => {
                let mut lines = vec!["the trace differs from the snapshot:".to_owned()];
                lines.extend(difference.shown());
                lines.join("\n")
            }
            Fault::Outside(at, why) => format!("{}: {why}", at.display()),
        }
    }

    /// The file and line where it shows; lines begin at 1.
    fn place(&self, scenario: &str) -> (String, usize) {
        match self {
            Fault::Unreadable(error) => (error.name.clone(), error.line.max(1)),
            Fault::Failed(failure) => (scenario.to_owned(), failure.line.max(1)),
            Fault::NoSnapshot(_) | Fault::Outside(..) => (scenario.to_owned(), 1),
            Fault::Differs(difference) => (difference.snapshot.display().to_string(), difference.line),
        }
    }
}

/// Text in XML. Characters that XML does not know at all become a question mark.
fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            c if c < ' ' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// The longest run of backticks in a text.
fn backticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn code(text: &str) -> String {
    let text = text.replace('\n', " ");
    match backticks(&text) {
        0 => format!("`{text}`"),
        most => {
            let fence = "`".repeat(most + 1);
            format!("{fence} {text} {fence}")
        }
    }
}

fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat(backticks(text).max(2) + 1);
    format!("\n{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// Text of a scenario as one line that Markdown shows as it is.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim_end().chars() {
        match c {
            '\n' => out.push(' '),
            '<' => out += "&lt;",
            '&' => out += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '@' | '#' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// The message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use tidegate_sim::play::Failure;

    use super::*;

    fn verdict(scenario: &str, messages: &[(usize, &str)]) -> Verdict {
        let faults = messages
            .iter()
            .map(|(line, message)| Fault::Failed(Failure { line: *line, message: (*message).to_owned() }));
        Verdict { scenario: scenario.to_owned(), about: "An <idea>.".to_owned(), faults: faults.collect() }
    }

    #[test]
    fn nothing_in_a_text_can_break_out_of_its_report() {
        let nasty = "</failure> \"&\u{1b} 100%\n::error::x `a` @all";
        let verdicts = [verdict("a,b/c:d.yaml", &[(3, nasty)])];
        assert_eq!(
            github(&verdicts),
            "::error file=a%2Cb/c%3Ad.yaml,line=3,title=c%3Ad%3A not as expected::line 3: </failure> \"&\u{1b} \
             100%25%0A::error::x `a` @all\n0 passed, 1 failed\n"
        );
        assert!(junit(&verdicts).contains(
            "<failure message=\"not as expected\">line 3: &lt;/failure&gt; &quot;&amp;? 100%\n::error::x `a` @all\
             </failure>"
        ));
        assert!(
            markdown(&verdicts)
                .contains("* line 3: &lt;/failure> \"&amp;\u{1b} 100% ::error::x \\`a\\` \\@all\n")
        );
        assert!(markdown(&verdicts).contains("\nAn &lt;idea>.\n"));
    }

    #[test]
    fn a_fence_is_longer_than_any_in_the_text() {
        assert_eq!(block("diff", "a\n```\n"), "\n````diff\na\n```\n````\n");
        assert_eq!(code("a`b"), "`` a`b ``");
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        let verdicts = [verdict("a.yaml", &[(0, "- gone")])];
        assert_eq!(text(&verdicts, 0, false), "FAILED a.yaml\n    - gone\n0 passed, 1 failed\n");
        assert_eq!(
            text(&verdicts, 2, true),
            "\x1b[1;31mFAILED\x1b[0m a.yaml\n    \x1b[31m- gone\x1b[0m\n2 snapshots written\n0 passed, 1 failed\n"
        );
    }
}
