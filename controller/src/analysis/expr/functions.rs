//! The functions of the language, and those that the reference adds to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;
use tidegate_api::duration::GoDuration;

use super::eval::{LONGEST_TEXT, arithmetic, length};
use super::value::Value;
use super::{Scope, dates};

/// (name, fewest and most arguments)
pub const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("len", 1, 1),
    ("type", 1, 1),
    ("abs", 1, 1),
    ("ceil", 1, 1),
    ("floor", 1, 1),
    ("round", 1, 1),
    ("int", 1, 1),
    ("float", 1, 1),
    ("string", 1, 1),
    ("trim", 1, 2),
    ("trimPrefix", 1, 2),
    ("trimSuffix", 1, 2),
    ("upper", 1, 1),
    ("lower", 1, 1),
    ("split", 2, 3),
    ("splitAfter", 2, 3),
    ("replace", 3, 4),
    ("repeat", 2, 2),
    ("join", 1, 2),
    ("indexOf", 2, 2),
    ("lastIndexOf", 2, 2),
    ("hasPrefix", 2, 2),
    ("hasSuffix", 2, 2),
    ("max", 1, usize::MAX),
    ("min", 1, usize::MAX),
    ("mean", 1, usize::MAX),
    ("median", 1, usize::MAX),
    ("toJSON", 1, 1),
    ("fromJSON", 1, 1),
    ("toBase64", 1, 1),
    ("fromBase64", 1, 1),
    ("now", 0, 0),
    ("duration", 1, 1),
    ("date", 1, 3),
    ("timezone", 1, 1),
    ("first", 1, 1),
    ("last", 1, 1),
    ("get", 2, 2),
    ("take", 2, 2),
    ("keys", 1, 1),
    ("values", 1, 1),
    ("toPairs", 1, 1),
    ("fromPairs", 1, 1),
    ("reverse", 1, 1),
    ("uniq", 1, 1),
    ("concat", 1, usize::MAX),
    ("flatten", 1, 1),
    ("sort", 1, 2),
    ("bitand", 2, 2),
    ("bitor", 2, 2),
    ("bitxor", 2, 2),
    ("bitnand", 2, 2),
    ("bitnot", 1, 1),
    ("bitshl", 2, 2),
    ("bitshr", 2, 2),
    ("bitushr", 2, 2),
    ("isNaN", 1, 1),
    ("isInf", 1, 1),
];

/// Functions that only conditions have.
pub const OF_CONDITIONS: &[(&str, usize, usize)] =
    &[("asInt", 1, 1), ("asFloat", 1, 1), ("isNil", 1, 1), ("default", 2, 2)];

type Called = Result<Value, String>;

/// Calls a function.
pub fn call(name: &str, args: &[Value], scope: &Scope<'_>) -> Called {
    let nil = Value::Nil;
    let first = args.first().unwrap_or(&nil);
    let second = args.get(1);
    match name {
        "asInt" => as_int(first),
        "asFloat" => as_float(first),
        // Both look at the whole result, whatever they are given. Conditions in the field are written against it.
        "isNil" => Ok(Value::Bool(scope.result.is_none_or(|result| *result == Value::Nil))),
        "default" => match scope.result {
            Some(result) if *result != Value::Nil => Ok(result.clone()),
            _ => Ok(second.cloned().unwrap_or(Value::Nil)),
        },
        "isNaN" | "isInf" => {
            let number = match first {
                Value::Float(number) => *number,
                other if scope.is_literal_int(other) => return Ok(Value::Bool(false)),
                other => {
                    return Err(format!(
                        "cannot use {} as argument (type float64) to call {name}",
                        other.type_name()
                    ));
                }
            };
            Ok(Value::Bool(if name == "isNaN" { number.is_nan() } else { number.is_infinite() }))
        }
        "now" => Ok(Value::Time(i128::from(scope.now.0) * 1_000_000)),
        "duration" => {
            let text = text(name, first)?;
            GoDuration::parse(text).map(|span| Value::Duration(span.nanos())).map_err(|why| why.to_string())
        }
        "date" => {
            let layout = second.map(|layout| text(name, layout)).transpose()?;
            if let Some(zone) = args.get(2) {
                is_utc(text(name, zone)?)?;
            }
            dates::parse(text(name, first)?, layout).map(Value::Time)
        }
        "timezone" => {
            is_utc(text(name, first)?)?;
            Ok(first.clone())
        }
        "abs" | "ceil" | "floor" | "round" | "int" | "float" | "max" | "min" | "mean" | "median" => {
            of_numbers(name, args)
        }
        "bitand" | "bitor" | "bitxor" | "bitnand" | "bitnot" | "bitshl" | "bitshr" | "bitushr" => {
            of_bits(name, args)
        }
        "len" => match first {
            Value::Text(_) | Value::Numbers(_) | Value::List(_) | Value::Map(_) => {
                Ok(Value::Int(length(first)))
            }
            other => Err(format!("invalid argument for len (type {})", other.type_name())),
        },
        "type" => Ok(Value::text(kind_of(first))),
        "string" => Ok(Value::text(print(first))),
        "toJSON" => to_json(first)
            .and_then(|json| serde_json::to_string_pretty(&json).ok())
            .map(Value::text)
            .ok_or_else(|| "json: unsupported value".to_owned()),
        "fromJSON" => serde_json::from_str::<Json>(text(name, first)?)
            .map(|json| Value::from_json(&json))
            .map_err(|why| why.to_string()),
        "first" | "last" | "get" | "take" | "keys" | "values" | "toPairs" | "fromPairs" | "reverse"
        | "uniq" | "concat" | "flatten" | "sort" | "join" => of_lists(name, args),
        _ => of_texts(name, args),
    }
}

