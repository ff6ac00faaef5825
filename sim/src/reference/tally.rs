//! How many stories come out as recorded, for people.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::allowed::{Departure, Pattern};
use super::recording::{Difference, Recording, counts_spec_writes, differences};

/// What became of one story.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// It was played and compared.
    Compared {
        /// How many stable tracks were compared.
        stable: usize,
        /// How many of these came out otherwise than recorded, wanted departures left aside.
        missed: usize,
        /// Every difference that is not wanted.
        differences: Vec<Difference>,
        /// The differences that are wanted.
        wanted: Vec<Difference>,
    },
    /// It could not be played or compared: it counts, as different.
    Broken(String),
}

/// All stories and what became of them. Its `Display` is the report.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tally {
    /// Only a line a story and the sums.
    pub quiet: bool,
    /// Name, area and outcome of each story, in the order played.
    pub stories: Vec<(String, String, Outcome)>,
}

impl Tally {
    /// Compares a play with its recording and notes the outcome.
    pub fn compare(
        &mut self,
        recording: &Recording,
        got: &BTreeMap<String, Vec<Value>>,
        ignore: &[Pattern],
        allowed: &[Departure],
    ) {
        let covered = |d: &Difference| allowed.iter().any(|a| a.covers(&recording.name, &d.track));
        let (wanted, differences): (Vec<_>, Vec<_>) =
            differences(recording, got, ignore).into_iter().partition(covered);
        let missed = differences.iter().filter(|d| recording.stable.contains_key(&d.track)).count();
        let stable = recording
            .stable
            .keys()
            .filter(|track| !counts_spec_writes(track) && !ignore.iter().any(|pattern| pattern.finds(track)))
            .count();
        let outcome = Outcome::Compared { stable, missed, differences, wanted };
        self.stories.push((recording.name.clone(), recording.area.clone(), outcome));
    }

    /// Notes a story that could not be played or compared.
    pub fn broken(&mut self, name: &str, area: &str, why: impl Into<String>) {
        self.stories.push((name.to_owned(), area.to_owned(), Outcome::Broken(why.into())));
    }

    /// Stories that were to be compared.
    pub fn played(&self) -> usize {
        self.stories.len()
    }

    /// Stories equal on all stable state tracks.
    pub fn equal_state(&self) -> usize {
        self.stories.iter().filter(|(_, _, outcome)| outcome.is_equal_state()).count()
    }

    /// Stories equal on all stable tracks, events and messages included.
    pub fn equal(&self) -> usize {
        self.stories.iter().filter(|(_, _, outcome)| outcome.is_equal()).count()
    }

    /// Stories that a wanted departure touches.
    pub fn departing(&self) -> usize {
        let touched =
            |outcome: &Outcome| matches!(outcome, Outcome::Compared { wanted, .. } if !wanted.is_empty());
        self.stories.iter().filter(|(_, _, outcome)| touched(outcome)).count()
    }
}

impl Outcome {
    /// Whether all stable tracks are as recorded, wanted departures left aside.
    pub fn is_equal(&self) -> bool {
        matches!(self, Outcome::Compared { differences, .. } if differences.iter().all(|d| d.racy))
    }

    /// Whether all stable tracks of state are as recorded, wanted departures left aside.
    pub fn is_equal_state(&self) -> bool {
        matches!(self, Outcome::Compared { differences, .. } if differences.iter().all(|d| d.racy || d.is_about_words()))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, _, outcome) in &self.stories {
            write_story(f, name, outcome, self.quiet)?;
        }
        let mut areas: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (_, area, outcome) in &self.stories {
            let (equal, played) = areas.entry(area).or_default();
            *equal += usize::from(outcome.is_equal_state());
            *played += 1;
        }
        let areas: Vec<String> =
            areas.iter().map(|(area, (equal, played))| format!("{area} {equal}/{played}")).collect();
        writeln!(f, "\n{}", areas.join("; "))?;
        if self.departing() > 0 {
            writeln!(f, "{} of {} stories touched by wanted departures", self.departing(), self.played())?;
        }
        let played = self.played();
        write!(
            f,
            "{} of {played} stories equal on all stable state tracks, {} of {played} on events and messages too",
            self.equal_state(),
            self.equal(),
        )
    }
}

