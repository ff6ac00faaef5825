//! Reading arbitrary JSON field by field, remembering what is wrong with it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::object::{Strings, Text};
use crate::problem::{Problem, ProblemKind};
use crate::schema::integer;

/// A field of the manifest that may be absent: its value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field<'v> {
    /// The value; null when absent. Kubernetes makes no difference between the two.
    pub value: &'v Value,
    /// The path in the manifest.
    pub place: String,
}

/// Everything found so far. Wrong types come first, since an API server would refuse them before any rule is
/// looked at; what is not built yet comes last, since nothing is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    wrong_types: Vec<Problem>,
    rules: Vec<Problem>,
    not_built: Vec<Problem>,
}

const ABSENT: &Value = &Value::Null;

impl<'v> Field<'v> {
    /// The root of what is read.
    pub fn new(value: &'v Value, place: impl Into<String>) -> Field<'v> {
        Field { value, place: place.into() }
    }

    /// A field of this mapping; absent when this is no mapping.
    pub fn get(&self, name: &str) -> Field<'v> {
        Field { value: self.value.get(name).unwrap_or(ABSENT), place: format!("{}.{name}", self.place) }
    }

    /// An entry of this mapping under a key that is no field name.
    pub fn key(&self, key: &str) -> Field<'v> {
        Field { value: self.value.get(key).unwrap_or(ABSENT), place: format!("{}[{key}]", self.place) }
    }

    /// Whether it is there.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The mapping in it.
    pub fn mapping(&self, found: &mut Findings) -> Option<&'v Map<String, Value>> {
        match self.value {
            Value::Null => None,
            Value::Object(map) => Some(map),
            _ => found.wrong_type(self, "must be a mapping"),
        }
    }

    /// The entries of the list in it; none when it is no list.
    pub fn list(&self, found: &mut Findings) -> Vec<Field<'v>> {
        match self.value {
            Value::Null => Vec::new(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(i, item)| Field::new(item, format!("{}[{i}]", self.place)))
                .collect(),
            _ => found.wrong_type(self, "must be a list").unwrap_or_default(),
        }
    }

    /// The entries of the list in it that are mappings, which all others must be.
    pub fn mappings(&self, found: &mut Findings) -> Vec<Field<'v>> {
        let mut items = self.list(found);
        items.retain(|item| match item.value {
            Value::Object(_) => true,
            _ => found.wrong_type::<bool>(item, "must be a mapping").unwrap_or(false),
        });
        items
    }

    /// The text in it.
    pub fn text(&self, found: &mut Findings) -> Option<&'v str> {
        match self.value {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => found.wrong_type(self, "must be text (in quotes)"),
        }
    }

    /// The text in it, empty when absent, as a shared text.
    pub fn shared_text(&self, found: &mut Findings) -> Text {
        self.text(found).unwrap_or_default().into()
    }

    /// The truth value in it.
    pub fn boolean(&self, found: &mut Findings) -> Option<bool> {
        match self.value {
            Value::Null => None,
            Value::Bool(truth) => Some(*truth),
            _ => found.wrong_type(self, "must be true or false"),
        }
    }

    /// The whole number in it, which must fit into 32 bits.
    pub fn int32(&self, found: &mut Findings) -> Option<i64> {
        let number = self.int64(found)?;
        match i32::try_from(number) {
            Ok(_) => Some(number),
            Err(_) => found.wrong_type(self, "must be between -2147483648 and 2147483647"),
        }
    }

    /// The whole number in it.
    pub fn int64(&self, found: &mut Findings) -> Option<i64> {
        match self.value {
            Value::Null => None,
            Value::Number(_) => match integer(self.value) {
                Some(number) => Some(number),
                None => found.wrong_type(self, "must be a whole number that fits into 64 bits"),
            },
            _ => found.wrong_type(self, "must be a whole number"),
        }
    }

    /// The mapping of text to text in it; what is not text is left out.
    pub fn strings(&self, found: &mut Findings) -> Strings {
        let Some(map) = self.mapping(found) else { return Strings::default() };
        let mut strings = Strings::default();
        for key in map.keys() {
            match self.key(key).value {
                Value::String(text) => strings.set(key, text.as_str()),
                _ => _ = found.wrong_type::<()>(&self.key(key), "must be text (in quotes)"),
            }
        }
        strings
    }
}

