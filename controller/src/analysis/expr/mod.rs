//! The expression language of conditions: the reference's, in the part that the field uses.
//!
//! An expression is read (`parse`), judged by what is known of the types of its values (`check`) and only then run
//! (`eval`). The judgement is not for comfort: what it refuses is an error of the measurement, which is tried again,
//! and what it lets through may be a failure, which aborts. Sources, steps, ranges and texts are bounded.

mod check;
mod dates;
mod eval;
mod functions;
pub mod numbers;
mod parse;
mod token;
mod value;

pub use check::Type;
pub use functions::{base64_of, bytes_of_base64};
pub use parse::Expr;
pub use value::Value;

use tidegate_api::time::Time;

/// No source is longer, in bytes.
const LONGEST_SOURCE: usize = 8 * 1024;

/// What an expression may look at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'s> {
    /// `result`; absent in expressions of time.
    pub result: Option<&'s Value>,
    /// The time of this instant.
    pub now: Time,
}

impl Scope<'_> {
    fn arity(&self, name: &str) -> Option<(usize, usize)> {
        let own = if self.result.is_some() { functions::OF_CONDITIONS } else { &[] };
        let found = functions::FUNCTIONS.iter().chain(own).find(|(known, ..)| *known == name);
        found.map(|(_, least, most)| (*least, *most))
    }

    fn has_function(&self, name: &str) -> bool {
        self.arity(name).is_some() || parse::ITERATORS.contains(&name)
    }

    /// Whole numbers come from literals and from functions only; of results every number is a float.
    fn is_literal_int(&self, value: &Value) -> bool {
        matches!(value, Value::Int(_))
    }
}

/// Reads, judges and runs an expression. Gives its value, or what is wrong in words.
pub fn run(source: &str, scope: &Scope<'_>) -> Result<Value, String> {
    if source.len() > LONGEST_SOURCE {
        return Err(format!("expression is longer than {LONGEST_SOURCE} bytes"));
    }
    let expr = parse::parse(source)?;
    check::check(&expr, scope)?;
    eval::eval(&expr, scope)
}

/// What is wrong with how an expression is written, whatever it will be asked about; nothing where it can be read.
pub fn unreadable(source: &str) -> Option<String> {
    parse::parse(source).err()
}

/// The type of an expression's value as far as it can be known beforehand.
pub fn type_of(source: &str, scope: &Scope<'_>) -> Result<Type, String> {
    check::check(&parse::parse(source)?, scope)
}

/// Reads a regular expression, which is searched for anywhere.
pub fn pattern(source: &str) -> Result<regex::bytes::Regex, String> {
    // Without tables of Unicode classes; letters beyond ASCII in the pattern itself are found all the same.
    let mut builder = regex::bytes::RegexBuilder::new(source);
    builder.unicode(!source.is_ascii()).size_limit(1 << 20);
    builder.build().map_err(|why| {
        let text = why.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("error parsing regexp: {last}: `{source}`")
    })
}
