//! Runs an expression. Work and size are bounded: an author must not be able to stop the controller.

use super::functions::call;
use super::parse::{Expr, ExprKind};
use super::value::Value;
use super::{Scope, pattern};

/// So many steps an expression may take.
const MOST_STEPS: usize = 1_000_000;
/// No range is longer.
const LONGEST_RANGE: i64 = 10_000;
/// No list of lists is deeper.
const DEEPEST: usize = 200;
/// No text that an expression makes is longer, in bytes.
pub(super) const LONGEST_TEXT: usize = 1 << 20;

/// Why there is no value.
enum Stop {
    /// It makes no sense.
    Error(String),
    /// `?.` found nothing: the chain it stands in is nothing.
    Nothing,
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Error(why)
    }
}

impl From<&str> for Stop {
    fn from(why: &str) -> Stop {
        Stop::Error(why.to_owned())
    }
}

type Evaluated = Result<Value, Stop>;

/// Runs a checked expression.
pub fn eval(expr: &Expr, scope: &Scope<'_>) -> Result<Value, String> {
    let mut machine = Machine { scope, steps: MOST_STEPS, names: Vec::new(), frames: Vec::new() };
    match machine.of(expr) {
        Ok(value) => Ok(value),
        Err(Stop::Nothing) => Ok(Value::Nil),
        Err(Stop::Error(why)) => Err(why),
    }
}

struct Machine<'s> {
    scope: &'s Scope<'s>,
    steps: usize,
    names: Vec<(String, Value)>,
    frames: Vec<Frame>,
}

/// What a predicate looks at.
#[derive(Default)]
struct Frame {
    element: Option<Value>,
    index: i64,
    acc: Option<Value>,
}

