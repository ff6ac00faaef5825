//! What users saw in the simulator, beside what was counted.
//!
//! Chance moves the shares of a whole story, for it decides how long users stay with each weight; so the simulator plays
//! with many seeds and gives a range. What lies beyond that range is what the invented world gets wrong: its controller
//! and its API server answer within milliseconds, and its pods start to the millisecond.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::{Report, Shares, Simulated};

/// A share may lie so many points beyond the range of the simulator. The shortest story takes less than twenty seconds,
/// so a second more with one weight, which a busy machine easily needs to start a command, moves shares by as much.
const POINTS: f64 = 5.0;
/// A story may take so many seconds less or more than in the simulator. Shares say nothing of a world in which all goes
/// half as fast.
const SECONDS: f64 = 5.0;

/// A story played in both worlds.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    simulated: Simulated,
    /// By version, of all requests of the story.
    counted: Shares,
    failed: usize,
    took: Duration,
}

impl Comparison {
    /// Holds what was counted to what was simulated.
    pub fn of(simulated: &Simulated, report: &Report) -> Comparison {
        let shares = report.shares(Duration::ZERO, Duration::MAX);
        Comparison {
            simulated: simulated.clone(),
            counted: shares.into_iter().map(|(image, share)| (version(&image).to_owned(), share)).collect(),
            failed: report.failed(),
            took: report.answers.last().map(|answer| answer.at).unwrap_or_default(),
        }
    }

    /// How many points the share of any version lies beyond the range of the simulator.
    pub fn off(&self) -> f64 {
        self.versions().into_iter().map(|version| self.off_of(version)).fold(0.0, f64::max)
    }

    /// What is too different; nothing when the simulator told the truth.
    pub fn complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.failed > 0 || self.simulated.failed > 0 {
            wrong.push(format!("{} failed, {} in the simulator", self.failed, self.simulated.failed));
        }
        for version in self.versions().into_iter().filter(|version| self.off_of(version) > POINTS) {
            wrong.push(format!("{}: more than {POINTS} points apart", self.said(version)));
        }
        if self.off_in_time() > SECONDS {
            wrong.push(format!("{}: more than {SECONDS} seconds apart", self.said_of_time()));
        }
        wrong
    }

    fn versions(&self) -> BTreeSet<&String> {
        self.simulated.shares.keys().chain(self.counted.keys()).collect()
    }

    fn off_of(&self, version: &str) -> f64 {
        let (simulated, counted) = self.shares_of(version);
        beyond(simulated, counted)
    }

    fn off_in_time(&self) -> f64 {
        let (shortest, longest) = self.simulated.took;
        beyond((shortest.as_secs_f64(), longest.as_secs_f64()), self.took.as_secs_f64())
    }

    fn shares_of(&self, version: &str) -> ((f64, f64), f64) {
        let simulated = self.simulated.shares.get(version).copied().unwrap_or_default();
        (simulated, self.counted.get(version).copied().unwrap_or_default())
    }

    /// `v1 41.0..42.5 % simulated, 41.8 % counted`.
    fn said(&self, version: &str) -> String {
        let ((low, high), counted) = self.shares_of(version);
        format!("{version} {low:.1}..{high:.1} % simulated, {counted:.1} % counted")
    }

    /// `37.9..38.0 s simulated, 38.1 s counted`.
    fn said_of_time(&self) -> String {
        let (shortest, longest) = self.simulated.took;
        let [shortest, longest, counted] = [shortest, longest, self.took].map(|time| time.as_secs_f64());
        format!("{shortest:.1}..{longest:.1} s simulated, {counted:.1} s counted")
    }
}

/// How far a number lies beyond a range.
fn beyond((low, high): (f64, f64), number: f64) -> f64 {
    (low - number).max(number - high).max(0.0)
}

