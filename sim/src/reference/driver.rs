//! Plays a story in the simulated cluster, as the recorder plays it on a real one.

use serde_json::Value;
use tidegate_api::time::{Span, Time};

use super::names::Place;
use super::play::Play;
use super::record::sighting;
use super::story::{HEAD_START, PATIENCE, Step, Story, pods};
use crate::metrics::MetricsModel;
use crate::metrics::series::Series;
use crate::world::{Action, Happened, Observer, World, WorldConfig};

/// How often a wait looks at the world when nothing happens.
const GLANCE: Span = Span::millis(50);

/// Plays a story from beginning to end.
pub fn play(story: &Story, seed: u64) -> Play {
    let mut config = WorldConfig {
        seed,
        pods: pods(),
        watch_lag: (1, 5),
        call_latency: (1, 3),
        reaction: (3, 8),
        metrics: MetricsModel { latency: (1, 5), ..MetricsModel::default() },
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
        for (name, values) in &story.web {
            self.world.script(Series::of_story(name, values));
        }
        let (first, main) = story.in_order();
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
        let object = self.watch.play.object(document);
        let result = object.and_then(|object| self.act(Action::Create(object)));
        if let Err(why) = result {
            self.watch.play.note(format!("create {kind} {why}"));
        }
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        self.world.user(action, &mut self.watch).map(drop).map_err(|error| format!("refused {error}"))
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

    fn perform(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Sleep(span) => {
                self.pass(*span);
                Ok(())
            }
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
            Step::Web(series) => {
                for (name, values) in series {
                    self.world.script(Series::of_story(name, values));
                }
                Ok(())
            }
            Step::Create(document) => {
                self.create(document);
                Ok(())
            }
            Step::Readiness { ready, revision, count } => {
                for pod in self.watch.play.some_pods(revision, *count) {
                    let done = self.world.set_ready(&pod, *ready, &mut self.watch);
                    done.map_err(|error| format!("refused {error}"))?;
                }
                Ok(())
            }
            written => {
                let actions = self.watch.play.writes(&self.world, written)?;
                actions.into_iter().try_for_each(|action| self.act(action))
            }
        }
    }
}
