//! The verbs that change a Rollout: `promote`, `abort`, `retry`, `pause`, `resume`, `restart`, `undo`, `set image`.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_api::duration::GoDuration;
use tidegate_api::object::{Key, Kind, Object};
use tidegate_controller::commands::{self, Patch};
use tidegate_live::remote::{Change, Refused};

use super::{Cluster, Desk, Failure};

/// How often `set image` starts again when somebody else writes in between.
const ATTEMPTS: u32 = 5;

/// Arguments of `promote`.
#[derive(Args)]
pub struct Promote {
    /// Name of the Rollout
    name: String,
    /// Skip everything that is left: steps, pauses, analysis
    #[arg(long)]
    full: bool,
    /// Skip the step under way (deprecated: plain promote does)
    #[arg(short = 'c', long, conflicts_with_all = ["skip_all_steps", "full"])]
    skip_current_step: bool,
    /// Skip all steps (deprecated: use --full)
    #[arg(short = 'a', long, conflicts_with = "full")]
    skip_all_steps: bool,
}

/// Names of Rollouts.
#[derive(Args)]
struct Names {
    /// Names of Rollouts
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `abort`.
#[derive(Args)]
pub struct Abort {
    #[command(flatten)]
    names: Names,
}

/// Arguments of `pause`.
#[derive(Args)]
pub struct Pause {
    #[command(flatten)]
    names: Names,
}

/// Arguments of `resume`.
#[derive(Args)]
pub struct Resume {
    #[command(flatten)]
    names: Names,
}

/// Arguments of `retry`.
#[derive(Args)]
pub struct Retry {
    #[command(subcommand)]
    what: Retried,
}

#[derive(Subcommand)]
enum Retried {
    /// Rollouts.
    #[command(visible_aliases = ["ro", "rollouts"])]
    Rollout(Names),
    /// Experiments.
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment(Names),
}

/// Arguments of `restart`.
#[derive(Args)]
pub struct Restart {
    /// Name of the Rollout
    name: String,
    /// How long from now, such as 10m
    #[arg(short = 'i', long = "in", value_name = "DURATION")]
    within: Option<String>,
}

/// Arguments of `undo`.
#[derive(Args)]
pub struct Undo {
    /// Name of the Rollout
    name: String,
    /// The revision to go back to; 0 is the one before
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    to_revision: i64,
}

/// Arguments of `set`.
#[derive(Args)]
pub struct Set {
    #[command(subcommand)]
    what: Settable,
}

#[derive(Subcommand)]
enum Settable {
    /// The image of a container.
    Image {
        /// Name of the Rollout
        name: String,
        /// Container and image; the container * stands for all
        #[arg(value_name = "CONTAINER=IMAGE")]
        image: String,
    },
}

impl Promote {
    /// Reads the Rollout and writes what its moment asks for.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let key = desk.key(Kind::Rollout, &self.name);
        let rollout = object(desk.cluster.get(&key)?)?;
        let patches = if self.full {
            commands::promote_full(&rollout)
        } else if self.skip_current_step {
            commands::skip_current_step(&rollout)?
        } else if self.skip_all_steps {
            commands::skip_all_steps(&rollout)?
        } else {
            commands::promote(&rollout)
        };
        carry_out(desk.cluster, &key, &patches)?;
        let fully = if self.full { "fully " } else { "" };
        Ok(writeln!(desk.out, "rollout '{}' {fully}promoted", self.name)?)
    }
}

impl Abort {
    /// One after the other, up to the first failure.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        self.names.each(desk, "rollout", &commands::abort(), "aborted")
    }
}

impl Pause {
    /// One after the other, up to the first failure.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        self.names.each(desk, "rollout", &commands::pause(), "paused")
    }
}

impl Resume {
    /// One after the other, up to the first failure.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        self.names.each(desk, "rollout", &commands::resume(), "resumed")
    }
}

impl Retry {
    /// One after the other, up to the first failure.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        match &self.what {
            Retried::Rollout(names) => names.each(desk, "rollout", &commands::retry(), "retried"),
            Retried::Experiment(names) => {
                names.each(desk, "experiment", &commands::retry_experiment(), "retried")
            }
        }
    }
}

impl Names {
    fn each(&self, desk: &mut Desk<'_>, word: &str, patches: &[Patch], done: &str) -> Result<(), Failure> {
        let kind = if word == "experiment" { Kind::Experiment } else { Kind::Rollout };
        for name in &self.names {
            carry_out(desk.cluster, &desk.key(kind.clone(), name), patches)?;
            writeln!(desk.out, "{word} '{name}' {done}")?;
        }
        Ok(())
    }
}

impl Restart {
    /// Writes when.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let text = self.within.as_deref().unwrap_or("0s");
        let wait = GoDuration::parse(text).map_err(|error| format!("--in: {error}"))?;
        let at = desk.cluster.now().plus_seconds(wait.whole_seconds());
        carry_out(desk.cluster, &desk.key(Kind::Rollout, &self.name), &commands::restart(at))?;
        Ok(writeln!(desk.out, "rollout '{}' restarts in {text}", self.name)?)
    }
}

