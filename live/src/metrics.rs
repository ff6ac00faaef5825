//! What Prometheus reads: the reference's names (operations.md 3), of the kinds that exist.
//!
//! Two sorts. What is *known* (sizes, phases) is read off the manager's cache when somebody scrapes and kept nowhere.
//! What *happened* (passes, events, requests) is counted as it happens; such series live as long as their object and
//! 65 seconds longer, so that a last scrape sees them and memory follows the objects that are there (L15).

mod evidence;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
    exponential_buckets,
};
use tidegate_api::object::{Key, Kind, Object, RolloutStatus};
use tidegate_api::spec::{Spec, Strategy};
use tidegate_api::time::{Span, Time};
use tidegate_controller::manager::Manager;
use tidegate_controller::seams::{Answer, ApiCall, Event};

use crate::clock::{self, Stopwatch};
use crate::driver::Witness;
use crate::requests::Counted;
use crate::telemetry;

/// Media type of what [`Metrics::text`] says.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// How long series outlive their object. As in the reference.
const AFTERLIFE: Span = Span::seconds(65);

const PASS_SECONDS: &[f64] = &[0.01, 0.15, 0.25, 0.5, 1.0];
const UPDATE_SECONDS: &[f64] = &[30., 60., 120., 300., 600., 1200., 1800., 3600., 7200., 14400., 28800.];
const PROGRESSION_SECONDS: &[f64] = &[30., 60., 120., 300., 600., 900., 1800., 3600.];
const MANUAL_PAUSE_SECONDS: &[f64] = &[0., 60., 300., 600., 1800., 3600., 7200., 14400., 28800.];

/// Queues by the kind of their keys.
const QUEUES: [(&str, Kind); 4] = [
    ("Rollouts", Kind::Rollout),
    ("Experiments", Kind::Experiment),
    ("AnalysisRuns", Kind::AnalysisRun),
    ("Services", Kind::Service),
];

/// Everything that is counted. Cheap to clone; the clones count together.
#[derive(Clone)]
pub struct Metrics(Rc<RefCell<Inner>>);

struct Inner {
    registry: Registry,
    counts: Counts,
    /// Passes under way.
    running: BTreeMap<Key, Stopwatch>,
    /// Passes that ended in this turn, with their seconds and whether they failed; told once the manager can be asked.
    over: Vec<(Key, f64, bool)>,
    /// Since when objects that have series are gone, by namespace and name.
    gone: BTreeMap<(Group, String, String), Time>,
    swept: Time,
}

/// Series that go together when their object goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Group {
    Rollout,
    Experiment,
    AnalysisRun,
    Service,
    Deployment,
}

/// Passes over objects of one group.
struct Passes {
    group: Group,
    seconds: HistogramVec,
    errors: IntCounterVec,
}

