//! Which analyses an update asks, when each measurement happens, and what each outcome leads to.
//!
//! The update is played with every measurement good. For each metric of each run a copy of the world, taken as the run was
//! not there yet, is played with measurements that are all bad, all errors, or neither. When it ends, after how many and
//! what the Rollout does then is read off what the controller did.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::analysis::Metric;
use tidegate_api::object::{AnalysisRunBody, Key, Kind, MetricResult, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::analysis::args::{resolve, without_secrets};
use tidegate_controller::providers;
use tidegate_controller::rollout::analysis::{INCONCLUSIVE, Question, ROLLOUT_TYPE, STEP_INDEX};

use super::templates::{Answer, Templates, can_be};
use super::{LONGEST, MOST_PROMOTIONS, Played, Simple, Stage, strike};
use crate::metrics::series::{Of, Series};
use crate::world::{Happened, Observer, Rest, World};

/// More measurements than that are not played.
pub(super) const MOST_MEASUREMENTS: usize = 100_000;
/// What the Rollout does about a verdict it has done after this time.
const REACTION: Span = Span::seconds(2);

/// One analysis run of an update.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    /// When it is asked: `step 2`, `background`, `before the switch`, `after the switch`, `experiment in step 1`.
    pub when: String,
    /// `Step`, `Background`, `PrePromotion`, `PostPromotion` or `Experiment`.
    pub question: &'static str,
    /// The step it belongs to, from 1.
    pub step: Option<usize>,
    /// How long after the change it begins.
    pub begins: Span,
    /// When it ends if all is good.
    pub ends: Option<Span>,
    /// Its metrics.
    pub metrics: Vec<AskedMetric>,
    /// The run's name in the invented cluster.
    pub(super) run: Key,
}

/// One metric of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct AskedMetric {
    /// Its name.
    pub name: String,
    /// Who is asked, as in metrics of the reference: `Prometheus`, `Web`, `Job`.
    pub provider: &'static str,
    /// Whether it decides nothing.
    pub dry_run: bool,
    /// What each outcome leads to; absent where the metric cannot come to it.
    pub outcomes: BTreeMap<Answer, Consequence>,
    /// As it is written, with its arguments.
    pub(super) written: Metric,
}

/// What comes of a metric whose measurements are all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consequence {
    /// When each measurement happens, errors included.
    pub measured: Vec<Span>,
    /// The phase of the metric; nothing where the run was ended with the update.
    pub verdict: Option<String>,
    /// How long after the change it was decided, or ended.
    pub at: Span,
    /// How long after the first measurement.
    pub after: Span,
    /// What the Rollout does.
    pub does: Reaction,
}

/// What a Rollout does about a verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reaction {
    /// The update goes on, or is done.
    GoesOn,
    /// It waits for a person.
    Pauses,
    /// It is aborted.
    Aborts,
}

impl Reaction {
    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Reaction::GoesOn => "goes on",
            Reaction::Pauses => "pauses",
            Reaction::Aborts => "aborts",
        }
    }
}

/// Watches the runs of a world.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    pub seen: BTreeMap<Key, Seen>,
    /// All measurements together.
    pub measurements: usize,
    order: Vec<Key>,
}

/// What was seen of one run.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub run: Arc<Object>,
    /// The step of the Rollout as it was made.
    step: Option<usize>,
    pub begins: Time,
    pub ends: Option<(Time, String)>,
    /// When it was told to end before it was over.
    pub told: Option<Time>,
    /// By metric: when each measurement was there.
    pub measured: BTreeMap<Text, Vec<Time>>,
    /// By metric: when it was decided, and how.
    decided: BTreeMap<Text, (Time, String)>,
}

fn body(run: &Object) -> Option<&AnalysisRunBody> {
    run.analysis_run()
}

fn taken(result: &MetricResult) -> i64 {
    result.count.unwrap_or(0).saturating_add(result.error.unwrap_or(0))
}

impl Observer for Runs {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let Happened::Stored { before, after: Some(run), .. } = what else { return };
        let Some(now) = body(run) else { return };
        let at = world.now();
        let key = run.key();
        if !self.seen.contains_key(&key) {
            self.order.push(key.clone());
        }
        let seen = self.seen.entry(key).or_insert_with(|| Seen {
            run: Arc::clone(run),
            step: step_of(world, run),
            begins: at,
            ends: None,
            told: None,
            measured: BTreeMap::new(),
            decided: BTreeMap::new(),
        });
        seen.run = Arc::clone(run);
        if now.spec.spec().terminate && !now.status.is_over() {
            seen.told.get_or_insert(at);
        }
        let known = before.and_then(|run| body(run));
        for result in now.status.results.iter().flatten() {
            let name = result.name.clone().unwrap_or_default();
            let before = known.and_then(|body| body.status.result(&name)).map_or(0, taken);
            if result.is_over() {
                seen.decided.entry(name.clone()).or_insert_with(|| (at, result.phase().to_owned()));
            }
            let times = seen.measured.entry(name).or_default();
            for _ in before..taken(result) {
                times.push(at);
                self.measurements += 1;
            }
        }
        if now.status.is_over() && seen.ends.is_none() {
            seen.ends = Some((at, now.status.phase().to_owned()));
        }
    }
}

