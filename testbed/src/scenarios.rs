//! Plays scenarios in both worlds: in the simulator, with other lags each time, and once with the real controller on a
//! real server. What the real one shows must be something that the simulator shows.

mod fit;
mod haste;
mod strides;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;
use tidegate_sim::play::{Outcome, Setup, live_before};
use tidegate_sim::reference::{Difference, Place, Recording, differences};
use tidegate_sim::scenario::{Condition, Entry, Files, Moment, Script, Since, Then, Verb};
use tidegate_sim::world::{Millis, PodModel, PodModels};
use tokio::time::Instant;

use crate::stage::{Stage, duration, made_for};
use crate::stories::Tracks;
use crate::surroundings::Surroundings;
use crate::{Cluster, StandIn, TestbedError};
use strides::is_another_stride;

/// A scenario may take so long on a real server, its first deployment included.
pub const LONGEST: Span = Span::seconds(30);
/// What a real server may take longer than the simulator in all.
const PATIENCE: Duration = Duration::from_secs(20);
/// An end that looks like that of the simulator is one when nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(1500);
/// How often the simulator plays each scenario, and the lags of its watches, in turn.
const PLAYS: u64 = 16;
const LAGS: [Millis; 4] = [(1, 5), (1, 20), (5, 60), (20, 200)];
/// Milliseconds between the first and the last of some pods that start together, in turn.
const SPREADS: [i64; 4] = [20, 2, 100, 400];
/// Milliseconds that a person needs to give the next command, in turn.
const HANDS: [i64; 8] = [0, 2, 5, 10, 20, 50, 100, 200];

/// A scenario for both worlds, and what the simulator shows of it.
pub struct Case {
    /// Its path below the folder of scenarios.
    pub name: String,
    script: Script,
    place: Place,
    /// What was shown in each play until the first deployment had settled; nothing if the story does not wait for that.
    settled: Vec<Tracks>,
    shown: Vec<Tracks>,
    simulated: Span,
    /// Whether it is played in haste, because it takes too long otherwise.
    hasty: bool,
}

/// Where a scenario can be played.
pub enum Fit {
    /// In both worlds.
    Both(Box<Case>),
    /// Only in the simulator, and why.
    SimOnly(String),
}

/// Why the simulator finds a scenario unfit for a real server.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Unfit {
    TooLong,
    /// What does not come out as it is told.
    AnotherStory(String),
    QuickHands,
    Modelled,
}

impl Unfit {
    fn told(&self, hasty: bool) -> String {
        let why = match (self, hasty) {
            (Unfit::TooLong, false) => "takes too long",
            (Unfit::TooLong, true) => "takes too long, even in haste",
            (Unfit::AnotherStory(_), false) => "tells another story when pods are punctual",
            (Unfit::AnotherStory(_), true) => "takes too long, and tells another story in haste",
            (Unfit::QuickHands, _) => "needs hands that are quicker than any",
            (Unfit::Modelled, _) => "measures users, and a real server has none",
        };
        why.to_owned()
    }
}

/// A play in the simulator, judged by what the story itself says alone.
fn simulated(script: &Script) -> Result<Outcome, Unfit> {
    let mut answers = fit::Answers::default();
    let setup = Setup { unjudged: true, ..Setup::default() };
    let outcome = live_before(script, setup, &mut answers).outcome;
    if answers.modelled { Err(Unfit::Modelled) } else { Ok(outcome) }
}

/// How a scenario is played on a real server.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The controller's program.
    pub program: &'a Path,
    /// What tells this play of the scenario from others: part of the name of its namespace.
    pub play: &'a str,
    /// Kill the controller when so many versions of what it writes have been seen, counted from the first.
    pub crash_at: Option<u64>,
}

/// What a play on a real server showed.
pub struct Shown {
    /// The tracks.
    pub tracks: Tracks,
    /// Versions seen of objects that the controller writes.
    pub writes: u64,
    /// What the controller said last.
    pub log: String,
}

