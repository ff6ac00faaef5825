//! The two forms of numbers that may also be text: durations of pauses and shares of replicas.

use serde_json::Value;

use crate::spec::IntOrPercent;

/// Whole seconds of `pause.duration`: a number, a text with a number, or a Go duration cut to whole seconds.
pub(super) fn pause_seconds(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let number = number.as_f64()?;
            #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and fits into 32 bits")]
            (number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX)).then_some(number as i64)
        }),
        Value::String(text) => match text.parse::<i32>() {
            Ok(seconds) => Some(i64::from(seconds)),
            Err(_) => go_duration(text).map(|nanos| nanos / 1_000_000_000),
        },
        _ => None,
    }
}

/// Nanoseconds of a Go duration such as `1h30m`, `1.5s` or `-20ms`.
pub(super) fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { i128::from(whole.parse::<i64>().ok()?) };
        // Digits beyond the eighteenth are less than a nanosecond of any unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let part: i128 = if fraction.is_empty() { 0 } else { i128::from(fraction.parse::<i64>().ok()?) };
        let scale = 10_i128.pow(u32::try_from(fraction.len()).expect("at most 18 digits"));
        total += whole * unit + part * unit / scale;
        if total > i128::from(i64::MAX) {
            return None;
        }
        rest = tail;
    }
    i64::try_from(sign * total).ok()
}

/// `maxSurge` and `maxUnavailable`. Any text is a share, with or without percent signs.
pub(super) fn int_or_percent(value: &Value) -> IntOrPercent {
    match value {
        Value::Null => IntOrPercent::default(),
        Value::Number(number) => match number.as_i64().filter(|n| i32::try_from(*n).is_ok()) {
            Some(number) => IntOrPercent::Int(number),
            None => IntOrPercent::Broken(number.to_string().into()),
        },
        Value::String(text) => match text.replace('%', "").parse::<i32>() {
            Ok(share) => IntOrPercent::Percent(i64::from(share)),
            Err(_) => IntOrPercent::Broken(text.as_str().into()),
        },
        other => IntOrPercent::Broken(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_read_as_go_reads_them_and_cut_to_seconds() {
        for (text, seconds) in [
            (json!(10), Some(10)),
            (json!(-1), Some(-1)),
            (json!("10"), Some(10)),
            (json!("-3"), Some(-3)),
            (json!("1h30m"), Some(5400)),
            (json!("1.5m"), Some(90)),
            (json!(".5h"), Some(1800)),
            (json!("1999ms"), Some(1)),
            (json!("-1999ms"), Some(-1)),
            (json!("5µs"), Some(0)),
            (json!("0"), Some(0)),
            (json!("3000000000s"), Some(3_000_000_000)),
            (json!(""), None),
            (json!("s"), None),
            (json!("1.2.3s"), None),
            (json!("10 s"), None),
            (json!("3000000000"), None),
            (json!("1d"), None),
            (json!("99999999999h"), None),
            (json!(true), None),
        ] {
            assert_eq!(pause_seconds(&text), seconds, "{text}");
        }
    }

    #[test]
    fn any_text_is_a_share() {
        assert_eq!(int_or_percent(&json!(3)), IntOrPercent::Int(3));
        assert_eq!(int_or_percent(&json!("25")), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!("25%")), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!("%2%5%")), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!("oops")), IntOrPercent::Broken("oops".into()));
        assert_eq!(int_or_percent(&Value::Null), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!(3_000_000_000_i64)), IntOrPercent::Broken("3000000000".into()));
    }
}
