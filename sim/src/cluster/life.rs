//! The life of a pod: what it shows at each stage, and what comes next.
//!
//! A scenario says once how pods behave, and two worlds play it: the simulator on its event heap, and the stand-in for
//! kubelets in front of a real API server. Both ask here, so that a difference between them lies in Kubernetes, never in
//! the pods. Nothing is drawn here: a range of delays is handed out, and whoever plays rolls its own dice.

use tidegate_api::object::Object;
use tidegate_api::time::Span;

use crate::world::{Millis, PodModel, PodModels};

/// What comes next in the life of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It runs.
    Runs,
    /// It loses readiness for good.
    Crashes,
    /// It loses readiness, so many more times.
    Drops(u32),
    /// It is ready again.
    Recovers(u32),
    /// It is gone.
    Gone,
}

/// What a pod shows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// `status.phase`.
    pub phase: &'static str,
    /// Whether it can serve.
    pub ready: bool,
    /// What its containers do.
    pub containers: Containers,
}

/// What the containers of a pod do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Containers {
    /// They run.
    Run,
    /// They ended with this exit code and are not started again.
    Ended(i64),
    /// They fail and are started again and again.
    CrashLoop,
}

/// One stage of a life: what it shows, and what may follow, each after a delay out of a range.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Turn {
    /// The new look; nothing changes without.
    pub look: Option<Look>,
    /// What follows, in the order in which delays are to be drawn.
    pub then: Vec<(Millis, Stage)>,
}

impl Turn {
    /// The same for a pod whose readiness a person has taken in hand: its start is not a person's doing, everything that
    /// follows is.
    pub fn in_hand(self, stage: Stage) -> Turn {
        let starts = self.look.filter(|_| stage == Stage::Runs);
        Turn { look: starts.map(|look| Look { ready: false, ..look }), then: Vec::new() }
    }
}

/// A pod and what is said about pods like it. Annotations of the pod overrule the model: `fakelet/ready-after`,
/// `fakelet/fail`, `fakelet/exit`.
#[derive(Clone, Copy, Debug)]
pub struct Life<'a> {
    model: &'a PodModel,
    pod: &'a Object,
}