impl Machine<'_> {
    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(steps).ok_or("expression takes too long")?;
        Ok(())
    }

    fn of(&mut self, expr: &Expr) -> Evaluated {
        self.spend(1)?;
        let value = self.compute(expr)?;
        if value.weight() > MOST_STEPS || value.depth() > DEEPEST {
            return Err("value is too large".into());
        }
        Ok(value)
    }

    fn compute(&mut self, expr: &Expr) -> Evaluated {
        match &expr.kind {
            ExprKind::Nil => Ok(Value::Nil),
            ExprKind::Bool(truth) => Ok(Value::Bool(*truth)),
            ExprKind::Int(number) => Ok(Value::Int(*number)),
            ExprKind::Float(number) => Ok(Value::Float(*number)),
            ExprKind::Text(text) => Ok(Value::text(text.as_str())),
            ExprKind::Name(name) => Ok(self.name(name)),
            ExprKind::Pointer(name) => {
                let frame = self.frames.last().ok_or("# outside of a predicate")?;
                Ok(match &**name {
                    "index" => Value::Int(frame.index),
                    "acc" => frame.acc.clone().unwrap_or(Value::Nil),
                    _ => frame.element.clone().unwrap_or(Value::Nil),
                })
            }
            ExprKind::Unary(sign, of) => {
                let value = self.of(of)?;
                unary(sign, value)
            }
            ExprKind::Binary(sign, left, right) => self.binary(sign, left, right),
            ExprKind::Choice(condition, yes, no) => {
                if self.truth(condition)? {
                    self.of(yes)
                } else {
                    self.of(no)
                }
            }
            ExprKind::Member(of, key, optional) => self.member(of, key, *optional),
            ExprKind::Slice(of, from, to) => self.slice(of, from.as_deref(), to.as_deref()),
            ExprKind::Chain(of) => match self.of(of) {
                Err(Stop::Nothing) => Ok(Value::Nil),
                other => other,
            },
            ExprKind::Call(name, args) => {
                let values = args.iter().map(|arg| self.of(arg)).collect::<Result<Vec<_>, _>>()?;
                for value in &values {
                    self.spend(value.weight())?;
                }
                Ok(call(name, &values, self.scope)?)
            }
            ExprKind::Iterate(name, over, predicate, extra) => {
                self.iterate(name, over, predicate.as_deref(), extra.as_deref())
            }
            ExprKind::List(items) => {
                let items = items.iter().map(|item| self.of(item)).collect::<Result<Vec<_>, _>>()?;
                Ok(Value::list(items))
            }
            ExprKind::Map(pairs) => {
                let mut map = Vec::new();
                for (key, value) in pairs {
                    let Value::Text(key) = self.of(key)? else {
                        return Err("a key of a map must be a string".into());
                    };
                    map.push((key, self.of(value)?));
                }
                Ok(Value::map(map))
            }
            ExprKind::Let(name, value, body) => {
                let value = self.of(value)?;
                self.names.push((name.clone(), value));
                let result = self.of(body);
                self.names.pop();
                result
            }
            ExprKind::Sequence(all) => {
                let mut value = Value::Nil;
                for one in all {
                    value = self.of(one)?;
                }
                Ok(value)
            }
        }
    }

    fn name(&self, name: &str) -> Value {
        if let Some((_, value)) = self.names.iter().rev().find(|(known, _)| known == name) {
            return value.clone();
        }
        let result = || self.scope.result.cloned().unwrap_or(Value::Nil);
        match name {
            "$env" => Value::map([("result".into(), result())]),
            _ => result(),
        }
    }

    fn truth(&mut self, expr: &Expr) -> Result<bool, Stop> {
        match self.of(expr)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(format!("expected bool, but got {}", other.type_name()).into()),
        }
    }

    fn binary(&mut self, sign: &str, left: &Expr, right: &Expr) -> Evaluated {
        match sign {
            "and" | "&&" => return Ok(Value::Bool(self.truth(left)? && self.truth(right)?)),
            "or" | "||" => return Ok(Value::Bool(self.truth(left)? || self.truth(right)?)),
            "??" => {
                let value = match self.of(left) {
                    Err(Stop::Nothing) => Value::Nil,
                    other => other?,
                };
                return if value == Value::Nil { self.of(right) } else { Ok(value) };
            }
            _ => {}
        }
        let (l, r) = (self.of(left)?, self.of(right)?);
        self.spend(if matches!(sign, "==" | "!=" | "in" | "+") { l.weight() + r.weight() } else { 0 })?;
        Ok(match sign {
            "==" => Value::Bool(l.equals(&r)),
            "!=" => Value::Bool(!l.equals(&r)),
            "<" | ">" | "<=" | ">=" => Value::Bool(order(sign, &l, &r)?),
            "in" => Value::Bool(is_in(&l, &r)?),
            ".." => {
                let (Value::Int(from), Value::Int(to)) = (&l, &r) else { return Err(mismatch(sign, &l, &r)) };
                if to.saturating_sub(*from) >= LONGEST_RANGE {
                    return Err(format!("range {from}..{to} is longer than {LONGEST_RANGE}").into());
                }
                let items: Vec<Value> = (*from..=*to).map(Value::Int).collect();
                self.spend(items.len())?;
                Value::list(items)
            }
            "matches" | "contains" | "startsWith" | "endsWith" => {
                let (Value::Text(text), Value::Text(part)) = (&l, &r) else {
                    return Err(mismatch(sign, &l, &r));
                };
                Value::Bool(match sign {
                    "matches" => pattern(part)?.is_match(text.as_bytes()),
                    "contains" => text.contains(&**part),
                    "startsWith" => text.starts_with(&**part),
                    _ => text.ends_with(&**part),
                })
            }
            _ => arithmetic(sign, &l, &r)?,
        })
    }

    fn member(&mut self, of: &Expr, key: &Expr, optional: bool) -> Evaluated {
        let value = self.of(of)?;
        if optional && value == Value::Nil {
            return Err(Stop::Nothing);
        }
        let key = self.of(key)?;
        match (&value, &key) {
            (Value::Map(map), Value::Text(name)) => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            (Value::Numbers(_) | Value::List(_), Value::Int(index)) => {
                let length = length(&value);
                let at = if *index < 0 { length.saturating_add(*index) } else { *index };
                let at = usize::try_from(at).ok().filter(|_| at < length);
                let found = at.and_then(|at| match &value {
                    Value::Numbers(items) => items.get(at).map(|number| Value::Float(*number)),
                    Value::List(items) => items.get(at).cloned(),
                    _ => None,
                });
                found.ok_or_else(|| format!("index out of range: {index} (array length is {length})").into())
            }
            _ => {
                let key = match &key {
                    Value::Text(text) => text.to_string(),
                    Value::Int(index) => index.to_string(),
                    other => other.type_name().to_owned(),
                };
                Err(format!("cannot fetch {key} from {}", value.type_name()).into())
            }
        }
    }

    fn slice(&mut self, of: &Expr, from: Option<&Expr>, to: Option<&Expr>) -> Evaluated {
        let value = self.of(of)?;
        let length = match &value {
            Value::Text(text) => i64::try_from(text.len()).unwrap_or(i64::MAX),
            Value::Numbers(_) | Value::List(_) => length(&value),
            other => return Err(format!("cannot slice {}", other.type_name()).into()),
        };
        self.spend(value.weight())?;
        let mut end = |expr: Option<&Expr>, default: i64| -> Result<i64, Stop> {
            let Some(expr) = expr else { return Ok(default) };
            match self.of(expr)? {
                Value::Int(at) if at < 0 => Ok(length.saturating_add(at).max(0)),
                Value::Int(at) => Ok(at.min(length)),
                other => Err(format!("non-integer slice index {}", other.type_name()).into()),
            }
        };
        let (from, to) = (end(from, 0)?, end(to, length)?);
        let from = usize::try_from(from.min(to)).unwrap_or(0);
        let to = usize::try_from(to).unwrap_or(0);
        Ok(match value {
            Value::Text(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to]).as_ref()),
            Value::Numbers(items) => Value::numbers(items[from..to].iter().copied()),
            Value::List(items) => Value::list(items[from..to].to_vec()),
            other => other,
        })
    }

    /// Runs the predicate on one element.
    fn apply(&mut self, predicate: Option<&Expr>, element: &Value, index: usize) -> Evaluated {
        let Some(predicate) = predicate else { return Ok(element.clone()) };
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.frames.push(Frame { element: Some(element.clone()), index, acc: None });
        let value = self.of(predicate);
        self.frames.pop();
        value
    }

    fn decide(&mut self, predicate: Option<&Expr>, element: &Value, index: usize) -> Result<bool, Stop> {
        match self.apply(predicate, element, index)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(format!("predicate should return boolean (got {})", other.type_name()).into()),
        }
    }

    fn iterate(
        &mut self,
        name: &str,
        over: &Expr,
        predicate: Option<&Expr>,
        extra: Option<&Expr>,
    ) -> Evaluated {
        let over = self.of(over)?;
        self.spend(over.weight())?;
        let Some(items) = over.items() else {
            return Err(format!("builtin {name} takes only array (got {})", over.type_name()).into());
        };
        let int = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        Ok(match name {
            "all" | "any" | "none" => {
                let wanted = name != "all";
                for (index, item) in items.iter().enumerate() {
                    if self.decide(predicate, item, index)? == wanted {
                        return Ok(Value::Bool(name == "any"));
                    }
                }
                Value::Bool(name != "any")
            }
            "one" | "count" | "filter" => {
                let mut found = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    if self.decide(predicate, item, index)? {
                        found.push(item.clone());
                    }
                }
                match name {
                    "one" => Value::Bool(found.len() == 1),
                    "count" => int(found.len()),
                    _ => Value::list(found),
                }
            }
            "map" => {
                let mut mapped = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    mapped.push(self.apply(predicate, item, index)?);
                }
                Value::list(mapped)
            }
            "sum" => {
                let mut sum = Value::Int(0);
                for (index, item) in items.iter().enumerate() {
                    let value = self.apply(predicate, item, index)?;
                    sum = arithmetic("+", &sum, &value)?;
                }
                sum
            }
            "find" | "findIndex" | "findLast" | "findLastIndex" => {
                let mut all: Vec<(usize, &Value)> = items.iter().enumerate().collect();
                if name.starts_with("findLast") {
                    all.reverse();
                }
                for (index, item) in all {
                    if self.decide(predicate, item, index)? {
                        return Ok(if name.ends_with("Index") { int(index) } else { item.clone() });
                    }
                }
                Value::Nil
            }
            "groupBy" => {
                let mut groups: std::collections::BTreeMap<std::sync::Arc<str>, Vec<Value>> =
                    Default::default();
                for (index, item) in items.iter().enumerate() {
                    let key = match self.apply(predicate, item, index)? {
                        Value::Text(key) => key,
                        other => super::functions::print(&other).into(),
                    };
                    groups.entry(key).or_default().push(item.clone());
                }
                Value::map(groups.into_iter().map(|(key, items)| (key, Value::list(items))))
            }
            "sortBy" => {
                let mut keyed = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    keyed.push((self.apply(predicate, item, index)?, item.clone()));
                }
                let order = extra.map(|extra| self.of(extra)).transpose()?;
                let sorted = super::functions::sorted(keyed, order.as_ref())?;
                Value::list(sorted)
            }
            "reduce" => {
                let mut items = items.into_iter().enumerate();
                let mut acc = match extra {
                    Some(extra) => self.of(extra)?,
                    None => items
                        .next()
                        .map(|(_, first)| first)
                        .ok_or("reduce of empty array with no initial value")?,
                };
                let Some(predicate) = predicate else { return Err("reduce needs a predicate".into()) };
                for (index, item) in items {
                    self.spend(acc.weight())?;
                    let index = i64::try_from(index).unwrap_or(i64::MAX);
                    self.frames.push(Frame { element: Some(item), index, acc: Some(acc) });
                    let value = self.of(predicate);
                    self.frames.pop();
                    acc = value?;
                }
                acc
            }
            other => return Err(format!("unknown name {other}").into()),
        })
    }
}

