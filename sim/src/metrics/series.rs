//! Series that a scenario scripts: one value a measurement, the last one repeats.

use serde_json::Value;
use tidegate_api::object::Text;
use tidegate_api::time::Span;
use tidegate_controller::seams::Question;

/// One series.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// Which questions it answers.
    pub of: Of,
    /// Its values, in order.
    pub values: Vec<Point>,
}

/// Which questions a series answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Of {
    /// Those to a provider (any without one) whose address or body contains a text.
    Matching {
        /// The provider, by the name it has in metrics.
        provider: Option<String>,
        /// The text; as it is written in the metric, not as it is encoded on the way.
        text: String,
    },
    /// Those of a story to the recorder's series of this name.
    Story(String),
    /// Those of one metric of one AnalysisRun.
    Asked {
        /// The run's name.
        run: Text,
        /// The metric's name.
        metric: Text,
    },
}

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Of::Story(name) => f.write_str(name),
            Of::Asked { run, metric } => write!(f, "{metric} of {run}"),
            Of::Matching { provider, text } => {
                let provider = provider.as_deref().unwrap_or("of any provider");
                f.write_str(format!("{provider} {text}").trim_end())
            }
        }
    }
}

/// One value of a series.
#[derive(Clone, PartialEq, Debug)]
pub enum Point {
    /// A number, a list of numbers, a text such as `NaN`, or a whole document, for providers that answer with one.
    Value(Value),
    /// An answer with this status and body.
    Status(u16, String),
    /// No answer, and why.
    Fails(String),
    /// An answer that takes so much longer.
    Late(Span, Box<Point>),
}

impl Series {
    /// A series of a story, as it stands there.
    pub fn of_story(name: &str, values: &[Value]) -> Series {
        Series { of: Of::Story(name.to_owned()), values: values.iter().map(Point::of_story).collect() }
    }

    /// The value at a place.
    pub fn point(&self, place: usize) -> Point {
        let last = self.values.len().saturating_sub(1);
        let point = self.values.get(place.min(last)).cloned();
        point.unwrap_or_else(|| Point::Status(404, "no such series".to_owned()))
    }
}

impl Point {
    /// How much longer this answer takes.
    pub fn lateness(&self) -> Span {
        match self {
            Point::Late(by, point) => Span(by.0.saturating_add(point.lateness().0)),
            _ => Span::ZERO,
        }
    }

    fn of_story(value: &Value) -> Point {
        if value.get("$status").is_none() && value.get("$body").is_none() {
            return Point::Value(value.clone());
        }
        let status = value["$status"].as_u64().and_then(|status| u16::try_from(status).ok());
        Point::Status(status.unwrap_or(200), value["$body"].as_str().unwrap_or_default().to_owned())
    }
}

impl Of {
    /// Whether this question is meant.
    pub fn fits(&self, provider: &str, question: &Question) -> bool {
        match self {
            Of::Asked { run, metric } => question.asker.key.name == *run && question.asker.part == *metric,
            Of::Story(name) => {
                let path = question.url.split(['?', '#']).next().unwrap_or_default();
                let parts: Vec<&str> = path.split('/').collect();
                parts.windows(2).any(|pair| matches!(pair[0], "web" | "prom") && pair[1] == name)
            }
            Of::Matching { provider: wanted, text } => {
                wanted.as_deref().is_none_or(|wanted| wanted == provider)
                    && (question.url.contains(text.as_str())
                        || decoded(&question.url).contains(text.as_str())
                        || question.body.as_ref().is_some_and(|body| {
                            body.reveal().contains(text.as_str())
                                || decoded(body.reveal()).contains(text.as_str())
                        }))
            }
        }
    }
}

/// A text as it was before it was encoded for an address or a form.
pub fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                plain.push(code);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_texts_are_found_as_they_were_written() {
        assert_eq!(decoded("a%20b+c%7B%C3%A4%7D%"), "a b c{ä}%");
        assert_eq!(decoded("100%zz"), "100%zz");
    }

    #[test]
    fn the_last_value_repeats() {
        let series = Series::of_story("err", &[1.into(), serde_json::json!({"$status": 500, "$body": "no"})]);
        assert_eq!(series.point(0), Point::Value(1.into()));
        assert_eq!(series.point(7), Point::Status(500, "no".to_owned()));
        assert!(matches!(Series::of_story("err", &[]).point(0), Point::Status(404, _)));
    }
}
