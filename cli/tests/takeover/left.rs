//! What the reference leaves on a cluster: its objects field by field, with the hashes that it computes itself.

use serde_json::{Value, json};

use crate::place::{HASH, Outcome, Place, REVISION, text};

/// How the pod template's JSON looked that the reference took the hash of. It prints Go structures, and they changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Era {
    /// Version 1.10, Kubernetes libraries 1.34.
    Current,
    /// Before that the metadata began with a creation time that was null.
    NullTime,
    /// As `Current`, after the name was taken once by another template: `status.collisionCount` is 1.
    Collided,
    /// Some other encoder: nothing that a present one could compute.
    Unknown,
}

/// The hash of this JSON: FNV-1a of 32 bits, its decimal digits spelled with letters that form no words. Restated here,
/// so that the program is held to the reference's bits and not to its own.
pub fn hash_of(json: &str) -> String {
    hash_of_bytes(json.bytes())
}

fn hash_of_bytes(bytes: impl Iterator<Item = u8>) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash: u32 = 0x811c_9dc5;
    for byte in bytes {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let spelled = |digit: char| char::from(LETTERS[usize::try_from(u32::from(digit)).unwrap_or(0) % 27]);
    hash.to_string().chars().map(spelled).collect()
}

/// The hash of a pod template of ours with this image.
pub fn template_hash(app: &str, image: &str, era: Era) -> String {
    let time = match era {
        Era::Current | Era::Collided => "",
        Era::NullTime => "\"creationTimestamp\":null,",
        Era::Unknown => return format!("{}5757", &hash_of(image)[..5]),
    };
    let json = format!(
        r#"{{"metadata":{{{time}"labels":{{"app":"{app}"}}}},"spec":{{"containers":[{{"name":"c","image":"{image}","ports":[{{"name":"http","containerPort":80,"protocol":"TCP"}}],"resources":{{"requests":{{"cpu":"5m"}}}}}}]}}}}"#
    );
    // The count stands behind the text, as a number of eight bytes.
    let count: &[u8] = if era == Era::Collided { &[1, 0, 0, 0, 0, 0, 0, 0] } else { &[] };
    hash_of_bytes(json.bytes().chain(count.iter().copied()))
}

/// The pod template with this image, as it stands in a Rollout that the reference has written back.
pub fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{
        "name": "c", "image": image, "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "5m"}}}]}})
}

/// A version of the application.
#[derive(Clone, Debug)]
pub struct Version {
    pub image: &'static str,
    pub pods: i64,
    /// Annotations beside revision and wished size.
    pub annotations: Value,
    /// Merged over its pod template.
    pub template: Value,
}

impl Version {
    pub fn new(image: &'static str, pods: i64) -> Version {
        Version { image, pods, annotations: json!({}), template: json!({}) }
    }

    pub fn annotated(mut self, key: &str, value: &str) -> Version {
        self.annotations[key] = value.into();
        self
    }

    pub fn with_template(mut self, template: Value) -> Version {
        self.template = template;
        self
    }
}

/// A Rollout `shop` and all that belongs to it.
#[derive(Clone, Debug)]
pub struct Left {
    pub era: Era,
    pub replicas: i64,
    pub strategy: Value,
    /// Oldest first; the last is what the Rollout wants.
    pub versions: Vec<Version>,
    /// Which of them is stable.
    pub stable: usize,
    /// Merged over a status in which everything is well.
    pub status: Value,
    /// Services and the version each selects.
    pub services: Vec<(&'static str, usize)>,
    /// The template is a Deployment's.
    pub references_a_workload: bool,
}

pub const APP: &str = "shop";

impl Left {
    pub fn hash(&self, version: usize) -> String {
        template_hash(APP, self.versions[version].image, self.era)
    }

    fn name(&self, version: usize) -> String {
        format!("{APP}-{}", self.hash(version))
    }

    /// Puts all of it on the server and waits until the pods are ready.
    pub async fn put(&self, place: &Place) -> Outcome<()> {
        for (service, version) in &self.services {
            let selector = json!({"app": APP, HASH: self.hash(*version)});
            let metadata = json!({"name": service, "annotations": {"argo-rollouts.argoproj.io/managed-by-rollouts": APP}});
            place
                .create(
                    "services",
                    &json!({"metadata": metadata, "spec": {"selector": selector, "ports": [{"port": 80}]}}),
                )
                .await?;
        }
        let rollout = place.create("rollouts", &self.rollout(place).await?).await?;
        for version in 0..self.versions.len() {
            place.create("replicasets", &self.replica_set(version, text(&rollout, "/metadata/uid"))).await?;
        }
        for (at, version) in self.versions.iter().enumerate() {
            let object = format!("replicasets/{}", self.name(at));
            // The fields are left out while they are 0.
            let ready =
                |set: &Value| set["status"]["availableReplicas"].as_i64().unwrap_or(0) == version.pods;
            place.until(&object, "ready", ready).await?;
        }
        let generation = rollout["metadata"]["generation"].to_string();
        place.patch(&format!("rollouts/{APP}/status"), json!({"status": self.status(&generation)})).await?;
        Ok(())
    }

