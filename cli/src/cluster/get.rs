//! `tidegate get`: a Rollout or an Experiment with everything that belongs to it, once or redrawn on every change.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use tidegate_api::object::{Key, Kind, Object};

use tidegate_live::remote::{Refused, Waited, missing};

use super::change::object;
use super::tree::{Family, draw};
use super::view::{icon, ink, is_in_a_step, paint, phase, set_weight, step, text, weight_max};
use super::{Desk, Failure};

/// Kinds of what belongs to a Rollout.
const BELOW: [Kind; 4] = [Kind::ReplicaSet, Kind::Pod, Kind::Experiment, Kind::AnalysisRun];
/// Moves to the upper left corner and wipes the screen.
const WIPE: &str = "\x1b[H\x1b[2J\x1b[0;0H";

/// Arguments of `get`.
#[derive(Args)]
pub struct Get {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A Rollout.
    #[command(visible_aliases = ["ro", "rollouts"])]
    Rollout {
        #[command(flatten)]
        one: One,
        /// End the watch after so many seconds; 0 for never
        #[arg(long, default_value_t = 0, value_name = "N")]
        timeout_seconds: i64,
    },
    /// An Experiment.
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment {
        #[command(flatten)]
        one: One,
    },
}

#[derive(Args)]
struct One {
    /// Name
    name: String,
    /// Redraw on every change
    #[arg(short, long)]
    watch: bool,
    /// No colours
    #[arg(long)]
    no_color: bool,
}

impl Get {
    /// Draws it.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let (one, kind, timeout, picture): (_, _, _, Picture) = match &self.what {
            What::Rollout { one, timeout_seconds } => {
                (one, Kind::Rollout, *timeout_seconds, picture_of_rollout)
            }
            What::Experiment { one } => (one, Kind::Experiment, 0, picture_of_experiment),
        };
        let how = How { watch: one.watch, no_color: one.no_color, timeout };
        show(desk, &desk.key(kind, &one.name), &how, picture)
    }
}

/// Follows an object that was just made, as `create --watch` does.
pub fn follow(desk: &mut Desk<'_>, key: &Key, no_color: bool) -> Result<(), Failure> {
    let picture = if key.kind == Kind::Rollout { picture_of_rollout } else { picture_of_experiment };
    show(desk, key, &How { watch: true, no_color, timeout: 0 }, picture)
}

/// How it is shown.
struct How {
    watch: bool,
    no_color: bool,
    timeout: i64,
}

