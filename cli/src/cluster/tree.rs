//! The tree below a Rollout or an Experiment: revisions, ReplicaSets, pods, experiments, analysis runs, jobs.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api::object::Object;
use tidegate_api::time::Stamp;
use tidegate_controller::names::{HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE};

use super::pods;
use super::view::{
    Cell, age, annotation, columns, created, human, icon, ink, list, number, paint, phase, text,
};

/// The template of an experiment that a ReplicaSet was made for.
const TEMPLATE_NAME: &str = "experiment.argoproj.io/template-name";

/// A place in the tree.
pub struct Node {
    sign: &'static str,
    name: String,
    ink: &'static str,
    kind: &'static str,
    status: Option<(&'static str, String)>,
    since: Option<Stamp>,
    info: Vec<String>,
    children: Vec<Node>,
}

/// Everything in a namespace that could belong to what is shown.
pub struct Family<'a> {
    /// ReplicaSets, pods, experiments, analysis runs.
    pub objects: &'a [Value],
    /// What time it is.
    pub now: Stamp,
}

/// The tree as a table with the heading of the reference.
pub fn draw(root: &Node, now: Stamp, color: bool) -> String {
    let heading = ["NAME", "KIND", "STATUS", "AGE", "INFO"].map(Cell::plain).to_vec();
    let mut rows = vec![heading];
    root.add_rows("", "", now, color, &mut rows);
    columns(&rows, &[])
}

impl Node {
    fn add_rows(&self, first: &str, rest: &str, now: Stamp, color: bool, rows: &mut Vec<Vec<Cell>>) {
        let name = format!("{first}{} {}", self.sign, self.name);
        let painted = format!("{first}{} {}", self.sign, paint(&self.name, self.ink, color));
        let status = match &self.status {
            None => Cell::default(),
            Some((icon, word)) => {
                Cell::painted(&format!("{icon} {word}"), format!("{} {word}", paint(icon, ink(icon), color)))
            }
        };
        let painted_info: Vec<String> = self.info.iter().map(|word| paint_info(word, color)).collect();
        rows.push(vec![
            Cell::painted(&name, painted),
            Cell::plain(self.kind),
            status,
            Cell::plain(&self.since.map_or_else(String::new, |since| age(since, now))),
            Cell::painted(&self.info.join(","), painted_info.join(",")),
        ]);
        for (at, child) in self.children.iter().enumerate() {
            let (branch, trunk) =
                if at + 1 == self.children.len() { ("└──", "   ") } else { ("├──", "│  ") };
            child.add_rows(&format!("{rest}{branch}"), &format!("{rest}{trunk}"), now, color, rows);
        }
    }
}

fn paint_info(word: &str, color: bool) -> String {
    let code = ink(word.split(' ').next().unwrap_or(""));
    if code == "0" { word.to_owned() } else { paint(word, code, color) }
}