impl Case {
    /// Plays a scenario in the simulator, and tells whether a real server can show it, too; in haste where it takes too
    /// long otherwise and it may be hastened.
    pub fn read(name: &str, file: &Path, may_hasten: bool) -> Result<Fit, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let mut script = Script::read(name, &text, &Beside(file)).map_err(|error| error.to_string())?;
        let namespace: String = name.replace(['/', '_'], "-").chars().take(52).collect();
        let place = Place {
            namespace: namespace.trim_end_matches('-').to_owned(),
            metrics: "http://metrics.invalid".to_owned(),
        };
        if let Some(why) = fit::sim_only(&script) {
            return Ok(Fit::SimOnly(why));
        }
        move_to(&mut script, &place.namespace);
        let mut case = Case {
            name: name.to_owned(),
            script,
            place,
            settled: Vec::new(),
            shown: Vec::new(),
            simulated: Span::ZERO,
            hasty: false,
        };
        let mut told = case.simulate_all();
        if told == Err(Unfit::TooLong) && may_hasten {
            case = Case {
                script: haste::hasten(&case.script),
                settled: Vec::new(),
                shown: Vec::new(),
                simulated: Span::ZERO,
                hasty: true,
                ..case
            };
            told = case.simulate_all();
        }
        Ok(match told {
            Ok(()) => Fit::Both(Box::new(case)),
            Err(why) => Fit::SimOnly(why.told(case.hasty)),
        })
    }

    /// Plays it in the simulator, each time with other lags; an error says why it is not for a real server.
    fn simulate_all(&mut self) -> Result<(), Unfit> {
        for seed in 0..PLAYS {
            let took = self.simulate(seed)?;
            self.simulated = self.simulated.max(took);
            if took > LONGEST {
                return Err(Unfit::TooLong);
            }
        }
        Ok(())
    }

    fn simulate(&mut self, seed: u64) -> Result<Span, Unfit> {
        let nth = usize::try_from(seed).unwrap_or(0);
        let mut script = Script {
            seed: self.script.seed + seed,
            watch_lag: LAGS[nth % LAGS.len()],
            pods: punctual(&self.script.pods, SPREADS[nth / LAGS.len() % SPREADS.len()]),
            ..self.script.clone()
        };
        // Nobody gives two commands at the same instant, or acts at the instant at which something comes to be.
        let hand = Span(HANDS[nth / 2 % HANDS.len()]);
        let mut before = None;
        for entry in &mut script.when {
            let is_on_time = matches!(entry.moment, Moment::At(_)) && before.as_ref() != Some(&entry.moment);
            before = Some(entry.moment.clone());
            if !is_on_time {
                entry.after = Span(entry.after.0 + hand.0);
            }
        }
        let mut took = Span::ZERO;
        // First deployments come out in few ways.
        if script.settled && nth < LAGS.len() {
            let first = Script { when: Vec::new(), settled: false, then: Then::default(), ..script.clone() };
            let outcome = simulated(&first)?;
            took = outcome.simulated;
            self.settled.push(outcome.milestones_at(&self.place));
        }
        let outcome = simulated(&script)?;
        if took.0 + outcome.simulated.0 > LONGEST.0 {
            return Err(Unfit::TooLong);
        }
        if let Some(failure) = outcome.failures.first() {
            return Err(match hand {
                Span::ZERO => Unfit::AnotherStory(failure.to_string()),
                _ => Unfit::QuickHands,
            });
        }
        self.shown.push(outcome.milestones_at(&self.place));
        Ok(Span(took.0 + outcome.simulated.0))
    }

    /// Plays it on a real server.
    pub async fn play(&self, server: Server<'_>) -> Result<Shown, TestbedError> {
        let script = &self.script;
        let client = server.cluster.client().await?;
        let mut script = script.clone();
        let mut place = self.place.clone();
        place.namespace = format!("{}-{}", place.namespace, server.play);
        move_to(&mut script, &place.namespace);
        let mut stage = Stage::open(client.clone(), place.clone(), kinds(&script)).await?;
        let routed = fit::is_routed(&script);
        if routed {
            stage.send_users(script.routers.clone());
        }
        let surroundings = match routed || fit::is_measured(&script) {
            true => Some(surroundings(&client, &script, &place.namespace).await?),
            false => None,
        };
        let pods = punctual(&script.pods, SPREADS[0]);
        let stand_in = StandIn::start(client, Some(&place.namespace), pods, script.seed).await?;
        let extras = surroundings.as_ref().map(Surroundings::extras).unwrap_or_default();
        stage.control(server.program, server.cluster.kubeconfig(), server.crash_at, extras).await?;
        // In the simulator they come at one instant. Here a Rollout that came first would be looked at without what it names.
        let (rollouts, named): (Vec<_>, Vec<_>) =
            script.given.iter().partition(|object| object.kind == Kind::Rollout);
        for object in named.into_iter().chain(rollouts) {
            if let Err(why) = stage.create(object.to_value()).await {
                stage.play.note(format!("create {} {why}", object.kind.name()));
            }
        }
        let limit = Instant::now() + duration(self.simulated) + PATIENCE;
        if script.settled {
            rest(&mut stage, &self.settled, limit).await;
        }
        let begin = Instant::now();
        let mut last = since(&stage);
        for entry in &script.when {
            if !moment(&mut stage, entry, begin, last, limit).await {
                break;
            }
            act(&mut stage, &stand_in, surroundings.as_ref(), &entry.verb).await?;
            last = since(&stage);
        }
        rest(&mut stage, &self.shown, limit).await;
        let shown = Shown { tracks: stage.play.tracks(), writes: stage.writes(), log: stage.log() };
        stage.close().await?;
        Ok(shown)
    }

    /// On which tracks a play shows what the simulator never shows. Events and messages are told by the same code in both
    /// worlds, and depend on how events are counted; states are compared.
    pub fn differences(&self, tracks: &Tracks) -> Vec<Difference> {
        let found = differences(&self.as_recording(), &plain(tracks), &[]);
        found.into_iter().filter(|found| !found.is_about_words() && !is_another_stride(found)).collect()
    }

    /// In which respects a play ends otherwise than the simulator ever does, whatever happened on the way.
    pub fn differences_at_the_end(&self, tracks: &Tracks) -> Vec<Difference> {
        let ends: Vec<Tracks> = self.shown.iter().map(end).collect();
        let found = differences(&recording(&self.name, &ends), &end(tracks), &[]);
        found.into_iter().filter(|difference| !difference.is_about_words()).collect()
    }

    /// How long it takes in the simulator, the first deployment included.
    pub fn simulated(&self) -> Span {
        self.simulated
    }

    /// Whether it is played in haste, because it takes too long otherwise.
    pub fn is_hasty(&self) -> bool {
        self.hasty
    }

    fn as_recording(&self) -> Recording {
        let shown: Vec<Tracks> = self.shown.iter().map(plain).collect();
        recording(&self.name, &shown)
    }
}

