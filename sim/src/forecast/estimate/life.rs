//! One life of an update: every measurement drawn, every verdict the controller's own.
//!
//! Which measurement is due, what it counts for and when a run is over is asked of the code that decides about real runs
//! ([`schedule`], [`count`], [`assess`]); only the rest of the world is left out, for it was played once.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::analysis::Metric;
use tidegate_api::object::{AnalysisRunStatus, Measurement, MetricResult, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::analysis::assess::{assess, is_terminating};
use tidegate_controller::analysis::count;
use tidegate_controller::analysis::schedule::{self, Task};

use super::numbers::Binomial;
use super::query::{Counted, Query};
use super::users::{Clock, Users, Version};
use crate::dice::Dice;
use crate::forecast::asked::{MOST_MEASUREMENTS, Reaction};

/// An answer takes so long in a forecast.
const ANSWER: i64 = 1;
/// For ever.
const NEVER: i64 = i64::MAX / 4;

/// The update as it was played with all good, in milliseconds since the change.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    /// When the change came.
    pub begin: Time,
    pub users: Users,
    pub looks: Looks,
    pub runs: Vec<Run>,
    /// Requests that the new version still gets when the update is aborted then.
    pub tails: Vec<(i64, f64)>,
}

/// When a metric system looks at pods, and what it counts there as long as nothing takes longer than it was played.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    /// Between two of them.
    pub every: i64,
    /// The time of the change since they began.
    pub offset: i64,
    /// The first one that anybody asks about.
    pub first: i64,
    /// Requests at each of them, from the first on.
    pub played: BTreeMap<Version, Vec<f64>>,
}

impl Looks {
    pub fn time(&self, look: i64) -> i64 {
        look * self.every - self.offset
    }

    /// The looks between which is counted: in a window that ends at this time.
    pub fn within(&self, end: i64, window: Span) -> (i64, i64) {
        let at = end + self.offset;
        let first = (at - window.0 + self.every - 1).div_euclid(self.every);
        (first.max(self.first), at.div_euclid(self.every))
    }

    fn place(&self, look: i64) -> usize {
        usize::try_from(look - self.first).unwrap_or(0)
    }
}

/// One run of the update.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Whether the update stands still until it is over.
    pub blocks: bool,
    pub begins: i64,
    /// When it was over, in the update as it was played.
    pub ends: i64,
    pub metrics: Vec<Metric>,
    pub dry_run: BTreeSet<Text>,
    /// By metric; a metric of which nothing is known is always good.
    pub queries: Vec<Option<Query>>,
    /// When each metric was measured, in the update as it was played.
    pub measured: Vec<Vec<i64>>,
    /// What the Rollout does about a verdict.
    pub does: BTreeMap<String, Reaction>,
}

impl Run {
    /// Whether chance has a say in it.
    pub fn is_drawn(&self) -> bool {
        self.queries.iter().any(Option::is_some)
    }

    fn reaction(&self, phase: &str) -> Reaction {
        let usual = match phase {
            "Failed" | "Error" => Reaction::Aborts,
            "Inconclusive" => Reaction::Pauses,
            _ => Reaction::GoesOn,
        };
        self.does.get(phase).copied().unwrap_or(usual)
    }
}

/// How a life ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum End {
    Promoted,
    /// It waits for a person.
    Held,
    Aborted {
        /// How long after the new version got its first request, in milliseconds.
        detection: i64,
        /// Requests that the new version got.
        exposed: f64,
    },
}

/// Binomials that were needed before, by requests and version.
pub(super) type Tables = BTreeMap<(Version, i64), Binomial>;

/// A life under way.
pub(super) struct Life<'t> {
    table: &'t Timetable,
    rates: BTreeMap<Version, f64>,
    dice: Dice,
    clock: Clock,
    /// By version: requests and errors at each look so far, and whether there is anything to look at.
    seen: BTreeMap<Version, Vec<(i64, i64, bool)>>,
    tables: &'t mut Tables,
}

