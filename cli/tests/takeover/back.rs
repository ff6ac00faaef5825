//! Could the reference go on from here? What it reads when it starts, checked on what the program has left.
//!
//! Each check is one rule by which the reference finds its place again. It keeps nothing in memory, so what it does next
//! follows from these fields alone.

use serde_json::Value;

use crate::left::{APP, Era, hash_of, template_hash};
use crate::place::{HASH, Outcome, Place, REVISION, text};

/// Everything that the reference would misread of the Rollout `shop`; nothing when it would go on.
pub async fn misread(place: &Place, image: &str, steps: Option<&str>) -> Outcome<Vec<String>> {
    let rollout = place.get(&format!("rollouts/{APP}")).await?;
    let mut sets = place.list_of("replicasets", APP).await?;
    sets.retain(|set| text(set, "/metadata/ownerReferences/0/kind") == "Rollout");
    let mut reader = Reader { rollout: &rollout, sets: &sets, wrong: Vec::new() };
    reader.versions(image);
    reader.sets();
    reader.steps(steps);
    reader.pauses();
    reader.conditions();
    for (field, selector) in [("activeService", "activeSelector"), ("previewService", "previewSelector")] {
        let name = text(&rollout, &format!("/spec/strategy/blueGreen/{field}"));
        if !name.is_empty() {
            reader.service(&place.get(&format!("services/{name}")).await?, selector);
        }
    }
    Ok(reader.wrong)
}

struct Reader<'a> {
    rollout: &'a Value,
    sets: &'a [Value],
    wrong: Vec<String>,
}

impl<'a> Reader<'a> {
    fn check(&mut self, holds: bool, problem: impl Into<String>) {
        if !holds {
            self.wrong.push(problem.into());
        }
    }