struct Counts {
    passes: [Passes; 3],
    events: IntCounterVec,
    requests: IntCounterVec,
    update: HistogramVec,
    progression: HistogramVec,
    manual_pause: HistogramVec,
    queue_adds: IntCounterVec,
    queue_retries: IntCounterVec,
    queue_wait: HistogramVec,
    queue_work: HistogramVec,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let counts = Counts::new(&registry)?;
        for (name, _) in QUEUES {
            counts.queue_adds.with_label_values(&[name]);
            counts.queue_retries.with_label_values(&[name]);
        }
        Ok(Metrics(Rc::new(RefCell::new(Inner {
            registry,
            counts,
            running: BTreeMap::new(),
            over: Vec::new(),
            gone: BTreeMap::new(),
            swept: Time(0),
        }))))
    }

    /// Tells about this process too: CPU, memory, files, start time.
    pub fn with_process(self) -> Result<Metrics, prometheus::Error> {
        self.0.borrow().registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(self)
    }

    /// A layer that counts a client's requests.
    pub fn requests(&self) -> Counted {
        Counted(self.0.borrow().counts.requests.clone())
    }

    /// All series in the text format; without a manager (a follower) only what this process did itself.
    pub fn text(&self, manager: Option<(&Manager, Time)>) -> Result<String, prometheus::Error> {
        let mut inner = self.0.borrow_mut();
        if let Some((manager, now)) = manager {
            inner.sweep(manager, now);
        }
        let mut families = inner.registry.gather();
        if families.iter().any(|family| family.name() == CPU_SECONDS)
            && let Some(seconds) = clock::cpu_seconds()
        {
            // The library counts whole seconds, in which a controller at rest does not appear for hours.
            families.retain(|family| family.name() != CPU_SECONDS);
            families.extend(cpu(seconds)?);
        }
        families.extend(build()?);
        families.extend(inner.queues(manager)?);
        families.extend(known(manager.map(|(manager, _)| manager))?);
        // A kind without objects has no line, as in the reference.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

impl Counts {
    fn new(registry: &Registry) -> Result<Counts, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let histogram =
                HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let object = &["namespace", "name"];
        let queue_seconds = exponential_buckets(1e-8, 10.0, 10)?;
        let passes = |group: Group, word: &str, article: &str| {
            let name = format!("{word}_reconcile");
            let (seconds, errors) =
                (format!("Seconds of a pass over {article}."), format!("Passes over {article} that failed."));
            Ok::<_, prometheus::Error>(Passes {
                group,
                seconds: histogram(&name, &seconds, object, PASS_SECONDS)?,
                errors: counter(&format!("{name}_error"), &errors, object)?,
            })
        };
        Ok(Counts {
            passes: [
                passes(Group::Rollout, "rollout", "a Rollout")?,
                passes(Group::Experiment, "experiment", "an Experiment")?,
                passes(Group::AnalysisRun, "analysis_run", "an AnalysisRun")?,
            ],
            events: counter(
                "rollout_events_total",
                "Events about a Rollout.",
                &["namespace", "name", "type", "reason"],
            )?,
            requests: counter(
                "controller_clientset_k8s_request_total",
                "Requests to the API server.",
                &["kind", "namespace", "name", "verb", "status_code"],
            )?,
            update: histogram(
                "rollout_duration_seconds",
                "Seconds from the start of an update to its end.",
                &["status"],
                UPDATE_SECONDS,
            )?,
            progression: histogram(
                "rollout_progression_duration_seconds",
                "Seconds from the start of an update to its end, without those spent waiting for a person.",
                &["status"],
                PROGRESSION_SECONDS,
            )?,
            manual_pause: histogram(
                "rollout_manual_pause_duration_seconds",
                "Seconds of an update spent waiting for a person.",
                &["status"],
                MANUAL_PAUSE_SECONDS,
            )?,
            queue_adds: counter("workqueue_adds_total", "Keys that got a pass.", &["name"])?,
            queue_retries: counter("workqueue_retries_total", "Passes that are tried again.", &["name"])?,
            queue_wait: histogram(
                "workqueue_queue_duration_seconds",
                "Seconds from when a key was due to its pass.",
                &["name"],
                &queue_seconds,
            )?,
            queue_work: histogram(
                "workqueue_work_duration_seconds",
                "Seconds of a pass.",
                &["name"],
                &queue_seconds,
            )?,
        })
    }

    fn pass(&self, key: &Key, seconds: f64, failed: bool) {
        let Some(queue) = queue_of(key) else { return };
        self.queue_work.with_label_values(&[queue]).observe(seconds);
        if failed {
            self.queue_retries.with_label_values(&[queue]).inc();
        }
        let group = Group::of(&key.kind);
        if let Some(passes) = self.passes.iter().find(|passes| Some(passes.group) == group) {
            let labels = &[&*key.namespace, &*key.name];
            passes.seconds.with_label_values(labels).observe(seconds);
            if failed {
                passes.errors.with_label_values(labels).inc();
            }
        }
    }

    /// Counts an update that has ended since `before`.
    fn update(&self, before: &RolloutStatus, after: &RolloutStatus) {
        let Some(duration) = &after.duration else { return };
        let finished_before = before.duration.as_ref().and_then(|duration| duration.finished);
        let (Some(started), Some(finished)) = (duration.started, duration.finished) else { return };
        if finished_before == Some(finished) {
            return;
        }
        let status = duration.completion.as_deref().unwrap_or("");
        let whole = finished.0.saturating_sub(started.0).max(0);
        let paused = duration.manual_pause_seconds.map_or(0, |seconds| seconds.0).max(0);
        self.update.with_label_values(&[status]).observe(whole as f64);
        self.progression.with_label_values(&[status]).observe((whole.saturating_sub(paused)).max(0) as f64);
        self.manual_pause.with_label_values(&[status]).observe(paused as f64);
    }
}

fn queue_of(key: &Key) -> Option<&'static str> {
    QUEUES.iter().find(|(_, kind)| *kind == key.kind).map(|(name, _)| *name)
}

impl Group {
    fn of(kind: &Kind) -> Option<Group> {
        match kind {
            Kind::Rollout => Some(Group::Rollout),
            Kind::Experiment => Some(Group::Experiment),
            Kind::AnalysisRun => Some(Group::AnalysisRun),
            Kind::Service => Some(Group::Service),
            Kind::Deployment => Some(Group::Deployment),
            _ => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Group::Rollout => Kind::Rollout,
            Group::Experiment => Kind::Experiment,
            Group::AnalysisRun => Kind::AnalysisRun,
            Group::Service => Kind::Service,
            Group::Deployment => Kind::Deployment,
        }
    }
}