impl Undo {
    /// Puts the template of the revision back where the Rollout has its template from.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let key = desk.key(Kind::Rollout, &self.name);
        let rollout = object(desk.cluster.get(&key)?)?;
        let spec = rollout.rollout().map(|body| body.spec.clone());
        let spec = spec.ok_or("this is no Rollout".to_owned())?;
        let target = match &spec.spec().workload_ref {
            None => key,
            Some(workload) => desk.key(Kind::new(&workload.api_version, &workload.kind), &workload.name),
        };
        let holder =
            if target.kind == Kind::Rollout { rollout.to_value() } else { desk.cluster.get(&target)? };
        let is_pod_template = target.kind == Kind::PodTemplate;
        let place = if is_pod_template { "/template" } else { "/spec/template" };
        let current = holder.pointer(place).cloned().unwrap_or(Value::Null);
        // By selector where the Rollout has one of its own; who owns a set decides in the end.
        let labels = spec.spec().selector.as_ref().map(|selector| selector.text()).unwrap_or_default();
        let labels = if labels.starts_with('<') { "" } else { &labels };
        let sets = desk.cluster.list(&Kind::ReplicaSet, Some(desk.cluster.namespace()), labels)?;
        let sets: Vec<Arc<Object>> =
            sets.into_iter().filter_map(|set| object(set).ok()).map(Arc::new).collect();
        let to = (self.to_revision != 0).then_some(self.to_revision);
        match commands::undo(&rollout, &current, &sets, to)? {
            commands::Undo::Nothing { revision } => Ok(writeln!(
                desk.out,
                "skipped rollback (current template already matches revision {revision})"
            )?),
            commands::Undo::Replace(template) => {
                let patch = json!([{"op": "replace", "path": place, "value": template}]);
                desk.cluster.patch(&target, &Change::Json(patch))?;
                Ok(writeln!(desk.out, "rollout '{}' undo", self.name)?)
            }
        }
    }
}

impl Set {
    /// Writes the Rollout, or the workload it refers to, back with the image.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let Settable::Image { name, image } = &self.what;
        // ARGO: the reference refuses an image with an equals sign in it.
        let (container, image) = image
            .split_once('=')
            .filter(|(container, image)| !container.is_empty() && !image.is_empty())
            .ok_or_else(|| format!("`{image}` is not of the form CONTAINER=IMAGE"))?;
        let mut attempt = 1;
        let (word, written) = loop {
            match set_image(desk, name, container, image) {
                Err(Stopped::Refused(Refused::Conflict(_))) if attempt < ATTEMPTS => attempt += 1,
                Err(Stopped::Refused(refused)) => return Err(refused.into()),
                Err(Stopped::Because(why)) => return Err(why.into()),
                Ok(done) => break done,
            }
        };
        Ok(writeln!(desk.out, "{word} \"{written}\" image updated")?)
    }
}

enum Stopped {
    Refused(Refused),
    Because(String),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Stopped {
        Stopped::Refused(refused)
    }
}

fn set_image(
    desk: &Desk<'_>,
    name: &str,
    container: &str,
    image: &str,
) -> Result<(&'static str, String), Stopped> {
    let rollout = desk.cluster.get(&desk.key(Kind::Rollout, name))?;
    let (key, mut document) = match rollout.pointer("/spec/workloadRef/name").and_then(Value::as_str) {
        None => (desk.key(Kind::Rollout, name), rollout),
        Some(workload) => {
            let key = desk.key(Kind::Deployment, workload);
            let document = desk.cluster.get(&key)?;
            (key, document)
        }
    };
    let workload =
        Object::from_value(document.clone()).map_err(|error| Stopped::Because(error.to_string()))?;
    let wanted = |name: &str| (container == "*" || container == name).then(|| image.to_owned());
    let Ok(Patch::Main(patch)) = commands::set_image(&workload, &wanted) else {
        return Err(Stopped::Because(format!("unable to find container named \"{container}\"")));
    };
    merge(&mut document, &patch);
    desk.cluster.replace(&key, &document)?;
    let word = if key.kind == Kind::Rollout { "rollout" } else { "deployment" };
    Ok((word, key.name.to_string()))
}

/// Writes the patches of a command. The status comes first; a cluster whose CRD has no status subresource gets one
/// patch with both parts instead.
pub fn carry_out(cluster: &dyn Cluster, key: &Key, patches: &[Patch]) -> Result<(), Refused> {
    let status =
        patches.iter().find_map(|patch| if let Patch::Status(body) = patch { Some(body) } else { None });
    let main = patches.iter().find_map(|patch| if let Patch::Main(body) = patch { Some(body) } else { None });
    if let Some(status) = status {
        match cluster.patch(key, &Change::MergeStatus(status.clone())) {
            Err(Refused::NotFound(_)) => {
                let mut both = status.clone();
                if let (Some(both), Some(Value::Object(main))) = (both.as_object_mut(), main) {
                    both.extend(main.clone());
                }
                return cluster.patch(key, &Change::Merge(both)).map(|_| ());
            }
            Err(refused) => return Err(refused),
            Ok(_) => {}
        }
    }
    match main {
        Some(main) => cluster.patch(key, &Change::Merge(main.clone())).map(|_| ()),
        None => Ok(()),
    }
}

/// What the API server makes of a JSON merge patch.
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(map) = target.as_object_mut() else { return };
    for (field, value) in patch {
        if value.is_null() {
            map.remove(field);
        } else {
            merge(map.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The document as the object that commands are decided on.
pub fn object(document: Value) -> Result<Object, String> {
    Object::from_value(document).map_err(|error| error.to_string())
}