impl Findings {
    /// Notes that a field has a type that no API server would take; there is no value then.
    pub fn wrong_type<T>(&mut self, field: &Field<'_>, detail: &str) -> Option<T> {
        // Several rules may read the same field.
        if !self.wrong_types.iter().any(|known| known.place() == field.place) {
            self.wrong_types.push(Problem::invalid(&field.place, field.value.clone(), detail));
        }
        None
    }

    /// Notes something that the API server would refuse before the controller sees it.
    pub fn refused(&mut self, problem: Problem) {
        self.wrong_types.push(problem);
    }

    /// Notes a broken rule.
    pub fn rule(&mut self, problem: Problem) {
        self.rules.push(problem);
    }

    /// Notes a value that a rule does not allow.
    pub fn invalid(&mut self, field: &Field<'_>, detail: impl Into<String>) {
        self.rule(Problem::invalid(&field.place, field.value.clone(), detail));
    }

    /// Notes every complaint about a value.
    pub fn invalid_each(&mut self, field: &Field<'_>, details: Vec<String>) {
        for detail in details {
            self.invalid(field, detail);
        }
    }

    /// Notes a field that a rule demands.
    pub fn required(&mut self, field: &Field<'_>, detail: &str) {
        self.rule(Problem::required(&field.place, detail));
    }

    /// Notes a field that may not be there.
    pub fn forbidden(&mut self, field: &Field<'_>, detail: &str) {
        self.rule(Problem::new(&field.place, ProblemKind::Forbidden, detail));
    }

    /// Notes an entry that stands there twice.
    pub fn duplicate(&mut self, field: &Field<'_>, value: impl Into<Value>) {
        self.rule(Problem::new(&field.place, ProblemKind::Duplicate(value.into()), ""));
    }

    /// Notes a value outside a list of allowed ones.
    pub fn not_supported(&mut self, field: &Field<'_>, value: &str, allowed: &[&str]) {
        let allowed = allowed.iter().map(|a| (*a).to_owned()).collect();
        self.rule(Problem::new(&field.place, ProblemKind::NotSupported(value.into(), allowed), ""));
    }

    /// Notes a text outside a list of allowed ones; an absent or empty one takes its default.
    pub fn one_of(&mut self, field: &Field<'_>, allowed: &[&str]) {
        let text = field.text(self).unwrap_or_default();
        if !text.is_empty() && !allowed.contains(&text) {
            self.not_supported(field, text, allowed);
        }
    }

    /// Notes a number below zero.
    pub fn not_negative(&mut self, field: &Field<'_>) {
        if field.int32(self).is_some_and(|number| number < 0) {
            self.invalid(field, "must be greater than or equal to 0");
        }
    }

    /// Notes a correct use of something that does not exist yet.
    pub fn not_built(&mut self, problem: Problem) {
        self.not_built.push(problem);
    }

    /// Whether any rule is broken.
    pub fn has_broken_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Everything, in order. Rules about a field whose type is already wrong judged a default, not what the user
    /// wrote: they are left out.
    pub fn into_problems(self) -> Vec<Problem> {
        let wrong: BTreeSet<String> = self.wrong_types.iter().map(|p| p.place().to_owned()).collect();
        let judged_a_default = |problem: &Problem| prefixes(problem.place()).any(|p| wrong.contains(p));
        let mut all = self.wrong_types;
        all.extend(self.rules.into_iter().filter(|p| !judged_a_default(p)));
        all.extend(self.not_built.into_iter().filter(|p| !judged_a_default(p)));
        all
    }
}

/// The path itself and those of everything it stands in.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(i, _)| i);
    ends.map(|end| &path[..end]).chain([path])
}