impl Inner {
    fn mark_gone(&mut self, object: &Object, now: Time) {
        if let Some(group) = Group::of(&object.kind) {
            let place = (group, object.meta.namespace.to_string(), object.meta.name.to_string());
            self.gone.entry(place).or_insert(now);
        }
    }

    /// Removes the series of objects that have been gone long enough.
    fn sweep(&mut self, manager: &Manager, now: Time) {
        self.swept = now;
        let counts = &self.counts;
        let gone = &mut self.gone;
        let mut is_over = |group: Group, namespace: &str, name: &str| {
            let place = (group, namespace.to_owned(), name.to_owned());
            if manager.cache().get(&Key::new(group.kind(), namespace, name)).is_some() {
                gone.remove(&place);
                return false;
            }
            now.since(*gone.entry(place).or_insert(now)) >= AFTERLIFE
        };
        let of = |group: Group| {
            move |labels: &BTreeMap<String, String>| {
                Some((group, labels.get("namespace")?.clone(), labels.get("name")?.clone()))
            }
        };
        let of_request = |labels: &BTreeMap<String, String>| {
            let group = match &**labels.get("kind")? {
                "rollouts" => Group::Rollout,
                "experiments" => Group::Experiment,
                "analysisruns" => Group::AnalysisRun,
                "services" => Group::Service,
                "deployments" => Group::Deployment,
                _ => return None,
            };
            let name = labels.get("name").filter(|name| *name != "N/A")?;
            Some((group, labels.get("namespace")?.clone(), name.clone()))
        };
        let mut stale = |families: Vec<MetricFamily>, place: &dyn Fn(&BTreeMap<String, String>) -> _| {
            let series = families.iter().flat_map(MetricFamily::get_metric).map(|metric| {
                let labels = metric.get_label().iter();
                labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
            });
            series
                .filter(|labels: &BTreeMap<String, String>| {
                    let place: Option<(Group, String, String)> = place(labels);
                    place.is_some_and(|(group, namespace, name)| is_over(group, &namespace, &name))
                })
                .collect::<Vec<_>>()
        };
        // A series that is not there any more needs no removing.
        for passes in &counts.passes {
            for labels in stale(passes.seconds.collect(), &of(passes.group)) {
                let _ = passes.seconds.remove_label_values(&values(&labels, &["namespace", "name"]));
            }
            for labels in stale(passes.errors.collect(), &of(passes.group)) {
                let _ = passes.errors.remove_label_values(&values(&labels, &["namespace", "name"]));
            }
        }
        for labels in stale(counts.events.collect(), &of(Group::Rollout)) {
            let names = &["namespace", "name", "type", "reason"];
            let _ = counts.events.remove_label_values(&values(&labels, names));
        }
        for labels in stale(counts.requests.collect(), &of_request) {
            let names = &["kind", "namespace", "name", "verb", "status_code"];
            let _ = counts.requests.remove_label_values(&values(&labels, names));
        }
        // All their series were removed just now.
        gone.retain(|_, since| now.since(*since) < AFTERLIFE);
    }

    /// What waits and what is under way.
    fn queues(&self, manager: Option<(&Manager, Time)>) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let mut depths: BTreeMap<&str, i64> = QUEUES.iter().map(|(name, _)| (*name, 0)).collect();
        for queue in manager.iter().flat_map(|(manager, now)| manager.waiting(*now)).filter_map(queue_of) {
            *depths.entry(queue).or_default() += 1;
        }
        let mut seconds: BTreeMap<&str, (f64, f64)> =
            QUEUES.iter().map(|(name, _)| (*name, (0., 0.))).collect();
        for (key, watch) in &self.running {
            if let Some((all, longest)) = queue_of(key).and_then(|queue| seconds.get_mut(queue)) {
                *all += watch.seconds();
                *longest = longest.max(watch.seconds());
            }
        }
        let gauges = Gauges::default();
        for (queue, depth) in depths {
            gauges
                .of("workqueue_depth", "Keys that wait for their pass.", &["name"])?
                .set(&[queue], depth as f64);
        }
        for (queue, (all, longest)) in seconds {
            gauges
                .of("workqueue_unfinished_work_seconds", "Seconds of all passes under way.", &["name"])?
                .set(&[queue], all);
            gauges
                .of(
                    "workqueue_longest_running_processor_seconds",
                    "Seconds of the longest pass under way.",
                    &["name"],
                )?
                .set(&[queue], longest);
        }
        Ok(gauges.gather())
    }
}

