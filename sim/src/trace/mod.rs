//! The readable trace: one line an event that a person would tell.
//!
//! What the status says is told at once. Pods come and go one by one; of those that change within one second only
//! the sum is told, right before the next thing that is told or when the second is over.

mod analysis;
mod detection;
mod experiment;
pub(crate) mod view;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_api::object::Key;
use tidegate_api::object::{Kind, Text};
use tidegate_api::time::{Span, Time};

use crate::metrics::Source;
use crate::world::{Happened, Observer, World};
pub use detection::{Detection, Detections};
use view::{Course, View};

/// One line of a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// How long after the beginning.
    pub at: Span,
    /// Whom it is about: a rollout, `user`, `controller`.
    pub who: String,
    /// What happened.
    pub what: String,
    /// How it stands now, or why.
    pub detail: String,
}

/// Writes the trace while a world is lived through.
#[derive(Clone, Debug)]
pub struct Trace {
    begin: Time,
    lines: Vec<Line>,
    /// What was told last of each rollout.
    told: BTreeMap<Key, View>,
    /// The second in which pods changed that were not told yet.
    untold: Option<Time>,
    /// Where the answer to the last question of a metric came from, by run and metric.
    sources: BTreeMap<(Key, Text), Source>,
}

impl Trace {
    /// A trace that begins now; what is there already is not told.
    pub fn new(world: &World) -> Trace {
        let rollouts = world.store().of_kind(&Kind::Rollout);
        let told = rollouts.map(|object| (object.key(), View::of(world, object))).collect();
        Trace { begin: world.now(), lines: Vec::new(), told, untold: None, sources: BTreeMap::new() }
    }

    /// How long it has gone on.
    pub fn since(&self, now: Time) -> Span {
        now.since(self.begin)
    }

    /// The lines so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Tells something that is not seen in the cluster.
    pub fn tell(&mut self, world: &World, who: &str, what: impl Into<String>, detail: impl Into<String>) {
        self.catch_up(world);
        self.add(world.now(), who, what.into(), detail.into());
    }

    /// Tells what is still untold.
    pub fn finish(&mut self, world: &World) {
        self.catch_up(world);
    }

    fn add(&mut self, now: Time, who: &str, what: String, detail: String) {
        self.lines.push(Line { at: now.since(self.begin), who: who.to_owned(), what, detail });
    }

    fn catch_up(&mut self, world: &World) {
        let Some(at) = self.untold.take() else { return };
        let views: Vec<(Key, View)> = world
            .store()
            .of_kind(&Kind::Rollout)
            .map(|object| (object.key(), View::of(world, object)))
            .collect();
        for (key, now) in views {
            self.tell_pods(&key, &now, at);
        }
    }

    fn tell_pods(&mut self, key: &Key, now: &View, at: Time) {
        let Some(before) = self.told.get_mut(key) else { return };
        let (pods, weight) = (now.pods(), before.weight);
        if before.pods() == pods && weight == now.weight {
            return;
        }
        before.sets.clone_from(&now.sets);
        before.weight = now.weight;
        (before.new, before.stable) = (now.new.clone(), now.stable.clone());
        let mut detail = match now.weight {
            same if same == weight => String::new(),
            weight_now => format!("weight {weight}→{weight_now}"),
        };
        if let Some(step) = now.step().filter(|_| now.course != Course::Complete) {
            detail = format!("{detail:<14} {step}");
        }
        self.add(at, &key.name, format!("pods {pods}"), detail.trim_end().to_owned());
    }