impl<'t> Life<'t> {
    /// A life in which each version has its error rate. The tables must be of the same rates.
    pub fn new(
        table: &'t Timetable,
        rates: BTreeMap<Version, f64>,
        dice: Dice,
        tables: &'t mut Tables,
    ) -> Life<'t> {
        Life { table, rates, dice, clock: Clock::new(), seen: BTreeMap::new(), tables }
    }

    /// Lives it.
    pub fn live(mut self) -> End {
        let table = self.table;
        let mut stop: Option<(i64, Reaction)> = None;
        let drawn = || table.runs.iter().filter(|run| run.is_drawn());
        for run in drawn().filter(|run| run.blocks) {
            let start = self.clock.of_played(run.begins);
            self.clock.hold(run.ends);
            let (at, phase) = self.ask(run, start, NEVER);
            match run.reaction(&phase) {
                Reaction::GoesOn => self.clock.release(at),
                does => {
                    stop = Some((at, does));
                    break;
                }
            }
        }
        for run in drawn().filter(|run| !run.blocks) {
            let start = self.clock.of_played(run.begins);
            let last = self.clock.of_played(run.ends);
            let last = stop.map_or(last, |(at, _)| at.min(last));
            let (at, phase) = self.ask(run, start, last);
            let does = run.reaction(&phase);
            if does != Reaction::GoesOn && at <= last {
                stop = Some((at, does));
            }
        }
        match stop {
            None | Some((_, Reaction::GoesOn)) => End::Promoted,
            Some((_, Reaction::Pauses)) => End::Held,
            Some((at, Reaction::Aborts)) => {
                let played = self.clock.played(at);
                let since = table.users.exposed.map_or(at, |exposed| self.clock.of_played(exposed));
                let exposed = self.clock.taken(&table.users, Version::New, at) + tail(&table.tails, played);
                End::Aborted { detection: (at - since).max(0), exposed }
            }
        }
    }

    /// Lives one run, up to a time at which it is told to end. Says when it was over, and its phase.
    pub fn ask(&mut self, run: &Run, start: i64, last: i64) -> (i64, String) {
        let mut status = AnalysisRunStatus::default();
        let mut now = start;
        let mut taken = 0;
        while now <= last && taken < MOST_MEASUREMENTS {
            let at = self.time(now);
            let due: Vec<usize> = (0..run.metrics.len())
                .filter(|index| schedule::task(&run.metrics[*index], &status, false, at) == Some(Task::Start))
                .collect();
            for index in &due {
                let phase = match &run.queries[*index] {
                    Some(query) => query.measure(&mut |version, window, end: Span| {
                        self.counted(version, now - end.0, window)
                    }),
                    None => "Successful",
                };
                note(&mut status, &run.metrics[*index], &run.dry_run, phase, self.time(now + ANSWER));
            }
            taken += due.len();
            let heard = if due.is_empty() { now } else { now + ANSWER };
            assess(&mut status, &run.metrics, &run.dry_run, false, self.time(heard).stamp());
            if status.is_over() {
                return (heard, status.phase().to_owned());
            }
            now = match schedule::next(&run.metrics, &status) {
                _ if is_terminating(false, &status) => heard + ANSWER,
                Some(next) => (next.since(self.table.begin).0 + 1).max(now + 1),
                None => break,
            };
        }
        (last, String::new())
    }

    fn time(&self, since: i64) -> Time {
        self.table.begin.plus(Span(since))
    }

    /// What was counted of a version in a window that ends at this time.
    pub fn counted(&mut self, version: Version, end: i64, window: Span) -> Counted {
        let (first, last) = self.table.looks.within(end, window);
        self.look(version, last);
        let looks = &self.table.looks;
        let seen = self.seen.get(&version)?;
        let first = (first..last).find(|look| seen.get(looks.place(*look)).is_some_and(|one| one.2))?;
        let (then, now) = (seen.get(looks.place(first))?, seen.get(looks.place(last))?);
        Some((now.0 - then.0, now.1 - then.1, Span((last - first) * looks.every)))
    }

    /// Looks at the pods of a version as often as it was time to.
    fn look(&mut self, version: Version, last: i64) {
        let looks = &self.table.looks;
        let wanted = looks.place(last) + 1;
        let rate = self.rates.get(&version).copied().unwrap_or(0.0);
        let mut seen = self.seen.remove(&version).unwrap_or_default();
        while seen.len() < wanted {
            let time = looks.time(looks.first + i64::try_from(seen.len()).unwrap_or(0));
            let played = looks.played.get(&version).and_then(|all| all.get(seen.len()));
            let taken = match played {
                Some(taken) if self.clock.is_as_played(time) => *taken,
                _ => self.clock.taken(&self.table.users, version, time),
            };
            let requests = taken.floor() as i64;
            let (before, errors, _) = seen.last().copied().unwrap_or((requests, 0, false));
            let more = match requests - before {
                more if more > 0 && rate > 0.0 => {
                    let table =
                        self.tables.entry((version, more)).or_insert_with(|| Binomial::new(more, rate));
                    table.draw(&mut self.dice)
                }
                _ => 0,
            };
            // What was there before the change was looked at before.
            seen.push((requests, errors + more, taken > 0.0 || version == Version::Old));
        }
        self.seen.insert(version, seen);
    }
}

/// Puts a measurement into a status, as a pass of the controller does.
fn note(
    status: &mut AnalysisRunStatus,
    metric: &Metric,
    dry_run: &BTreeSet<Text>,
    phase: &'static str,
    at: Time,
) {
    let results = status.results.get_or_insert_default();
    let index = results.iter().position(|result| result.name.as_deref() == Some(&*metric.name));
    let index = index.unwrap_or_else(|| {
        results.push(MetricResult {
            name: Some(metric.name.clone()),
            phase: Some("Running".into()),
            dry_run: dry_run.contains(&metric.name).then_some(true),
            ..MetricResult::default()
        });
        results.len() - 1
    });
    let result = &mut results[index];
    count(result, phase);
    // Nobody looks at more than the last one.
    result.measurements = Some(vec![Measurement {
        phase: Some(phase.into()),
        finished: Some(at.stamp()),
        ..Measurement::default()
    }]);
}

/// Requests after an abort at a time: between two that were played, along a straight line.
fn tail(tails: &[(i64, f64)], at: i64) -> f64 {
    let after = tails.partition_point(|(time, _)| *time <= at);
    match (after.checked_sub(1).and_then(|before| tails.get(before)), tails.get(after)) {
        (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (at - a.0) as f64 / (b.0 - a.0).max(1) as f64,
        (Some(one), None) | (None, Some(one)) => one.1,
        (None, None) => 0.0,
    }
}
