//! Measurements by providers that are asked: their questions, and what their replies make of a measurement.
//!
//! A provider is asked step by step, each reply leading to the next question. All replies of an attempt are facts of one
//! pass: the attempt is played again from its beginning with one reply more, until it has come to its end. Nothing of it is
//! stored before.

use tidegate_api::analysis::Metric;
use tidegate_api::object::{Key, Measurement, MetricResult, Strings};
use tidegate_api::time::Time;

use super::condition::judge;
use super::schedule::Task;
use super::secrets::Masks;
use super::{Attempt, RunWorld};
use crate::plan::Need;
use crate::providers::{self, Ask, Next, Reading, SoFar, Told};
use crate::question::Reply;
use crate::sabotage::Sabotage;
use crate::world::Facts;

/// What was said so far in one attempt to measure.
#[derive(Clone, PartialEq, Debug)]
pub struct Exchange {
    /// When the attempt began.
    pub begun: Time,
    /// When the newest reply came.
    pub heard: Time,
    /// The replies so far.
    pub replies: Vec<Reply>,
}

/// What is kept with the results of a metric, once.
pub fn about(world: &RunWorld, facts: &Facts, metric: &Metric, masks: &Masks, now: Time) -> Strings {
    providers::metadata(&ask_of(world, &world.run.key(), facts, metric, masks, now))
}

fn ask_of<'a>(
    world: &'a RunWorld,
    run: &'a Key,
    facts: &'a Facts,
    metric: &'a Metric,
    masks: &'a Masks,
    now: Time,
) -> Ask<'a> {
    let began = world.run.analysis_run().and_then(|body| body.status.started);
    Ask { run, began, metric, now, secrets: &facts.secrets, surroundings: &world.surroundings, masks }
}

/// Takes a measurement, looks again at one in flight, or ends it.
pub fn attempt(
    world: &RunWorld,
    facts: &Facts,
    metric: &Metric,
    result: Option<&MetricResult>,
    task: Task,
    masks: &Masks,
    now: Time,
) -> Attempt {
    let in_flight = result.and_then(MetricResult::last).filter(|last| last.finished.is_none());
    if task == Task::Terminate {
        // Nobody who is asked can be told to stop: what is in flight stays as it is in a run that ends.
        return Attempt::taken(in_flight.cloned().unwrap_or_default());
    }
    let exchange = facts.exchanges.get(&metric.name);
    let begun = exchange.map_or(now, |exchange| exchange.begun);
    // Measurements of one look end one by one, though they are stored together.
    let now = exchange.map_or(now, |exchange| exchange.heard);
    let run = world.run.key();
    let ask = ask_of(world, &run, facts, metric, masks, begun);
    let unknown = |key: &_| !facts.secrets.contains_key(key);
    let needs: Vec<Need> = providers::needs(&ask).into_iter().filter(unknown).map(Need::Live).collect();
    if !needs.is_empty() {
        return Attempt::Needs(needs);
    }
    let stored = in_flight.and_then(|last| last.metadata.clone()).unwrap_or_default();
    let so_far = |step| SoFar { step, metadata: &stored };
    let mut next = match task {
        Task::Resume => providers::resume(&ask, so_far(0), Told::Time),
        _ => providers::begin(&ask),
    };
    let replies = exchange.map_or(&[][..], |exchange| &exchange.replies);
    for (step, reply) in (0..).zip(replies) {
        if !matches!(next, Ok(Next::Call(_))) {
            break;
        }
        next = providers::resume(&ask, so_far(step), Told::Reply(reply));
    }
    let started = in_flight.and_then(|last| last.started).unwrap_or(begun.stamp());
    let measurement = Measurement { started: Some(started), ..Measurement::default() };
    Attempt::taken(match next {
        Ok(Next::Call(question)) => {
            return Attempt::Needs(vec![Need::Reply(metric.name.clone(), question)]);
        }
        Ok(Next::Again { at, metadata }) => Measurement {
            phase: Some("Running".into()),
            resume: Some(at.stamp()),
            metadata: some(metadata),
            ..measurement
        },
        Ok(Next::Decided { outcome, value, metadata }) => Measurement {
            phase: Some(outcome.phase().into()),
            value: Some(value).filter(|value| !value.is_empty()),
            metadata: some(metadata),
            finished: Some(now.stamp()),
            ..measurement
        },
        Ok(Next::Measured(reading))
            if reading.result.is_nil_or_empty_list() && facts.is_sabotaged(Sabotage::EmptyIsGood) =>
        {
            Measurement { phase: Some("Successful".into()), finished: Some(now.stamp()), ..measurement }
        }
        Ok(Next::Measured(reading))
            if reading.result.is_nil_or_empty_list() && facts.is_sabotaged(Sabotage::EmptyIsAnError) =>
        {
            Measurement::error("index out of range [0] with length 0", started, now.stamp())
        }
        Ok(Next::Measured(reading)) => judged(metric, reading, begun, now, measurement),
        Err(problem) => {
            Measurement { metadata: some(stored), ..Measurement::error(&problem.0, started, now.stamp()) }
        }
    })
}

fn some(metadata: Strings) -> Option<Strings> {
    (!metadata.is_empty()).then_some(metadata)
}

fn judged(
    metric: &Metric,
    reading: Reading,
    begun: Time,
    now: Time,
    measurement: Measurement,
) -> Measurement {
    let Reading { result, printed, keeps_value, metadata } = reading;
    let printed = Some(printed).filter(|printed| !printed.is_empty());
    match judge(metric, &result, begun) {
        Ok(outcome) => Measurement {
            phase: Some(outcome.phase().into()),
            value: printed,
            metadata: some(metadata),
            finished: Some(now.stamp()),
            ..measurement
        },
        Err(why) => Measurement {
            phase: Some("Error".into()),
            message: Some(why.into()),
            value: printed.filter(|_| keeps_value),
            metadata: some(metadata).filter(|_| keeps_value),
            finished: Some(now.stamp()),
            ..measurement
        },
    }
}