pub(super) fn length(value: &Value) -> i64 {
    let length = match value {
        Value::Numbers(items) => items.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::Text(text) => text.chars().count(),
        _ => 0,
    };
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn mismatch(sign: &str, l: &Value, r: &Value) -> Stop {
    format!("invalid operation: {} {sign} {}", l.type_name(), r.type_name()).into()
}

fn unary(sign: &str, value: Value) -> Evaluated {
    Ok(match (sign, &value) {
        ("not" | "!", Value::Bool(truth)) => Value::Bool(!truth),
        ("-", Value::Int(number)) => Value::Int(number.wrapping_neg()),
        ("-", Value::Float(number)) => Value::Float(-number),
        ("-", Value::Duration(nanos)) => Value::Duration(nanos.wrapping_neg()),
        ("+", Value::Int(_) | Value::Float(_) | Value::Duration(_)) => value,
        _ => return Err(format!("invalid operation: {sign} {}", value.type_name()).into()),
    })
}

fn order(sign: &str, l: &Value, r: &Value) -> Result<bool, Stop> {
    let ordering = match (l, r) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => match (l.number(), r.number()) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => return Err(mismatch(sign, l, r)),
        },
    };
    // Nothing is above or below NaN.
    let Some(ordering) = ordering else { return Ok(false) };
    Ok(match sign {
        "<" => ordering.is_lt(),
        ">" => ordering.is_gt(),
        "<=" => ordering.is_le(),
        _ => ordering.is_ge(),
    })
}

