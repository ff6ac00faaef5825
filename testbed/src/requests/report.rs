//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What became of all requests, in the order in which they were sent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// One a request.
    pub answers: Vec<Answer>,
}

/// What became of one request.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// When it was sent, from the begin of the stream.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// How it went.
    pub outcome: Outcome,
}

/// How a request went.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// 200 from a pod with this image.
    Served(String),
    /// Anything else, and what.
    Failed(String),
}

/// Answers take some milliseconds, and a tenth of a second when much is going on.
const STANDSTILL: Duration = Duration::from_millis(500);

/// The percent of requests that each version should get. Versions that are not named should get none.
pub type Shares = BTreeMap<String, f64>;

impl Report {
    /// How many were sent.
    pub fn total(&self) -> usize {
        self.answers.len()
    }

    /// How many went wrong.
    pub fn failed(&self) -> usize {
        self.answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Failed(_))).count()
    }

    /// What went wrong, by the second in which it was sent, and how often.
    pub fn failures(&self) -> BTreeMap<(u64, &str), usize> {
        let mut failures = BTreeMap::new();
        for answer in &self.answers {
            if let Outcome::Failed(cause) = &answer.outcome {
                *failures.entry((answer.at.as_secs(), &**cause)).or_default() += 1;
            }
        }
        failures
    }

    /// The percent of requests that each version answered, of those sent between two times.
    pub fn shares(&self, from: Duration, until: Duration) -> Shares {
        let sent: Vec<&Answer> =
            self.answers.iter().filter(|answer| (from..until).contains(&answer.at)).collect();
        let mut shares = Shares::new();
        for answer in &sent {
            if let Outcome::Served(version) = &answer.outcome {
                *shares.entry(version.clone()).or_default() += 100.0 / sent.len() as f64;
            }
        }
        shares
    }

    /// How many points the share of any version was off what it should have been, between two times.
    pub fn off(&self, expected: &Shares, from: Duration, until: Duration) -> f64 {
        let got = self.shares(from, until);
        let versions = expected.keys().chain(got.keys());
        let share = |of: &Shares, version: &String| of.get(version).copied().unwrap_or(0.0);
        versions.map(|version| (share(expected, version) - share(&got, version)).abs()).fold(0.0, f64::max)
    }

    /// Whether this machine stood still meanwhile: pods answer at once, so a good answer that took long says nothing of
    /// the release but that nobody had a core to work on it, the proxy included.
    pub fn stood_still(&self) -> bool {
        let served = self.answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Served(_)));
        served.map(|answer| answer.took).max().is_some_and(|longest| longest > STANDSTILL)
    }

    /// How long the slowest took.
    pub fn slowest(&self) -> Duration {
        self.answers.iter().map(|answer| answer.took).max().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, failed) = (self.total(), self.failed());
        writeln!(
            f,
            "{total} requests, {failed} failed, the slowest took {:.3} s",
            self.slowest().as_secs_f64()
        )?;
        let last = self.answers.last().map_or(0, |answer| answer.at.as_secs());
        for second in 0..=last {
            write!(f, "  {second:>3} s")?;
            for (version, share) in self.shares(Duration::from_secs(second), Duration::from_secs(second + 1))
            {
                write!(f, "  {version} {share:.1} %")?;
            }
            for ((_, cause), count) in self.failures().range((second, "")..(second + 1, "")) {
                write!(f, "  FAILED {count}: {cause}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let answer = |millis, outcome| Answer {
            at: Duration::from_millis(millis),
            took: Duration::from_millis(2),
            outcome,
        };
        let served = |image: &str| Outcome::Served(image.to_owned());
        let failed = Outcome::Failed("503 overload".to_owned());
        Report {
            answers: vec![
                answer(0, served("a")),
                answer(900, served("b")),
                answer(1000, served("b")),
                answer(1100, served("b")),
                answer(1200, served("a")),
                answer(1300, failed),
            ],
        }
    }

    #[test]
    fn failures_are_told_by_second() {
        let report = report();
        assert_eq!((report.total(), report.failed()), (6, 1));
        assert_eq!(report.failures(), BTreeMap::from([((1, "503 overload"), 1)]));
        assert!(report.to_string().contains("1 s  a 25.0 %  b 50.0 %  FAILED 1: 503 overload"), "{report}");
    }

    #[test]
    fn only_a_good_answer_tells_that_the_machine_stood_still() {
        let mut report = report();
        report.answers[5].took = 2 * STANDSTILL;
        assert!(!report.stood_still());
        report.answers[0].took = 2 * STANDSTILL;
        assert!(report.stood_still());
    }

    #[test]
    fn shares_are_of_all_that_was_sent() {
        let (report, second) = (report(), Duration::from_secs(1));
        let expected = Shares::from([("b".to_owned(), 60.0), ("a".to_owned(), 40.0)]);
        assert_eq!(report.off(&expected, second, 2 * second), 15.0);
        // A version that nobody should see.
        let expected = Shares::from([("b".to_owned(), 100.0)]);
        assert_eq!(report.off(&expected, Duration::ZERO, second), 50.0);
    }
}