impl Family<'_> {
    /// The tree of a Rollout.
    pub fn of_rollout(&self, rollout: &Object) -> Node {
        let mut revisions: BTreeMap<Reverse<i64>, [Vec<&Value>; 3]> = BTreeMap::new();
        for (at, kind) in ["ReplicaSet", "Experiment", "AnalysisRun"].into_iter().enumerate() {
            for child in self.owned(&rollout.meta.uid, kind) {
                revisions.entry(Reverse(revision(child))).or_default()[at].push(child);
            }
        }
        let mut children = Vec::new();
        for (Reverse(revision), [sets, experiments, runs]) in revisions {
            let mut below: Vec<Node> = sets.iter().map(|set| self.set(set, &tags(rollout, set))).collect();
            below.extend(experiments.iter().map(|experiment| self.of_experiment(experiment)));
            below.extend(runs.iter().map(|run| Self::run(run)));
            let name = format!("revision:{revision}");
            let (sign, ink, kind, status, since, info) = ("#", "0", "", None, None, Vec::new());
            children.push(Node { sign, name, ink, kind, status, since, info, children: below });
        }
        let phase = phase(rollout).map_or_else(String::new, |(phase, _)| phase);
        Node {
            sign: "⟳",
            name: rollout.meta.name.to_string(),
            ink: "0",
            kind: "Rollout",
            status: Some((icon(&phase), phase)),
            since: rollout.meta.created,
            info: Vec::new(),
            children,
        }
    }

    /// The tree of an Experiment.
    pub fn of_experiment(&self, experiment: &Value) -> Node {
        let uid = text(experiment, "/metadata/uid");
        let mut children: Vec<Node> =
            self.owned(uid, "ReplicaSet").into_iter().map(|set| self.set(set, &[])).collect();
        children.extend(self.owned(uid, "AnalysisRun").into_iter().map(Self::run));
        Node { children, ..by_phase("Σ", "Experiment", experiment) }
    }

    fn set(&self, set: &Value, tags: &[&'static str]) -> Node {
        let mut info: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        if let Some(deadline) = Stamp::parse(annotation(set, SCALE_DOWN_DEADLINE)) {
            let left = deadline.0 - self.now.0;
            info.push(if left > 0 { format!("delay:{}", human(left)) } else { "delay:passed".to_owned() });
        }
        let pods = self.owned(text(set, "/metadata/uid"), "Pod").into_iter();
        Node {
            sign: "⧉",
            name: name(set),
            ink: tags.last().map_or("0", |tag| ink(tag)),
            kind: "ReplicaSet",
            status: Some(status_of_set(set)),
            since: created(set),
            info,
            children: pods.map(pod).collect(),
        }
    }

    fn run(run: &Value) -> Node {
        let mut sums =
            [("✔", "/successful", 0), ("✖", "/failed", 0), ("?", "/inconclusive", 0), ("⚠", "/error", 0)];
        let mut children = Vec::new();
        for result in list(run, "/status/metricResults") {
            for (_, field, sum) in &mut sums {
                *sum += number(result, field);
            }
            for measurement in list(result, "/measurements") {
                if let Some(job) = measurement.pointer("/metadata/job-name").and_then(Value::as_str) {
                    children.push(job_of(measurement, job));
                }
            }
        }
        let told = sums.iter().filter(|(_, _, sum)| *sum > 0).map(|(icon, _, sum)| format!("{icon} {sum}"));
        Node { info: told.collect(), children, ..by_phase("α", "AnalysisRun", run) }
    }

    /// Objects of a kind with this owner, in the order of the tree.
    fn owned(&self, owner: &str, kind: &str) -> Vec<&Value> {
        let is_owned = |object: &&Value| {
            object["kind"] == kind
                && list(object, "/metadata/ownerReferences").iter().any(|o| o["uid"] == owner)
        };
        let mut found: Vec<&Value> = self.objects.iter().filter(is_owned).collect();
        match kind {
            "ReplicaSet" => found.sort_by_key(|set| (Reverse(revision(set)), name(set))),
            "AnalysisRun" => {
                found.sort_by_key(|run| (Reverse(revision(run)), created(run), Reverse(name(run))));
            }
            _ => found.sort_by_key(|object| (created(object), name(object))),
        }
        found
    }

    /// The images that run, each with the parts that its ReplicaSets play.
    pub fn images(&self, rollout: &Object) -> BTreeMap<String, Vec<String>> {
        let mut images = BTreeMap::new();
        for set in self.owned(&rollout.meta.uid, "ReplicaSet") {
            add_images(set, tags(rollout, set).iter().map(|tag| (*tag).to_owned()), &mut images);
        }
        for experiment in self.owned(&rollout.meta.uid, "Experiment") {
            self.add_images_of_experiment(experiment, &mut images);
        }
        images
    }

    /// The images of an experiment.
    pub fn images_of_experiment(&self, experiment: &Value) -> BTreeMap<String, Vec<String>> {
        let mut images = BTreeMap::new();
        self.add_images_of_experiment(experiment, &mut images);
        images
    }

    fn add_images_of_experiment(&self, experiment: &Value, images: &mut BTreeMap<String, Vec<String>>) {
        for set in self.owned(text(experiment, "/metadata/uid"), "ReplicaSet") {
            let template = match annotation(set, TEMPLATE_NAME) {
                // Its name is that of the experiment, a dash, and the template's.
                "" => name(set).strip_prefix(&format!("{}-", name(experiment))).unwrap_or("").to_owned(),
                template => template.to_owned(),
            };
            add_images(set, (!template.is_empty()).then(|| format!("Σ:{template}")).into_iter(), images);
        }
    }

    /// Available pods of the canary's ReplicaSets.
    pub fn canary_available(&self, rollout: &Object) -> i64 {
        let sets = self.owned(&rollout.meta.uid, "ReplicaSet").into_iter();
        let canaries = sets.filter(|set| tags(rollout, set).contains(&"canary"));
        canaries.map(|set| number(set, "/status/availableReplicas")).sum()
    }
}