/// Everything that the simulator showed, as if it had been recorded.
fn recording(name: &str, shown: &[Tracks]) -> Recording {
    let names: BTreeSet<&String> = shown.iter().flat_map(Tracks::keys).collect();
    let mut racy = BTreeMap::new();
    for track in names {
        let mut seen: Vec<Vec<Value>> = Vec::new();
        for tracks in shown {
            let sequence = tracks.get(track).cloned().unwrap_or_default();
            if !seen.contains(&sequence) {
                seen.push(sequence);
            }
        }
        racy.insert(track.clone(), seen);
    }
    Recording { name: name.to_owned(), area: String::new(), stable: BTreeMap::new(), racy }
}

/// The tracks with refusals cut short: in which words an API server refuses is not the controller's doing.
fn plain(tracks: &Tracks) -> Tracks {
    let mut tracks = tracks.clone();
    // In how many strides a workload is scaled down is as little of a state as the strides themselves.
    tracks.retain(|track, _| !track.ends_with("/workloadObservedGeneration"));
    for step in tracks.get_mut("script").into_iter().flatten() {
        let refused =
            step.as_str().and_then(|step| step.split_once(" refused")).map(|(verb, _)| verb.to_owned());
        if let Some(verb) = refused {
            *step = format!("{verb} refused").into();
        }
    }
    tracks
}

