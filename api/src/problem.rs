//! What is wrong with a user's manifest: a value that travels, never an early return.

use std::fmt;

use serde_json::Value;

/// One thing that is wrong with one field. Printed in the format of the Kubernetes field errors:
/// `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// The field, as the reference names it (`spec.strategy.steps[0].setWeight`): what users and tools see.
    pub path: String,
    /// Where the field stands in the manifest when that differs from `path`
    /// (`spec.strategy.canary.steps[0].setWeight`): what the caret of `lint` points at.
    pub place: Option<String>,
    /// What kind of mistake it is.
    pub kind: ProblemKind,
    /// What is wrong with it, in the reference's words where it has some.
    pub detail: String,
}

/// What kind of mistake a [`Problem`] is.
#[derive(Clone, PartialEq, Debug)]
pub enum ProblemKind {
    /// A field that must be there is missing.
    Required,
    /// A value that is not allowed, with the value.
    Invalid(Value),
    /// A value outside a list of allowed ones, with the value and the list.
    NotSupported(Value, Vec<String>),
    /// A field that may not be there.
    Forbidden,
    /// A list entry that stands there twice, with the entry.
    Duplicate(Value),
    /// A text that is longer than allowed, with the limit.
    TooLong(i64),
    /// A check that could not be carried out.
    Internal,
    /// Correct, but tidegate cannot do it yet.
    NotBuiltYet,
}

impl Problem {
    /// A problem of a field whose manifest path is its path.
    pub fn new(path: impl Into<String>, kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem { path: path.into(), place: None, kind, detail: detail.into() }
    }

    /// A value that is not allowed.
    pub fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Problem {
        Problem::new(path, ProblemKind::Invalid(value.into()), detail)
    }

    /// A field that is missing.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Problem {
        Problem::new(path, ProblemKind::Required, detail)
    }

    /// The same problem, standing elsewhere in the manifest.
    pub fn at(self, place: impl Into<String>) -> Problem {
        Problem { place: Some(place.into()), ..self }
    }

    /// Where the field stands in the manifest.
    pub fn place(&self) -> &str {
        self.place.as_deref().unwrap_or(&self.path)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { path, detail, .. } = self;
        match &self.kind {
            ProblemKind::Required if detail.is_empty() => write!(f, "{path}: Required value"),
            ProblemKind::Required => write!(f, "{path}: Required value: {detail}"),
            ProblemKind::Invalid(value) => write!(f, "{path}: Invalid value: {value}: {detail}"),
            ProblemKind::NotSupported(value, allowed) => {
                let allowed: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
                write!(f, "{path}: Unsupported value: {value}: supported values: {}", allowed.join(", "))
            }
            ProblemKind::Forbidden => write!(f, "{path}: Forbidden: {detail}"),
            ProblemKind::Duplicate(value) => write!(f, "{path}: Duplicate value: {value}"),
            ProblemKind::TooLong(limit) => write!(f, "{path}: Too long: may not be more than {limit} bytes"),
            ProblemKind::Internal => write!(f, "{path}: Internal error: {detail}"),
            ProblemKind::NotBuiltYet => write!(f, "{path}: not built yet: {detail}"),
        }
    }
}