fn values<'a>(labels: &'a BTreeMap<String, String>, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| labels.get(*name).map_or("", |value| &**value)).collect()
}

/// Gauges of one scrape.
#[derive(Default)]
struct Gauges(RefCell<BTreeMap<String, GaugeVec>>);

struct Family(GaugeVec);

impl Gauges {
    fn of(&self, name: &str, help: &str, labels: &[&str]) -> Result<Family, prometheus::Error> {
        let mut all = self.0.borrow_mut();
        if let Some(family) = all.get(name) {
            return Ok(Family(family.clone()));
        }
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        all.insert(name.to_owned(), family.clone());
        Ok(Family(family))
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let registry = Registry::new();
        for family in self.0.borrow().values() {
            // The names differ, so none is refused.
            let _ = registry.register(Box::new(family.clone()));
        }
        registry.gather()
    }
}

impl Family {
    fn set(&self, values: &[&str], value: f64) {
        self.0.with_label_values(values).set(value);
    }
}

fn cpu(seconds: f64) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let counter = Counter::new(CPU_SECONDS, "Total user and system CPU time spent in seconds.")?;
    counter.inc_by(seconds);
    Ok(counter.collect())
}

/// Which program this is.
fn build() -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = Registry::new();
    let version = env!("CARGO_PKG_VERSION");
    let controller = Gauge::with_opts(
        Opts::new("argo_rollouts_controller_info", "Version of the controller.")
            .const_label("version", version),
    )?;
    let build = Gauge::with_opts(
        Opts::new(
            "build_info",
            "What the program was built from; the go labels hold the Rust compiler and target.",
        )
        .const_label("version", version)
        .const_label("goversion", concat!("rust", env!("CARGO_PKG_RUST_VERSION")))
        .const_label("goarch", std::env::consts::ARCH)
        .const_label("commit", option_env!("TIDEGATE_COMMIT").unwrap_or("unknown")),
    )?;
    for gauge in [controller, build] {
        gauge.set(1.0);
        registry.register(Box::new(gauge))?;
    }
    Ok(registry.gather())
}

/// What is known right now: of each Rollout, and of what gathers evidence.
fn known(manager: Option<&Manager>) -> Result<Vec<MetricFamily>, prometheus::Error> {
    const LABELS: &[&str] = &["namespace", "name"];
    let gauges = Gauges::default();
    let info = gauges.of(
        "rollout_info",
        "One for each Rollout.",
        &["namespace", "name", "strategy", "traffic_router", "phase"],
    )?;
    let phases = gauges.of(
        "rollout_phase",
        "Deprecated: phase of a Rollout; use rollout_info.",
        &["namespace", "name", "strategy", "phase"],
    )?;
    let available = gauges.of("rollout_info_replicas_available", "Available pods.", LABELS)?;
    let unavailable =
        gauges.of("rollout_info_replicas_unavailable", "Pods that are not available.", LABELS)?;
    let desired = gauges.of("rollout_info_replicas_desired", "Pods asked for.", LABELS)?;
    let updated = gauges.of("rollout_info_replicas_updated", "Pods of the current template.", LABELS)?;
    let ours = manager.into_iter().flat_map(|manager| {
        manager.cache().of_kind(&Kind::Rollout).filter(|rollout| manager.is_ours(rollout))
    });
    for rollout in ours {
        let Some(body) = rollout.rollout() else { continue };
        let (spec, status) = (body.spec.spec(), &*body.status);
        let (namespace, name) = (&*rollout.meta.namespace, &*rollout.meta.name);
        let (strategy, phase) = (strategy(spec), phase(status));
        info.set(&[namespace, name, strategy, traffic_router(spec), phase], 1.0);
        for known in ["Completed", "Progressing", "Paused", "Timeout", "Error", "Abort"] {
            phases.set(&[namespace, name, strategy, known], f64::from(u8::from(known == phase)));
        }
        let labels = &[namespace, name];
        let (all, up) = (status.replicas.unwrap_or(0), status.available.unwrap_or(0));
        available.set(labels, up as f64);
        unavailable.set(labels, all.saturating_sub(up) as f64);
        desired.set(labels, spec.replicas.unwrap_or(1) as f64);
        updated.set(labels, status.updated.unwrap_or(0) as f64);
    }
    if let Some(manager) = manager {
        evidence::known(&gauges, manager)?;
    }
    Ok(gauges.gather())
}

