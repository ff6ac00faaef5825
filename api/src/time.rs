//! Time as a value: an instant in milliseconds, and the whole seconds Kubernetes writes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub i64);

/// A span of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(pub i64);

/// An instant as Kubernetes stores it: whole seconds since 1970-01-01T00:00:00Z, printed as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp(pub i64);

impl Time {
    /// The later instant, held at the end of time instead of overflowing.
    pub fn plus(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }

    /// How long it was from `earlier` to this instant (negative when `earlier` is later).
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The whole second this instant lies in.
    pub fn stamp(self) -> Stamp {
        Stamp(self.0.div_euclid(1000))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// So many milliseconds.
    pub const fn millis(n: i64) -> Span {
        Span(n)
    }

    /// The whole seconds that it takes, rounded up.
    pub const fn whole_seconds_up(self) -> i64 {
        self.0.saturating_add(999).div_euclid(1000)
    }

    /// So many seconds, held at the largest span instead of overflowing.
    pub const fn seconds(n: i64) -> Span {
        Span(n.saturating_mul(1000))
    }
}

impl Stamp {
    /// The first instant of this second.
    pub fn time(self) -> Time {
        Time(self.0.saturating_mul(1000))
    }

    /// The stamp so many seconds later.
    pub fn plus_seconds(self, seconds: i64) -> Stamp {
        Stamp(self.0.saturating_add(seconds))
    }

    /// Reads RFC 3339 text, with any offset and with or without fractions of a second.
    pub fn parse(text: &str) -> Option<Stamp> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Stamp(t.as_second()))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "second {}", self.0),
        }
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Stamp, D::Error> {
        let text = String::deserialize(from)?;
        Stamp::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_print_as_kubernetes_prints_them() {
        assert_eq!(Time(1_767_225_600_999).stamp().to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(Stamp::parse("2026-01-01T01:00:00.5+01:00"), Some(Stamp(1_767_225_600)));
        assert_eq!(Stamp::parse("tomorrow"), None);
    }
}
