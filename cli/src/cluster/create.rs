//! `tidegate create`: objects from files, or an AnalysisRun from a template.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tidegate_api::object::{Key, Kind};
use tidegate_api::{schema, yaml};

use super::view::{list, text};
use super::{Desk, Failure, get};
use crate::input;

/// Kinds that can be made.
const KINDS: [Kind; 5] = [
    Kind::Rollout,
    Kind::Experiment,
    Kind::AnalysisTemplate,
    Kind::ClusterAnalysisTemplate,
    Kind::AnalysisRun,
];
/// Label of objects that one of several controllers looks after.
const INSTANCE_LABEL: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// Arguments of `create`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Create {
    /// Files with one object each; `-` is standard input
    #[arg(short, long = "filename", value_name = "FILE", num_args = 1..)]
    files: Vec<String>,
    /// Watch what was made (one file only)
    #[arg(short, long)]
    watch: bool,
    /// No colours
    #[arg(long)]
    no_color: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// An AnalysisRun from a template.
    #[command(visible_aliases = ["ar", "analysisruns"])]
    Analysisrun(Run),
}

#[derive(Args)]
struct Run {
    /// Name of an AnalysisTemplate
    #[arg(long, value_name = "NAME", required_unless_present = "from_file", conflicts_with = "from_file")]
    from: Option<String>,
    /// File with an AnalysisTemplate
    #[arg(long, value_name = "FILE")]
    from_file: Option<String>,
    /// The template is a ClusterAnalysisTemplate
    #[arg(long)]
    global: bool,
    /// Name of the run
    #[arg(long)]
    name: Option<String>,
    /// Beginning of the name of the run
    #[arg(long, value_name = "PREFIX")]
    generate_name: Option<String>,
    /// Which controller shall look after it
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// Value of an argument; may be given again
    #[arg(short, long = "argument", value_name = "NAME=VALUE")]
    arguments: Vec<String>,
}

impl Create {
    /// Makes one after the other, up to the first failure.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        if let Some(What::Analysisrun(run)) = &self.what {
            return run.run(desk);
        }
        if self.watch && self.files.len() != 1 {
            return Err("only one file can be watched".to_owned().into());
        }
        let mut last = None;
        for file in &self.files {
            let document = read(file)?;
            last = Some(make(desk, &document)?);
        }
        match last {
            Some(key) if self.watch && matches!(key.kind, Kind::Rollout | Kind::Experiment) => {
                get::follow(desk, &key, self.no_color)
            }
            _ => Ok(()),
        }
    }
}

/// The one object of a file. What the kind does not know is refused: a typing error would go unseen.
fn read(file: &str) -> Result<Value, Failure> {
    let told = |error: &yaml::SourceError| {
        Failure::Because(format!("{}:{}: {}", error.name, error.line, error.message))
    };
    let input = input::read(file).map_err(|error| told(&error))?;
    let documents = yaml::read(&input.name, &input.text).map_err(|error| told(&error))?;
    let [document] = &documents[..] else {
        return Err(format!("{file}: one object is expected, there are {}", documents.len()).into());
    };
    let (kind, version) = (text(&document.value, "/kind"), text(&document.value, "/apiVersion"));
    if !KINDS.contains(&Kind::new(version, kind)) {
        return Err(format!("creates of {version}/{kind} unsupported").into());
    }
    if let Some(unknown) = schema::explain_unknown_fields(kind, &document.value).first() {
        return Err(told(&document.error_at_key(&unknown.path, unknown.to_string())));
    }
    if let Some(error) = schema::type_errors(kind, &document.value).first() {
        return Err(told(&document.error_at(&error.path, error.to_string())));
    }
    Ok(document.value.clone())
}

fn make(desk: &mut Desk<'_>, document: &Value) -> Result<Key, Failure> {
    let kind = Kind::new(text(document, "/apiVersion"), text(document, "/kind"));
    // What the file says wins over the flag.
    let namespace = match text(document, "/metadata/namespace") {
        _ if kind.is_cluster_wide() => "",
        "" => desk.cluster.namespace(),
        namespace => namespace,
    };
    let stored = desk
        .cluster
        .create(&Key::new(kind.clone(), namespace, text(document, "/metadata/name")), document)?;
    let word = match &kind {
        Kind::ClusterAnalysisTemplate => "analysistemplate".to_owned(),
        kind => kind.name().to_lowercase(),
    };
    let name = text(&stored, "/metadata/name");
    writeln!(desk.out, "{word}.argoproj.io/{name} created")?;
    Ok(Key::new(kind, namespace, name))
}