    async fn rollout(&self, place: &Place) -> Outcome<Value> {
        let image = self.versions.last().map_or("", |version| version.image);
        let mut annotations = json!({REVISION: self.versions.len().to_string()});
        let mut spec = json!({"replicas": self.replicas, "selector": {"matchLabels": {"app": APP}}, "strategy": self.strategy});
        if self.references_a_workload {
            let workload = json!({"metadata": {"name": "work"}, "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": APP}}, "template": template(APP, image)}});
            let made = place.create("deployments", &workload).await?;
            annotations["rollout.argoproj.io/workload-generation"] =
                made["metadata"]["generation"].to_string().into();
            spec["workloadRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "work"});
        } else {
            spec["template"] = template(APP, image);
        }
        Ok(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": APP, "annotations": annotations}, "spec": spec}))
    }

    fn replica_set(&self, version: usize, owner: &str) -> Value {
        let (hash, what) = (self.hash(version), &self.versions[version]);
        let mut template = template(APP, what.image);
        template["metadata"]["labels"][HASH] = hash.as_str().into();
        merge(&mut template, &what.template);
        let mut annotations = json!({
            REVISION: (version + 1).to_string(), "rollout.argoproj.io/desired-replicas": self.replicas.to_string()});
        if self.references_a_workload {
            annotations["rollout.argoproj.io/workload-generation"] = "1".into();
        }
        merge(&mut annotations, &what.annotations);
        json!({
            "metadata": {
                "name": self.name(version), "labels": {"app": APP, HASH: hash}, "annotations": annotations,
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": APP,
                    "uid": owner, "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"replicas": what.pods, "selector": {"matchLabels": {"app": APP, HASH: hash}}, "template": template}})
    }

    fn status(&self, generation: &str) -> Value {
        let last = self.versions.len() - 1;
        let (current, stable) = (self.hash(last), self.hash(self.stable));
        let all: i64 = self.versions.iter().map(|version| version.pods).sum();
        let mut status = json!({
            "HPAReplicas": all, "replicas": all, "readyReplicas": all, "availableReplicas": all,
            "updatedReplicas": self.versions[last].pods, "currentPodHash": current, "stableRS": stable,
            "observedGeneration": generation, "phase": "Healthy", "selector": format!("app={APP}"),
            "blueGreen": {}, "canary": {},
            "conditions": conditions(&format!("{APP}-{current}"), "Healthy"),
        });
        if self.references_a_workload {
            status["workloadObservedGeneration"] = "1".into();
        }
        merge(&mut status, &self.status);
        status
    }
}

/// The conditions of a Rollout that is `Healthy`, `Paused` or `Degraded` by an abort.
pub fn conditions(set: &str, phase: &str) -> Value {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        let at = "2026-01-01T00:00:00Z";
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": at, "lastUpdateTime": at})
    };
    let available = condition("Available", "True", "AvailableReason", "Rollout has minimum availability");
    let rest = match phase {
        "Healthy" => [
            condition("Completed", "True", "RolloutCompleted", "RolloutCompleted"),
            condition("Healthy", "True", "RolloutHealthy", "Rollout is healthy"),
            condition("Paused", "False", "RolloutPaused", "Rollout is paused"),
            condition(
                "Progressing",
                "True",
                "NewReplicaSetAvailable",
                &format!("ReplicaSet \"{set}\" has successfully progressed."),
            ),
        ],
        "Paused" => [
            condition("Completed", "False", "RolloutCompleted", "RolloutCompleted"),
            condition("Healthy", "False", "RolloutHealthy", "Rollout is not healthy"),
            condition("Paused", "True", "RolloutPaused", "Rollout is paused"),
            condition("Progressing", "Unknown", "RolloutPaused", "Rollout is paused"),
        ],
        _ => [
            condition("Completed", "False", "RolloutCompleted", "RolloutCompleted"),
            condition("Healthy", "False", "RolloutHealthy", "Rollout is not healthy"),
            condition("Paused", "False", "RolloutPaused", "Rollout is paused"),
            condition("Progressing", "False", "RolloutAborted", "Rollout aborted update to revision 2"),
        ],
    };
    std::iter::once(available).chain(rest).collect()
}

/// Lays one document over another, as a merge patch does.
pub fn merge(into: &mut Value, over: &Value) {
    match over {
        Value::Object(fields) if into.is_object() => {
            for (key, value) in fields {
                merge(&mut into[key.as_str()], value);
            }
        }
        other => *into = other.clone(),
    }
}
