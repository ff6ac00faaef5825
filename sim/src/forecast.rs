//! What a manifest will do: one update, played by the real controller in a simulated cluster and told step by step.
//!
//! Nobody reads off a list of steps how many pods there will be at once, how long the whole takes at least, or what
//! an abort in the middle leaves behind. So the first deployment is brought to rest, the pod template changes, and each
//! phase that is seen on the way (a step, a preview, a switch) becomes a [`Row`]. For each row a copy of the world
//! is aborted and played to rest. No strategy is modelled here: phases are read off the status that the
//! controller writes, sizes off the pods that exist.
//!
//! Nothing is left to chance: all pods take the same time to start and everything else takes a millisecond, so that
//! the figures are those of the manifest. Start with [`forecast`].

mod against;
mod asked;
pub mod estimate;
mod given;
mod meter;
mod routers;
mod shape;
mod templates;
#[cfg(test)]
mod tests;

pub use against::{Change, Difference, Pair, difference};
pub use asked::{Asked, AskedMetric, Consequence, Reaction};
pub use shape::{Abort, End, Forecast, Row};
pub use templates::Answer;

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::spec::{Spec, StepKind, Strategy};
use tidegate_api::time::{Span, Time};
use tidegate_controller::world::workload_key;

use crate::cluster::store::Part;
use crate::dataplane::flow::Flow;
use crate::metrics::MetricsModel;
use crate::metrics::series::{Of, Series};
use crate::scenario::{Simple, verbs};
use crate::trace::view::View;
use crate::world::{
    Action, Observer, PodModel, PodModels, Rest, RouterModel, TrafficModel, World, WorldConfig,
};
use asked::Runs;
use meter::Meter;
use templates::Templates;

/// How long pods take to be ready unless a caller says otherwise.
pub const STARTUP: Span = Span::seconds(5);
/// Each pod is played, so there is an end to what is played in reasonable time.
pub const MOST_REPLICAS: i64 = 2_000;
/// An update that takes longer than this is taken for one without an end.
const LONGEST: Span = Span::seconds(100 * 365 * 24 * 3600);
/// What makes the second version differ from the first: an annotation of the pod template.
const NEXT_VERSION: &str = "tidegate/forecast";
/// No manifest needs a person so often.
const MOST_PROMOTIONS: u32 = 10_000;
/// An update in which more happens than this is not played.
const MOST_EVENTS: u64 = 5_000_000;
/// Somebody is waited for if nothing but measurements happens, and the next of them only after this time.
const IDLE: Span = Span::seconds(1);

/// Why there is no forecast: the field that is to blame, and what is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The field of the Rollout.
    pub path: String,
    /// Why, with the objects named.
    pub why: String,
}

/// Plays one update of a Rollout. `others` are the objects around it: its Services, its workload and the templates of its
/// analyses are taken from there. The Rollout must be valid; what validation finds is the caller's to tell.
pub fn forecast(rollout: &Object, others: &[Object], startup: Span) -> Result<Forecast, Vec<Refusal>> {
    let mut stage = Stage::set(rollout, others, startup, None)?;
    let played = stage.play(&mut ()).map_err(|refusal| vec![refusal])?;
    let asked = stage.asked(&played);
    Ok(stage.told(played, asked))
}

/// What a row is about, read off the status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The controller has not seen the new version yet.
    Unseen,
    /// A step of a canary, or (behind the last one) the rest of the way.
    Step(usize),
    /// Blue-green, before any pause.
    Preview,
    /// Blue-green, paused.
    Held,
    /// Blue-green, on the way to the switch after a pause.
    Promoted,
    /// Blue-green, switched, and asked about before the old version goes.
    Switched,
    /// Given up.
    Aborted,
    /// The new version is the stable one; the old one may still have pods.
    Complete,
}

/// A phase that began: the world and the figures as they were then.
#[derive(Clone)]
struct Begun {
    phase: Phase,
    world: World,
    meter: Meter,
    by_hand: u32,
}

/// An update that was played to its end.
struct Played {
    begun: Vec<Begun>,
    meter: Meter,
    promotions: u32,
    runs: Runs,
}

