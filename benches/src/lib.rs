//! What the benches share: releases to measure, and a clock that counts only the work of the thread that is measured.
//!
//! `cargo bench -p benches` measures; `cargo bench -p benches -- --test` only tries each bench once.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tidegate_api::object::Object;
use tidegate_api::time::Span;
use tidegate_sim::scenario::{Entry, Fault, Moment, Script, Verb};
use tidegate_sim::world::{NextWrite, Strike};

/// A canary of ten weights with a pause of 30 seconds after each, and its update.
pub fn ten_steps(replicas: i64) -> Script {
    let steps: Vec<Value> = (1..=10)
        .flat_map(|tenth| [json!({"setWeight": tenth * 10}), json!({"pause": {"duration": "30s"}})])
        .collect();
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"canary": {"steps": steps}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "web:1"}]}}}});
    let mut script = Script::of("ten steps", vec![Object::from_value(rollout).expect("an object")]);
    let verb = Verb::SetImage { rollout: "web".to_owned(), container: None, image: "web:2".to_owned() };
    script.when.push(Entry { moment: Moment::Next, after: Span::ZERO, verb, line: 0 });
    script
}

/// The same, and the controller dies after the n-th write of the update.
pub fn with_a_crash(script: &Script, write: u64) -> Script {
    let mut script = script.clone();
    let verb = Verb::Fault(Fault::NextWrite(NextWrite::after(write.saturating_sub(1), Strike::CrashAfter)));
    script.when.insert(0, Entry { moment: Moment::Next, after: Span::ZERO, verb, line: 0 });
    script
}

/// Time that the measured thread really worked: other work on the same machine does not count.
pub struct ThreadTime;

fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        worked()
    }

    fn end(&self, start: Duration) -> Duration {
        worked().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