fn add_images(
    set: &Value,
    tags: impl Iterator<Item = String> + Clone,
    images: &mut BTreeMap<String, Vec<String>>,
) {
    if number(set, "/status/replicas") == 0 {
        return;
    }
    for container in list(set, "/spec/template/spec/containers") {
        let merged = images.entry(text(container, "/image").to_owned()).or_default();
        merged.extend(tags.clone());
        merged.sort();
        merged.dedup();
    }
}

fn name(object: &Value) -> String {
    text(object, "/metadata/name").to_owned()
}

fn revision(object: &Value) -> i64 {
    annotation(object, REVISION).parse().unwrap_or(0)
}

/// A thing that lives by a phase.
fn by_phase(sign: &'static str, kind: &'static str, object: &Value) -> Node {
    let phase = text(object, "/status/phase");
    let ink = if matches!(phase, "Pending" | "Running") { "94" } else { "0" };
    let status = (!phase.is_empty()).then(|| (icon(phase), phase.to_owned()));
    let (name, since) = (name(object), created(object));
    Node { sign, name, ink, kind, status, since, info: Vec::new(), children: Vec::new() }
}

fn job_of(measurement: &Value, name: &str) -> Node {
    let phase = text(measurement, "/phase");
    Node {
        sign: "⊞",
        name: name.to_owned(),
        ink: if matches!(phase, "Pending" | "Running") { "94" } else { "0" },
        kind: "Job",
        status: Some((icon(phase), phase.to_owned())),
        since: Stamp::parse(text(measurement, "/startedAt")),
        info: Vec::new(),
        children: Vec::new(),
    }
}

fn pod(pod: &Value) -> Node {
    let (word, icon) = pods::status(pod);
    Node {
        sign: "□",
        name: name(pod),
        ink: "0",
        kind: "Pod",
        status: Some((icon, word)),
        since: created(pod),
        info: vec![pods::info(pod)],
        children: Vec::new(),
    }
}

fn status_of_set(set: &Value) -> (&'static str, String) {
    let fails = |condition: &Value| condition["type"] == "ReplicaFailure" && condition["status"] == "True";
    let wished = set["spec"]["replicas"].as_i64().unwrap_or(1);
    let word = if number(set, "/status/observedGeneration") < number(set, "/metadata/generation") {
        "Progressing"
    } else if list(set, "/status/conditions").iter().any(fails) {
        "ReplicaFailure"
    } else if number(set, "/status/availableReplicas") < wished {
        "Progressing"
    } else if wished == 0 {
        "ScaledDown"
    } else {
        "Healthy"
    };
    (icon(word), word.to_owned())
}

/// The parts that a ReplicaSet plays for its Rollout.
fn tags(rollout: &Object, set: &Value) -> Vec<&'static str> {
    let Some(body) = rollout.rollout() else { return Vec::new() };
    let hash = set["metadata"]["labels"][HASH_LABEL].as_str().unwrap_or("");
    if hash.is_empty() {
        return Vec::new();
    }
    let (spec, status) = (body.spec.spec(), &body.status);
    let is_stable = status.stable_hash() == hash;
    if spec.blue_green().is_some() {
        let is = |selector: Option<&str>| selector == Some(hash);
        let blue_green = status.blue_green.clone().unwrap_or_default();
        let mut tags = if is_stable { vec!["stable"] } else { Vec::new() };
        if is(blue_green.active.as_deref()) {
            tags.push("active");
        } else if is(blue_green.preview.as_deref()) {
            tags.push("preview");
        }
        return tags;
    }
    let mut tags = match (is_stable, status.current() == hash) {
        (true, _) => vec!["stable"],
        (false, true) => vec!["canary"],
        (false, false) => return Vec::new(),
    };
    let ping_pong = status.canary.as_ref().and_then(|canary| canary.stable_ping_pong.as_deref());
    match (ping_pong, is_stable) {
        (Some("ping"), true) | (Some("pong"), false) => tags.push("ping"),
        (Some("pong"), true) | (Some("ping"), false) => tags.push("pong"),
        _ => {}
    }
    tags
}
