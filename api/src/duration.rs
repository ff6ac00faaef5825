//! Durations as Go writes them (`1h30m`, `1.5s`), and the forms a pause may take.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::schema::integer;

/// A duration of a user's object: the text as it was written, and what it means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GoDuration {
    text: String,
    nanos: i64,
}

/// Why a text is no duration, in Go's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotADuration {
    /// Neither digits nor a unit where they belong, or too long for 64 bits of nanoseconds.
    #[error("time: invalid duration {}", quoted(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", quoted(.0))]
    MissingUnit(String),
    /// A unit other than ns, us, µs, ms, s, m and h.
    #[error("time: unknown unit {} in duration {}", quoted(.unit), quoted(.text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// How long a pause step lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PauseSeconds {
    /// Until somebody resumes it.
    Indefinite,
    /// So many seconds.
    Seconds(i64),
    /// What was written is no duration.
    Invalid,
}

/// What the field `duration` of a pause means; null if it is absent. Text may be a number of seconds or a duration,
/// of which only whole seconds count.
pub fn pause_seconds(value: &Value) -> PauseSeconds {
    let seconds = match value {
        Value::Null => return PauseSeconds::Indefinite,
        Value::Number(_) => integer(value).filter(|n| i32::try_from(*n).is_ok()),
        Value::String(text) => match text.parse::<i32>() {
            Ok(seconds) => Some(i64::from(seconds)),
            Err(_) => GoDuration::parse(text).ok().map(|duration| duration.whole_seconds()),
        },
        _ => None,
    };
    seconds.map_or(PauseSeconds::Invalid, PauseSeconds::Seconds)
}

impl GoDuration {
    /// Reads what Go's `time.ParseDuration` reads, and refuses what it refuses.
    pub fn parse(text: &str) -> Result<GoDuration, NotADuration> {
        Ok(GoDuration { text: text.to_owned(), nanos: nanos(text)? })
    }

    /// In nanoseconds.
    pub fn nanos(&self) -> i64 {
        self.nanos
    }