fn text<'v>(name: &str, value: &'v Value) -> Result<&'v str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("invalid argument for {name} (type {})", other.type_name())),
    }
}

fn whole(name: &str, value: Option<&Value>) -> Result<i64, String> {
    match value {
        Some(Value::Int(number)) => Ok(*number),
        other => {
            let kind = other.map_or("<nil>", Value::type_name);
            Err(format!("invalid argument for {name} (type {kind})"))
        }
    }
}

fn is_utc(zone: &str) -> Result<(), String> {
    // The time zone of the machine must not decide anything, and there is no table of zones here.
    if matches!(zone, "UTC" | "" | "Etc/UTC" | "GMT") {
        Ok(())
    } else {
        Err(format!("unknown time zone {zone}"))
    }
}

fn as_int(value: &Value) -> Called {
    match value {
        Value::Int(number) => Ok(Value::Int(*number)),
        Value::Float(number) => Ok(Value::Int(*number as i64)),
        Value::Text(text) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            match text.strip_prefix('+').unwrap_or(text).parse() {
                Ok(number) if is_number => Ok(Value::Int(number)),
                _ => {
                    let why = if is_number { "value out of range" } else { "invalid syntax" };
                    Err(format!("strconv.ParseInt: parsing {}: {why}", quoted(text)))
                }
            }
        }
        other => Err(format!("asInt() not supported on {} {}", other.type_name(), print(other))),
    }
}

fn as_float(value: &Value) -> Called {
    match value {
        Value::Int(number) => Ok(Value::Float(*number as f64)),
        Value::Float(number) => Ok(Value::Float(*number)),
        Value::Text(text) => parse_float(text).map(Value::Float),
        other => Err(format!("asFloat() not supported on {} {}", other.type_name(), print(other))),
    }
}

/// What the reference reads as a number: also `inf`, `NaN` and hexadecimal ones.
fn parse_float(text: &str) -> Result<f64, String> {
    let invalid = || format!("strconv.ParseFloat: parsing {}: invalid syntax", quoted(text));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        let (mantissa, exponent) = hex.split_once('p').ok_or_else(invalid)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || digits.len() > 13 {
            return Err(invalid());
        }
        let mantissa = u64::from_str_radix(&digits, 16).map_err(|_| invalid())? as f64;
        let exponent: i32 = exponent.parse().map_err(|_| invalid())?;
        let shift = i32::try_from(fraction.len()).unwrap_or(0) * 4;
        return Ok(sign * mantissa * 2_f64.powi(exponent.saturating_sub(shift)));
    }
    match &*lower {
        "inf" | "infinity" => return Ok(sign * f64::INFINITY),
        "nan" if text.len() == 3 => return Ok(f64::NAN),
        _ => {}
    }
    if digits.is_empty()
        || !lower.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'))
    {
        return Err(invalid());
    }
    let number: f64 = lower.parse().map_err(|_| invalid())?;
    if number.is_infinite() {
        return Err(format!("strconv.ParseFloat: parsing {}: value out of range", quoted(text)));
    }
    Ok(sign * number)
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