impl Run {
    fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let kind = if self.global { Kind::ClusterAnalysisTemplate } else { Kind::AnalysisTemplate };
        let template = match (&self.from, &self.from_file) {
            (Some(name), _) => desk.cluster.get(&desk.key(kind, name))?,
            (None, Some(file)) => read(file)?,
            (None, None) => return Err("one of --from and --from-file is needed".to_owned().into()),
        };
        make(desk, &self.document(&template)?)?;
        Ok(())
    }

    /// The run that this template and these arguments make.
    fn document(&self, template: &Value) -> Result<Value, String> {
        if !matches!(text(template, "/kind"), "AnalysisTemplate" | "ClusterAnalysisTemplate") {
            return Err(format!("a {} is no template of an analysis", text(template, "/kind")));
        }
        let mut spec = Map::new();
        for field in ["metrics", "dryRun", "measurementRetention"] {
            if let Some(value) = template["spec"].get(field) {
                spec.insert(field.to_owned(), value.clone());
            }
        }
        let arguments = self.arguments(template)?;
        if !arguments.is_empty() {
            spec.insert("args".to_owned(), Value::Array(arguments));
        }
        let mut metadata = Map::new();
        match (&self.name, &self.generate_name) {
            (Some(name), _) => metadata.insert("name".to_owned(), json!(name)),
            (None, Some(prefix)) => metadata.insert("generateName".to_owned(), json!(prefix)),
            (None, None) => metadata
                .insert("generateName".to_owned(), json!(format!("{}-", text(template, "/metadata/name")))),
        };
        if let Some(id) = &self.instance_id {
            metadata.insert("labels".to_owned(), json!({INSTANCE_LABEL: id}));
        }
        Ok(
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": metadata, "spec": spec}),
        )
    }

    fn arguments(&self, template: &Value) -> Result<Vec<Value>, String> {
        let mut arguments = list(template, "/spec/args").to_vec();
        for given in &self.arguments {
            let (name, value) =
                given.split_once('=').ok_or_else(|| format!("`{given}` is not of the form NAME=VALUE"))?;
            let known = arguments.iter_mut().find(|argument| argument["name"] == name);
            let argument = known.ok_or_else(|| format!("the template has no argument `{name}`"))?;
            *argument = json!({"name": name, "value": value});
        }
        let is_open = |argument: &&Value| argument["value"].is_null() && argument["valueFrom"].is_null();
        match arguments.iter().find(is_open) {
            Some(open) => Err(format!("the argument `{}` has no value", text(open, "/name"))),
            None => Ok(arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Run {
        Run {
            from: None,
            from_file: None,
            global: false,
            name: None,
            generate_name: None,
            instance_id: Some("blue".to_owned()),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn a_run_takes_its_arguments_from_the_flags_and_the_template() {
        let template = json!({"kind": "AnalysisTemplate", "metadata": {"name": "errors"}, "spec": {
            "args": [{"name": "service"}, {"name": "limit", "value": "5"},
                {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "metrics": [{"name": "m"}], "other": 1}});
        let made = run(&["service=web", "limit=a=b"]).document(&template);
        let wanted = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"generateName": "errors-", "labels": {INSTANCE_LABEL: "blue"}},
            "spec": {"metrics": [{"name": "m"}], "args": [{"name": "service", "value": "web"},
                {"name": "limit", "value": "a=b"},
                {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}});
        assert_eq!(made, Ok(wanted));
        assert_eq!(run(&[]).document(&template), Err("the argument `service` has no value".to_owned()));
        assert_eq!(run(&["x=1"]).document(&template), Err("the template has no argument `x`".to_owned()));
        assert!(run(&["service"]).document(&template).is_err());
    }
}
