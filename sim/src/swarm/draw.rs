//! From a seed to a story.

use serde_json::{Value, json};
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;

use super::{Case, fleet};
use crate::dice::Dice;
use crate::metrics::series::{Of, Point, Series};
use crate::scenario::{Entry, Fault, Moment, Script, Simple, Verb};
use crate::world::{Flaps, NextWrite, PodModel, Strike};

pub(super) const NAMESPACE: &str = "shop";
pub(super) const NAME: &str = "web";

/// Measurements of an analysis beside the update: seven minutes of them. One without an end measures as long as the update
/// hangs in a pause or on pods that never come, so that nothing is ever at rest.
const BESIDE: i64 = 60;

/// Every life is at rest by then. Where a guard is missing, an update may go round and round.
const LONGEST: Span = Span::seconds(1800);

/// Endless pauses are promoted after so long, at the end: no gate stays closed.
const PATIENCE: Span = Span::seconds(10);

/// Draws a case in which nobody asks an analysis.
pub fn draw(seed: u64) -> Case {
    named(drawn(seed).0)
}

/// The same cases, of which three in ten are judged by an analysis or an experiment.
pub fn draw_judged(seed: u64) -> Case {
    let (mut case, is_found) = drawn(seed);
    // From dice of its own, so that whatever else is drawn stays what it was.
    if !is_found {
        case.traits.extend(evidence(&mut Dice::new(seed, "evidence"), &mut case.script));
    }
    named(case)
}

fn named(mut case: Case) -> Case {
    if case.traits.is_empty() {
        case.traits.push("plain");
    }
    case
}

/// A case, and whether its objects were found as another controller left them.
fn drawn(seed: u64) -> (Case, bool) {
    let mut dice = Dice::new(seed, "case");
    let strategy = one(&mut dice, &["canary", "canary", "rolling", "blue-green", "blue-green"]);
    let manifest = match strategy {
        "canary" => canary(&mut dice, true),
        "rolling" => canary(&mut dice, false),
        _ => blue_green(&mut dice),
    };
    let mut spec = json!({"replicas": one(&mut dice, &[0, 1, 1, 2, 3, 4, 5, 10, 21]),
        "progressDeadlineSeconds": 60, "strategy": manifest});
    let mut traits = Vec::new();
    if dice.chance(200) {
        spec["minReadySeconds"] = json!(one(&mut dice, &[1, 5, 20]));
        traits.push("min_ready");
    }
    let mut script = Script::of(&format!("swarm-{seed}"), Vec::new());
    script.about = format!("Drawn from seed {seed}.");
    script.seed = seed;
    script.watch_lag = one(&mut dice, &[(0, 0), (1, 20), (50, 400)]);
    script.promote_after = Some(PATIENCE);
    script.then.within = Some(LONGEST);
    let pods = pods(&mut dice, &mut script);
    let workload = dice.chance(150).then(|| one(&mut dice, &["never", "onsuccess", "progressively"]));
    script.given = services();
    match workload {
        None => {
            spec["selector"] = json!({"matchLabels": {"app": NAME}});
            spec["template"] = template();
        }
        Some(scale_down) => {
            let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(NAME),
                "spec": {"replicas": spec["replicas"], "selector": {"matchLabels": {"app": NAME}},
                    "template": template()}});
            script.given.extend(object(deployment));
            spec["workloadRef"] =
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME, "scaleDown": scale_down});
            traits.push(match scale_down {
                "never" => "workload_never",
                "onsuccess" => "workload_onsuccess",
                _ => "workload_progressively",
            });
        }
    }
    let scaled = dice.chance(150);
    if scaled {
        script.given.extend(object(autoscaler()));
        traits.push("hpa");
    }
    script.given.extend(object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": meta(NAME), "spec": spec})));
    let mut found = None;
    if dice.chance(150) {
        let (midway, foreign) = (dice.chance(500), dice.chance(700));
        let since = Span::millis(one(&mut dice, &[500, 3_000, 12_000, 50_000]));
        script.given = fleet::found(&script, midway.then_some(since), foreign);
        traits.push(if midway { "adopted_midway" } else { "adopted" });
        found = Some(midway);
    }
    story(&mut dice, &mut script, scaled, found == Some(true));
    (Case { script, strategy, traits, pods }, found.is_some())
}

fn one<T: Copy>(dice: &mut Dice, from: &[T]) -> T {
    *dice.pick(from).expect("there is always a choice")
}

fn object(value: Value) -> Option<Object> {
    Object::from_value(value).ok()
}

fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": NAMESPACE})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}})
}

fn services() -> Vec<Object> {
    let service = |name: &&str| {
        object(json!({"apiVersion": "v1", "kind": "Service", "metadata": meta(name),
            "spec": {"selector": {"app": NAME}, "ports": [{"port": 80}]}}))
    };
    ["active", "preview"].iter().filter_map(service).collect()
}