fn of_numbers(name: &str, args: &[Value]) -> Called {
    let first = args.first().unwrap_or(&Value::Nil);
    let refused = |value: &Value| format!("invalid argument for {name} (type {})", value.type_name());
    let float = |change: fn(f64) -> f64| {
        first.number().map(|number| Value::Float(change(number))).ok_or_else(|| refused(first))
    };
    match name {
        "abs" => match first {
            Value::Int(number) => Ok(Value::Int(number.wrapping_abs())),
            Value::Float(number) => Ok(Value::Float(number.abs())),
            other => Err(refused(other)),
        },
        "ceil" => float(f64::ceil),
        "floor" => float(f64::floor),
        "round" => float(f64::round),
        "int" => match first {
            Value::Int(_) => Ok(first.clone()),
            Value::Float(number) => Ok(Value::Int(*number as i64)),
            Value::Text(text) => {
                text.parse().map(Value::Int).map_err(|_| format!("invalid operation: int({text})"))
            }
            other => Err(format!("invalid operation: int({})", other.type_name())),
        },
        "float" => match first {
            Value::Int(_) | Value::Float(_) => float(|number| number),
            Value::Text(text) => {
                parse_float(text).map(Value::Float).map_err(|_| format!("invalid operation: float({text})"))
            }
            other => Err(format!("invalid operation: float({})", other.type_name())),
        },
        _ => {
            let mut numbers = Vec::new();
            for arg in args {
                match arg.items() {
                    Some(items) => numbers.extend(items),
                    None => numbers.push(arg.clone()),
                }
            }
            if let Some(odd) = numbers.iter().find(|value| value.number().is_none()) {
                return Err(refused(odd));
            }
            statistic(name, numbers)
        }
    }
}

fn statistic(name: &str, mut numbers: Vec<Value>) -> Called {
    let number = |value: &Value| value.number().unwrap_or(f64::NAN);
    if numbers.is_empty() {
        return if matches!(name, "max" | "min") { Ok(Value::Nil) } else { Ok(Value::Float(0.0)) };
    }
    match name {
        "mean" => {
            let mut sum = Value::Int(0);
            for value in &numbers {
                sum = arithmetic("+", &sum, value)?;
            }
            Ok(Value::Float(number(&sum) / numbers.len() as f64))
        }
        "median" => {
            numbers.sort_by(|a, b| number(a).total_cmp(&number(b)));
            let middle = numbers.len() / 2;
            let upper = number(&numbers[middle]);
            Ok(Value::Float(match numbers.len() % 2 {
                0 => (number(&numbers[middle - 1]) + upper) / 2.0,
                _ => upper,
            }))
        }
        _ => {
            let mut best = numbers[0].clone();
            for value in &numbers[1..] {
                let better =
                    if name == "max" { number(value) > number(&best) } else { number(value) < number(&best) };
                if better {
                    best = value.clone();
                }
            }
            Ok(best)
        }
    }
}

fn of_bits(name: &str, args: &[Value]) -> Called {
    let a = whole(name, args.first())?;
    if name == "bitnot" {
        return Ok(Value::Int(!a));
    }
    let b = whole(name, args.get(1))?;
    let shift = || match u32::try_from(b) {
        Ok(shift) => Ok(shift),
        Err(_) if b < 0 => Err(format!("invalid operation: negative shift count {b} (type int)")),
        Err(_) => Ok(64),
    };
    Ok(Value::Int(match name {
        "bitand" => a & b,
        "bitor" => a | b,
        "bitxor" => a ^ b,
        "bitnand" => a & !b,
        "bitshl" => a.checked_shl(shift()?).unwrap_or(0),
        "bitshr" => a >> shift()?.min(63),
        _ => i64::from_ne_bytes(
            (u64::from_ne_bytes(a.to_ne_bytes()).checked_shr(shift()?).unwrap_or(0)).to_ne_bytes(),
        ),
    }))
}

