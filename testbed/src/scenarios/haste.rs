//! Scenarios in haste: whatever takes its time takes a tenth of it, in both worlds.
//!
//! Half a minute of pause, pods that take eight seconds and another half minute until old pods go are what people have, and
//! too long to be waited for in hundreds of plays. A story in haste is the same story if it comes out as it is told; the
//! simulator says whether it does.

use serde_json::{Value, json};
use tidegate_api::duration::GoDuration;
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;
use tidegate_sim::scenario::{Entry, Fault, Moment, Patch, Script, Verb};
use tidegate_sim::world::{Flaps, Millis, PodModel, PodModels};

/// How much less.
const LESS: i64 = 10;
/// Old pods go after this time where nobody says when.
const SCALE_DOWN_DELAY: i64 = 30;
/// No deadline is nearer: a real server needs what it needs.
const NEAREST_DEADLINE: i64 = 5;

/// The scenario in haste.
pub(super) fn hasten(script: &Script) -> Script {
    let mut script = script.clone();
    script.pods = pods(&script.pods);
    script.given.iter_mut().for_each(object);
    script.when.iter_mut().for_each(entry);
    script
}

fn entry(entry: &mut Entry) {
    entry.after = span(entry.after);
    match &mut entry.moment {
        Moment::At(at) => *at = span(*at),
        Moment::Once(condition) => condition.time_since = condition.time_since.map(span),
        Moment::Next => {}
    }
    match &mut entry.verb {
        Verb::Apply(objects) | Verb::Create(objects) => objects.iter_mut().for_each(object),
        Verb::Patch { patch: Patch::Merge(patch) | Patch::Operations(patch), .. } => fields(patch),
        Verb::UpgradeController(down) => *down = span(*down),
        Verb::Fault(
            Fault::Metric { span: lasts, .. }
            | Fault::Elb(_, lasts)
            | Fault::RouterOutage(_, lasts)
            | Fault::ProxyStall(_, lasts),
        ) => *lasts = span(*lasts),
        _ => {}
    }
}

fn object(object: &mut Object) {
    let mut value = object.to_value();
    if object.kind == Kind::Rollout {
        for strategy in ["/spec/strategy/canary", "/spec/strategy/blueGreen"] {
            let Some(strategy) = value.pointer_mut(strategy) else { continue };
            let is_delayed =
                strategy.get("activeService").is_some() || strategy.get("trafficRouting").is_some();
            for delay in ["scaleDownDelaySeconds", "abortScaleDownDelaySeconds"] {
                if is_delayed && strategy.get(delay).is_none() {
                    strategy[delay] = json!(SCALE_DOWN_DELAY);
                }
            }
        }
    }
    fields(&mut value["spec"]);
    if let Ok(hastened) = Object::from_value(value) {
        *object = hastened;
    }
}

/// Every field that says how long.
fn fields(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(fields),
        Value::Object(map) => {
            for (name, field) in map {
                match name.as_str() {
                    "duration"
                    | "interval"
                    | "initialDelay"
                    | "scaleDownDelaySeconds"
                    | "abortScaleDownDelaySeconds"
                    | "autoPromotionSeconds" => {
                        shorten(field, 1);
                    }
                    "progressDeadlineSeconds" => shorten(field, NEAREST_DEADLINE),
                    "provider" | "template" => {}
                    _ => fields(field),
                }
            }
        }
        _ => {}
    }
}

/// Whole seconds, as most of these fields have them.
fn shorten(field: &mut Value, least: i64) {
    let shorter = |seconds: i64| if seconds == 0 { 0 } else { (seconds / LESS).max(least) };
    match field {
        Value::Number(number) => {
            if let Some(seconds) = number.as_i64() {
                *field = shorter(seconds).into();
            }
        }
        Value::String(text) => {
            if let Ok(long) = GoDuration::parse(text) {
                let seconds = long.nanos() / 1_000_000_000;
                *field = format!("{}s", shorter(seconds)).into();
            }
        }
        _ => {}
    }
}

fn pods(models: &PodModels) -> PodModels {
    let hastened = |model: &PodModel| PodModel {
        startup: millis(model.startup),
        crash_after: model.crash_after.map(millis),
        flaps: model.flaps.as_ref().map(|flaps| Flaps {
            up: millis(flaps.up),
            down: millis(flaps.down),
            ..flaps.clone()
        }),
        termination: millis(model.termination),
        ..model.clone()
    };
    PodModels {
        default: hastened(&models.default),
        by_image: models.by_image.iter().map(|(image, model)| (image.clone(), hastened(model))).collect(),
    }
}

fn span(span: Span) -> Span {
    Span(span.0 / LESS)
}

fn millis((low, high): Millis) -> Millis {
    (low / LESS, high / LESS)
}