/// The last value of each track.
fn end(tracks: &Tracks) -> Tracks {
    // A condition that came and went, while objects were made one after the other, is none at the end.
    let is_none = |track: &str, values: &[Value]| {
        track.contains("/condition/") && values.last().is_some_and(|last| last == "-")
    };
    let states = tracks.iter().filter(|(track, values)| is_state(track) && !is_none(track, values));
    states.map(|(track, values)| (track.clone(), values.last().cloned().into_iter().collect())).collect()
}

/// How many pods were made and how long it took may differ after a crash.
fn is_state(track: &str) -> bool {
    let counts = ["/made", "/duration", "/workloadObservedGeneration"];
    !track.starts_with("event") && track != "script" && counts.iter().all(|end| !track.ends_with(end))
}

/// Looks on until the stage stands as the simulator did at the end of one of its plays.
async fn rest(stage: &mut Stage, shown: &[Tracks], limit: Instant) {
    let ends: Vec<Tracks> = shown.iter().map(end).collect();
    while Instant::now() < limit {
        stage.quiet(QUIET, limit).await;
        if ends.contains(&end(&stage.play.tracks())) {
            return;
        }
        stage.change(limit).await;
    }
}

fn since(stage: &Stage) -> Since {
    Since { at: stage.picture.now(), recorded: stage.picture.recorded().len() }
}

/// Looks on until the moment of an entry; says whether it came.
async fn moment(stage: &mut Stage, entry: &Entry, begin: Instant, last: Since, limit: Instant) -> bool {
    match &entry.moment {
        Moment::Next => {}
        Moment::At(at) => stage.pass_until(begin + duration(*at)).await,
        Moment::Once(condition) => {
            if let Some(span) = condition.time_since {
                let passed = stage.picture.now().since(last.at);
                stage.pass(duration(Span(span.0 - passed.0))).await;
            }
            let holds = |stage: &Stage| condition.holds(&stage.picture, last);
            let came = stage.until(limit, holds).await;
            stage.play.note(if came { "wait ok".to_owned() } else { format!("wait timed out {condition}") });
            if !came {
                return false;
            }
        }
    }
    stage.pass(duration(entry.after)).await;
    true
}

/// The surroundings of a scenario's controller. They look at all kinds that nobody else looks after.
async fn surroundings(
    client: &Client,
    script: &Script,
    namespace: &str,
) -> Result<Surroundings, TestbedError> {
    let mut routes: BTreeSet<Kind> =
        kinds(script).into_iter().filter(|kind| matches!(kind, Kind::Other { .. })).collect();
    if script.routers.elb {
        routes.insert(Kind::new("discovery.k8s.io/v1", "EndpointSlice"));
    }
    let routes = if fit::is_routed(script) { routes } else { BTreeSet::new() };
    Surroundings::start(client, namespace, routes, script.routers.clone(), &script.metrics).await
}

async fn act(
    stage: &mut Stage,
    stand_in: &StandIn,
    surroundings: Option<&Surroundings>,
    verb: &Verb,
) -> Result<(), TestbedError> {
    let said = verb.said();
    let word = said.split([' ', ':']).next().unwrap_or("").to_owned();
    let mut went = "ok".to_owned();
    match verb.writes(&stage.picture) {
        Err(why) => went = format!("refused: {why}"),
        Ok(actions) => {
            for action in actions {
                if let Err(why) = stage.act(action).await {
                    went = why;
                }
            }
        }
    }
    match verb {
        Verb::Ready { ready, .. } => {
            for pod in verb.pods(&stage.picture) {
                if let Err(why) = stage.set_ready(stand_in, &pod, *ready).await {
                    stage.play.note(format!("ready {why}"));
                }
            }
        }
        Verb::RestartController => stage.restart_controller(Duration::ZERO).await?,
        Verb::UpgradeController(down) => stage.restart_controller(duration(*down)).await?,
        Verb::Metric(series) => {
            if let Some(surroundings) = surroundings {
                surroundings.script(series.clone());
            }
        }
        Verb::Fault(fault) => {
            if let Some(surroundings) = surroundings {
                surroundings.fault(fault);
            }
        }
        _ => {}
    }
    if !matches!(verb, Verb::Note(_)) {
        stage.play.note(format!("{word} {went}"));
    }
    Ok(())
}