/// The step under way, from 1.
fn step_of(world: &World, run: &Object) -> Option<usize> {
    if let Some(index) = run.meta.labels.get(STEP_INDEX) {
        return index.parse::<usize>().ok().map(|index| index + 1);
    }
    let owner = run.meta.controller().filter(|owner| &*owner.kind == "Experiment")?;
    let experiment = Key::new(Kind::Experiment, run.meta.namespace.clone(), owner.name.clone());
    let rollout = world.get(&experiment)?.meta.controller()?.name.clone();
    let rollout = world.get(&Key::new(Kind::Rollout, run.meta.namespace.clone(), rollout))?;
    let index = rollout.rollout()?.status.index()?;
    usize::try_from(index).ok().map(|index| index + 1)
}

impl Stage {
    /// What the update asks, and what comes of it.
    pub(super) fn asked(&self, played: &Played) -> Vec<Asked> {
        let runs = &played.runs;
        runs.order.iter().filter_map(|key| self.ask(runs.seen.get(key)?, played)).collect()
    }

    fn ask(&self, seen: &Seen, played: &Played) -> Option<Asked> {
        let run = &seen.run;
        let (question, when) = question_of(run, seen.step);
        let since = |at: Time| at.since(self.begin);
        let written = self.written(body(run)?);
        let mut metrics = Vec::new();
        for metric in written {
            let possible = can_be(&metric);
            let mut outcomes = BTreeMap::new();
            let good = self.consequence(&self.world, seen, &metric.name);
            outcomes.extend(good.map(|good| (Answer::Good, good)));
            for answer in possible.into_iter().filter(|answer| *answer != Answer::Good) {
                let world = played.before(&run.key());
                let consequence = world.and_then(|world| self.played_with(world, seen, &metric.name, answer));
                outcomes.extend(consequence.map(|consequence| (answer, consequence)));
            }
            let dry_run = body(run)?.status.result(&metric.name).is_some_and(|r| r.dry_run == Some(true));
            metrics.push(AskedMetric {
                name: metric.name.to_string(),
                provider: providers::type_name(&metric.provider),
                dry_run,
                outcomes,
                written: metric,
            });
        }
        Some(Asked {
            when,
            question,
            step: seen.step,
            begins: rounded(since(seen.begins)),
            ends: seen.ends.as_ref().map(|(at, _)| rounded(since(*at))),
            metrics,
            run: run.key(),
        })
    }

    /// The metrics of a run as their templates have them, with the run's arguments.
    pub(super) fn written(&self, run: &AnalysisRunBody) -> Vec<Metric> {
        let Ok(values) = without_secrets(&run.spec.spec().args) else { return Vec::new() };
        let Templates { written, .. } = &self.templates;
        let specs = written.values().filter_map(|template| Some(template.analysis_template()?.spec.spec()));
        let raw: Vec<&Arc<Value>> = specs.flat_map(|spec| &spec.metrics).collect();
        let same = |played: &&Arc<Value>| {
            // A metric is known by all that was not changed in it: two templates may have metrics of one name.
            let bare = |metric: &Value| {
                let mut bare = metric.clone();
                for field in ["provider", "successCondition", "failureCondition"] {
                    bare.as_object_mut().map(|map| map.remove(field));
                }
                bare
            };
            let played = bare(played);
            raw.iter().find(|raw| bare(raw) == played).copied()
        };
        let metrics = run.spec.spec().metrics.iter();
        metrics.filter_map(|played| resolve(same(&played)?, &values).ok()).collect()
    }