fn autoscaler() -> Value {
    let target = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": NAME});
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta(NAME),
        "spec": {"minReplicas": 1, "maxReplicas": 15, "scaleTargetRef": target}})
}

/// How pods of the second version are.
fn pods(dice: &mut Dice, script: &mut Script) -> Option<&'static str> {
    let how = one(dice, &[None, None, Some("late"), Some("never"), Some("flaps")]);
    let model = match how? {
        "late" => PodModel { startup: (20_000, 60_000), ..PodModel::default() },
        "never" => PodModel { ready: false, ..PodModel::default() },
        _ => PodModel {
            flaps: Some(Flaps { up: (3_000, 6_000), down: (1_000, 2_000), times: 3 }),
            ..PodModel::default()
        },
    };
    script.pods.by_image.push(("web:2".to_owned(), model));
    how
}

fn canary(dice: &mut Dice, with_steps: bool) -> Value {
    let surge =
        dice.pick(&[json!(0), json!(1), json!(3), json!("25%"), json!("100%")]).cloned().unwrap_or(json!(1));
    let missing = dice.pick(&[json!(1), json!(2), json!("25%"), json!("50%")]).cloned().unwrap_or(json!(1));
    let missing = if surge != json!(0) && dice.chance(400) { json!(0) } else { missing };
    let mut steps = Vec::new();
    if with_steps {
        for _ in 0..dice.between(1, 5) {
            let step = match dice.between(0, 3) {
                0 => json!({"pause": {}}),
                1 => json!({"pause": {"duration": dice.between(0, 20)}}),
                _ => json!({"setWeight": one(dice, &[0, 1, 10, 25, 50, 99, 100])}),
            };
            steps.push(step);
        }
    }
    json!({"canary": {"maxSurge": surge, "maxUnavailable": missing, "steps": steps}})
}

/// Lets some updates be judged: by a step, in the background, by an experiment, before or after a switch.
fn evidence(dice: &mut Dice, script: &mut Script) -> Option<&'static str> {
    if !dice.chance(300) {
        return None;
    }
    let at = script.given.iter().position(|object| object.kind == Kind::Rollout)?;
    let mut rollout = script.given[at].to_value();
    let asked = |template: &str| json!({"templates": [{"templateName": template}]});
    let strategy = rollout["spec"]["strategy"].as_object_mut()?;
    let kind = if let Some(canary) = strategy.get_mut("canary") {
        let steps = canary["steps"].as_array().map_or(0, Vec::len);
        match dice.between(0, 2) {
            0 => {
                canary["analysis"] = asked("beside");
                "background"
            }
            1 if steps > 0 => {
                let place = usize::try_from(dice.between(0, 4)).unwrap_or(0).min(steps);
                canary["steps"].as_array_mut()?.insert(place, json!({"analysis": asked("once")}));
                "inline"
            }
            _ if steps > 0 => {
                let analyses = json!([{"name": "m", "templateName": "once", "requiredForCompletion": true}]);
                let experiment = json!({"scaleDownDelaySeconds": one(dice, &[0, 5]), "analyses": analyses,
                    "templates": [{"name": "new", "specRef": "canary"}, {"name": "old", "specRef": "stable"}]});
                let place = usize::try_from(dice.between(0, 4)).unwrap_or(0).min(steps);
                canary["steps"].as_array_mut()?.insert(place, json!({ "experiment": experiment }));
                "experiment"
            }
            _ => {
                canary["analysis"] = asked("beside");
                "background"
            }
        }
    } else {
        let gate = one(dice, &["prePromotionAnalysis", "postPromotionAnalysis"]);
        strategy.get_mut("blueGreen")?[gate] = asked("once");
        "gate"
    };
    script.given[at] = object(rollout)?;
    let metric = |count: i64| {
        json!({"name": "m", "interval": "7s", "count": count, "successCondition": "result >= 0.95",
            "failureCondition": "result < 0.9", "provider": {"web": {"url": "http://health.shop/m"}}})
    };
    let count = dice.between(1, 3);
    for (name, count) in [("once", count), ("beside", BESIDE)] {
        let template = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": meta(name), "spec": {"metrics": [metric(count)]}});
        script.given.extend(object(template));
    }
    let (good, unclear, bad) = (json!(0.99), json!(0.93), json!(0.2));
    let down = json!({"fails": "connection refused"});
    let values = match dice.between(0, 7) {
        0..=2 => vec![good],
        3 => vec![good, bad],
        // Shorter than five attempts, and longer.
        4 => vec![good.clone(), down.clone(), down, good],
        5 => vec![good, down],
        // The last value repeats, so that no pause for want of evidence comes again and again.
        6 => vec![unclear, good],
        _ => vec![bad, good],
    };
    let point = |value: &Value| match value["fails"].as_str() {
        Some(why) => Point::Fails(why.to_owned()),
        None => Point::Value(value.clone()),
    };
    let of = Of::Matching { provider: None, text: "/m".to_owned() };
    script.metrics.push(Series { of, values: values.iter().map(point).collect() });
    Some(kind)
}

