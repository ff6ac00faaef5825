//! What one scalar means, as `kubectl` understands it: its YAML reader follows version 1.1 for booleans and
//! integers, and what reaches the API server is JSON. Every row of the test below was compared with it.

use saphyr_parser::Tag;
use serde_json::{Number, Value};

/// The value of a plain scalar without a tag.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" => {
            return Err(format!("{text} is infinite, and JSON has no number for that"));
        }
        ".nan" | ".NaN" | ".NAN" => return Err(format!("{text} is not a number, and JSON cannot hold it")),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    };
    Ok(value)
}

/// The value of a scalar with a tag, whatever its quotes.
pub(super) fn tagged(text: &str, tag: &Tag) -> Result<Value, String> {
    let refused = |kind: &str| format!("`{text}` cannot be read as {kind}");
    let name = core_name(tag).unwrap_or_default();
    if matches!(name, "str" | "timestamp") {
        return Ok(Value::String(text.to_owned()));
    }
    match (name, plain(text)?) {
        ("binary", _) => base64(text)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Value::String)
            .ok_or_else(|| refused("base64 of UTF-8 text, and JSON holds no other bytes")),
        ("null", value @ Value::Null) | ("bool", value @ Value::Bool(_)) => Ok(value),
        ("int", Value::Number(n)) if n.is_i64() || n.is_u64() => Ok(Value::Number(n)),
        ("float", value @ Value::Number(_)) => Ok(value),
        ("null" | "bool" | "int" | "float", _) => Err(refused(tag_text(tag).as_str())),
        _ => Err(format!("the tag {} has no meaning here", tag_text(tag))),
    }
}

/// The name of a tag that YAML itself defines: `str` for `!!str`, and for the lone `!` too, which says that text is
/// to be taken as it stands.
pub(super) fn core_name(tag: &Tag) -> Option<&str> {
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("tag:yaml.org,2002:", name) => Some(name),
        ("", "!") | ("!", "") => Some("str"),
        ("", verbatim) => verbatim.strip_prefix("tag:yaml.org,2002:"),
        _ => None,
    }
}

/// The tag as people write it.
pub(super) fn tag_text(tag: &Tag) -> String {
    match core_name(tag) {
        Some(name) => format!("!!{name}"),
        None => format!("{}{}", tag.handle, tag.suffix),
    }
}

/// The key of a JSON object for a scalar that was read as `value`.
pub(super) fn key(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err("a key may not be null".to_owned()),
    }
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let is_apart = |at: usize| {
        let around = [text.as_bytes().get(at.wrapping_sub(1)), text.as_bytes().get(at + 1)];
        around.iter().all(|b| b.is_some_and(u8::is_ascii_digit))
    };
    // Underscores may stand anywhere, but behind a leading point only between digits.
    if text.starts_with('.') && text.match_indices('_').any(|(at, _)| !is_apart(at)) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

fn integer(text: &str) -> Option<Number> {
    let (negative, size) = match text.strip_prefix(['+', '-']) {
        Some(size) => (text.starts_with('-'), size),
        None => (false, text),
    };
    let (radix, digits) = match size.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &size[2..]),
        [b'0', b'o' | b'O', ..] => (8, &size[2..]),
        [b'0', b'b' | b'B', ..] => (2, &size[2..]),
        [b'0', _, ..] => (8, &size[1..]),
        _ => (10, size),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None; // from_str_radix would take another sign
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        true => 0i64.checked_sub_unsigned(size).map(Number::from),
        // Only positive numbers without a sign may exceed 63 bits.
        false if text.starts_with('+') => i64::try_from(size).ok().map(Number::from),
        false => Some(Number::from(size)),
    }
}