impl Played {
    /// The world when a phase began last before a run was there.
    fn before(&self, run: &Key) -> Option<World> {
        let without = self.begun.iter().rev().find(|begun| begun.world.get(run).is_none());
        without.map(|begun| begun.world.clone())
    }
}

struct Stage {
    rollout: Key,
    spec: Spec,
    replicas: i64,
    startup: Span,
    notes: Vec<String>,
    templates: Templates,
    world: World,
    begin: Time,
    /// The hash before the update.
    old: String,
    /// Whether a blue-green update was paused once.
    was_held: bool,
}

impl Stage {
    /// The first version, at rest. Users send so many requests a second, if somebody counts them.
    fn set(
        rollout: &Object,
        others: &[Object],
        startup: Span,
        users: Option<i64>,
    ) -> Result<Stage, Vec<Refusal>> {
        let refuse = |path: &str, why: String| vec![Refusal { path: path.to_owned(), why }];
        let not_one = || refuse("kind", format!("{} is no Rollout", rollout.meta.name));
        let spec = rollout.rollout().ok_or_else(not_one)?.spec.spec().clone();
        let replicas = spec.wished();
        if replicas > MOST_REPLICAS {
            let why = format!("each pod is played: at most {MOST_REPLICAS} replicas, found {replicas}");
            return Err(refuse("spec.replicas", why));
        }
        let traffic =
            users.map(|rps| TrafficModel { rps: vec![(Span::ZERO, rps)], ..TrafficModel::default() });
        let mut world = World::new(WorldConfig { traffic, ..config(startup) });
        let limit = world.now().plus(LONGEST);
        world.run_to_rest(limit, &mut ());
        let mut notes = Vec::new();
        let templates = templates::templates(rollout, &spec, others, &mut notes)?;
        let around = given::surroundings(rollout, &spec, others, &mut notes)?;
        for object in templates.played.iter().cloned().chain(around) {
            let name = format!("{} {}", object.kind.name(), object.meta.name);
            let made = world.user(Action::Create(object), &mut ());
            made.map_err(|why| refuse("spec", format!("{name} was refused: {why}")))?;
        }
        let made = world.user(Action::Create(given::unpaused(rollout, &mut notes)), &mut ());
        let made = made.map_err(|why| refuse("metadata.name", format!("the Rollout was refused: {why}")))?;
        let key = made.map_or_else(|| rollout.key(), |made| made.key());
        let limit = world.now().plus(LONGEST);
        let rest = world.run_to_rest(limit, &mut ());
        let status = world.get(&key).and_then(|object| Some(object.rollout()?.status.clone()));
        let status = status.unwrap_or_default();
        if rest != Rest::AtRest || status.phase.as_deref() != Some("Healthy") {
            let phase = status.phase.as_deref().unwrap_or("Unknown");
            let message = status.message.as_deref().unwrap_or("it does not come to rest");
            return Err(refuse("spec", format!("the first deployment ends {phase}: {message}")));
        }
        // Whole seconds from here on, so that no step seems to take a second more than the other.
        let start = Time(world.now().stamp().plus_seconds(1).time().0);
        world.run_until(start, &mut ());
        let old = status.current().to_owned();
        Ok(Stage {
            rollout: key,
            spec,
            replicas,
            startup,
            notes,
            templates,
            world,
            begin: start,
            old,
            was_held: false,
        })
    }

    fn play(&mut self, watch: &mut dyn Observer) -> Result<Played, Refusal> {
        let object = self.world.get(&self.rollout).cloned();
        let uid = object.map_or_else(Text::default, |object| object.meta.uid.clone());
        let mut meter = Meter::new(&self.world, &uid, self.replicas);
        self.change_template(&mut (&mut meter, &mut *watch))?;
        let limit = self.world.now().plus(LONGEST);
        let mut begun = vec![self.beginning(Phase::Unseen, &meter)];
        let mut promotions = 0;
        let mut runs = Runs::default();
        let most = self.world.events().saturating_add(MOST_EVENTS);
        loop {
            let phase = self.phase(&self.world);
            let (of, mut world) = (PhaseOf::of(self), self.world.clone());
            let goes_on = |world: &World| {
                of.phase(world) == phase && !self.awaits_a_person(world) && world.events() < most
            };
            let ended = world.run_while(limit, &mut (&mut meter, (&mut runs, &mut *watch)), goes_on);
            self.world = world;
            let is_over = match ended {
                None | Some(Rest::AtRest) => self.world.events() >= most,
                Some(Rest::TimedOut | Rest::Livelock) => true,
            };
            if is_over {
                let why = "the update comes to no end in reasonable time".to_owned();
                return Err(Refusal { path: "spec.strategy".to_owned(), why });
            }
            if self.phase(&self.world) != phase {
                self.enter(&mut begun, &mut meter);
                continue;
            }
            if !self.is_paused_in(&self.world) || promotions == MOST_PROMOTIONS {
                break;
            }
            promotions += 1;
            if let Some(now) = begun.last_mut() {
                now.by_hand += 1;
            }
            let rollout = self.rollout.clone();
            strike(&mut self.world, &rollout, Simple::Promote, &mut (&mut meter, (&mut runs, &mut *watch)));
        }
        Ok(Played { begun, meter, promotions, runs })
    }