fn blue_green(dice: &mut Dice) -> Value {
    let mut manifest = json!({"activeService": "active", "previewService": "preview"});
    if dice.chance(400) {
        manifest["autoPromotionEnabled"] = json!(false);
    } else if dice.chance(400) {
        manifest["autoPromotionSeconds"] = json!(dice.between(1, 15));
    }
    if dice.chance(300) {
        manifest["previewReplicaCount"] = json!(1);
    }
    for field in ["scaleDownDelaySeconds", "abortScaleDownDelaySeconds"] {
        if dice.chance(500) {
            manifest[field] = json!(one(dice, &[0, 1, 10]));
        }
    }
    json!({"blueGreen": manifest})
}

/// What a person does, and what goes wrong meanwhile.
fn story(dice: &mut Dice, script: &mut Script, scaled: bool, midway: bool) {
    let mut entries = Vec::new();
    if scaled {
        entries.push((Span::ZERO, load(dice)));
    }
    for fault in faults(dice) {
        entries.push((Span::ZERO, Verb::Fault(fault)));
    }
    // An update that was found under way may simply go on.
    if !midway || dice.chance(300) {
        let first = if midway { 3 } else { 2 };
        entries.push((Span::ZERO, image(first)));
    }
    for _ in 0..dice.between(0, 4) {
        let after = Span::millis(one(dice, &[0, 50, 500, 3_000, 12_000, 45_000]));
        entries.push((after, act(dice)));
        if scaled && dice.chance(500) {
            entries.push((Span::millis(one(dice, &[0, 200, 8_000])), load(dice)));
        }
        if dice.chance(150) {
            entries.extend(faults(dice).into_iter().map(|fault| (Span::ZERO, Verb::Fault(fault))));
        }
    }
    script.when = entries
        .into_iter()
        .map(|(after, verb)| Entry { moment: Moment::Next, after, verb, line: 0 })
        .collect();
}

fn image(version: u8) -> Verb {
    Verb::SetImage { rollout: NAME.to_owned(), container: None, image: format!("web:{version}") }
}

fn act(dice: &mut Dice) -> Verb {
    let simple = |verb: Simple| Verb::Simple(verb, NAME.to_owned());
    match dice.between(0, 11) {
        0 => image(one(dice, &[2, 3])),
        1 => image(1),
        2 => simple(Simple::Promote),
        3 => simple(Simple::PromoteFull),
        4 => simple(Simple::Abort),
        5 => simple(Simple::Retry),
        6 => simple(Simple::Pause),
        7 => simple(Simple::Resume),
        8 => simple(Simple::Restart),
        9 => Verb::Scale { rollout: NAME.to_owned(), replicas: one(dice, &[0, 1, 2, 5, 12]) },
        10 => Verb::Undo { rollout: NAME.to_owned(), to_revision: 0 },
        _ => Verb::RestartController,
    }
}

fn load(dice: &mut Dice) -> Verb {
    Verb::Load { autoscaler: NAME.to_owned(), total: dice.between(0, 150), per_pod: 10 }
}

/// A few faults; often none.
fn faults(dice: &mut Dice) -> Vec<Fault> {
    const KINDS: &[Kind] = &[Kind::Rollout, Kind::ReplicaSet, Kind::Pod, Kind::Service];
    let mut faults = Vec::new();
    if dice.chance(250) {
        return faults;
    }
    for _ in 0..dice.between(1, 3) {
        let strike = match dice.between(0, 9) {
            0 => Strike::Conflict,
            1 => Strike::LostReply,
            2 => Strike::LostRequest,
            3 => Strike::CrashBefore,
            4 => Strike::CrashAfter,
            5 => Strike::TooMany,
            6 => Strike::Unavailable,
            7 => Strike::Slow(Span::millis(one(dice, &[300, 2_000, 20_000]))),
            watch => {
                let kind = dice.pick(KINDS).cloned().unwrap_or(Kind::ReplicaSet);
                let span = Span::millis(one(dice, &[500, 5_000, 40_000]));
                faults.push(match watch {
                    8 => Fault::WatchStall(kind, span),
                    _ => Fault::WatchBreak(kind, span),
                });
                continue;
            }
        };
        let number = |drawn: i64| u64::try_from(drawn).unwrap_or(0);
        faults.push(Fault::NextWrite(match dice.chance(300) {
            true => NextWrite::of_status_after(number(dice.between(0, 7)), strike),
            false => NextWrite::after(number(dice.between(0, 19)), strike),
        }));
    }
    faults
}