fn strategy(spec: &Spec) -> &'static str {
    match spec.strategy {
        Strategy::Canary(_) => "canary",
        Strategy::BlueGreen(_) => "blueGreen",
        Strategy::Unclear => "none",
    }
}

/// The last router that is configured, in the order that the reference looks through. Others have no name there.
fn traffic_router(spec: &Spec) -> &'static str {
    let routing = match &spec.strategy {
        Strategy::Canary(canary) => canary.traffic_routing.as_ref(),
        Strategy::BlueGreen(_) | Strategy::Unclear => None,
    };
    let Some(routing) = routing else { return "" };
    let routers = [
        ("alb", "ALB"),
        ("ambassador", "Ambassador"),
        ("istio", "Istio"),
        ("nginx", "Nginx"),
        ("smi", "SMI"),
        ("appMesh", "AppMesh"),
    ];
    routers.into_iter().rfind(|(field, _)| routing.has(field)).map_or("", |(_, name)| name)
}

/// The phase of a Rollout as its metrics tell it. Not `status.phase`.
fn phase(status: &RolloutStatus) -> &'static str {
    if status.condition("InvalidSpec").is_some() {
        return "InvalidSpec";
    }
    match status.condition("Progressing").and_then(|condition| condition.reason.as_deref()) {
        Some("NewReplicaSetAvailable") => "Completed",
        Some("RolloutPaused") => "Paused",
        Some("ReplicaSetCreateError") => "Error",
        Some("ProgressDeadlineExceeded") => "Timeout",
        Some("RolloutAborted") => "Abort",
        _ => "Progressing",
    }
}

impl Witness for Metrics {
    fn called(&mut self, call: &ApiCall) {
        let ApiCall::Record(notice) = call else { return };
        if notice.about.kind == Kind::Rollout {
            let kind = if notice.warning { "Warning" } else { "Normal" };
            let labels = &[&*notice.about.namespace, &*notice.about.name, kind, &*notice.reason];
            self.0.borrow().counts.events.with_label_values(labels).inc();
        }
    }

    fn sees(&mut self, event: &Event, manager: &Manager, now: Time) {
        let mut inner = self.0.borrow_mut();
        match event {
            Event::Gone(object) => inner.mark_gone(object, now),
            Event::Seen(object) | Event::Answered(_, Answer::Done(Some(object))) => {
                let held = manager.cache().get(&object.key());
                if let Some((before, after)) = news_of_rollout(held.map(|held| &**held), object) {
                    inner.counts.update(before, after);
                }
            }
            Event::Listed(kind, keys) => {
                for object in manager.cache().of_kind(kind).filter(|object| !keys.contains(&object.key())) {
                    inner.mark_gone(object, now);
                }
            }
            Event::Answered(..) | Event::Replied(..) | Event::Unserved(_) | Event::Woken => {}
        }
    }

    fn began(&mut self, key: &Key, waited: Span) {
        let mut inner = self.0.borrow_mut();
        if let Some(queue) = queue_of(key) {
            inner.counts.queue_adds.with_label_values(&[queue]).inc();
            inner.counts.queue_wait.with_label_values(&[queue]).observe(waited.0.max(0) as f64 / 1000.0);
        }
        inner.running.insert(key.clone(), Stopwatch::start());
    }

    fn ended(&mut self, key: &Key, failed: bool) {
        let mut inner = self.0.borrow_mut();
        let Some(watch) = inner.running.remove(key) else { return };
        let seconds = watch.seconds();
        inner.counts.pass(key, seconds, failed);
        inner.over.push((key.clone(), seconds, failed));
    }

    fn turned(&mut self, manager: &Manager, now: Time) {
        let mut inner = self.0.borrow_mut();
        for (key, seconds, failed) in inner.over.drain(..) {
            let object = manager.cache().get(&key).map(|object| &**object);
            if object.is_some() {
                telemetry::passed(&key, object, seconds, failed);
            }
        }
        // Also where nobody scrapes: memory must not depend on that.
        if !inner.gone.is_empty() && now.since(inner.swept) >= AFTERLIFE {
            inner.sweep(manager, now);
        }
    }
}

/// The status held so far and a newer one of the same Rollout.
fn news_of_rollout<'a>(
    held: Option<&'a Object>,
    new: &'a Object,
) -> Option<(&'a RolloutStatus, &'a RolloutStatus)> {
    let held = held.filter(|held| held.meta.uid == new.meta.uid)?;
    (held.meta.resource_version < new.meta.resource_version).then_some(())?;
    Some((&held.rollout()?.status, &new.rollout()?.status))
}