    /// Notes that another phase began. Steps that were passed in one write each begin (and end) here.
    fn enter(&mut self, begun: &mut Vec<Begun>, meter: &mut Meter) {
        let phase = self.phase(&self.world);
        self.was_held |= phase == Phase::Held;
        let before = begun.last().map(|begun| begun.phase);
        let passed = match (before, phase) {
            (Some(Phase::Step(from)), Phase::Step(to)) if from < to => from + 1..to,
            (Some(Phase::Unseen), Phase::Step(to)) => 0..to,
            _ => 0..0,
        };
        for step in passed {
            let begin = self.beginning(Phase::Step(step), meter);
            meter.begin_row();
            begun.push(begin);
        }
        let begin = self.beginning(phase, meter);
        meter.begin_row();
        begun.push(begin);
    }

    fn beginning(&self, phase: Phase, meter: &Meter) -> Begun {
        Begun { phase, world: self.world.clone(), meter: meter.clone(), by_hand: 0 }
    }

    /// A second version.
    fn change_template(&mut self, watch: &mut dyn Observer) -> Result<(), Refusal> {
        let next = json!({"metadata": {"annotations": {NEXT_VERSION: "next"}}});
        let reference = self.spec.workload_ref.as_ref();
        let key = match reference {
            None => self.rollout.clone(),
            Some(reference) => workload_key(&self.rollout.namespace, reference),
        };
        let patch = match key.kind {
            Kind::PodTemplate => json!({"template": next}),
            _ => json!({"spec": {"template": next}}),
        };
        let done = self.world.user(Action::Merge { key, patch, part: Part::Main }, watch);
        done.map(drop).map_err(|why| Refusal {
            path: if reference.is_some() { "spec.workloadRef" } else { "spec.template" }.to_owned(),
            why: format!("the update was refused: {why}"),
        })
    }

    fn phase(&self, world: &World) -> Phase {
        PhaseOf::of(self).phase(world)
    }

    fn is_paused_in(&self, world: &World) -> bool {
        let body = world.get(&self.rollout).and_then(|object| object.rollout());
        body.is_some_and(|body| !body.status.pause_conditions().is_empty())
            && !matches!(self.phase(world), Phase::Complete | Phase::Aborted)
    }

    /// Whether a person alone can end the pause while measurements go on and on: such a world never rests.
    fn awaits_a_person(&self, world: &World) -> bool {
        let is_running = |run: &Arc<Object>| run.analysis_run().is_some_and(|body| !body.status.is_over());
        self.is_paused_in(world)
            && self.is_endless(self.phase(world))
            && world.next_at().is_some_and(|next| next.since(world.now()).0 >= IDLE.0)
            && world.store().of_kind(&Kind::AnalysisRun).any(is_running)
    }

    fn is_endless(&self, phase: Phase) -> bool {
        match (phase, &self.spec.strategy) {
            (Phase::Step(at), Strategy::Canary(canary)) => {
                let step = canary.steps.get(at);
                step.is_some_and(|step| {
                    matches!(step.kind, StepKind::Pause(_)) && step.raw["pause"]["duration"].is_null()
                })
            }
            (_, Strategy::BlueGreen(blue_green)) => blue_green.auto_promotion_seconds == 0,
            _ => false,
        }
    }
}