    fn status(&self, field: &str) -> &'a Value {
        &self.rollout["status"][field]
    }

    fn labelled(&self, hash: &str) -> Vec<&'a Value> {
        self.sets.iter().filter(|set| set["metadata"]["labels"][HASH] == hash).collect()
    }

    /// The new version is the set with the computed hash, or one with the same template; the stable one has the label
    /// that the status tells. A version that is not found is made anew.
    fn versions(&mut self, image: &str) {
        let (rollout, computed) = (self.rollout, template_hash(APP, image, Era::Current));
        let same = |set: &&Value| text(set, "/spec/template/spec/containers/0/image") == image;
        let by_template = self.sets.iter().find(same);
        let found = self.labelled(&computed).first().copied().or(by_template);
        let label = found.map(|set| text(set, &format!("/metadata/labels/{HASH}")).to_owned());
        self.check(label.is_some(), format!("no set has the hash {computed} or its template"));
        let current = self.status("currentPodHash").clone();
        self.check(
            current.as_str() == label.as_deref(),
            format!("currentPodHash {current} is not that of {label:?}"),
        );
        let stable = self.status("stableRS").as_str().unwrap_or_default().to_owned();
        self.check(self.labelled(&stable).len() == 1, format!("stableRS `{stable}` is the label of no set"));
        let observed = self.status("observedGeneration").as_str().map(str::to_owned);
        let generation = self.rollout["metadata"]["generation"].to_string();
        self.check(observed.as_ref() == Some(&generation), format!("{observed:?} observed of {generation}"));
        if let Some(found) = found {
            let (of_set, of_rollout) =
                (&found["metadata"]["annotations"][REVISION], &rollout["metadata"]["annotations"][REVISION]);
            let problem = format!("the Rollout's revision is {of_rollout}, its set's {of_set}");
            self.check(of_set == of_rollout, problem);
        }
    }

    fn sets(&mut self) {
        let mut revisions = std::collections::BTreeSet::new();
        for set in self.sets {
            let name = text(set, "/metadata/name");
            let hash = text(set, &format!("/metadata/labels/{HASH}"));
            let annotations = &set["metadata"]["annotations"];
            for place in ["/spec/selector/matchLabels/", "/spec/template/metadata/labels/"] {
                self.check(
                    text(set, &format!("{place}{HASH}")) == hash,
                    format!("{name}: {place} without its hash"),
                );
            }
            self.check(name == format!("{APP}-{hash}"), format!("{name} is not named after {hash}"));
            let owner = &set["metadata"]["ownerReferences"][0];
            let owns = owner["uid"] == self.rollout["metadata"]["uid"]
                && owner["controller"] == true
                && owner["blockOwnerDeletion"] == true
                && owner["apiVersion"] == "argoproj.io/v1alpha1";
            self.check(owns, format!("{name}: owner {owner}"));
            let revision = annotations[REVISION].as_str().and_then(|text| text.parse::<i64>().ok());
            self.check(
                revision.is_some_and(|revision| revisions.insert(revision)),
                format!("{name}: revision {revision:?}"),
            );
            let desired = text(annotations, "/rollout.argoproj.io~1desired-replicas").parse::<i64>().ok();
            let is_a_side = self.status("stableRS") == hash || self.status("currentPodHash") == hash;
            // Another number is how the reference notices that the Rollout was scaled: then it does nothing else.
            if is_a_side && set["spec"]["replicas"].as_i64() > Some(0) {
                let wanted = self.rollout["spec"]["replicas"].as_i64();
                self.check(desired == wanted, format!("{name}: desired-replicas {desired:?} of {wanted:?}"));
            }
            if let Some(deadline) = annotations["scale-down-deadline"].as_str() {
                let is_time = is_whole_second(deadline);
                self.check(
                    is_time && self.status("stableRS") != hash,
                    format!("{name}: scale-down-deadline {deadline}"),
                );
            }
        }
    }

    /// Other hashes of steps, or none, begin the update again.
    fn steps(&mut self, steps: Option<&str>) {
        let (hash, index) = (self.status("currentStepHash").clone(), self.status("currentStepIndex").clone());
        let Some(steps) = steps else {
            self.check(
                hash.as_str().is_none_or(str::is_empty),
                format!("currentStepHash {hash} without steps"),
            );
            return self.check(index.is_null(), format!("currentStepIndex {index} without steps"));
        };
        self.check(hash == hash_of(steps), format!("currentStepHash {hash} is not {}", hash_of(steps)));
        let count = self.rollout["spec"]["strategy"]["canary"]["steps"].as_array().map_or(0, Vec::len);
        if count == 0 {
            return self.check(index.is_null(), format!("currentStepIndex {index} without steps"));
        }
        let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
        self.check(
            index.is_some_and(|index| index <= count),
            format!("currentStepIndex {index:?} of {count}"),
        );
    }

    fn pauses(&mut self) {
        let known = ["CanaryPauseStep", "BlueGreenPause", "InconclusiveAnalysisRun"];
        let pauses = self.status("pauseConditions").as_array().cloned().unwrap_or_default();
        for pause in &pauses {
            let is_known =
                known.contains(&text(pause, "/reason")) && is_whole_second(text(pause, "/startTime"));
            self.check(is_known, format!("pause {pause}"));
        }
        // Without it the pause is taken for one that a user has just ended.
        let holds = pauses.is_empty() || *self.status("controllerPause") == true;
        self.check(holds, "pauseConditions without controllerPause");
        let aborted = *self.status("abort") == true;
        let at = text(self.status("abortedAt"), "").to_owned();
        self.check(aborted == is_whole_second(&at), format!("abort {aborted}, abortedAt `{at}`"));
    }

    fn conditions(&mut self) {
        let phases = ["Healthy", "Degraded", "Progressing", "Paused"];
        let phase = text(self.status("phase"), "").to_owned();
        self.check(phases.contains(&&*phase), format!("phase {phase}"));
        for condition in self.status("conditions").as_array().cloned().unwrap_or_default() {
            let whole = ["type", "status", "reason"].iter().all(|field| condition[*field].is_string())
                && ["lastTransitionTime", "lastUpdateTime"]
                    .iter()
                    .all(|field| is_whole_second(text(&condition[*field], "")));
            self.check(whole, format!("condition {condition}"));
        }
    }

    fn service(&mut self, service: &Value, field: &str) {
        let (selects, name) = (&service["spec"]["selector"][HASH], text(service, "/metadata/name"));
        let told = &self.status("blueGreen")[field];
        let problem = format!("{field} is {told}, {name} selects {selects}");
        self.check(told == selects, problem);
        let owner = text(service, "/metadata/annotations/argo-rollouts.argoproj.io~1managed-by-rollouts");
        self.check(owner == APP, format!("{name} is managed by `{owner}`"));
    }
}

/// The reference reads no fractions and no offsets.
fn is_whole_second(text: &str) -> bool {
    text.len() == "2026-01-01T00:00:00Z".len() && tidegate_api::time::Stamp::parse(text).is_some()
}