    /// In seconds, what is left over cut off.
    pub fn whole_seconds(&self) -> i64 {
        self.nanos / SECOND as i64
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for GoDuration {
    type Err = NotADuration;
    fn from_str(text: &str) -> Result<GoDuration, NotADuration> {
        GoDuration::parse(text)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<GoDuration, D::Error> {
        GoDuration::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000 * MICRO;
const SECOND: u64 = 1_000 * MILLI;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// One more than the largest duration; the size of the smallest.
const LIMIT: u64 = 1 << 63;

fn nanos(text: &str) -> Result<i64, NotADuration> {
    let invalid = || NotADuration::Invalid(text.to_owned());
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = rest.split_at(digits(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let (unit, after) =
            after.split_at(after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len()));
        let whole = if whole.is_empty() { Some(0) } else { whole.parse().ok().filter(|n| *n <= LIMIT) };
        let whole: u64 = whole.ok_or_else(invalid)?;
        if unit.is_empty() {
            return Err(NotADuration::MissingUnit(text.to_owned()));
        }
        let Some(size) = unit_nanos(unit) else {
            return Err(NotADuration::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        let part = whole.checked_mul(size).filter(|n| *n <= LIMIT).ok_or_else(invalid)?;
        let part = part.checked_add(part_of(fraction, size)).filter(|n| *n <= LIMIT).ok_or_else(invalid)?;
        // Go lets twice the limit wrap around to nothing; a sum is never larger than that.
        total = total.wrapping_add(part);
        if total > LIMIT {
            return Err(invalid());
        }
        rest = after;
    }
    match is_negative {
        true => Ok(0i64.wrapping_sub_unsigned(total)),
        false => i64::try_from(total).map_err(|_| invalid()),
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => MICRO,
        "ms" => MILLI,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// The digits behind a decimal point, in nanoseconds. Those that do not fit 63 bits are left out, as Go does.
///
/// Go multiplies floats here, and rounds 0.3333333333333333333h up to 20m where exact arithmetic stays below it, so
/// this is the one place with floats. Only IEEE basic operations: the same result on every machine.
fn part_of(fraction: &str, size: u64) -> u64 {
    let (mut numerator, mut scale) = (0u64, 1f64);
    for digit in fraction.bytes() {
        let next = numerator.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit - b'0')));
        match next.filter(|n| *n <= LIMIT) {
            Some(next) => numerator = next,
            None => break,
        }
        scale *= 10.0;
    }
    (numerator as f64 * (size as f64 / scale)) as u64
}

/// A number of nanoseconds as Go prints a duration: `1h30m0s`, `1.5s`, `0s`.
pub fn go_text(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let text = match size {
        0 => "0s".to_owned(),
        1..MICRO => format!("{size}ns"),
        MICRO..MILLI => decimal(size, MICRO) + "µs",
        MILLI..SECOND => decimal(size, MILLI) + "ms",
        SECOND..MINUTE => decimal(size, SECOND) + "s",
        MINUTE..HOUR => format!("{}m{}s", size / MINUTE, decimal(size % MINUTE, SECOND)),
        _ => format!("{}h{}m{}s", size / HOUR, size % HOUR / MINUTE, decimal(size % MINUTE, SECOND)),
    };
    format!("{sign}{text}")
}

/// `n / unit`, where `unit` is a power of ten, without zeros at the end.
fn decimal(n: u64, unit: u64) -> String {
    let places = unit.ilog10() as usize;
    let text = format!("{}.{:0places$}", n / unit, n % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text in quotes as Go's `time` prints it in errors: bytes outside printable ASCII as `\x..`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='\x7f' => out.push(c),
            _ => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| out += &format!("\\x{b:02x}")),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A text, the nanoseconds Go reads, the text Go prints for them.
    const AS_GO: &[(&str, i64, &str)] = &[
        ("1h30m", 5_400_000_000_000, "1h30m0s"),
        ("10s", 10_000_000_000, "10s"),
        ("1.5s", 1_500_000_000, "1.5s"),
        (".5s", 500_000_000, "500ms"),
        ("1.s", 1_000_000_000, "1s"),
        ("0", 0, "0s"),
        ("+0", 0, "0s"),
        ("-0", 0, "0s"),
        ("0ns", 0, "0s"),
        ("-1h", -3_600_000_000_000, "-1h0m0s"),
        ("-.5m", -30_000_000_000, "-30s"),
        ("+5s", 5_000_000_000, "5s"),
        ("1\u{b5}s", 1_000, "1µs"),
        ("1\u{3bc}s", 1_000, "1µs"),
        ("999us", 999_000, "999µs"),
        ("100ns", 100, "100ns"),
        ("1100ns", 1_100, "1.1µs"),
        ("2200us", 2_200_000, "2.2ms"),
        ("3300ms", 3_300_000_000, "3.3s"),
        ("1ms500us", 1_500_000, "1.5ms"),
        ("1h0.001s", 3_600_001_000_000, "1h0m0.001s"),
        ("39h9m14.425s", 140_954_425_000_000, "39h9m14.425s"),
        ("9223372036854775807ns", i64::MAX, "2562047h47m16.854775807s"),
        ("2562047h47m16.854775807s", i64::MAX, "2562047h47m16.854775807s"),
        ("-9223372036854775808ns", i64::MIN, "-2562047h47m16.854775808s"),
        ("9223372036854775808ns9223372036854775808ns", 0, "0s"),
        ("0.3333333333333333333h", 1_200_000_000_000, "20m0s"),
        ("0.9223372036854775808h", 3_320_413_933_267, "55m20.413933267s"),
        ("0.830103483285477580700h", 2_988_372_539_827, "49m48.372539827s"),
        ("1.0000000000000000000000009s", 1_000_000_000, "1s"),
        ("0.0000000000000000000000001h", 0, "0s"),
    ];

    #[test]
    fn durations_are_read_and_printed_as_go_does() {
        for (text, nanos, printed) in AS_GO {
            let duration = GoDuration::parse(text).unwrap();
            assert_eq!(duration.nanos(), *nanos, "{text}");
            assert_eq!(duration.to_string(), *text);
            assert_eq!(go_text(*nanos), *printed);
            assert_eq!(serde_json::from_value::<GoDuration>(json!(text)).unwrap(), duration);
            assert_eq!(serde_json::to_value(&duration).unwrap(), json!(text));
        }
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (text, message) in [
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            (".s", r#"time: invalid duration ".s""#),
            ("--1s", r#"time: invalid duration "--1s""#),
            ("5", r#"time: missing unit in duration "5""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("1h 2m", r#"time: unknown unit "h " in duration "1h 2m""#),
            ("1S", r#"time: unknown unit "S" in duration "1S""#),
            ("1é\"", r#"time: unknown unit "\xc3\xa9\"" in duration "1\xc3\xa9\"""#),
            ("3000000h", r#"time: invalid duration "3000000h""#),
            ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
            ("9223372036854775809ns", r#"time: invalid duration "9223372036854775809ns""#),
            ("99999999999999999999d", r#"time: invalid duration "99999999999999999999d""#),
            ("922337203685477580.8us", r#"time: invalid duration "922337203685477580.8us""#),
            ("-9223372036854775808.5ns1ns", r#"time: invalid duration "-9223372036854775808.5ns1ns""#),
            ("-2562047h47m16.854775809s", r#"time: invalid duration "-2562047h47m16.854775809s""#),
        ] {
            assert_eq!(GoDuration::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_pause_takes_seconds_or_a_duration() {
        use PauseSeconds::{Indefinite, Invalid, Seconds};
        for (value, want) in [
            (json!(null), Indefinite),
            (json!(30), Seconds(30)),
            (json!(0), Seconds(0)),
            (json!(-3), Seconds(-3)),
            (json!("30"), Seconds(30)),
            (json!("+30"), Seconds(30)),
            (json!("007"), Seconds(7)),
            (json!("1h30m"), Seconds(5400)),
            (json!("1.9s"), Seconds(1)),
            (json!("-1.9s"), Seconds(-1)),
            (json!("500ms"), Seconds(0)),
            (json!("2147483647"), Seconds(2_147_483_647)),
            (json!("2147483648"), Invalid),
            (json!("2147483648s"), Seconds(2_147_483_648)),
            (json!(2_147_483_648i64), Invalid),
            (json!(u64::MAX), Invalid),
            (json!(30.0), Seconds(30)),
            (json!(1.5), Invalid),
            (json!(1e300), Invalid),
            (json!(""), Invalid),
            (json!("soon"), Invalid),
            (json!(" 1s"), Invalid),
            (json!(true), Invalid),
            (json!([1]), Invalid),
        ] {
            assert_eq!(pause_seconds(&value), want, "{value}");
        }
    }

    proptest! {
        #[test]
        fn printed_durations_read_back(nanos in any::<i64>(), shift in 0u32..63) {
            let nanos = nanos >> shift;
            prop_assert_eq!(GoDuration::parse(&go_text(nanos)).unwrap().nanos(), nanos);
        }

        #[test]
        fn no_text_is_too_strange(text in "[-+]?([0-9.]{0,20}(ns|us|µs|ms|s|m|h|d|é| )?){0,4}") {
            let _ = GoDuration::parse(&text).map_err(|e| e.to_string());
        }
    }
}
