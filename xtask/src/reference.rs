//! Plays stories in the simulator, or on a real server, and compares them with recordings of the incumbent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use tidegate_sim::reference::{Pattern, Recording, Story, Tally, allowances, differences, play};

use crate::test::testenv;

const STORIES: &str = "scenarios/argo/stories";
const RECORDINGS: &str = "scenarios/argo/recordings";
const DEPARTURES: &str = "scenarios/argo/departures.allow";
const TIMING: &str = "scenarios/argo/timing.allow";

type Tracks = BTreeMap<String, Vec<Value>>;

/// What to play and what to compare.
#[derive(Args)]
pub struct Reference {
    /// Folder of the stories (NAME.yaml).
    #[arg(long, default_value = STORIES)]
    stories: PathBuf,
    /// Folder of the recordings (NAME.json).
    #[arg(long, default_value = RECORDINGS)]
    traces: PathBuf,
    /// Leaves out tracks whose name matches.
    #[arg(long, value_name = "REGEX")]
    ignore: Vec<String>,
    /// Wanted departures, lines `STORY-REGEX TRACK-REGEX  # reason`.
    #[arg(long, value_name = "FILE", default_value = DEPARTURES)]
    allow: PathBuf,
    /// Plays only these stories.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only a line a story and the sums.
    #[arg(long)]
    quiet: bool,
    /// How often each story is played, each time with other lags. A recording holds the timing of one machine; the
    /// play that comes nearest to it is reported.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    plays: u64,
    /// Plays on a real API server with the controller that is built here, not in the simulator.
    #[arg(long)]
    live: bool,
}

impl Reference {
    /// The stories that the repository holds, with the departures that it gives reasons for.
    pub fn of_the_repository() -> Reference {
        Reference {
            stories: STORIES.into(),
            traces: RECORDINGS.into(),
            ignore: Vec::new(),
            allow: DEPARTURES.into(),
            only: Vec::new(),
            quiet: true,
            plays: 8,
            live: false,
        }
    }

    /// The same, for the program that has a Kubernetes client.
    fn arguments_for_a_server(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut arguments = vec!["reference".to_owned()];
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("--stories", path(&self.stories));
        add("--traces", path(&self.traces));
        add("--allow", path(&self.allow));
        if self.allow == Path::new(DEPARTURES) {
            add("--allow", TIMING.to_owned());
        }
        self.ignore.iter().for_each(|pattern| add("--ignore", pattern.clone()));
        self.only.iter().for_each(|name| add("--only", name.clone()));
        arguments.extend(self.quiet.then(|| "--quiet".to_owned()));
        arguments
    }
}

/// Plays and compares; an error when a story differs.
pub fn run(task: &Reference) -> Result<(), String> {
    if task.live {
        return testenv(&task.arguments_for_a_server());
    }
    let ignore: Vec<Pattern> = task.ignore.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>()?;
    let allowed =
        allowances(&read(&task.allow)?).map_err(|error| format!("{}: {error}", task.allow.display()))?;
    let mut tally = Tally { quiet: task.quiet, ..Tally::default() };
    for file in stories_in(&task.stories)? {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("").to_owned();
        if !task.only.is_empty() && !task.only.contains(&name) {
            continue;
        }
        match one(&file, &task.traces.join(format!("{name}.json"))) {
            Err(why) => tally.broken(&name, "unreadable", why),
            Ok((story, recording)) => {
                let got = nearest(&story, &recording, &ignore, task.plays);
                tally.compare(&recording, &got, &ignore, &allowed);
            }
        }
    }
    println!("{tally}");
    match tally.played() == tally.equal_state() {
        true => Ok(()),
        false => Err("stories differ".to_owned()),
    }
}

/// The tracks of the play that comes nearest to the recording: the fewest differences in states, then in words.
fn nearest(story: &Story, recording: &Recording, ignore: &[Pattern], plays: u64) -> Tracks {
    let mut best: Option<((usize, usize), Tracks)> = None;
    for seed in 1..=plays {
        let tracks = play(story, seed).tracks();
        let found = differences(recording, &tracks, ignore);
        let hard = found.iter().filter(|d| !d.racy && !d.is_about_words()).count();
        let distance = (hard, found.len());
        if best.as_ref().is_none_or(|(known, _)| distance < *known) {
            best = Some((distance, tracks));
        }
        if distance == (0, 0) {
            break;
        }
    }
    best.map(|(_, tracks)| tracks).unwrap_or_default()
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn stories_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

fn one(story: &Path, recording: &Path) -> Result<(Story, Recording), String> {
    let documents = tidegate_api::yaml::read(&story.display().to_string(), &read(story)?)
        .map_err(|error| error.to_string())?;
    let document = documents.first().ok_or("an empty file")?;
    let story = Story::from_value(&document.value).map_err(|error| error.to_string())?;
    let text = read(recording)?;
    let value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", recording.display()))?;
    let recording = Recording::from_value(&value).map_err(|error| error.to_string())?;
    Ok((story, recording))
}