/// The version of an image: what stands after its last colon.
pub(super) fn version(image: &str) -> &str {
    image.rsplit(':').next().unwrap_or(image)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for version in self.versions() {
            write!(f, "{}; ", self.said(version))?;
        }
        write!(f, "failed {} simulated, {} counted; ", self.simulated.failed, self.failed)?;
        write!(f, "{}; off by {:.1} points", self.said_of_time(), self.off())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Outcome};
    use super::*;

    /// So many answers of each version, and so many failures.
    fn report(served: &[(&str, usize)], failed: usize) -> Report {
        let served =
            served.iter().flat_map(|(image, n)| vec![Outcome::Served(format!("shop/web:{image}")); *n]);
        let failed = vec![Outcome::Failed("503".to_owned()); failed];
        let answer = |outcome| Answer { at: Duration::from_secs(1), took: Duration::ZERO, outcome };
        Report { answers: served.chain(failed).map(answer).collect() }
    }

    fn simulated(failed: i64) -> Simulated {
        let shares = [("v1", (40.0, 44.0)), ("v2", (56.0, 60.0))];
        let shares = shares.map(|(version, range)| (version.to_owned(), range)).into();
        Simulated { failed, shares, took: (Duration::from_secs(1), Duration::from_secs(2)) }
    }

    fn check(served: &[(&str, usize)], failed: (i64, usize), expected: &[&str]) {
        let comparison = Comparison::of(&simulated(failed.0), &report(served, failed.1));
        assert_eq!(comparison.complaints(), expected, "{comparison}");
    }

    #[test]
    fn shares_within_the_range_or_close_to_it_are_the_same() {
        check(&[("v1", 42), ("v2", 58)], (0, 0), &[]);
        check(&[("v1", 49), ("v2", 51)], (0, 0), &[]);
    }

    #[test]
    fn a_share_far_beyond_the_range_is_a_difference() {
        let told = [
            "v1 40.0..44.0 % simulated, 34.0 % counted: more than 5 points apart",
            "v2 56.0..60.0 % simulated, 66.0 % counted: more than 5 points apart",
        ];
        check(&[("v1", 34), ("v2", 66)], (0, 0), &told);
    }

    #[test]
    fn a_version_that_one_world_alone_saw_is_a_difference() {
        let told = ["v3 0.0..0.0 % simulated, 6.0 % counted: more than 5 points apart"];
        check(&[("v1", 40), ("v2", 54), ("v3", 6)], (0, 0), &told);
        let told = [
            "v1 40.0..44.0 % simulated, 100.0 % counted: more than 5 points apart",
            "v2 56.0..60.0 % simulated, 0.0 % counted: more than 5 points apart",
        ];
        check(&[("v1", 100)], (0, 0), &told);
    }

    #[test]
    fn a_failed_request_in_either_world_is_a_difference() {
        check(&[("v1", 420), ("v2", 580)], (0, 1), &["1 failed, 0 in the simulator"]);
        check(&[("v1", 420), ("v2", 580)], (1, 0), &["0 failed, 1 in the simulator"]);
    }

    #[test]
    fn a_story_that_takes_another_time_is_a_difference() {
        let took = |seconds| {
            let mut report = report(&[("v1", 42), ("v2", 58)], 0);
            report.answers.last_mut().unwrap().at = Duration::from_secs(seconds);
            Comparison::of(&simulated(0), &report).complaints()
        };
        assert_eq!(took(7), Vec::<String>::new());
        assert_eq!(took(8), ["1.0..2.0 s simulated, 8.0 s counted: more than 5 seconds apart"]);
    }

    #[test]
    fn both_stand_in_one_line() {
        let comparison = Comparison::of(&simulated(0), &report(&[("v1", 39), ("v2", 61)], 0));
        assert_eq!(
            comparison.to_string(),
            "v1 40.0..44.0 % simulated, 39.0 % counted; v2 56.0..60.0 % simulated, 61.0 % counted; \
             failed 0 simulated, 0 counted; 1.0..2.0 s simulated, 1.0 s counted; off by 1.0 points"
        );
    }
}
