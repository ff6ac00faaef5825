//! Kinds of objects, with the API paths they are served under.

use std::borrow::Cow;

use super::Text;

/// A kind of object. The kinds that tidegate knows by heart have names of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// `argoproj.io/v1alpha1` Rollout
    Rollout,
    /// `argoproj.io/v1alpha1` AnalysisTemplate
    AnalysisTemplate,
    /// `argoproj.io/v1alpha1` ClusterAnalysisTemplate
    ClusterAnalysisTemplate,
    /// `argoproj.io/v1alpha1` AnalysisRun
    AnalysisRun,
    /// `argoproj.io/v1alpha1` Experiment
    Experiment,
    /// `apps/v1` ReplicaSet
    ReplicaSet,
    /// `apps/v1` Deployment
    Deployment,
    /// `v1` Pod
    Pod,
    /// `v1` PodTemplate
    PodTemplate,
    /// `v1` Service
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice
    EndpointSlice,
    /// `autoscaling/v2` HorizontalPodAutoscaler
    HorizontalPodAutoscaler,
    /// `policy/v1` PodDisruptionBudget
    PodDisruptionBudget,
    /// `batch/v1` Job
    Job,
    /// `v1` Secret
    Secret,
    /// Any other kind.
    Other {
        /// `group/version`, or the version alone for the core group.
        api_version: Text,
        /// The kind's name.
        name: Text,
    },
}

/// (kind, apiVersion, name, plural) of every kind known by heart.
const KNOWN: &[(Kind, &str, &str, &str)] = &[
    (Kind::Rollout, "argoproj.io/v1alpha1", "Rollout", "rollouts"),
    (Kind::AnalysisTemplate, "argoproj.io/v1alpha1", "AnalysisTemplate", "analysistemplates"),
    (
        Kind::ClusterAnalysisTemplate,
        "argoproj.io/v1alpha1",
        "ClusterAnalysisTemplate",
        "clusteranalysistemplates",
    ),
    (Kind::AnalysisRun, "argoproj.io/v1alpha1", "AnalysisRun", "analysisruns"),
    (Kind::Experiment, "argoproj.io/v1alpha1", "Experiment", "experiments"),
    (Kind::ReplicaSet, "apps/v1", "ReplicaSet", "replicasets"),
    (Kind::Deployment, "apps/v1", "Deployment", "deployments"),
    (Kind::Pod, "v1", "Pod", "pods"),
    (Kind::PodTemplate, "v1", "PodTemplate", "podtemplates"),
    (Kind::Service, "v1", "Service", "services"),
    (Kind::EndpointSlice, "discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    (Kind::HorizontalPodAutoscaler, "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    (Kind::PodDisruptionBudget, "policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    (Kind::Job, "batch/v1", "Job", "jobs"),
    (Kind::Secret, "v1", "Secret", "secrets"),
];

/// Kinds that routers are made of.
const OF_ROUTERS: &[&str] = &[
    "Ingress",
    "VirtualService",
    "DestinationRule",
    "TrafficSplit",
    "Mapping",
    "AmbassadorMapping",
    "TraefikService",
    "ApisixRoute",
    "HTTPRoute",
    "GRPCRoute",
    "TCPRoute",
    "TLSRoute",
];

/// Groups of routers whose kinds have a status subresource.
const STATUS_APART: &[&str] =
    &["networking.k8s.io", "gateway.networking.k8s.io", "policy.linkerd.io", "networking.istio.io"];

impl Kind {
    /// The kind with this `apiVersion` and name.
    pub fn new(api_version: &str, name: &str) -> Kind {
        KNOWN.iter().find(|(_, a, n, _)| *a == api_version && *n == name).map_or_else(
            || Kind::Other { api_version: api_version.into(), name: name.into() },
            |(kind, ..)| kind.clone(),
        )
    }

    /// A kind known by heart, by its name alone (as scripts and stories name kinds).
    pub fn by_name(name: &str) -> Option<Kind> {
        KNOWN.iter().find(|(_, _, n, _)| *n == name).map(|(kind, ..)| kind.clone())
    }

    /// A kind by its name alone: one known by heart, or one of routers in whatever version it is served.
    pub fn named(name: &str) -> Option<Kind> {
        let of_routers = || OF_ROUTERS.contains(&name).then(|| Kind::new("", name));
        Kind::by_name(name).or_else(of_routers)
    }

    /// Whether another kind is meant: the same one, or any of this name where no version is told.
    pub fn covers(&self, other: &Kind) -> bool {
        self == other || (self.api_version().is_empty() && self.name() == other.name())
    }

    fn known(&self) -> Option<&'static (Kind, &'static str, &'static str, &'static str)> {
        KNOWN.iter().find(|(kind, ..)| kind == self)
    }

    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> &str {
        match self {
            Kind::Other { api_version, .. } => api_version,
            _ => self.known().map_or("", |row| row.1),
        }
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// The name, as in `kind:`.
    pub fn name(&self) -> &str {
        match self {
            Kind::Other { name, .. } => name,
            _ => self.known().map_or("", |row| row.2),
        }
    }

    /// The plural under which the API serves it: known by heart, or as Kubernetes guesses it.
    pub fn plural_or_guess(&self) -> Cow<'static, str> {
        self.plural().map_or_else(|| plural_of(self.name()).into(), Cow::from)
    }

    /// The resource with its group, as the API server names it in its answers: `virtualservices.networking.istio.io`.
    pub fn resource(&self) -> String {
        match self.group() {
            "" => self.plural_or_guess().into_owned(),
            group => format!("{}.{group}", self.plural_or_guess()),
        }
    }

    /// The plural under which the API serves a kind known by heart.
    pub fn plural(&self) -> Option<&'static str> {
        self.known().map(|row| row.3)
    }

    /// Whether objects of this kind live in no namespace.
    pub fn is_cluster_wide(&self) -> bool {
        matches!(self, Kind::ClusterAnalysisTemplate)
    }

    /// Whether the API serves a status subresource that plain writes do not touch.
    pub fn has_status_subresource(&self) -> bool {
        !matches!(
            self,
            Kind::AnalysisTemplate
                | Kind::ClusterAnalysisTemplate
                | Kind::AnalysisRun
                | Kind::Experiment
                | Kind::PodTemplate
                | Kind::EndpointSlice
                | Kind::Secret
        ) && (!matches!(self, Kind::Other { .. }) || STATUS_APART.contains(&self.group()))
    }
}

/// The plural of a kind that is not known by heart, as Kubernetes guesses it.
fn plural_of(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if lower.ends_with(['s', 'x']) || lower.ends_with("ch") => format!("{lower}es"),
        _ => format!("{lower}s"),
    }
}