    fn tell_rollout(&mut self, key: &Key, now: View, at: Time) {
        let Some(before) = self.told.get(key).cloned() else {
            self.add(at, &key.name, "created".to_owned(), String::new());
            self.told.insert(key.clone(), now);
            return;
        };
        let mut news: Vec<(String, String)> = Vec::new();
        if before.revision != now.revision {
            let course = if now.course == Course::Complete { "" } else { "course advancing" };
            news.push((format!("revision {}→{}", before.revision, now.revision), course.to_owned()));
        }
        if before.step != now.step
            && let Some(step) = now.step().filter(|_| now.course != Course::Complete)
        {
            news.push((step, String::new()));
        }
        for (service, revision) in &now.services {
            let was = before.services.get(service).copied().flatten();
            if was != *revision {
                let name = |revision: Option<i64>| revision.map_or("all".to_owned(), |r| r.to_string());
                news.push((
                    format!("service {service}"),
                    format!("revision {}→{}", name(was), name(*revision)),
                ));
            }
        }
        if let (Some(was), Some(is)) = (before.workload, now.workload)
            && was != is
        {
            news.push((format!("workload {was}→{is}"), String::new()));
        }
        if before.course != now.course {
            let because = |why: &str| if why.is_empty() { String::new() } else { format!("because {why}") };
            news.push(match now.course {
                Course::Advancing => ("course advancing".to_owned(), String::new()),
                Course::Held => ("course held".to_owned(), because(&now.pause)),
                // A person's abort has no reason, and the status tells that of the phase before.
                Course::Aborted if !now.message.starts_with("RolloutAborted") => {
                    ("course aborted".to_owned(), String::new())
                }
                Course::Aborted => ("course aborted".to_owned(), because(&now.message)),
                Course::Complete => ("course complete".to_owned(), String::new()),
            });
        }
        if before.phase != now.phase {
            news.push((now.phase.clone(), now.message.clone()));
        }
        for (what, detail) in news {
            self.add(at, &key.name, what, detail);
        }
        let view =
            View { sets: before.sets, weight: before.weight, new: before.new, stable: before.stable, ..now };
        self.told.insert(key.clone(), view);
    }
}

impl Observer for Trace {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        if self.untold.is_some_and(|at| at.stamp() != world.now().stamp()) {
            self.catch_up(world);
        }
        match what {
            Happened::Stored { before, after, .. } => {
                let Some(object) = after.or(*before) else { return };
                match &object.kind {
                    Kind::ReplicaSet => {
                        self.untold.get_or_insert(world.now());
                    }
                    Kind::Rollout | Kind::Service | Kind::Deployment => {
                        if let Some((what, detail)) = experiment::shares(*before, *after) {
                            self.tell(world, &object.meta.name, what, detail);
                        }
                        self.changed(world, object.kind == Kind::Rollout && after.is_none(), &object.key());
                    }
                    Kind::AnalysisRun => {
                        for (what, detail) in analysis::news(world, *before, *after, &self.sources) {
                            let who = analysis::who(world, object);
                            self.tell(world, &who, what, detail);
                        }
                    }
                    Kind::Experiment => {
                        if let Some((what, detail)) = experiment::news(world, *before, *after) {
                            let who = analysis::who(world, object);
                            self.tell(world, &who, what, detail);
                        }
                    }
                    _ => {}
                }
            }
            Happened::Applied(_) => {
                self.untold.get_or_insert(world.now());
            }
            Happened::Measured { question, source, .. } => {
                let asker = (question.asker.key.clone(), question.asker.part.clone());
                self.sources.insert(asker, (*source).clone());
            }
            Happened::Crashed => self.tell(world, "controller", "crashed", ""),
            Happened::Restarted => self.tell(world, "controller", "started", "knowing nothing"),
            _ => {}
        }
    }
}

impl Trace {
    fn changed(&mut self, world: &World, gone: bool, key: &Key) {
        if gone {
            self.tell(world, &key.name, "deleted", "");
            self.told.remove(key);
            return;
        }
        let views: Vec<(Key, View)> = world
            .store()
            .of_kind(&Kind::Rollout)
            .map(|object| (object.key(), View::of(world, object)))
            .collect();
        for (key, now) in views {
            let told = self.told.get(&key);
            let news = told.is_none_or(|told| {
                (told.revision, told.step, &told.services, told.workload, told.course, &told.phase)
                    != (now.revision, now.step, &now.services, now.workload, now.course, &now.phase)
            });
            if news {
                // Causes are told before what follows from them.
                self.catch_up(world);
                self.tell_rollout(&key, now, world.now());
            } else {
                self.untold.get_or_insert(world.now());
            }
        }
    }
}

impl Line {
    /// `00:02:04  web  course aborted            because …`; `wide` is the width of the longest name.
    pub fn render(&self, wide: usize) -> String {
        let line = format!("{}  {:<wide$}  {:<28}  {}", clock(self.at), self.who, self.what, self.detail);
        line.trim_end().to_owned()
    }

    /// The line as data.
    pub fn to_value(&self) -> Value {
        json!({"at_ms": self.at.0, "who": self.who, "what": self.what, "detail": self.detail})
    }
}

/// `00:02:04`.
pub(crate) fn clock(at: Span) -> String {
    let seconds = at.0 / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// All lines as text, each ended by a newline.
pub fn render(lines: &[Line]) -> String {
    let wide = lines.iter().map(|line| line.who.chars().count()).max().unwrap_or(0);
    lines.iter().map(|line| line.render(wide) + "\n").collect()
}
