//! Plays stories of the incumbent with our controller on a real server, as they were played when they were recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::StreamExt;
use serde_json::Value;
use tidegate_api::object::Kind;
use tidegate_sim::metrics::series::Series;
use tidegate_sim::reference::story::{HEAD_START, PATIENCE, pods};
use tidegate_sim::reference::{
    Difference, Pattern, Place, Recording, Step, Story, Tally, allowances, differences,
};
use tidegate_sim::world::RouterModel;
use tokio::time::Instant;

use crate::controller::{Controller, Extras, program};
use crate::stage::{Stage, duration, install, is_cluster_wide, made_for};
use crate::surroundings::Surroundings;
use crate::{Cluster, StandIn, TestbedError};

/// Stories in a folder, recordings in another, and what of their differences does not count.
#[derive(Clone, Debug, Args)]
pub struct Folder {
    /// Folder of the stories (NAME.yaml).
    #[arg(long)]
    pub stories: PathBuf,
    /// Folder of the recordings (NAME.json).
    #[arg(long)]
    pub traces: PathBuf,
    /// Leaves out tracks whose name matches.
    #[arg(long, value_name = "REGEX")]
    pub ignore: Vec<String>,
    /// Wanted departures, lines `STORY-REGEX TRACK-REGEX  # reason`.
    #[arg(long, value_name = "FILE")]
    pub allow: Vec<PathBuf>,
    /// Plays only these stories.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Only a line a story and the sums.
    #[arg(long)]
    pub quiet: bool,
    /// How often a story that differs is played at most; the play that comes nearest to its recording counts.
    #[arg(long, default_value_t = 3)]
    pub plays: usize,
    /// How many stories are played at the same time.
    #[arg(long, default_value_t = 8)]
    pub at_a_time: usize,
}

impl Folder {
    /// The stories that the repository holds, with the departures that it gives reasons for.
    pub fn of_the_repository() -> Folder {
        let argo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/argo");
        Folder {
            stories: argo.join("stories"),
            traces: argo.join("recordings"),
            ignore: Vec::new(),
            allow: vec![argo.join("departures.allow"), argo.join("timing.allow")],
            only: Vec::new(),
            quiet: false,
            plays: 3,
            at_a_time: 8,
        }
    }

    /// The names of the stories, in order.
    fn names(&self) -> Result<Vec<String>, String> {
        let problem = |error: std::io::Error| format!("{}: {error}", self.stories.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.stories).map_err(problem)? {
            let path = entry.map_err(problem)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("").to_owned();
            if path.extension().is_some_and(|end| end == "yaml")
                && (self.only.is_empty() || self.only.contains(&name))
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Plays the stories of a folder with the controller built from this repository, and compares.
pub async fn compare(cluster: &Cluster, folder: &Folder) -> Result<Tally, Box<dyn Error>> {
    let ignore: Vec<Pattern> =
        folder.ignore.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>()?;
    let mut allowed = Vec::new();
    for file in &folder.allow {
        allowed.extend(allowances(&read(file)?)?);
    }
    let mut tally = Tally { quiet: folder.quiet, ..Tally::default() };
    let mut wanted = Vec::new();
    for name in folder.names()? {
        let story = read_story(&folder.stories.join(format!("{name}.yaml")));
        let recording = read_recording(&folder.traces.join(format!("{name}.json")));
        match story.and_then(|story| Ok((story, recording?))) {
            Err(why) => tally.broken(&name, "unreadable", why),
            Ok(both) => wanted.push(both),
        }
    }
    install(cluster).await?;
    let stand_in = StandIn::start(cluster.client().await?, None, pods(), 1).await?;
    // The stories' metrics are served on loopback.
    let extras =
        Extras { arguments: vec!["--allow-metric-addresses=127.0.0.0/8".into()], ..Extras::default() };
    let controller = Controller::start_with(&program()?, cluster.kubeconfig(), None, extras)?;
    let theatre = Theatre { cluster, stand_in: &stand_in, at_a_time: folder.at_a_time };
    let missed = |recording: &Recording, tracks: &Tracks| {
        let found = differences(recording, tracks, &ignore);
        let counts = |d: &&Difference| {
            !d.racy && !d.is_about_words() && !allowed.iter().any(|a| a.covers(&recording.name, &d.track))
        };
        (found.iter().filter(counts).count(), found.len())
    };
    for (at, (tracks, plays)) in
        theatre.nearest(&wanted, folder.plays, &missed).await?.into_iter().enumerate()
    {
        let recording = &wanted[at].1;
        if plays > 1 {
            println!("{} came out nearest in play {plays}", recording.name);
        }
        tally.compare(recording, &tracks, &ignore, &allowed);
    }
    if tally.played() > tally.equal_state() {
        println!("the controller said last:\n{}", controller.log());
    }
    tally.stories.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tally)
}

/// One track an independent thing, and the distinct values it took.
pub type Tracks = BTreeMap<String, Vec<Value>>;

/// How far the nearest play was from its recording, what it showed, and which play it was.
type Nearest = ((usize, usize), Tracks, usize);

/// Where stories are played: a cluster on which one controller and one stand-in look after all namespaces.
pub struct Theatre<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Looks after all pods.
    pub stand_in: &'a StandIn,
    /// So many stories at a time.
    pub at_a_time: usize,
}

impl Theatre<'_> {
    /// Plays all of them, and those that differ from their recording again, fewer at a time, at most so often. The play
    /// that comes nearest to a recording counts: a recording holds the timing of one machine. Tracks and how many plays it took.
    pub async fn nearest(
        &self,
        stories: &[(Story, Recording)],
        plays: usize,
        distance: &dyn Fn(&Recording, &Tracks) -> (usize, usize),
    ) -> Result<Vec<(Tracks, usize)>, TestbedError> {
        let mut best: Vec<Option<Nearest>> = stories.iter().map(|_| None).collect();
        for nth in 1..=plays {
            let open = best
                .iter()
                .enumerate()
                .filter(|(_, best)| best.as_ref().is_none_or(|((hard, _), _, _)| *hard > 0));
            let open: Vec<usize> = open.map(|(at, _)| at).collect();
            let at_a_time = if nth == 1 { self.at_a_time } else { self.at_a_time.div_ceil(3) };
            let played =
                futures::stream::iter(open.into_iter().map(|at| async move {
                    Ok::<_, TestbedError>((at, self.play(&stories[at].0, nth).await?))
                }));
            let played: Vec<_> = played.buffer_unordered(at_a_time).collect().await;
            for one in played {
                let (at, tracks) = one?;
                let distance = distance(&stories[at].1, &tracks);
                if best[at].as_ref().is_none_or(|(known, _, _)| distance < *known) {
                    best[at] = Some((distance, tracks, nth));
                }
            }
        }
        Ok(best
            .into_iter()
            .map(|best| best.map(|(_, tracks, nth)| (tracks, nth)).unwrap_or_default())
            .collect())
    }

