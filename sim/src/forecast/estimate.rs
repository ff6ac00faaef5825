//! How likely thresholds are to be right: a good version aborted, a bad one promoted, how long that takes and whom it hits.
//!
//! Nobody can tell from `count`, `interval` and `failureLimit` how often chance alone will abort a release, because that
//! hangs on how many requests stand behind each measurement. So the update is played once, with users, to know when it
//! measures and whom it serves then; and ten thousand lives are drawn from that: errors by the scrape, queries evaluated
//! on them, conditions and verdicts by the controller's own code (`life`). Where a textbook has a formula, it stands
//! beside the estimate (`exact`). Start with [`estimate`].

mod exact;
mod life;
mod numbers;
mod query;
mod shape;
mod users;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::object::{Object, Text};
use tidegate_api::time::{Span, Time};

pub use exact::Exact;
pub use numbers::Figure;

use super::asked::{Asked, Reaction, Seen};
use super::{LONGEST, Phase, Played, Refusal, Simple, Stage, strike};
use crate::dice::Dice;
use crate::world::World;
use life::{End, Life, Looks, Run, Tables, Timetable};
use query::{Query, of_hash};
use users::{Noted, Users, Version};

/// Lives of each kind, unless somebody wants more or fewer.
pub const LIVES: usize = 10_000;

/// What is taken for true.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Assumed {
    /// Requests a second that users send to all versions together.
    pub rps: i64,
    /// The part of its requests that a bad version answers with an error.
    pub error_rate: f64,
    /// The same of a good version, and of the one before the update.
    pub good_error_rate: f64,
    /// Lives of each kind.
    pub lives: usize,
    /// Where all chance comes from.
    pub seed: u64,
}

/// How likely an update is to come out well.
#[derive(Clone, PartialEq, Debug)]
pub struct Estimate {
    /// What was taken for true.
    pub assumed: Assumed,
    /// How often a metric system looks at pods.
    pub scrape: Span,
    /// Metrics of which nothing could be estimated; taken to be good in every life.
    pub left_out: Vec<LeftOut>,
    /// Updates to a good version, and to a bad one; nothing where no metric could be estimated.
    pub sides: Option<Sides>,
}

/// Updates to a good version, and to a bad one.
#[derive(Clone, PartialEq, Debug)]
pub struct Sides {
    /// The good one.
    pub good: Side,
    /// The bad one.
    pub bad: Side,
}

/// A metric that could not be estimated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// When it is asked.
    pub when: String,
    /// Its name.
    pub metric: String,
    /// Why.
    pub why: String,
}

/// What became of the updates to one version.
#[derive(Clone, PartialEq, Debug)]
pub struct Side {
    /// The part of its requests that the version answers with an error.
    pub error_rate: f64,
    /// The probability of an abort.
    pub aborted: Figure,
    /// The probability of a promotion.
    pub promoted: Figure,
    /// The probability that it waits for a person.
    pub held: Figure,
    /// What the textbook says, or why it says nothing.
    pub exact: Result<Exact, String>,
    /// In seconds, of those that were aborted: from the first request to the new version until the abort.
    pub detection: Option<Spread>,
    /// Of those that were aborted: requests that the new version got, until it had none any more.
    pub exposed: Option<Spread>,
}

/// A figure that differs from life to life.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Its mean.
    pub mean: Figure,
    /// What it does not exceed in 95 of 100 lives.
    pub p95: Figure,
}

/// Estimates what becomes of updates of a Rollout. `others` and `startup` are as in a forecast.
pub fn estimate(
    rollout: &Object,
    others: &[Object],
    startup: Span,
    assumed: Assumed,
) -> Result<Estimate, Vec<Refusal>> {
    let mut stage = Stage::set(rollout, others, startup, Some(assumed.rps))?;
    let mut noted = Noted::begin(&stage.world, &stage.rollout);
    let played = stage.play(&mut noted).map_err(|refusal| vec![refusal])?;
    noted.finish(&stage.world);
    let scrape = stage.world.config().metrics.scrape;
    let mut left_out = Vec::new();
    let runs = stage.runs(&played, &mut left_out);
    let sides = runs.iter().any(Run::is_drawn).then(|| {
        let table = stage.timetable(&played, &noted, runs, assumed.rps);
        let side = |name: &str, rate: f64| side(&table, assumed, name, rate);
        Sides { good: side("good", assumed.good_error_rate), bad: side("bad", assumed.error_rate) }
    });
    Ok(Estimate { assumed, scrape, left_out, sides })
}

/// All lives of one kind.
fn side(table: &Timetable, assumed: Assumed, name: &str, error_rate: f64) -> Side {
    let rates = BTreeMap::from([(Version::Old, assumed.good_error_rate), (Version::New, error_rate)]);
    let mut tables = Tables::new();
    let (mut promoted, mut held) = (0, 0);
    let (mut detection, mut exposed) = (Vec::new(), Vec::new());
    for number in 0..assumed.lives {
        let dice = Dice::new(assumed.seed, &format!("estimate {name} {number}"));
        match Life::new(table, rates.clone(), dice, &mut tables).live() {
            End::Promoted => promoted += 1,
            End::Held => held += 1,
            End::Aborted { detection: after, exposed: requests } => {
                detection.push(after as f64 / 1000.0);
                exposed.push(requests);
            }
        }
    }
    let lives = assumed.lives;
    Side {
        error_rate,
        aborted: numbers::proportion(detection.len(), lives),
        promoted: numbers::proportion(promoted, lives),
        held: numbers::proportion(held, lives),
        exact: exact::exact(table, &|version| rates.get(&version).copied().unwrap_or(0.0)),
        detection: spread(detection),
        exposed: spread(exposed),
    }
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    Some(Spread { mean: numbers::mean(&values)?, p95: numbers::percentile_95(&mut values)? })
}

