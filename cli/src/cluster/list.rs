//! `tidegate list`: one line a Rollout, or an Experiment.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use tidegate_api::duration::GoDuration;
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Stamp;
use tidegate_live::remote::Waited;

use super::change::object;
use super::view::{Cell, age, columns, created, human, phase, set_weight, step, text};
use super::{Desk, Failure};

/// Arguments of `list`.
#[derive(Args)]
pub struct List {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Rollouts.
    #[command(visible_aliases = ["ro", "rollout"])]
    Rollouts(Rollouts),
    /// Experiments.
    #[command(visible_aliases = ["exp", "experiment"])]
    Experiments {
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
}

#[derive(Args)]
struct Rollouts {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only the one of this name
    #[arg(long)]
    name: Option<String>,
    /// Add a line on every change
    #[arg(short, long)]
    watch: bool,
    /// Begin each line with the time
    #[arg(long)]
    timestamps: bool,
}

/// Columns of Rollouts, each with its least width.
const COLUMNS: [(&str, usize); 9] = [
    ("NAME", 10),
    ("STRATEGY", 9),
    ("STATUS", 12),
    ("STEP", 4),
    ("SET-WEIGHT", 10),
    ("READY", 5),
    ("DESIRED", 7),
    ("UP-TO-DATE", 10),
    ("AVAILABLE", 9),
];

impl List {
    /// Lists.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        match &self.what {
            What::Rollouts(rollouts) => rollouts.run(desk),
            What::Experiments { all_namespaces } => list_experiments(desk, *all_namespaces),
        }
    }
}

impl Rollouts {
    fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let namespace = (!self.all_namespaces).then(|| desk.cluster.namespace().to_owned());
        let found = desk.cluster.list(&Kind::Rollout, namespace.as_deref(), "")?;
        let mut told = self.lines(found);
        if told.is_empty() {
            eprintln!("No resources found.");
        }
        if !told.is_empty() || self.watch {
            let mut rows = vec![self.heading()];
            rows.extend(told.values().map(|line| self.row(line, desk.cluster.now())));
            write!(desk.out, "{}", self.table(&rows))?;
            desk.out.flush()?;
        }
        if !self.watch {
            return Ok(());
        }
        let mut watch = desk.cluster.watch(&[Kind::Rollout], namespace.as_deref());
        loop {
            let waited = super::settle(&mut *watch, Duration::from_secs(3600), Duration::from_millis(500))?;
            if waited == Waited::Interrupted {
                return Ok(());
            }
            if !watch.is_complete() {
                continue;
            }
            let seen = self.lines(watch.objects());
            let news = seen.iter().filter(|(key, line)| told.get(*key) != Some(*line));
            let rows: Vec<Vec<Cell>> = news.map(|(_, line)| self.row(line, desk.cluster.now())).collect();
            write!(desk.out, "{}", self.table(&rows))?;
            desk.out.flush()?;
            // What was told stays told: a deletion is not shown.
            told.extend(seen);
        }
    }

    /// What is told of each Rollout, by namespace and name.
    fn lines(&self, found: Vec<Value>) -> BTreeMap<(String, String), Vec<String>> {
        let mut lines = BTreeMap::new();
        for rollout in found.into_iter().filter_map(|rollout| object(rollout).ok()) {
            let (namespace, name) = (rollout.meta.namespace.to_string(), rollout.meta.name.to_string());
            if self.name.as_ref().is_none_or(|wanted| *wanted == name) {
                let mut line = if self.all_namespaces { vec![namespace.clone()] } else { Vec::new() };
                line.extend(line_of(&rollout));
                lines.insert((namespace, name), line);
            }
        }
        lines
    }

    fn heading(&self) -> Vec<Cell> {
        let first = [("TIMESTAMP", self.timestamps), ("NAMESPACE", self.all_namespaces)];
        let first = first.iter().filter(|(_, shown)| *shown).map(|(name, _)| *name);
        first.chain(COLUMNS.iter().map(|(name, _)| *name)).map(Cell::plain).collect()
    }

    fn row(&self, line: &[String], now: Stamp) -> Vec<Cell> {
        let time = self.timestamps.then(|| Cell::plain(&now.to_string()));
        time.into_iter().chain(line.iter().map(|word| Cell::plain(word))).collect()
    }

    fn table(&self, rows: &[Vec<Cell>]) -> String {
        let mut least = Vec::new();
        if self.timestamps {
            least.push(20);
        }
        if self.all_namespaces {
            least.push(9);
        }
        least.extend(COLUMNS.iter().map(|(_, width)| *width));
        columns(rows, &least)
    }
}

fn line_of(rollout: &Object) -> [String; 9] {
    let dash = || "-".to_owned();
    let Some(body) = rollout.rollout() else { return std::array::from_fn(|_| dash()) };
    let (spec, status) = (body.spec.spec(), &body.status);
    let strategy = match (spec.canary(), spec.blue_green()) {
        (Some(_), _) => "Canary",
        (_, Some(_)) => "BlueGreen",
        _ => "unknown",
    };
    [
        rollout.meta.name.to_string(),
        strategy.to_owned(),
        phase(rollout).map_or_else(dash, |(phase, _)| phase),
        step(rollout).map_or_else(dash, |(at, of)| format!("{at}/{of}")),
        set_weight(rollout).map_or_else(dash, |weight| weight.to_string()),
        format!("{}/{}", status.ready.unwrap_or(0), status.replicas.unwrap_or(0)),
        spec.wished().to_string(),
        status.updated.unwrap_or(0).to_string(),
        status.available.unwrap_or(0).to_string(),
    ]
}

fn list_experiments(desk: &mut Desk<'_>, all_namespaces: bool) -> Result<(), Failure> {
    let namespace = (!all_namespaces).then(|| desk.cluster.namespace().to_owned());
    let mut found = desk.cluster.list(&Kind::Experiment, namespace.as_deref(), "")?;
    if found.is_empty() {
        eprintln!("No resources found.");
        return Ok(());
    }
    let place = |e: &Value| (text(e, "/metadata/namespace").to_owned(), text(e, "/metadata/name").to_owned());
    found.sort_by_key(place);
    let mut heading = if all_namespaces { vec!["NAMESPACE"] } else { Vec::new() };
    heading.extend(["NAME", "STATUS", "DURATION", "REMAINING", "AGE"]);
    let mut rows: Vec<Vec<Cell>> = vec![heading.into_iter().map(Cell::plain).collect()];
    let now = desk.cluster.now();
    for experiment in &found {
        let (namespace, name) = place(experiment);
        let mut row = if all_namespaces { vec![Cell::plain(&namespace)] } else { Vec::new() };
        row.push(Cell::plain(&name));
        row.extend(about_experiment(experiment, now).iter().map(|word| Cell::plain(word)));
        rows.push(row);
    }
    Ok(write!(desk.out, "{}", columns(&rows, &[]))?)
}

/// Status, duration, what remains of it, and age.
fn about_experiment(experiment: &Value, now: Stamp) -> [String; 4] {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let phase = text(experiment, "/status/phase");
    let duration = text(experiment, "/spec/duration");
    let ends = GoDuration::parse(duration).ok().and_then(|duration| {
        let begun = Stamp::parse(text(experiment, "/status/availableAt"))?;
        Some(begun.plus_seconds(duration.whole_seconds()))
    });
    let remaining = match ends {
        Some(ends) if phase == "Running" && ends > now => human(ends.0 - now.0),
        _ => String::new(),
    };
    let since = created(experiment).map_or_else(String::new, |created| age(created, now));
    [dash(phase), dash(duration), dash(&remaining), dash(&since)]
}