    /// Plays a copy of the world on with a metric whose measurements all come out the same.
    fn played_with(
        &self,
        mut world: World,
        base: &Seen,
        metric: &str,
        answer: Answer,
    ) -> Option<Consequence> {
        let run = base.run.key();
        let of = Of::Asked { run: run.name.clone(), metric: metric.into() };
        world.config_mut().metrics.series.insert(0, Series { of, values: vec![answer.point()] });
        let mut runs = Runs::default();
        let limit = world.now().plus(LONGEST);
        let mut promotions = 0;
        loop {
            let is_over = |world: &World| {
                world.get(&run).is_some_and(|run| body(run).is_some_and(|body| body.status.is_over()))
            };
            let waits = |world: &World| !is_over(world) && !self.awaits_a_person(world);
            let ended = world.run_while(limit, &mut runs, waits);
            // It may be gone by the time somebody looks.
            let is_decided = runs.seen.get(&run).is_some_and(|seen| seen.ends.is_some());
            if is_decided || promotions == MOST_PROMOTIONS || runs.measurements > MOST_MEASUREMENTS {
                break;
            }
            if ended != Some(Rest::AtRest) && ended.is_some() {
                return None;
            }
            if !self.is_paused_in(&world) {
                break;
            }
            promotions += 1;
            strike(&mut world, &self.rollout, Simple::Promote, &mut runs);
        }
        let then = world.now().plus(REACTION);
        world.run_until(then, &mut runs);
        self.consequence(&world, runs.seen.get(&run)?, metric)
    }

    fn consequence(&self, world: &World, seen: &Seen, metric: &str) -> Option<Consequence> {
        let in_time = |(at, _): &&(Time, String)| seen.told.is_none_or(|told| *at < told);
        let decided = seen.decided.get(metric).filter(in_time);
        let ended = decided.or(seen.ends.as_ref()).map_or(world.now(), |(at, _)| *at);
        let status = world.get(&self.rollout).and_then(|rollout| Some(&rollout.rollout()?.status));
        let does = match status {
            Some(status) if status.is_aborted() => Reaction::Aborts,
            Some(status) if status.is_paused_for(INCONCLUSIVE) => Reaction::Pauses,
            _ => Reaction::GoesOn,
        };
        let measured = seen.measured.get(metric).cloned().unwrap_or_default();
        Some(Consequence {
            verdict: decided.map(|(_, phase)| phase.clone()),
            at: rounded(ended.since(self.begin)),
            after: measured.first().map_or(Span::ZERO, |first| rounded(ended.since(*first))),
            does,
            measured: measured.into_iter().map(|at| rounded(at.since(self.begin))).collect(),
        })
    }
}

/// Whole seconds: what is a moment early or late is neither.
fn rounded(span: Span) -> Span {
    Span::seconds(span.0.saturating_add(500).div_euclid(1000))
}

/// What kind of question a run answers, and when it is asked.
fn question_of(run: &Object, step: Option<usize>) -> (&'static str, String) {
    let number = step.map_or_else(|| "?".to_owned(), |step| step.to_string());
    let owner = run.meta.controller().filter(|owner| &*owner.kind == "Experiment");
    if let Some(owner) = owner {
        let name = run.meta.name.strip_prefix(&format!("{}-", owner.name)).unwrap_or_default();
        return ("Experiment", format!("experiment in step {number}: {name}"));
    }
    match run.meta.labels.get(ROLLOUT_TYPE).map_or("", |kind| &**kind) {
        kind if kind == Question::Background.kind() => ("Background", "background".to_owned()),
        kind if kind == Question::PrePromotion.kind() => ("PrePromotion", "before the switch".to_owned()),
        kind if kind == Question::PostPromotion.kind() => ("PostPromotion", "after the switch".to_owned()),
        _ => ("Step", format!("step {number}")),
    }
}

fn seconds(span: Span) -> i64 {
    span.0.div_euclid(1000)
}

impl Asked {
    /// The run as JSON.
    pub fn to_value(&self) -> Value {
        json!({
            "question": self.question, "step": self.step, "begins_seconds": seconds(self.begins),
            "ends_seconds": self.ends.map(seconds),
            "metrics": self.metrics.iter().map(AskedMetric::to_value).collect::<Vec<_>>(),
        })
    }
}

impl AskedMetric {
    /// The metric as JSON: an outcome that it cannot come to is null.
    pub fn to_value(&self) -> Value {
        let outcome = |answer: &Answer| {
            let consequence = self.outcomes.get(answer).map(Consequence::to_value);
            (answer.name().to_owned(), consequence.unwrap_or(Value::Null))
        };
        let outcomes: serde_json::Map<String, Value> = Answer::ALL.iter().map(outcome).collect();
        json!({
            "name": self.name, "provider": self.provider, "dry_run": self.dry_run,
            "outcomes": outcomes,
        })
    }
}

impl Consequence {
    /// The consequence as JSON.
    pub fn to_value(&self) -> Value {
        json!({
            "measured_seconds": self.measured.iter().copied().map(seconds).collect::<Vec<_>>(),
            "verdict": self.verdict, "at_seconds": seconds(self.at), "after_seconds": seconds(self.after),
            "rollout": self.does.name(),
        })
    }
}