/// Reads the phase off the status; asked before each event, so it looks at little.
struct PhaseOf {
    rollout: Key,
    old: String,
    is_canary: bool,
    was_held: bool,
    /// Whether something is asked after a switch.
    asks_after: bool,
}

impl PhaseOf {
    fn of(stage: &Stage) -> PhaseOf {
        PhaseOf {
            rollout: stage.rollout.clone(),
            old: stage.old.clone(),
            is_canary: stage.spec.canary().is_some(),
            was_held: stage.was_held,
            asks_after: stage.spec.blue_green().is_some_and(|spec| spec.post_promotion_analysis.is_some()),
        }
    }

    fn phase(&self, world: &World) -> Phase {
        let body = world.get(&self.rollout).and_then(|object| object.rollout());
        let Some(status) = body.map(|body| &body.status) else { return Phase::Unseen };
        let index = || usize::try_from(status.index().unwrap_or(0)).unwrap_or(0);
        match () {
            () if status.current() == self.old => Phase::Unseen,
            () if status.is_aborted() => Phase::Aborted,
            () if status.current() == status.stable_hash() => Phase::Complete,
            () if self.is_canary => Phase::Step(index()),
            () if self.asks_after && status.active() == status.current() => Phase::Switched,
            () if !status.pause_conditions().is_empty() => Phase::Held,
            () if self.was_held => Phase::Promoted,
            () => Phase::Preview,
        }
    }
}

/// One second is the shortest time that is told.
fn lasts(span: Span) -> bool {
    span.0 >= 1000
}

impl Stage {
    /// From what was seen to what is told.
    fn told(&self, played: Played, asked: Vec<Asked>) -> Forecast {
        let Played { begun, meter, promotions, .. } = played;
        let end = self.world.clone();
        let target = View::of_key(&end, &self.rollout).map(|view| view.new).unwrap_or_default();
        let complete = begun.iter().find(|b| b.phase == Phase::Complete);
        let after = complete.map_or(meter.last_change, |begun| begun.world.now()).since(self.begin);
        let mut rows: Vec<Row> = Vec::new();
        let mut seen: Vec<&Begun> = begun.iter().filter(|b| b.phase != Phase::Unseen).collect();
        // What goes on for an instant after the end belongs to the row before.
        if complete.is_some_and(|begun| !lasts(meter.last_change.since(begun.world.now()))) {
            seen.retain(|begun| begun.phase != Phase::Complete);
        }
        for (at, now) in seen.iter().enumerate() {
            let next = seen.get(at + 1);
            let (then, peak) = match next {
                Some(next) => (&next.world, next.meter.row_peak),
                None if now.phase == Phase::Complete => (&end, meter.row_peak),
                None => (&end, meter.row_peak.max(complete.map_or(0, |complete| complete.meter.row_peak))),
            };
            let ends = next.map_or(meter.last_change.max(now.world.now()), |next| next.world.now());
            rows.push(self.row(now, then, ends, peak, &target));
        }
        let status = end.get(&self.rollout).and_then(|object| Some(object.rollout()?.status.clone()));
        let status = status.unwrap_or_default();
        let text = |text: &Option<Text>| text.as_deref().unwrap_or("").to_owned();
        Forecast {
            namespace: self.rollout.namespace.to_string(),
            name: self.rollout.name.to_string(),
            strategy: if self.spec.canary().is_some() { "canary" } else { "blueGreen" },
            replicas: self.replicas,
            startup: self.startup,
            rows,
            peak: meter.peak,
            extra_pod_seconds: meter.extra.0.saturating_add(500) / 1000,
            fewest_ready: meter.fewest_ready,
            promotions,
            asked,
            end: End {
                phase: text(&status.phase),
                message: text(&status.message),
                complete: complete.is_some(),
                after,
                at_rest: meter.last_change.since(self.begin),
            },
            notes: self.notes.clone(),
        }
    }

