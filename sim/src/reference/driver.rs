//! Plays a story in the simulated cluster, as the recorder plays it on a real one.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::{Span, Time};
use tidegate_controller::commands::{self, Patch};

use super::names::Place;
use super::play::Play;
use super::record::sighting;
use super::story::{Change, Step, Story};
use crate::cluster::store::Part;
use crate::world::{Action, Happened, Observer, PodModel, PodModels, World, WorldConfig};

/// Created after everything else, once the controller knows what they refer to.
const MAIN_KINDS: &[&str] = &["Rollout", "AnalysisRun", "Experiment"];
/// How long the controller's caches get to know what was created first.
const HEAD_START: Span = Span::millis(700);
/// The longest wait for calm before a step that writes.
const PATIENCE: Span = Span::seconds(2);
/// How often a wait looks at the world when nothing happens.
const GLANCE: Span = Span::millis(50);

/// What the recorder's kubelet needs to make a pod ready, in milliseconds: at once, but later than it is counted.
const POD_START: (i64, i64) = (10, 12);

/// Plays a story from beginning to end.
pub fn play(story: &Story, seed: u64) -> Play {
    let pods =
        PodModels { default: PodModel { startup: POD_START, ..PodModel::default() }, ..PodModels::default() };
    let mut config = WorldConfig {
        seed,
        pods,
        watch_lag: (1, 5),
        call_latency: (1, 3),
        reaction: (3, 8),
        ..WorldConfig::default()
    };
    // In the middle of a second, so that what the recorder did more than half a second apart has different stamps.
    config.start = config.start.plus(Span::millis(500));
    let world = World::new(config);
    let watch =
        Recorder { play: Play::new(Place::of_story(&story.name)), start: world.now(), touched: world.now() };
    let mut stage = Stage { world, watch };
    stage.begin(story);
    for step in &story.script {
        let verb = step.verb();
        if step.writes() {
            stage.settle(story.calm, PATIENCE);
        }
        match stage.perform(step) {
            Ok(()) => stage.watch.play.note(format!("{verb} ok")),
            Err(why) => {
                stage.watch.play.note(format!("{verb} {why}"));
                break;
            }
        }
    }
    stage.settle(story.settle, story.settle_limit);
    stage.watch.play
}

struct Stage {
    world: World,
    watch: Recorder,
}

/// Turns what happens in the world into sightings.
struct Recorder {
    play: Play,
    start: Time,
    touched: Time,
}

impl Observer for Recorder {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let Some(seen) = sighting(world, what, self.start) else { return };
        if seen.kind != "Pod" && seen.kind != "Event" {
            self.touched = world.now();
        }
        self.play.saw(seen);
    }
}

impl Stage {
    fn begin(&mut self, story: &Story) {
        let is_main = |object: &Value| object["kind"].as_str().is_some_and(|kind| MAIN_KINDS.contains(&kind));
        let (main, first): (Vec<&Value>, Vec<&Value>) =
            story.objects.iter().partition(|object| is_main(object));
        let wait = !first.is_empty();
        for object in first {
            self.create(object);
        }
        if wait {
            self.pass(HEAD_START);
        }
        for object in main {
            self.create(object);
        }
    }

    fn create(&mut self, document: &Value) {
        let kind = document["kind"].as_str().unwrap_or("").to_owned();
        let result = self.object(document).and_then(|object| self.act(Action::Create(object)));
        if let Err(why) = result {
            self.watch.play.note(format!("create {kind} {why}"));
        }
    }

    fn object(&self, document: &Value) -> Result<Object, String> {
        let place = self.watch.play.place();
        let text = document.to_string().replace("$WEB", &place.web());
        let mut document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        document["metadata"]["namespace"] = Value::from(place.namespace.as_str());
        Object::from_value(document).map_err(|error| format!("refused 422 {error}"))
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        self.world.user(action, &mut self.watch).map(drop).map_err(|error| format!("refused {error}"))
    }

    fn key(&self, kind: &str, name: &str) -> Key {
        let kind = Kind::by_name(kind).unwrap_or_else(|| Kind::new("v1", kind));
        Key::new(kind, self.watch.play.place().namespace.as_str(), name)
    }

    fn get(&self, kind: &str, name: &str) -> Result<Object, String> {
        let found = self.world.get(&self.key(kind, name));
        found.map(|object| (**object).clone()).ok_or_else(|| format!("refused 404 no {kind} {name}"))
    }

    fn pass(&mut self, span: Span) {
        let then = self.world.now().plus(span);
        self.world.run_until(then, &mut self.watch);
    }

    /// Lets time pass until nothing changed for `quiet`, at most for `limit`.
    fn settle(&mut self, quiet: Span, limit: Span) {
        let end = self.world.now().plus(limit);
        while self.world.now() < end && self.world.now().since(self.watch.touched) < quiet {
            self.pass(GLANCE);
        }
    }