fn objects(script: &Script) -> impl Iterator<Item = &Object> {
    let later = script.when.iter().flat_map(|entry| match &entry.verb {
        Verb::Apply(objects) | Verb::Create(objects) => objects.as_slice(),
        _ => &[],
    });
    script.given.iter().chain(later)
}

/// The kinds that the scenario has objects of or looks at.
fn kinds(script: &Script) -> BTreeSet<Kind> {
    let looked = |condition: &Condition| condition.object.as_ref().map(|object| object.target.kind.clone());
    let moments = script.when.iter().filter_map(|entry| match &entry.moment {
        Moment::Once(condition) => looked(condition),
        Moment::At(_) | Moment::Next => None,
    });
    let mut kinds: BTreeSet<Kind> =
        moments.chain(objects(script).map(|object| object.kind.clone())).collect();
    if fit::is_measured(script) {
        kinds.extend([Kind::AnalysisRun, Kind::Job]);
    }
    let has_experiment = |object: &Object| {
        let canary = object.rollout().and_then(|body| body.spec.spec().canary());
        canary.is_some_and(|canary| canary.steps.iter().any(|step| step.raw.get("experiment").is_some()))
    };
    if objects(script).any(has_experiment) {
        kinds.insert(Kind::Experiment);
    }
    kinds.extend(objects(script).filter_map(|object| made_for(&object.to_value())));
    // A condition may name a kind without its version; then the objects do.
    kinds.retain(|kind| !kind.api_version().is_empty());
    kinds
}

fn move_to(script: &mut Script, namespace: &str) {
    let later = script.when.iter_mut().flat_map(|entry| match &mut entry.verb {
        Verb::Apply(objects) | Verb::Create(objects) => objects.as_mut_slice(),
        _ => &mut [],
    });
    for object in script.given.iter_mut().chain(later) {
        if !object.kind.is_cluster_wide() {
            object.meta.namespace = namespace.into();
        }
    }
}

/// Pods whose start takes what it takes at least. The order in which pods become ready decides about sizes on
/// the way; where it were drawn over seconds, two plays would rarely agree.
fn punctual(models: &PodModels, spread: i64) -> PodModels {
    let punctual = |model: &PodModel| {
        let (low, high) = model.startup;
        PodModel { startup: (low, high.min(low + spread)), ..model.clone() }
    };
    PodModels {
        default: punctual(&models.default),
        by_image: models.by_image.iter().map(|(image, model)| (image.clone(), punctual(model))).collect(),
    }
}

/// Every scenario below a folder, by its path there without the ending. Manifests and the like lie among them.
pub fn find(root: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let problem = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(problem)? {
            let path = entry.map_err(problem)?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                let text = fs::read_to_string(&path).map_err(problem)?;
                let inner = path.strip_prefix(root).unwrap_or(&path).with_extension("");
                if text.lines().any(|line| line.starts_with("given:")) {
                    found.insert(inner.display().to_string(), path);
                }
            }
        }
    }
    Ok(found)
}

/// The files that a scenario names.
pub struct Beside<'a>(pub &'a Path);

impl Files for Beside<'_> {
    fn text(&self, file: &str) -> Result<String, String> {
        let folder = self.0.parent().unwrap_or(Path::new(""));
        fs::read_to_string(folder.join(file)).map_err(|error| error.to_string())
    }

    fn matching(&self, _: &str) -> Result<Vec<String>, String> {
        Err("patterns are not looked up here; name the files".into())
    }
}