    fn row(&self, now: &Begun, then: &World, ends: Time, peak: i64, target: &str) -> Row {
        let (before, after) = (self.sizes(&now.world, target), self.sizes(then, target));
        let begins = now.world.now();
        let takes = ends.since(begins);
        // Steps are aborted as they begin: what they change is what the next one begins with. Where no step
        // shows the middle of a change, the abort comes there.
        let is_change = match now.phase {
            Phase::Step(at) => self.steps() <= at,
            Phase::Preview | Phase::Promoted => true,
            Phase::Unseen | Phase::Held | Phase::Switched | Phase::Aborted | Phase::Complete => false,
        };
        // Right after a whole second, as delays and pods are counted in those.
        let wait = match takes.0 / 2000 {
            seconds @ 1.. if is_change => Span::millis(seconds.saturating_mul(1000).saturating_add(200)),
            _ => Span::ZERO,
        };
        let floor = |at: Time| Span::seconds(at.since(self.begin).0.div_euclid(1000));
        Row {
            step: match now.phase {
                Phase::Step(at) if at < self.steps() => Some(at + 1),
                _ => None,
            },
            what: self.what(now),
            at: floor(begins),
            takes: Span(floor(ends).0 - floor(begins).0),
            weight: (before.weight, after.weight),
            stable: (before.stable, after.stable),
            new: (before.new, after.new),
            peak,
            waits_for: self.waits_for(now),
            by_hand: now.by_hand,
            abort: self.abort(now, wait, target),
        }
    }

    fn is_routed(&self) -> bool {
        self.spec.canary().is_some_and(|canary| canary.traffic_routing.is_some())
    }

    fn steps(&self) -> usize {
        self.spec.canary().map_or(0, |canary| canary.steps.len())
    }

    fn what(&self, now: &Begun) -> String {
        match now.phase {
            Phase::Step(at) => {
                let view = View::of_key(&now.world, &self.rollout);
                let step = view.and_then(|view| view.steps.get(at).cloned());
                step.unwrap_or(if self.steps() == 0 { "rolling update" } else { "all pods" }.to_owned())
            }
            Phase::Preview => "preview starts".to_owned(),
            Phase::Held => "pause before the switch".to_owned(),
            Phase::Promoted => "switch".to_owned(),
            Phase::Switched => "after the switch".to_owned(),
            Phase::Complete => "old pods stay".to_owned(),
            Phase::Aborted => "aborted".to_owned(),
            Phase::Unseen => String::new(),
        }
    }

    fn waits_for(&self, now: &Begun) -> String {
        let pods = match self.spec.min_ready_seconds {
            0 => "pods available".to_owned(),
            seconds => format!("pods available (ready for {seconds}s)"),
        };
        let by_hand = |why: &str| format!("promotion ({why})");
        let paused = |pods: String| if now.by_hand == 0 { pods } else { by_hand("paused") };
        match (now.phase, &self.spec.strategy) {
            (Phase::Step(at), Strategy::Canary(canary)) => match canary.steps.get(at).map(|s| &s.kind) {
                Some(StepKind::Pause(_)) if now.by_hand == 0 => pause_text(&canary.steps[at].raw),
                Some(StepKind::Pause(_)) => by_hand("pause without duration"),
                Some(StepKind::Analysis(_)) => paused("analysis".to_owned()),
                Some(StepKind::Experiment(_)) => paused("experiment".to_owned()),
                _ if self.is_routed() => paused(format!("{pods} and known to proxies")),
                _ => paused(pods),
            },
            (Phase::Held, Strategy::BlueGreen(bg)) => match (now.by_hand, bg.auto_promotion_seconds) {
                (0, seconds @ 1..) => format!("autoPromotionSeconds {seconds}"),
                (0, _) => "pause".to_owned(),
                (_, _) => by_hand("autoPromotionEnabled: false"),
            },
            (Phase::Switched, _) => "analysis".to_owned(),
            (Phase::Preview, Strategy::BlueGreen(bg)) if bg.pre_promotion_analysis.is_some() => {
                paused(format!("{pods}, then analysis"))
            }
            (Phase::Complete, _) => "scale-down delay".to_owned(),
            (Phase::Aborted, _) => "the next version or a retry".to_owned(),
            _ => paused(pods),
        }
    }