fn write_story(f: &mut fmt::Formatter<'_>, name: &str, outcome: &Outcome, quiet: bool) -> fmt::Result {
    let (stable, missed, differences, wanted) = match outcome {
        Outcome::Broken(why) => return writeln!(f, "FAIL {name}: {why}"),
        Outcome::Compared { stable, missed, differences, wanted } => (stable, missed, differences, wanted),
    };
    let verdict = if outcome.is_equal_state() { "pass" } else { "FAIL" };
    write!(f, "{verdict} {name}: {} of {stable} stable tracks equal", stable - missed)?;
    let racy = differences.iter().filter(|d| d.racy).count();
    let words = differences.iter().filter(|d| !d.racy && d.is_about_words()).count();
    for (count, what) in [
        (differences.len() - racy - missed, "unexpected"),
        (words, "in events or messages only"),
        (wanted.len(), "wanted departures"),
        (racy, "racy tracks outside what was seen"),
    ] {
        if count > 0 {
            write!(f, ", {count} {what}")?;
        }
    }
    writeln!(f)?;
    for difference in differences.iter().filter(|_| !quiet) {
        write_difference(f, difference)?;
    }
    Ok(())
}

fn write_difference(f: &mut fmt::Formatter<'_>, difference: &Difference) -> fmt::Result {
    let verdict = match (difference.racy, difference.is_about_words()) {
        (true, _) => "racy",
        (false, true) => "word",
        (false, false) => "FAIL",
    };
    writeln!(f, "    {verdict} {}", difference.track)?;
    for expected in &difference.expected {
        writeln!(f, "        expected {}", shown(expected))?;
    }
    writeln!(f, "        got      {}", shown(&difference.got))
}

/// A sequence on one line, cut where nobody would read on.
fn shown(sequence: &[Value]) -> String {
    if sequence.is_empty() {
        return "(nothing)".to_owned();
    }
    let values = sequence.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    values.collect::<Vec<_>>().join(" -> ").chars().take(600).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reference::allowances;

    #[test]
    fn the_report_tells_each_story_and_the_sums() {
        let recording = |name: &str| {
            Recording::from_value(&json!({"name": name, "area": "canary", "racy_tracks": {"r": [[1], [2]]},
                "stable_tracks": {"rollout/demo/phase": ["-", "Healthy"], "events/Rollout/demo": ["A", "B"]}}))
            .unwrap()
        };
        let got = |phase: &[&str], events: &[&str], racy: i64| {
            let sequence = |words: &[&str]| words.iter().map(|word| Value::from(*word)).collect();
            BTreeMap::from([
                ("rollout/demo/phase".to_owned(), sequence(phase)),
                ("events/Rollout/demo".to_owned(), sequence(events)),
                ("r".to_owned(), vec![racy.into()]),
            ])
        };
        let allowed = allowances("departing /phase$  # safer").unwrap();
        let mut tally = Tally::default();
        let mut play = |name, got| tally.compare(&recording(name), &got, &[], &allowed);
        play("same", got(&["-", "Healthy"], &["A", "B"], 2));
        play("words", got(&["-", "Healthy"], &["A"], 3));
        play("other", got(&["-"], &["A", "B"], 1));
        play("departing", got(&["-"], &["A", "B"], 1));
        tally.broken("lost", "rolling", "no recording");
        assert_eq!(
            tally.to_string(),
            "\
pass same: 2 of 2 stable tracks equal
pass words: 1 of 2 stable tracks equal, 1 in events or messages only, 1 racy tracks outside what was seen
    word events/Rollout/demo
        expected A -> B
        got      A
    racy r
        expected 1
        expected 2
        got      3
FAIL other: 1 of 2 stable tracks equal
    FAIL rollout/demo/phase
        expected - -> Healthy
        got      -
pass departing: 2 of 2 stable tracks equal, 1 wanted departures
FAIL lost: no recording

canary 3/4; rolling 0/1
1 of 5 stories touched by wanted departures
3 of 5 stories equal on all stable state tracks, 2 of 5 on events and messages too"
        );
    }
}