    fn patches(&mut self, rollout: &str, patches: Vec<Patch>) -> Result<(), String> {
        for patch in patches {
            let (patch, part) = match patch {
                Patch::Main(patch) => (patch, Part::Main),
                Patch::Status(patch) => (patch, Part::Status),
            };
            let key = self.key("Rollout", rollout);
            self.act(Action::Merge { key, patch, part })?;
        }
        Ok(())
    }

    fn perform(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Sleep(span) => {
                self.pass(*span);
                Ok(())
            }
            Step::Web(_) => Ok(()),
            Step::Wait(wait) => {
                let end = self.world.now().plus(wait.timeout);
                while !self.watch.play.holds(wait) {
                    if self.world.now() >= end {
                        return Err(format!("timed out: {}", wait.source));
                    }
                    // One event after the other, so that a state which lasts for one version only is not missed.
                    if self.world.next_at().is_some_and(|next| next <= end) {
                        self.world.step(&mut self.watch);
                    } else {
                        self.world.run_until(end, &mut self.watch);
                    }
                }
                Ok(())
            }
            Step::SetImage { kind, name, images } => {
                let workload = self.get(kind, name)?;
                let patch = commands::set_image(&workload, &|container| images.get(container).cloned())?;
                let Patch::Main(patch) = patch else { return Ok(()) };
                self.act(Action::Merge { key: self.key(kind, name), patch, part: Part::Main })
            }
            Step::Abort(rollout) => self.patches(rollout, commands::abort()),
            Step::Retry(rollout) => self.patches(rollout, commands::retry()),
            Step::Pause(rollout) => self.patches(rollout, commands::pause()),
            Step::Resume(rollout) => self.patches(rollout, commands::resume()),
            Step::Restart(rollout) => self.patches(rollout, commands::restart(self.world.now().stamp())),
            Step::Promote(rollout) => {
                let patches = commands::promote(&self.get("Rollout", rollout)?);
                self.patches(rollout, patches)
            }
            Step::PromoteFull(rollout) => {
                let patches = commands::promote_full(&self.get("Rollout", rollout)?);
                self.patches(rollout, patches)
            }
            Step::Undo { rollout, to } => self.undo(rollout, *to),
            Step::Scale { rollout, replicas } => {
                self.act(Action::Scale { key: self.key("Rollout", rollout), replicas: *replicas })
            }
            Step::Patch { kind, name, change, subresource } => {
                let part = if subresource.as_deref() == Some("status") { Part::Status } else { Part::Main };
                let key = self.key(kind, name);
                self.act(match change.clone() {
                    Change::Merge(patch) => Action::Merge { key, patch, part },
                    Change::Json(patch) => Action::Operations { key, patch, part },
                })
            }
            Step::Apply(document) => {
                let object = self.object(document)?;
                match self.world.get(&object.key()) {
                    None => self.act(Action::Create(object)),
                    Some(_) => {
                        let (key, patch) = (object.key(), document.clone());
                        self.act(Action::Merge { key, patch, part: Part::Main })
                    }
                }
            }
            Step::Create(document) => {
                self.create(document);
                Ok(())
            }
            Step::Delete { kind, name } => self.act(Action::Delete(self.key(kind, name))),
            Step::ScaleSet { revision, replicas } => {
                let (key, patch) = (self.set(revision)?, json!({"spec": {"replicas": replicas}}));
                self.act(Action::Merge { key, patch, part: Part::Main })
            }
            Step::DeleteSet { revision } => {
                let key = self.set(revision)?;
                self.act(Action::Delete(key))
            }
            Step::Readiness { ready, revision, count } => {
                let pods: Vec<Key> =
                    self.watch.play.pods(revision).into_iter().map(|pod| self.key("Pod", pod)).collect();
                for pod in pods.into_iter().take(count.unwrap_or(usize::MAX)) {
                    let done = self.world.set_ready(&pod, *ready, &mut self.watch);
                    done.map_err(|error| format!("refused {error}"))?;
                }
                Ok(())
            }
            Step::RetryExperiment(_) | Step::Terminate { .. } => {
                Err("needs analysis or experiments".to_owned())
            }
        }
    }

    fn set(&self, revision: &str) -> Result<Key, String> {
        let name =
            self.watch.play.replica_set(revision).ok_or_else(|| format!("no replica set {revision}"))?;
        Ok(self.key("ReplicaSet", name))
    }

    fn undo(&mut self, name: &str, to: Option<i64>) -> Result<(), String> {
        let rollout = self.get("Rollout", name)?;
        let sets: Vec<_> = self.world.store().of_kind(&Kind::ReplicaSet).cloned().collect();
        let template = commands::undo_template(&rollout, &sets, to)?;
        let workload = rollout.rollout().and_then(|body| body.spec.spec().workload_ref.clone());
        let key = match workload {
            Some(workload) => self.key(&workload.kind, &workload.name),
            None => self.key("Rollout", name),
        };
        let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        self.act(Action::Operations { key, patch, part: Part::Main })
    }
}
