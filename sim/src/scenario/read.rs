//! From the text of a scenario to a [`Script`].

use tidegate_api::object::Object;
use tidegate_api::time::Span;
use tidegate_api::yaml::{self, Document, SourceError};

use super::cursor::{Cursor, Read};
use super::keys::known;
use super::read_condition::condition;
use super::read_world::read_world;
use super::{Entry, Moment, Script, Then, Verb, users};
use crate::metrics::MetricsModel;
use crate::world::{PodModels, RouterModel, WorldConfig};

/// The files beside a scenario. Names are relative to it.
pub trait Files {
    /// The text of a file, or why there is none.
    fn text(&self, file: &str) -> Result<String, String>;

    /// The names of the files that a pattern such as `../manifests/*.yaml` stands for, sorted.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Where the files that a scenario names come from.
pub type Load<'a> = &'a dyn Files;

impl Script {
    /// Whether a document is a scenario, and not an object.
    pub fn is_scenario(document: &Document) -> bool {
        document.value.get("apiVersion").is_none() && document.value.get("given").is_some()
    }

    /// Reads a scenario. `load` answers the files it names, relative to itself.
    pub fn read(name: &str, text: &str, load: Load<'_>) -> Result<Script, SourceError> {
        let documents = yaml::read(name, text)?;
        match documents.as_slice() {
            [document] => Script::from_document(name, document, load),
            [] => Err(yaml_error(name, "there is no scenario in this file")),
            [_, second, ..] => Err(second.error_at("", "a file holds one scenario")),
        }
    }

    /// Reads a scenario that is one document.
    pub fn from_document(name: &str, document: &Document, load: Load<'_>) -> Result<Script, SourceError> {
        let root = Cursor::root(document);
        root.fields(&known("scenario"))?;
        let mut script = Script::of(name, Vec::new());
        if let Some(about) = root.get("about") {
            script.about = about.owned()?;
        }
        for given in root.need("given")?.items()? {
            script.given.extend(objects_of(&given, load)?);
        }
        if let Some(settled) = root.get("settled") {
            script.settled = settled.flag()?;
        }
        if let Some(world) = root.get("world") {
            read_world(&world, &mut script)?;
        }
        if let Some(when) = root.get("when") {
            script.when = when.items()?.iter().map(|entry| read_entry(entry, load)).collect::<Read<_>>()?;
        }
        if let Some(then) = root.get("then") {
            script.then = read_then(&then)?;
        }
        Ok(script)
    }

    /// A script in which nothing happens but the first deployment.
    pub fn of(name: &str, given: Vec<Object>) -> Script {
        Script {
            name: name.to_owned(),
            about: String::new(),
            given,
            settled: true,
            seed: 0,
            pods: PodModels::default(),
            watch_lag: WorldConfig::default().watch_lag,
            routers: RouterModel::default(),
            traffic: None,
            quality: Vec::new(),
            metrics: Vec::new(),
            scrape: MetricsModel::default().scrape,
            when: Vec::new(),
            then: Then::default(),
            promote_after: None,
        }
    }
}

/// A problem with a file as a whole.
pub fn yaml_error(name: &str, message: &str) -> SourceError {
    SourceError {
        severity: yaml::Severity::Error,
        name: name.to_owned(),
        line: 0,
        column: 0,
        length: 0,
        message: message.to_owned(),
        help: None,
        source_line: "".into(),
    }
}

/// The object in a document.
pub fn object_of(document: &Document) -> Result<Object, SourceError> {
    Object::from_value(document.value.clone()).map_err(|why| document.error_at("", why.to_string()))
}

/// The objects of a file or of all files that a pattern stands for, or the object written in place.
pub(super) fn objects_of(at: &Cursor<'_>, load: Load<'_>) -> Read<Vec<Object>> {
    let Some(file) = at.value.as_str() else {
        at.map()?;
        let object = Object::from_value(at.value.clone());
        return object.map(|object| vec![object]).or_else(|why| at.wrong(why.to_string()));
    };
    let files = if file.contains(['*', '?', '[']) {
        load.matching(file).or_else(|why| at.wrong(why))?
    } else {
        vec![file.to_owned()]
    };
    if files.is_empty() {
        return at.wrong(format!("no file matches `{file}`"));
    }
    let mut objects = Vec::new();
    for file in files {
        let text = load.text(&file).or_else(|why| at.wrong(format!("cannot read `{file}`: {why}")))?;
        for document in &yaml::objects(yaml::read(&file, &text)?) {
            objects.push(object_of(document)?);
        }
    }
    Ok(objects)
}

fn read_entry(entry: &Cursor<'_>, load: Load<'_>) -> Read<Entry> {
    let moment = match (entry.get("at"), entry.get("once")) {
        (Some(_), Some(once)) => return once.wrong_key("an entry has `at` or `once`, not both"),
        (Some(at), None) => Moment::At(at.span()?),
        (None, Some(once)) => Moment::Once(Box::new(condition(&once)?)),
        (None, None) => Moment::Next,
    };
    let after = entry.get("after").map_or(Ok(Span::ZERO), |after| after.span())?;
    let (entries, moments) = (entry.entries()?, known("entry"));
    let mut verbs = entries.iter().filter(|(name, _)| !moments.contains(name));
    let Some((name, verb)) = verbs.next() else { return entry.wrong("this entry says when, but not what") };
    if let Some((second, field)) = verbs.next() {
        return field.wrong_key(format!("an entry has one verb; this one has `{name}` and `{second}`"));
    }
    let verb: Verb = super::read_verb::verb(name, verb, load)?;
    Ok(Entry { moment, after, verb, line: entry.line() })
}

fn read_then(then: &Cursor<'_>) -> Read<Then> {
    then.fields(&known("then"))?;
    let mut result = Then { line: then.key_line(), ..Then::default() };
    if let Some(ends) = then.get("ends") {
        if ends.value.is_string() {
            result.ends.insert(String::new(), read_phase(&ends)?);
        } else {
            for (rollout, phase) in ends.entries()? {
                result.ends.insert(rollout.to_owned(), read_phase(&phase)?);
            }
        }
    }
    result.users_saw = then.get("users_saw").map(|field| users::read(&field)).transpose()?;
    result.within = then.get("within").map(|field| field.span()).transpose()?;
    let conditions = |name: &str| -> Read<Vec<_>> {
        let items = then.get(name).map_or(Ok(Vec::new()), |field| field.items())?;
        items.iter().map(condition).collect()
    };
    (result.never, result.holds) = (conditions("never")?, conditions("holds")?);
    Ok(result)
}

fn read_phase(field: &Cursor<'_>) -> Read<String> {
    match field.text()? {
        phase @ ("Healthy" | "Progressing" | "Paused" | "Degraded") => Ok(phase.to_owned()),
        _ => field.wrong("this must be Healthy, Progressing, Paused or Degraded"),
    }
}