    /// A copy of the world is aborted and played to rest.
    fn abort(&self, now: &Begun, wait: Span, target: &str) -> Abort {
        let mut world = now.world.clone();
        let at = world.now().plus(wait);
        world.run_until(at, &mut ());
        let before = self.sizes(&world, target);
        let uid = world.get(&self.rollout).map_or_else(Text::default, |object| object.meta.uid.clone());
        let mut meter = Meter::new(&world, &uid, self.replicas);
        strike(&mut world, &self.rollout, Simple::Abort, &mut meter);
        let limit = at.plus(LONGEST);
        let mut traffic_back = None;
        let mut version = None;
        world.run_while(limit, &mut meter, |world| {
            // What routers were told reaches proxies without a write.
            let is_news = self.is_routed() || version != Some(world.store().version());
            if traffic_back.is_none() && is_news {
                version = Some(world.store().version());
                let is_back = self.sizes(world, target).weight == 0;
                traffic_back = is_back.then(|| world.now());
            }
            true
        });
        let after = self.sizes(&world, target);
        let traffic_back = traffic_back.or_else(|| (after.weight == 0).then_some(meter.last_change));
        let rounded = |then: Time| Span::seconds(then.since(at).0.saturating_add(500).div_euclid(1000));
        let body = world.get(&self.rollout).and_then(|object| object.rollout());
        let phase = body.and_then(|body| body.status.phase.as_deref()).unwrap_or("").to_owned();
        Abort {
            at: Span::seconds(at.since(self.begin).0.div_euclid(1000)),
            midway: wait != Span::ZERO,
            too_late: !body.is_some_and(|body| body.status.is_aborted()),
            weight: (before.weight, after.weight),
            stable: (before.stable, after.stable),
            new: (before.new, after.new),
            traffic_back: traffic_back.map(rounded),
            at_rest: rounded(meter.last_change),
            phase,
        }
    }

    fn sizes(&self, world: &World, target: &str) -> Sizes {
        let Some(object) = world.get(&self.rollout) else { return Sizes::default() };
        let view = View::of(world, object);
        let is_new = |hash: &str| !target.is_empty() && hash == target;
        let ready = |new: bool| {
            view.sets.iter().filter(|set| is_new(&set.hash) == new).map(|set| set.ready).sum::<i64>()
        };
        let (stable, new) = (ready(false), ready(true));
        let all = stable.saturating_add(new);
        let weight = match self.spec.blue_green() {
            Some(blue_green) => {
                let active = view.services.get(&*blue_green.active_service).copied().flatten();
                let revision = view.sets.iter().find(|set| is_new(&set.hash)).map(|set| set.revision);
                if active.is_some() && active == revision { 100 } else { 0 }
            }
            None if self.is_routed() => Flow::of(world, object, 0).percent(target),
            None if all == 0 => 0,
            None => new.saturating_mul(100).saturating_add(all / 2) / all,
        };
        Sizes { weight, stable, new }
    }
}

/// Ready pods of each side, and the share of the users that the new side has, in percent.
#[derive(Clone, Copy, Default)]
struct Sizes {
    weight: i64,
    stable: i64,
    new: i64,
}

fn strike(world: &mut World, rollout: &Key, verb: Simple, watch: &mut dyn Observer) {
    let Some(object) = world.get(rollout).cloned() else { return };
    for action in verbs::simple(verb, &object, world) {
        // Aborts and promotions of an object that is there are never refused.
        let _ = world.user(action, watch);
    }
}

fn pause_text(raw: &Value) -> String {
    match &raw["pause"]["duration"] {
        Value::String(text) => format!("pause {text}"),
        Value::Null => "pause".to_owned(),
        seconds => format!("pause {seconds}s"),
    }
}

fn config(startup: Span) -> WorldConfig {
    let model = PodModel { startup: (startup.0, startup.0), ..PodModel::default() };
    WorldConfig {
        watch_lag: (1, 1),
        call_latency: (1, 1),
        reaction: (1, 1),
        collection: (1, 1),
        autoscaling: (1, 1),
        routers: RouterModel { propagation: (1, 1), endpoints: (1, 1), ..RouterModel::default() },
        pods: PodModels { default: model, by_image: Vec::new() },
        metrics: MetricsModel {
            series: vec![Series {
                of: Of::Matching { provider: None, text: String::new() },
                values: vec![Answer::Good.point()],
            }],
            latency: (1, 1),
            ..MetricsModel::default()
        },
        ..WorldConfig::default()
    }
}
