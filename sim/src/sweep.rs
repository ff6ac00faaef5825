//! The crash sweep (S31): wherever the controller dies, it comes back with an empty cache and everything ends as if
//! nothing had happened.
//!
//! A [`Script`] is lived through once undisturbed, which tells how many writes there are; then once for each
//! [`Point`]: killed after every write, and before every write of a status; and, as a lesser evil, left without the reply
//! to a write that was or was not carried out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_api::object::{Kind, Object};
use tidegate_controller::names::{HASH_LABEL, REVISION};

use crate::play::{Failure, Life, Setup, live};
use crate::scenario::{Files, Script};
use crate::world::{Interventions, NextWrite, Strike, World};

/// A moment of a life, counted from its beginning, and what happens to the controller there.
pub type Point = NextWrite;

/// Every scenario below a folder, by path: the YAML files that say what is `given`.
pub fn scripts(folder: &Path) -> Result<Vec<Script>, String> {
    let mut found = BTreeMap::new();
    find(folder, &mut found)?;
    let read = |(path, text): (&String, &String)| {
        let load = Folder(Path::new(path).parent().unwrap_or(Path::new("")));
        Script::read(path, text, &load).map_err(|error| error.render(false))
    };
    found.iter().map(read).collect()
}

/// The files beside a scenario.
struct Folder<'a>(&'a Path);

impl Files for Folder<'_> {
    fn text(&self, file: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(file)).map_err(|error| error.to_string())
    }

    /// A pattern may have one star, in the name of the file.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        let (folder, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
        let (head, tail) = name.split_once('*').unwrap_or((name, ""));
        let entries = fs::read_dir(self.0.join(folder)).map_err(|error| error.to_string())?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let fits = |name: &String| name.starts_with(head) && name.ends_with(tail);
        let mut found: Vec<String> = names.filter(fits).map(|name| format!("{folder}/{name}")).collect();
        found.sort();
        Ok(found)
    }
}

fn find(folder: &Path, found: &mut BTreeMap<String, String>) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            let text = fs::read_to_string(&path).map_err(problem)?;
            if text.lines().any(|line| line.starts_with("given:")) {
                found.insert(path.display().to_string(), text);
            }
        }
    }
    Ok(())
}

/// An undisturbed life and where it ended.
pub struct Sweep<'a> {
    script: &'a Script,
    end: Value,
    points: Vec<Point>,
}

impl<'a> Sweep<'a> {
    /// Lives through the script once.
    pub fn of(script: &'a Script) -> Result<Sweep<'a>, String> {
        let life = live(script, Setup { silent: true, ..Setup::default() });
        if !life.outcome.failures.is_empty() {
            return Err(format!("{}: {}", script.name, said(&life.outcome.failures).join("; ")));
        }
        let counts = life.world.call_counts();
        let after = (0..counts.writes).map(|n| NextWrite::after(n, Strike::CrashAfter));
        let before = (0..counts.status_writes).map(|n| NextWrite::of_status_after(n, Strike::CrashBefore));
        let lost = (0..counts.writes)
            .flat_map(|n| [Strike::LostReply, Strike::LostRequest].map(|strike| NextWrite::after(n, strike)));
        Ok(Sweep { script, end: end(&life.world), points: after.chain(before).chain(lost).collect() })
    }

    /// Every moment at which the controller is to be killed, or a reply lost.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Lives through the script with this point; an error says what is different in the end.
    pub fn survives(&self, point: &Point) -> Result<(), String> {
        let interventions = Interventions { on_next: vec![point.clone()], ..Interventions::default() };
        let Life { outcome, world, .. } =
            live(self.script, Setup { interventions, silent: true, ..Setup::default() });
        let mut faults = said(&outcome.failures);
        let killed = matches!(point.strike, Strike::CrashAfter | Strike::CrashBefore);
        if killed && world.controller().is_none_or(|controller| controller.number < 2) {
            faults.push("the controller was not killed".to_owned());
        }
        let got = end(&world);
        if got != self.end {
            faults.push(format!("ends as {got}\n  instead of {}", self.end));
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(format!("{}, {point:?}: {}", self.script.name, faults.join("; ")))
    }
}

fn said(failures: &[Failure]) -> Vec<String> {
    failures.iter().map(ToString::to_string).collect()
}

/// What must be the same whenever the controller died: statuses without times, sizes and selectors by revision instead
/// of by hash.
fn end(world: &World) -> Value {
    let rollouts = world.store().of_kind(&Kind::Rollout);
    Value::Object(rollouts.map(|rollout| (rollout.meta.name.to_string(), end_of(world, rollout))).collect())
}

fn end_of(world: &World, rollout: &Object) -> Value {
    let mut revisions = BTreeMap::new();
    let mut sizes = BTreeMap::new();
    for set in world.store().owned_by(&rollout.meta.uid, &Kind::ReplicaSet) {
        let revision = set.meta.annotations.get(REVISION).map_or("-", |r| r).to_owned();
        let hash = set.meta.labels.get(HASH_LABEL).map_or("-", |h| h).to_owned();
        sizes.insert(revision.clone(), set.replica_set().map_or(0, |body| body.wished()));
        revisions.insert(hash, revision);
    }
    let named = |hash: &str| revisions.get(hash).cloned().unwrap_or_else(|| hash.to_owned());
    let Some(status) = rollout.rollout().map(|body| &body.status) else { return Value::Null };
    let services: BTreeMap<String, String> = world
        .store()
        .in_namespace(&Kind::Service, &rollout.meta.namespace)
        .filter_map(|s| Some((s.meta.name.to_string(), named(s.service()?.selector.get(HASH_LABEL)?))))
        .collect();
    let conditions: BTreeMap<&str, (&str, &str)> = status
        .conditions
        .iter()
        .flatten()
        .filter_map(|c| Some((c.kind.as_deref()?, (c.status.as_deref()?, c.reason.as_deref()?))))
        .collect();
    json!({"revision": rollout.meta.annotations.get(REVISION).map(|r| r.to_string()),
        "phase": status.phase.as_deref(), "message": status.message.as_deref().map(|text| without(text, &revisions)),
        "stable": named(status.stable_hash()), "current": named(status.current()), "step": status.index(),
        "abort": status.is_aborted(), "promoteFull": status.promote_full, "controllerPause": status.controller_pause,
        "pauses": status.pause_conditions().iter().map(|p| p.reason.as_deref()).collect::<Vec<_>>(),
        "sizes": sizes, "services": services, "conditions": conditions, "available": status.available,
        "updated": status.updated, "replicas": status.replicas, "ready": status.ready, "hpa": status.hpa})
}

/// A message with revisions in place of hashes.
fn without(text: &str, revisions: &BTreeMap<String, String>) -> String {
    let replaced = |text: String, (hash, revision): (&String, &String)| text.replace(&**hash, revision);
    revisions.iter().fold(text.to_owned(), replaced)
}