impl<'a> Life<'a> {
    /// The life of this pod.
    pub fn of(models: &'a PodModels, pod: &'a Object) -> Life<'a> {
        let images = containers(pod).filter_map(|container| container["image"].as_str());
        Life { model: models.of(images), pod }
    }

    /// How long a new pod takes until [`Stage::Runs`].
    pub fn startup(&self) -> Millis {
        match self.annotation("fakelet/ready-after").and_then(span) {
            Some(exact) => (exact.0, exact.0),
            None => self.model.startup,
        }
    }

    /// How long a pod that is told to go takes until [`Stage::Gone`]: what sleeps before the stop, then the stop, and
    /// never longer than its grace period.
    pub fn termination(&self) -> Millis {
        let spec = self.pod.pod().map(|body| &*body.spec);
        let grace = spec.and_then(|spec| spec["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30);
        let sleeps = containers(self.pod)
            .filter_map(|container| container["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64());
        let (grace, sleep) = (Span::seconds(grace.max(0)).0, Span::seconds(sleeps.max().unwrap_or(0)).0);
        let (low, high) = self.model.termination;
        (sleep.saturating_add(low).min(grace), sleep.saturating_add(high).min(grace))
    }

    /// What the pod lives through at this stage.
    pub fn turn(&self, stage: Stage) -> Turn {
        let running = |ready| Some(Look { phase: "Running", ready, containers: Containers::Run });
        let failing = Some(Look { phase: "Running", ready: false, containers: Containers::CrashLoop });
        match stage {
            Stage::Runs => {
                let look = self.start();
                Turn { look: Some(look), then: if look.ready { self.future() } else { Vec::new() } }
            }
            Stage::Crashes => Turn { look: failing, then: Vec::new() },
            Stage::Drops(left) => {
                let flaps = self.model.flaps.as_ref();
                Turn {
                    look: running(false),
                    then: flaps.map(|f| (f.down, Stage::Recovers(left))).into_iter().collect(),
                }
            }
            Stage::Recovers(left) => {
                let flaps = self.model.flaps.as_ref().zip(left.checked_sub(1));
                Turn {
                    look: running(true),
                    then: flaps.map(|(f, left)| (f.up, Stage::Drops(left))).into_iter().collect(),
                }
            }
            Stage::Gone => Turn::default(),
        }
    }

    fn start(&self) -> Look {
        let exit = self.annotation("fakelet/exit").and_then(|code| code.parse().ok()).or(self.model.exit);
        let fails = self.annotation("fakelet/fail") == Some("crash");
        let look = |phase, containers| Look { phase, ready: false, containers };
        match (exit, restart_policy(self.pod)) {
            (Some(0), "Never" | "OnFailure") => look("Succeeded", Containers::Ended(0)),
            (Some(code), "Never") => look("Failed", Containers::Ended(code)),
            (Some(_), _) => look("Running", Containers::CrashLoop),
            (None, _) if fails => look("Running", Containers::CrashLoop),
            (None, _) => Look { phase: "Running", ready: self.model.ready, containers: Containers::Run },
        }
    }

    /// What a pod that has just become ready will live through.
    fn future(&self) -> Vec<(Millis, Stage)> {
        let crash = self.model.crash_after.map(|after| (after, Stage::Crashes));
        let flaps = self.model.flaps.as_ref().filter(|flaps| flaps.times > 0);
        crash.into_iter().chain(flaps.map(|flaps| (flaps.up, Stage::Drops(flaps.times - 1)))).collect()
    }

    fn annotation(&self, name: &str) -> Option<&'a str> {
        self.pod.meta.annotations.get(name).map(|text| &**text)
    }
}

fn containers(pod: &Object) -> impl Iterator<Item = &serde_json::Value> {
    pod.pod().and_then(|body| body.spec["containers"].as_array()).into_iter().flatten()
}

fn restart_policy(pod: &Object) -> &str {
    pod.pod().and_then(|body| body.spec["restartPolicy"].as_str()).unwrap_or("Always")
}

/// A span as the annotations write it: `2s`, `500ms`, `1m`.
fn span(text: &str) -> Option<Span> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Span::millis(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Flaps;
    use serde_json::{Value, json};

    fn pod(annotations: Value, spec: Value) -> Object {
        let mut spec = spec;
        spec["containers"] =
            spec.get("containers").cloned().unwrap_or(json!([{"name": "c", "image": "web:v2"}]));
        let metadata = json!({"name": "p", "namespace": "n", "annotations": annotations});
        Object::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
            .unwrap()
    }

    fn check_start(model: PodModel, annotations: Value, spec: Value, expected: (&str, bool, Containers)) {
        let models = PodModels { default: model, by_image: Vec::new() };
        let pod = pod(annotations, spec);
        let look = Life::of(&models, &pod).turn(Stage::Runs).look.unwrap();
        assert_eq!((look.phase, look.ready, look.containers), expected);
    }

    #[test]
    fn how_a_pod_starts() {
        let model = PodModel::instant;
        let never = || PodModel { ready: false, ..model() };
        let exits = |code| PodModel { exit: Some(code), ..model() };
        let crash = Containers::CrashLoop;
        check_start(model(), json!({}), json!({}), ("Running", true, Containers::Run));
        check_start(never(), json!({}), json!({}), ("Running", false, Containers::Run));
        check_start(model(), json!({"fakelet/fail": "crash"}), json!({}), ("Running", false, crash));
        check_start(exits(1), json!({}), json!({}), ("Running", false, crash));
        let once = || json!({"restartPolicy": "Never"});
        check_start(exits(3), json!({}), once(), ("Failed", false, Containers::Ended(3)));
        check_start(
            exits(3),
            json!({"fakelet/exit": "0"}),
            once(),
            ("Succeeded", false, Containers::Ended(0)),
        );
        check_start(exits(3), json!({}), json!({"restartPolicy": "OnFailure"}), ("Running", false, crash));
    }

    #[test]
    fn an_annotation_overrules_the_start_up_time() {
        let models = PodModels::default();
        assert_eq!(Life::of(&models, &pod(json!({}), json!({}))).startup(), (2_000, 8_000));
        let exact = pod(json!({"fakelet/ready-after": "500ms"}), json!({}));
        assert_eq!(Life::of(&models, &exact).startup(), (500, 500));
        let nonsense = pod(json!({"fakelet/ready-after": "soon"}), json!({}));
        assert_eq!(Life::of(&models, &nonsense).startup(), (2_000, 8_000));
    }

    #[test]
    fn termination_sleeps_first_and_ends_with_the_grace_period() {
        let check = |termination, spec, expected| {
            let models =
                PodModels { default: PodModel { termination, ..PodModel::instant() }, by_image: Vec::new() };
            assert_eq!(Life::of(&models, &pod(json!({}), spec)).termination(), expected);
        };
        let sleep =
            |seconds| json!([{"name": "c", "lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}}]);
        check((0, 0), json!({}), (0, 0));
        check((1_000, 60_000), json!({}), (1_000, 30_000));
        check((1_000, 2_000), json!({"containers": sleep(5)}), (6_000, 7_000));
        check((0, 0), json!({"containers": sleep(5), "terminationGracePeriodSeconds": 3}), (3_000, 3_000));
        check((9_000, 9_000), json!({"terminationGracePeriodSeconds": 0}), (0, 0));
    }

    #[test]
    fn a_flapping_pod_drops_and_recovers_as_often_as_said() {
        let flaps = Some(Flaps { up: (1, 1), down: (2, 2), times: 2 });
        let models = PodModels { default: PodModel { flaps, ..PodModel::instant() }, by_image: Vec::new() };
        let pod = pod(json!({}), json!({}));
        let life = Life::of(&models, &pod);
        let (mut stage, mut seen) = (Stage::Runs, Vec::new());
        loop {
            let turn = life.turn(stage);
            seen.push(turn.look.unwrap().ready);
            match turn.then.first() {
                Some((_, next)) => stage = *next,
                None => break,
            }
        }
        assert_eq!(seen, [true, false, true, false, true]);
    }
}