type Picture = fn(&Value, &Family<'_>, bool) -> Result<String, String>;

fn show(desk: &mut Desk<'_>, key: &Key, how: &How, picture: Picture) -> Result<(), Failure> {
    let color = desk.color && !how.no_color;
    let root = desk.cluster.get(key)?;
    if !how.watch {
        let mut objects = Vec::new();
        for kind in &BELOW {
            match desk.cluster.list(kind, Some(&key.namespace), "") {
                Ok(found) => objects.extend(found),
                // A cluster without this kind has no such objects.
                Err(Refused::NotFound(_)) => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        let family = Family { objects: &objects, now: desk.cluster.now() };
        return Ok(write!(desk.out, "{}", picture(&root, &family, color)?)?);
    }
    let mut kinds = BELOW.to_vec();
    kinds.retain(|other| *other != key.kind);
    kinds.push(key.kind.clone());
    let begun = desk.cluster.now();
    let mut watch = desk.cluster.watch(&kinds, Some(&key.namespace));
    let mut drawn = String::new();
    loop {
        // Ages go on without a change; a burst of changes is drawn once.
        let waited = super::settle(&mut *watch, Duration::from_secs(1), Duration::from_millis(200))?;
        let now = desk.cluster.now();
        if waited == Waited::Interrupted || (how.timeout > 0 && now.0 - begun.0 >= how.timeout) {
            return Ok(());
        }
        if !watch.is_complete() {
            continue;
        }
        let objects = watch.objects();
        let is_root = |o: &&Value| o["kind"] == key.kind.name() && o["metadata"]["name"] == *key.name;
        let root = objects.iter().find(is_root).ok_or_else(|| missing(key))?;
        let picture = picture(root, &Family { objects: &objects, now }, color)?;
        if picture != drawn {
            write!(desk.out, "{WIPE}{picture}")?;
            desk.out.flush()?;
            drawn = picture;
        }
    }
}

fn picture_of_rollout(rollout: &Value, family: &Family<'_>, color: bool) -> Result<String, String> {
    let rollout = object(rollout.clone())?;
    let tree = draw(&family.of_rollout(&rollout), family.now, color);
    Ok(format!("{}\n{tree}", header(&rollout, family, color)?))
}

fn picture_of_experiment(experiment: &Value, family: &Family<'_>, color: bool) -> Result<String, String> {
    let mut lines = Lines { text: String::new(), color };
    let phase = text(experiment, "/status/phase");
    lines.add("Name:", text(experiment, "/metadata/name"));
    lines.add("Namespace:", text(experiment, "/metadata/namespace"));
    lines.status(phase, text(experiment, "/status/message"));
    lines.images(&family.images_of_experiment(experiment));
    let tree = draw(&family.of_experiment(experiment), family.now, color);
    Ok(format!("{}\n{tree}", lines.text))
}

fn header(rollout: &Object, family: &Family<'_>, color: bool) -> Result<String, String> {
    let mut lines = Lines { text: String::new(), color };
    let body = rollout.rollout().ok_or("this is no Rollout")?;
    let (spec, status) = (body.spec.spec(), &body.status);
    let (phase, message) = phase(rollout).unwrap_or_default();
    lines.add("Name:", &rollout.meta.name);
    lines.add("Namespace:", &rollout.meta.namespace);
    lines.status(&phase, &message);
    if let Some(weight) = set_weight(rollout) {
        lines.add("Strategy:", "Canary");
        lines.add("  Step:", &step(rollout).map_or_else(String::new, |(at, of)| format!("{at}/{of}")));
        lines.add("  SetWeight:", &weight.to_string());
        lines.add("  ActualWeight:", &actual_weight(rollout, family, weight).to_string());
    } else {
        lines.add("Strategy:", if spec.blue_green().is_some() { "BlueGreen" } else { "unknown" });
    }
    lines.images(&family.images(rollout));
    lines.add("Replicas:", "");
    let numbers = [
        ("  Desired:", Some(spec.wished())),
        ("  Current:", status.replicas),
        ("  Updated:", status.updated),
        ("  Ready:", status.ready),
        ("  Available:", status.available),
    ];
    for (label, number) in numbers {
        lines.add(label, &number.unwrap_or(0).to_string());
    }
    Ok(lines.text)
}

/// The weight that the canary has: told by the router, or by pods where there is none.
fn actual_weight(rollout: &Object, family: &Family<'_>, wanted: i64) -> i64 {
    let Some(body) = rollout.rollout() else { return 0 };
    let most = weight_max(rollout);
    let available = body.status.available.unwrap_or(0);
    if !is_in_a_step(rollout) {
        return most;
    }
    if available <= 0 {
        return 0;
    }
    if body.spec.spec().canary().is_some_and(|canary| canary.traffic_routing.is_none()) {
        return family.canary_available(rollout).saturating_mul(most) / available;
    }
    let weights = body.status.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    let told = weights.and_then(|weights| weights.canary.as_ref()).and_then(|canary| canary.weight);
    told.map_or(wanted, |weight| weight.0)
}

/// The header block: labels in a column of 17.
struct Lines {
    text: String,
    color: bool,
}

impl Lines {
    fn add(&mut self, label: &str, value: &str) {
        let line = format!("{label:<17}{value}");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn status(&mut self, phase: &str, message: &str) {
        let icon = icon(phase);
        let painted = paint(icon, ink(icon), self.color);
        self.add("Status:", &format!("{painted} {phase}"));
        if !message.is_empty() {
            self.add("Message:", message);
        }
    }

    fn images(&mut self, images: &BTreeMap<String, Vec<String>>) {
        for (at, (image, tags)) in images.iter().enumerate() {
            let painted: Vec<String> = tags.iter().map(|tag| paint(tag, ink(tag), self.color)).collect();
            let tags = if tags.is_empty() { String::new() } else { format!(" ({})", painted.join(", ")) };
            self.add(if at == 0 { "Images:" } else { "" }, &format!("{image}{tags}"));
        }
    }
}
