//! Labels and annotations that tidegate shares with the reference, to the letter.

/// Label of ReplicaSets, pods, runs and experiments, and key in selectors: which pod template they belong to.
pub const HASH_LABEL: &str = "rollouts-pod-template-hash";
/// Annotation of Rollouts and ReplicaSets: the revision.
pub const REVISION: &str = "rollout.argoproj.io/revision";
/// Annotation of ReplicaSets: earlier revisions, separated by commas.
pub const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";
/// Annotation of ReplicaSets: wished pods of the Rollout when the ReplicaSet was scaled last.
pub const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";
/// Annotation of a Rollout: generation of the workload it refers to.
pub const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";
/// Annotation of ReplicaSets: role metadata in its pod template, as JSON.
pub const EPHEMERAL_METADATA: &str = "rollout.argoproj.io/ephemeral-metadata";
/// Annotation of ReplicaSets: when it may be scaled down. The key has no prefix in the reference.
pub const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";
/// Annotation of Services: the Rollout that manages its selector.
pub const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
/// Annotation of ReplicaSets of an Experiment.
pub const EXPERIMENT_NAME: &str = "experiment.argoproj.io/name";
/// Annotation of ReplicaSets and Services of an Experiment: the template that they belong to.
pub const EXPERIMENT_TEMPLATE: &str = "experiment.argoproj.io/template-name";
/// Annotations of a Rollout that are not copied to its ReplicaSets.
pub const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    BOUNDED_SURGE,
    "notified.notifications.argoproj.io",
];
/// Annotation of a Rollout with traffic routing: `"true"` keeps the pods of all versions within `replicas` plus
/// `maxSurge`. tidegate's own; the reference ignores `maxSurge` there.
pub const BOUNDED_SURGE: &str = "tidegate.io/bounded-surge";