    /// Plays one of them, in a namespace of its own.
    pub async fn play(&self, story: &Story, nth: usize) -> Result<Tracks, TestbedError> {
        let mut place = Place::of_story(&story.name);
        place.namespace = format!("{}-{nth}", place.namespace);
        let kinds = story.objects.iter().filter_map(|object| {
            let text = |key: &str| object[key].as_str();
            Some(Kind::new(text("apiVersion")?, text("kind")?))
        });
        let made = [Kind::AnalysisRun, Kind::Experiment, Kind::Job];
        let routes = story.objects.iter().filter_map(made_for);
        let kinds: BTreeSet<Kind> = kinds.chain(made).chain(routes).collect();
        let client = self.cluster.client().await?;
        let metrics =
            Surroundings::start(&client, &place.namespace, BTreeSet::new(), RouterModel::default(), &[])
                .await?;
        metrics.address().clone_into(&mut place.metrics);
        script(&metrics, &story.web);
        let mut stage = Stage::open(client, place, kinds).await?;
        let (first, main) = story.in_order();
        for document in &first {
            create(&mut stage, document).await;
        }
        if !first.is_empty() {
            stage.pass(duration(HEAD_START)).await;
        }
        for document in main {
            create(&mut stage, document).await;
        }
        for step in &story.script {
            let verb = step.verb();
            if step.writes() {
                stage.settle(story.calm, PATIENCE).await;
            }
            match self.perform(&mut stage, &metrics, step).await {
                Ok(()) => stage.play.note(format!("{verb} ok")),
                Err(why) => {
                    stage.play.note(format!("{verb} {why}"));
                    break;
                }
            }
        }
        stage.settle(story.settle, story.settle_limit).await;
        let tracks = stage.play.tracks();
        for document in first.into_iter().filter(|document| is_cluster_wide(document)) {
            stage.delete(document).await;
        }
        stage.close().await?;
        Ok(tracks)
    }

    async fn perform(&self, stage: &mut Stage, metrics: &Surroundings, step: &Step) -> Result<(), String> {
        match step {
            Step::Web(series) => script(metrics, series),
            Step::Sleep(span) => stage.pass(duration(*span)).await,
            Step::Wait(wait) => {
                let end = Instant::now() + duration(wait.timeout);
                if !stage.until(end, |stage| stage.play.holds(wait)).await {
                    return Err(format!("timed out: {}", wait.source));
                }
            }
            Step::Create(document) => create(stage, document).await,
            Step::Readiness { ready, revision, count } => {
                for pod in stage.play.some_pods(revision, *count) {
                    stage.set_ready(self.stand_in, &pod, *ready).await?;
                }
            }
            written => {
                for action in stage.play.writes(&stage.picture, written)? {
                    stage.act(action).await?;
                }
            }
        }
        Ok(())
    }
}

async fn create(stage: &mut Stage, document: &Value) {
    let kind = document["kind"].as_str().unwrap_or("").to_owned();
    if let Err(why) = stage.create(stage.play.placed(document)).await {
        stage.play.note(format!("create {kind} {why}"));
    }
}

fn script(metrics: &Surroundings, series: &BTreeMap<String, Vec<Value>>) {
    series.iter().for_each(|(name, values)| metrics.script(Series::of_story(name, values)));
}

/// Reads a story.
pub fn read_story(file: &Path) -> Result<Story, String> {
    let text = read(file)?;
    let documents =
        tidegate_api::yaml::read(&file.display().to_string(), &text).map_err(|error| error.to_string())?;
    let document = documents.first().ok_or_else(|| format!("{}: an empty file", file.display()))?;
    Story::from_value(&document.value).map_err(|error| format!("{}: {error}", file.display()))
}

/// Reads a recording.
pub fn read_recording(file: &Path) -> Result<Recording, String> {
    let value = serde_json::from_str(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    Recording::from_value(&value).map_err(|error| format!("{}: {error}", file.display()))
}

/// Reads a file.
pub fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}