impl Stage {
    /// The hashes of both versions.
    fn versions(&self) -> (Text, Text) {
        let status = self.world.get(&self.rollout).and_then(|rollout| Some(&rollout.rollout()?.status));
        (self.old.as_str().into(), status.map_or("", |status| status.current()).into())
    }

    /// The runs of the update, with the queries of which something is known.
    fn runs(&self, played: &Played, left_out: &mut Vec<LeftOut>) -> Vec<Run> {
        let asked = self.asked(played);
        let runs = asked.iter().filter_map(|asked| {
            let seen = played.runs.seen.get(&asked.run)?;
            Some(self.run(asked, seen, played, left_out))
        });
        runs.collect()
    }

    fn run(&self, asked: &Asked, seen: &Seen, played: &Played, left_out: &mut Vec<LeftOut>) -> Run {
        let since = |at: Time| at.since(self.begin).0;
        let (old, new) = self.versions();
        let mut world = self.measured_once(asked, played);
        let mut queries = Vec::new();
        for metric in &asked.metrics {
            if metric.dry_run {
                queries.push(None);
                continue;
            }
            let query = Query::read(&metric.written, &asked.run, &mut world, &of_hash(&old, &new));
            queries.push(
                query
                    .map_err(|why| {
                        left_out.push(LeftOut { when: asked.when.clone(), metric: metric.name.clone(), why });
                    })
                    .ok(),
            );
        }
        let of_metric =
            |name: &str| seen.measured.get(name).into_iter().flatten().copied().map(since).collect();
        let mut does: BTreeMap<String, Reaction> = BTreeMap::new();
        for consequence in asked.metrics.iter().filter(|m| !m.dry_run).flat_map(|m| m.outcomes.values()) {
            if let Some(phase) = &consequence.verdict {
                does.entry(phase.clone()).or_insert(consequence.does);
            }
        }
        let ends = seen.ends.as_ref().map_or(self.world.now(), |(at, _)| *at);
        let complete = played.begun.iter().find(|begun| begun.phase == Phase::Complete);
        let complete = complete.map_or(self.world.now(), |begun| begun.world.now());
        let blocks = matches!(asked.question, "Step" | "PrePromotion" | "PostPromotion");
        let metrics = asked.metrics.iter();
        Run {
            blocks,
            begins: since(seen.begins),
            // One that nobody waits for may take until the update is done.
            ends: since(if blocks { ends } else { seen.told.unwrap_or(complete) }),
            metrics: metrics.clone().map(|metric| metric.written.clone()).collect(),
            dry_run: metrics
                .clone()
                .filter(|m| m.dry_run)
                .map(|m| m.written.name.clone())
                .collect::<BTreeSet<_>>(),
            queries,
            measured: metrics.map(|metric| of_metric(&metric.name)).collect(),
            does,
        }
    }

    /// The world as a run had its first measurement behind it: both versions are there.
    fn measured_once(&self, asked: &Asked, played: &Played) -> World {
        let Some(mut world) = played.before(&asked.run) else { return self.world.clone() };
        let limit = world.now().plus(LONGEST);
        world.run_while(limit, &mut (), |world| {
            let run = world.get(&asked.run).and_then(|run| run.analysis_run());
            run.is_none_or(|run| run.status.results.iter().flatten().next().is_none())
        });
        world
    }

    fn timetable(&self, played: &Played, noted: &Noted, runs: Vec<Run>, rps: i64) -> Timetable {
        let (old, new) = self.versions();
        let users = Users::of(noted, &old, &new, self.begin, rps);
        let config = self.world.config();
        let every = config.metrics.scrape.0.max(1);
        let offset = self.begin.since(config.start).0;
        let queries = || runs.iter().flat_map(|run| run.queries.iter().flatten());
        let reach = queries().map(|query| query.reach().0).max().unwrap_or(0);
        let mut looks =
            Looks { every, offset, first: (offset - reach).div_euclid(every) - 1, played: BTreeMap::new() };
        let last = (self.world.now().since(self.begin).0 + offset).div_euclid(every);
        let clock = users::Clock::new();
        for version in [Version::Old, Version::New] {
            let taken = (looks.first..=last).map(|look| clock.taken(&users, version, looks.time(look)));
            looks.played.insert(version, taken.collect());
        }
        let tails = self.tails(played, &new);
        Timetable { begin: self.begin, users, looks, runs, tails }
    }

    /// Requests that the new version still gets after an abort: as each phase begins, and in its middle.
    fn tails(&self, played: &Played, new: &Text) -> Vec<(i64, f64)> {
        let mut tails = Vec::new();
        for (at, begun) in played.begun.iter().enumerate() {
            if matches!(begun.phase, Phase::Unseen | Phase::Complete | Phase::Aborted) {
                continue;
            }
            let begins = begun.world.now();
            let ends = played.begun.get(at + 1).map_or(begins, |next| next.world.now());
            let middle = begins.plus(Span(ends.since(begins).0 / 2));
            for then in BTreeSet::from([begins, middle]) {
                let mut world = begun.world.clone();
                world.run_until(then, &mut ());
                let mut noted = Noted::begin(&world, &self.rollout);
                strike(&mut world, &self.rollout, Simple::Abort, &mut noted);
                let limit = then.plus(LONGEST);
                world.run_to_rest(limit, &mut noted);
                noted.finish(&world);
                tails.push((then.since(self.begin).0, noted.taken_by(new, then)));
            }
        }
        tails
    }
}
