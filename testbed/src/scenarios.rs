//! Plays scenarios in both worlds: in the simulator, with other lags each time, and once with the real controller on a
//! real server. What the real one shows must be something that the simulator shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;
use tidegate_sim::play::play;
use tidegate_sim::reference::{Difference, Place, Recording, differences};
use tidegate_sim::scenario::{Condition, Entry, Files, Moment, Script, Since, Then, Verb};
use tidegate_sim::world::{Millis, PodModel, PodModels};
use tokio::time::Instant;

use crate::stage::{Stage, duration};
use crate::stories::Tracks;
use crate::{Cluster, StandIn, TestbedError};

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
}

/// Where a scenario can be played.
pub enum Fit {
    /// In both worlds.
    Both(Box<Case>),
    /// Only in the simulator, and why.
    SimOnly(String),
}

/// How a scenario is played on a real server.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The controller's program.
    pub program: &'a Path,
    /// Which play of this scenario it is.
    pub nth: usize,
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
    /// Plays a scenario in the simulator, and tells whether a real server can show it, too. `suffix` tells namespaces of
    /// several plays apart.
    pub fn read(name: &str, file: &Path, suffix: &str) -> Result<Fit, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let mut script = Script::read(name, &text, &Beside(file)).map_err(|error| error.to_string())?;
        let namespace: String = name.replace(['/', '_'], "-").chars().take(50).collect();
        let place = Place {
            namespace: format!("{}-{suffix}", namespace.trim_end_matches('-')),
            metrics: "http://metrics.invalid".to_owned(),
        };
        if let Some(why) = sim_only(&script) {
            return Ok(Fit::SimOnly(why));
        }
        move_to(&mut script, &place.namespace);
        script.pods = punctual(&script.pods, SPREADS[0]);
        let mut case = Case {
            name: name.to_owned(),
            script,
            place,
            settled: Vec::new(),
            shown: Vec::new(),
            simulated: Span::ZERO,
        };
        Ok(match case.simulate_all() {
            Ok(()) => Fit::Both(Box::new(case)),
            Err(why) => Fit::SimOnly(why),
        })
    }

    /// Plays it in the simulator, each time with other lags; an error says why it is not for a real server.
    fn simulate_all(&mut self) -> Result<(), String> {
        for seed in 0..PLAYS {
            let took = self.simulate(seed)?;
            self.simulated = self.simulated.max(took);
            if took > LONGEST {
                return Err(format!("takes longer than {} s", LONGEST.0 / 1000));
            }
        }
        Ok(())
    }

    fn simulate(&mut self, seed: u64) -> Result<Span, String> {
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
        if script.settled {
            let first = Script { when: Vec::new(), settled: false, then: Then::default(), ..script.clone() };
            let outcome = play(&first);
            took = outcome.simulated;
            self.settled.push(outcome.milestones_at(&self.place));
        }
        let outcome = play(&script);
        if !outcome.failures.is_empty() {
            let why = match hand {
                Span::ZERO => "tells another story when pods are punctual",
                _ => "needs hands that are quicker than any",
            };
            return Err(why.to_owned());
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
        place.namespace = format!("{}-{}", place.namespace, server.nth);
        move_to(&mut script, &place.namespace);
        let mut stage = Stage::open(client.clone(), place.clone(), kinds(&script)).await?;
        let stand_in =
            StandIn::start(client, Some(&place.namespace), script.pods.clone(), script.seed).await?;
        stage.control(server.program, server.cluster.kubeconfig(), server.crash_at).await?;
        for object in &script.given {
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
            act(&mut stage, &stand_in, &entry.verb).await?;
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
    let states = tracks.iter().filter(|(track, _)| is_state(track));
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
        let now = end(&stage.play.tracks());
        if ends.iter().any(|end| differences(&recording("", std::slice::from_ref(end)), &now, &[]).is_empty())
        {
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

async fn act(stage: &mut Stage, stand_in: &StandIn, verb: &Verb) -> Result<(), TestbedError> {
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
        _ => {}
    }
    if !matches!(verb, Verb::Note(_)) {
        stage.play.note(format!("{word} {went}"));
    }
    Ok(())
}

/// Why a real server cannot show a scenario, if it cannot.
fn sim_only(script: &Script) -> Option<String> {
    let routed = script.given.iter().any(|object| {
        object
            .rollout()
            .and_then(|body| body.spec.spec().canary())
            .is_some_and(|c| c.traffic_routing.is_some())
    });
    if routed {
        return Some("leads traffic: not yet held against a real server".to_owned());
    }
    let objects = || objects(script);
    if script.given.iter().any(|object| !object.meta.uid.is_empty()) {
        return Some("another controller's objects are there before".to_owned());
    }
    if objects().any(|object| object.kind == Kind::HorizontalPodAutoscaler) {
        return Some("nothing measures load for an autoscaler".to_owned());
    }
    let measures = |object: &Object| {
        matches!(object.kind, Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate | Kind::AnalysisRun)
    };
    if objects().any(measures) {
        return Some("nobody answers for a metric provider".to_owned());
    }
    let namespaces: BTreeSet<&str> =
        objects().filter(|o| !o.kind.is_cluster_wide()).map(|object| &*object.meta.namespace).collect();
    if namespaces.len() > 1 {
        return Some("several namespaces".to_owned());
    }
    script.when.iter().find_map(|entry| match &entry.verb {
        Verb::Fault(_) => Some("a fault between controller and API server".to_owned()),
        Verb::Load { .. } => Some("nothing measures load for an autoscaler".to_owned()),
        _ => None,
    })
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
    moments.chain(objects(script).map(|object| object.kind.clone())).collect()
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

/// Whether a sequence is one that the simulator merely did not happen to show.
fn is_another_stride(difference: &Difference) -> bool {
    if difference.expected.len() < 2 {
        return false;
    }
    if difference.track.ends_with("/desired") {
        return goes_the_same_way(difference);
    }
    difference.track.contains("/condition/") && goes_round_as_often_as_it_likes(difference)
}

/// How many pods become ready at the same moment decides in how many strides a size goes from one turning point to the
/// next, and how far it gets before a person's command turns it. So where the simulator itself shows several ways, another
/// way is as good if it has the same ends, turns as often, each time between sizes at which the simulator was seen to
/// turn, and if every size that is common to all shown ways is passed through.
fn goes_the_same_way(difference: &Difference) -> bool {
    let sizes = |sequence: &[Value]| sequence.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
    let shown: Option<Vec<Vec<i64>>> = difference.expected.iter().map(|sequence| sizes(sequence)).collect();
    let (Some(shown), Some(got)) = (shown, sizes(&difference.got)) else { return false };
    let is_common = |size: &i64| shown.iter().all(|sequence| sequence.contains(size));
    let common = |sequence: &[i64]| sequence.iter().copied().filter(is_common).collect::<Vec<_>>();
    let turns = turning_points(&got);
    let alike: Vec<Vec<i64>> = shown
        .iter()
        .map(|sequence| turning_points(sequence))
        .filter(|points| {
            points.len() == turns.len() && points.first() == turns.first() && points.last() == turns.last()
        })
        .collect();
    let is_within = |(at, point): (usize, &i64)| {
        let seen = alike.iter().map(|points| points[at]);
        seen.clone().min().is_some_and(|least| least <= *point)
            && seen.max().is_some_and(|most| *point <= most)
    };
    turns.iter().enumerate().all(is_within) && shown.iter().any(|sequence| common(sequence) == common(&got))
}

/// A condition that goes to and fro while pods come one after the other does so more or less often.
fn goes_round_as_often_as_it_likes(difference: &Difference) -> bool {
    let got = without_rounds(&difference.got);
    difference.expected.iter().any(|sequence| without_rounds(sequence) == got)
}

/// The sequence with each pair that is repeated at once told once.
fn without_rounds(sequence: &[Value]) -> Vec<&Value> {
    let mut told: Vec<&Value> = Vec::new();
    for value in sequence {
        told.push(value);
        if let [.., a, b, c, d] = told[..]
            && a == c
            && b == d
        {
            told.truncate(told.len() - 2);
        }
    }
    told
}

fn turning_points(sizes: &[i64]) -> Vec<i64> {
    let mut turning: Vec<i64> = Vec::new();
    for size in sizes {
        if let [.., before, last] = turning[..]
            && (last - before).signum() == (size - last).signum()
        {
            turning.pop();
        }
        turning.push(*size);
    }
    turning
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(shown: &[&[i64]], got: &[i64], expected: bool) {
        let values = |sizes: &[i64]| sizes.iter().map(|size| json!(size)).collect::<Vec<_>>();
        let difference = Difference {
            track: "rs/rev1/desired".to_owned(),
            racy: true,
            expected: shown.iter().map(|sizes| values(sizes)).collect(),
            got: values(got),
        };
        assert_eq!(is_another_stride(&difference), expected, "{got:?}");
    }

    #[test]
    fn another_stride_turns_at_the_same_points() {
        let down_and_up: [&[i64]; 2] = [&[0, 8, 6, 4, 2, 6, 8], &[0, 8, 6, 5, 6, 8]];
        check(&down_and_up, &[0, 8, 6, 3, 2, 6, 7, 8], true);
        check(&down_and_up, &[0, 8, 6, 1, 6, 8], false);
        // Turned elsewhere, but between where it was seen to turn.
        check(&[&[0, 4, 8, 4, 0], &[0, 4, 0]], &[0, 4, 5, 1, 0], true);
        check(&[&[0, 4, 8, 4, 0], &[0, 4, 0]], &[0, 4, 9, 1, 0], false);
        check(&down_and_up, &[0, 8, 6, 5, 6, 7, 8], true);
        // Six pods are common to all ways: nobody goes past that size.
        check(&down_and_up, &[0, 8, 4, 2, 6, 8], false);
        // Where there is but one way, that is the way.
        check(&[&[0, 1, 2, 5]], &[0, 1, 5], false);
    }

    #[test]
    fn a_condition_may_go_to_and_fro_once_more() {
        let values = |words: &str| words.chars().map(|word| json!(word.to_string())).collect::<Vec<_>>();
        let difference = |got: &str| Difference {
            track: "rollout/web/condition/Progressing".to_owned(),
            racy: true,
            expected: vec![values("NUPUPUPUP"), values("NUPUPUP")],
            got: values(got),
        };
        assert!(is_another_stride(&difference("NUPUP")));
        assert!(!is_another_stride(&difference("NUPUPU")));
        assert!(!is_another_stride(&difference("NUPAPUP")));
    }

    #[test]
    fn turning_points_are_ends_and_reversals() {
        assert_eq!(turning_points(&[0, 8, 6, 4, 6, 7, 8]), [0, 8, 4, 8]);
        assert_eq!(turning_points(&[3]), [3]);
        assert_eq!(turning_points(&[]), Vec::<i64>::new());
    }
}