/// Decimal notation only. A whole number comes out as an integer, as Go prints it into JSON; one that is too
/// large for any float is no number at all.
fn float(text: &str) -> Option<Number> {
    let size = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match size.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (size, None),
    };
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && all_digits(e));
    if !is_number {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Of its digits, Go prints as few as tell it from other floats, and zeros for the rest; so does Rust.
    if value.fract() == 0.0
        && let Ok(whole) = value.to_string().parse::<i64>()
    {
        return Some(Number::from(whole));
    }
    Number::from_f64(value)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let unpadded = symbols.strip_suffix(b"==").or_else(|| symbols.strip_suffix(b"=")).unwrap_or(&symbols);
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for symbol in unpadded {
        let six = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use crate::yaml::read;

    /// A document and the JSON that `kubectl` sends for it.
    const AS_KUBECTL: &str = r#"
v: y | {"v":true}
v: N | {"v":false}
v: yes | {"v":true}
v: On | {"v":true}
v: off | {"v":false}
v: NO | {"v":false}
v: yEs | {"v":"yEs"}
v: 'yes' | {"v":"yes"}
v: "true" | {"v":"true"}
v: True | {"v":true}
v: 0x1F | {"v":31}
v: -0X1F | {"v":-31}
v: 0o17 | {"v":15}
v: -017 | {"v":-15}
v: 08 | {"v":8}
v: 0b101 | {"v":5}
v: 0b12 | {"v":"0b12"}
v: +5 | {"v":5}
v: +-5 | {"v":"+-5"}
v: 0x-5 | {"v":"0x-5"}
v: 1_000 | {"v":1000}
v: 1__0 | {"v":10}
v: 1_ | {"v":1}
v: _1 | {"v":"_1"}
v: 1_000.5 | {"v":1000.5}
v: ._5 | {"v":"._5"}
v: .8_7 | {"v":0.87}
v: .8_ | {"v":".8_"}
v: 1e3 | {"v":1000}
v: 1.0 | {"v":1}
v: .5 | {"v":0.5}
v: 5. | {"v":5}
v: +.5 | {"v":0.5}
v: -1.5E-3 | {"v":-0.0015}
v: 1152921504606846976.0 | {"v":1152921504606847000}
v: 1e19 | {"v":1e19}
v: 1e-7 | {"v":1e-7}
v: 1e400 | {"v":"1e400"}
v: 1.5e | {"v":"1.5e"}
v: .e3 | {"v":".e3"}
v: 1.2.3 | {"v":"1.2.3"}
v: 1:30 | {"v":"1:30"}
v: 2020-01-01 | {"v":"2020-01-01"}
v: 2020-01-01T00:00:00Z | {"v":"2020-01-01T00:00:00Z"}
v: 9223372036854775807 | {"v":9223372036854775807}
v: 18446744073709551615 | {"v":18446744073709551615}
v: 18446744073709551616 | {"v":18446744073709551616}
v: -9223372036854775808 | {"v":-9223372036854775808}
v: -9223372036854775809 | {"v":-9223372036854775809}
v: ~ | {"v":null}
v: | {"v":null}
v: NULL | {"v":null}
v: nUll | {"v":"nUll"}
v: "" | {"v":""}
v: 0x | {"v":"0x"}
v: 0x1p3 | {"v":"0x1p3"}
v: --1 | {"v":"--1"}
v: -0 | {"v":0}
v: 0_7 | {"v":7}
v: Infinity | {"v":"Infinity"}
v: inf | {"v":"inf"}
v: 10% | {"v":"10%"}
v: !!str 5 | {"v":"5"}
v: !!int "0x10" | {"v":16}
v: !!float "5" | {"v":5}
v: !!bool yes | {"v":true}
v: !!null "" | {"v":null}
v: !!binary aGVsbG8= | {"v":"hello"}
v: !!timestamp 2020-01-01 | {"v":"2020-01-01"}
v: ! 5 | {"v":"5"}
1: a | {"1":"a"}
true: a | {"true":"a"}
yes: a | {"true":"a"}
1.50: a | {"1.5":"a"}
0x10: a | {"16":"a"}
2020-01-01: x | {"2020-01-01":"x"}
"<<": {a: 1} | {"<<":{"a":1}}
v: "\x41\t\u00e9\/" | {"v":"A\té/"}
v: 'it''s' | {"v":"it's"}
"#;

    #[test]
    fn scalars_mean_what_kubectl_makes_of_them() {
        for row in AS_KUBECTL.lines().filter(|row| !row.is_empty()) {
            let (text, want) = row.split_once(" | ").unwrap();
            let documents = read("t.yaml", text).unwrap_or_else(|e| panic!("{text}: {}", e.message));
            let want: serde_json::Value = serde_json::from_str(want).unwrap();
            assert_eq!(documents[0].value, want, "{text}");
        }
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        let message = |text: &str| read("t.yaml", text).unwrap_err().message;
        for text in [
            "v: .inf",
            "v: -.INF",
            "v: .nan",
            "~: a",
            "v: !!int x",
            "v: !!bool 1",
            "v: !!binary /w==",
            "v: !!binary a",
            "v: !env HOME",
            "v: !!set {a: }",
            "v: !!map 5",
            "v: !!str {a: 1}",
            "? [a]\n: b",
        ] {
            assert!(!message(text).is_empty(), "{text}");
        }
        assert_eq!(message("v: !env HOME"), "the tag !env has no meaning here");
        assert_eq!(message("v: !!int x"), "`x` cannot be read as !!int");
        assert_eq!(message("v: .inf"), ".inf is infinite, and JSON has no number for that");
    }
}