fn is_in(l: &Value, r: &Value) -> Result<bool, Stop> {
    match r {
        Value::Nil => Ok(false),
        Value::Numbers(items) => Ok(items.iter().any(|item| Value::Float(*item).equals(l))),
        Value::List(items) => Ok(items.iter().any(|item| item.equals(l))),
        Value::Map(map) => match l {
            Value::Text(key) => Ok(map.contains_key(key)),
            Value::Nil => Ok(false),
            _ => Err(mismatch("in", l, r)),
        },
        _ => Err(format!("operator \"in\" not defined on {}", r.type_name()).into()),
    }
}

pub(super) fn arithmetic(sign: &str, l: &Value, r: &Value) -> Result<Value, String> {
    let undefined = || format!("invalid operation: {} {sign} {}", l.type_name(), r.type_name());
    Ok(match (sign, l, r) {
        ("+", Value::Text(a), Value::Text(b)) => {
            if a.len() + b.len() > LONGEST_TEXT {
                return Err("text is too long".to_owned());
            }
            Value::text(format!("{a}{b}"))
        }
        ("+", Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_add(*b)),
        ("-", Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_sub(*b)),
        ("*", Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_mul(*b)),
        ("%", Value::Int(_), Value::Int(0)) => return Err("integer divide by zero".to_owned()),
        ("%", Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_rem(*b)),
        ("+", Value::Duration(a), Value::Duration(b)) => Value::Duration(a.wrapping_add(*b)),
        ("-", Value::Duration(a), Value::Duration(b)) => Value::Duration(a.wrapping_sub(*b)),
        ("*", Value::Duration(a), Value::Int(b)) | ("*", Value::Int(b), Value::Duration(a)) => {
            Value::Duration(a.wrapping_mul(*b))
        }
        ("*", Value::Duration(a), Value::Float(b)) | ("*", Value::Float(b), Value::Duration(a)) => {
            Value::Duration((*a as f64 * b) as i64)
        }
        ("+", Value::Time(at), Value::Duration(span)) | ("+", Value::Duration(span), Value::Time(at)) => {
            Value::Time(at.saturating_add(i128::from(*span)))
        }
        ("-", Value::Time(at), Value::Duration(span)) => Value::Time(at.saturating_sub(i128::from(*span))),
        ("-", Value::Time(a), Value::Time(b)) => {
            let span = a.saturating_sub(*b).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
            Value::Duration(i64::try_from(span).unwrap_or(i64::MAX))
        }
        _ => {
            let (Some(a), Some(b)) = (l.number(), r.number()) else { return Err(undefined()) };
            Value::Float(match sign {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" => a / b,
                "**" | "^" => a.powf(b),
                _ => return Err(undefined()),
            })
        }
    })
}