fn of_texts(name: &str, args: &[Value]) -> Called {
    let subject = text(name, args.first().unwrap_or(&Value::Nil))?;
    let second = args.get(1).map(|value| match (name, value) {
        ("repeat", _) => Ok(""),
        _ => text(name, value),
    });
    let second = second.transpose()?;
    let part = second.unwrap_or_default();
    let at = |found: Option<usize>| Value::Int(found.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX)));
    let pieces = |after: bool| -> Result<Vec<Value>, String> {
        let most = match args.get(2) {
            None => usize::MAX,
            number => match whole(name, number)? {
                n if n < 0 => usize::MAX,
                n => usize::try_from(n).unwrap_or(usize::MAX),
            },
        };
        let split: Vec<String> = if part.is_empty() {
            subject.chars().map(String::from).collect()
        } else if after {
            subject.split_inclusive(part).map(str::to_owned).collect()
        } else {
            subject.splitn(most.max(1), part).map(str::to_owned).collect()
        };
        Ok(split.into_iter().take(most).map(Value::text).collect())
    };
    let changed = match name {
        "trim" if second.is_some() => subject.trim_matches(|c| part.contains(c)).to_owned(),
        "trim" => subject.trim().to_owned(),
        "trimPrefix" => {
            subject.strip_prefix(if second.is_some() { part } else { " " }).unwrap_or(subject).to_owned()
        }
        "trimSuffix" => {
            subject.strip_suffix(if second.is_some() { part } else { " " }).unwrap_or(subject).to_owned()
        }
        "upper" => subject.to_uppercase(),
        "lower" => subject.to_lowercase(),
        "hasPrefix" => return Ok(Value::Bool(subject.starts_with(part))),
        "hasSuffix" => return Ok(Value::Bool(subject.ends_with(part))),
        "indexOf" => return Ok(at(subject.find(part))),
        "lastIndexOf" => return Ok(at(subject.rfind(part))),
        "split" | "splitAfter" => return Ok(Value::list(pieces(name == "splitAfter")?)),
        "replace" => {
            let new = text(name, args.get(2).unwrap_or(&Value::Nil))?;
            let found =
                if part.is_empty() { subject.chars().count() + 1 } else { subject.matches(part).count() };
            if subject.len().saturating_add(found.saturating_mul(new.len())) > LONGEST_TEXT {
                return Err("text is too long".to_owned());
            }
            match args.get(3) {
                None => subject.replace(part, new),
                number => match whole(name, number)? {
                    n if n < 0 => subject.replace(part, new),
                    n => subject.replacen(part, new, usize::try_from(n).unwrap_or(usize::MAX)),
                },
            }
        }
        "repeat" => {
            let times = whole(name, args.get(1))?;
            let times =
                usize::try_from(times).map_err(|_| format!("invalid argument for repeat: {times}"))?;
            if subject.len().saturating_mul(times) > LONGEST_TEXT {
                return Err("text is too long".to_owned());
            }
            subject.repeat(times)
        }
        "toBase64" => base64_of(subject.as_bytes()),
        "fromBase64" => {
            let bytes = bytes_of_base64(subject).ok_or("illegal base64 data")?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        other => return Err(format!("unknown name {other}")),
    };
    Ok(Value::text(changed))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base64.
pub fn base64_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
            text.push(if at <= u32::try_from(chunk.len()).unwrap_or(3) {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    text
}

/// What a text in base64 stands for; nothing when it is none.
pub fn bytes_of_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).ok()?);
        }
        bits &= (1 << count) - 1;
    }
    Some(bytes)
}

fn of_lists(name: &str, args: &[Value]) -> Called {
    let first = args.first().unwrap_or(&Value::Nil);
    let refused = || format!("invalid argument for {name} (type {})", first.type_name());
    let items = || first.items().ok_or_else(refused);
    let map = || if let Value::Map(map) = first { Ok(map) } else { Err(refused()) };
    match name {
        "first" => Ok(items()?.first().cloned().unwrap_or(Value::Nil)),
        "last" => Ok(items()?.last().cloned().unwrap_or(Value::Nil)),
        "get" => Ok(match (first, args.get(1)) {
            (Value::Map(map), Some(Value::Text(key))) => map.get(key).cloned().unwrap_or(Value::Nil),
            (_, Some(Value::Int(at))) => {
                let items = items()?;
                let at = if *at < 0 { length(first).saturating_add(*at) } else { *at };
                usize::try_from(at).ok().and_then(|at| items.get(at).cloned()).unwrap_or(Value::Nil)
            }
            _ => Value::Nil,
        }),
        "take" => {
            let most = whole(name, args.get(1))?;
            let most = usize::try_from(most).map_err(|_| format!("cannot take {most} elements"))?;
            Ok(Value::list(items()?.into_iter().take(most).collect()))
        }
        "keys" => Ok(Value::list(map()?.keys().map(|key| Value::Text(key.clone())).collect())),
        "values" => Ok(Value::list(map()?.values().cloned().collect())),
        "toPairs" => {
            let pair = |(key, value): (&Arc<str>, &Value)| {
                Value::list(vec![Value::Text(key.clone()), value.clone()])
            };
            Ok(Value::list(map()?.iter().map(pair).collect()))
        }
        "fromPairs" => {
            let mut pairs = BTreeMap::new();
            for pair in items()? {
                match pair.items().unwrap_or_default().as_slice() {
                    [Value::Text(key), value] => drop(pairs.insert(key.clone(), value.clone())),
                    _ => return Err("invalid pair for fromPairs".to_owned()),
                }
            }
            Ok(Value::map(pairs))
        }
        "reverse" => Ok(Value::list(items()?.into_iter().rev().collect())),
        "uniq" => {
            let all = items()?;
            if all.len() > 1000 {
                return Err("too many elements for uniq".to_owned());
            }
            let mut unique: Vec<Value> = Vec::new();
            for item in all {
                if !unique.iter().any(|known| known.equals(&item)) {
                    unique.push(item);
                }
            }
            Ok(Value::list(unique))
        }
        "concat" => {
            let mut all = Vec::new();
            for arg in args {
                let items = arg.items().ok_or_else(|| format!("cannot concat {}", arg.type_name()))?;
                all.extend(items);
            }
            Ok(Value::list(all))
        }
        "flatten" => {
            let mut flat = Vec::new();
            flatten(items()?, &mut flat);
            Ok(Value::list(flat))
        }
        "sort" => {
            let keyed = items()?.into_iter().map(|item| (item.clone(), item)).collect();
            Ok(Value::list(sorted(keyed, args.get(1))?))
        }
        _ => {
            let glue = args.get(1).map(|glue| text(name, glue)).transpose()?.unwrap_or_default();
            let items = items()?;
            let parts = items.iter().map(|item| text(name, item)).collect::<Result<Vec<_>, _>>()?;
            let length = parts.iter().map(|part| part.len() + glue.len()).sum::<usize>();
            if length > LONGEST_TEXT {
                return Err("text is too long".to_owned());
            }
            Ok(Value::text(parts.join(glue)))
        }
    }
}

fn flatten(items: Vec<Value>, into: &mut Vec<Value>) {
    for item in items {
        match item.items() {
            Some(inner) => flatten(inner, into),
            None => into.push(item),
        }
    }
}

/// Sorts by keys, which must all be numbers or all be texts.
pub(super) fn sorted(mut keyed: Vec<(Value, Value)>, order: Option<&Value>) -> Result<Vec<Value>, String> {
    let descends = match order {
        None => false,
        Some(Value::Text(text)) if matches!(&**text, "asc" | "desc") => &**text == "desc",
        Some(_) => return Err("invalid order, expected asc or desc".to_owned()),
    };
    let is_text = |(key, _): &(Value, Value)| matches!(key, Value::Text(_));
    if !keyed.iter().all(is_text) && !keyed.iter().all(|(key, _)| key.number().is_some()) {
        return Err("cannot sort values of different types".to_owned());
    }
    keyed.sort_by(|(a, _), (b, _)| {
        let ordering = match (a, b) {
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            _ => a.number().unwrap_or(f64::NAN).total_cmp(&b.number().unwrap_or(f64::NAN)),
        };
        if descends { ordering.reverse() } else { ordering }
    });
    Ok(keyed.into_iter().map(|(_, value)| value).collect())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Text(_) => "string",
        Value::Numbers(_) | Value::List(_) => "array",
        Value::Map(_) => "map",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
    }
}

/// A value as the reference prints it.
pub fn print(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => super::numbers::general(*number),
        Value::Text(text) => text.to_string(),
        Value::Numbers(_) | Value::List(_) => {
            let items = value.items().unwrap_or_default();
            format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" "))
        }
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key}:{}", print(value)));
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        Value::Time(nanos) => dates::print(*nanos),
        Value::Duration(nanos) => format!("{nanos}ns"),
    }
}

fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Nil => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => Json::Number(serde_json::Number::from_f64(*number)?),
        Value::Text(text) => Json::from(&**text),
        Value::Numbers(_) | Value::List(_) => {
            Json::Array(value.items()?.iter().map(to_json).collect::<Option<_>>()?)
        }
        Value::Map(map) => {
            let mut json = serde_json::Map::new();
            for (key, value) in map.iter() {
                json.insert(key.to_string(), to_json(value)?);
            }
            Json::Object(json)
        }
        Value::Time(nanos) => Json::from(dates::print(*nanos)),
        Value::Duration(nanos) => Json::from(*nanos),
    })
}
