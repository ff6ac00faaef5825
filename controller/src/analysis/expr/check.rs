//! What is wrong with an expression before it runs. This decides whether a measurement is an error or a failure: the
//! reference refuses a comparison of a number with a text, where a run of it would merely be false.

use std::fmt;

use super::parse::{Expr, ExprKind};
use super::value::Value;
use super::{Scope, pattern};

/// What is known of a value before it is there.
#[derive(Clone, PartialEq, Debug)]
pub enum Type {
    /// Anything.
    Unknown,
    /// Nothing.
    Nil,
    /// A truth value.
    Bool,
    /// A whole number as it stands in the text.
    Int,
    /// A whole number as `asInt` makes it.
    Int64,
    /// Any number.
    Float,
    /// A text.
    Text,
    /// A list.
    List(Box<Type>),
    /// Values by name.
    Map,
    /// An instant.
    Time,
    /// A span of time.
    Duration,
}

use Type::*;

impl Type {
    /// What is known of a result by its own type.
    pub fn of(value: &Value) -> Type {
        match value {
            Value::Nil => Nil,
            Value::Bool(_) => Bool,
            Value::Int(_) => Int,
            Value::Float(_) => Float,
            Value::Text(_) => Text,
            Value::Numbers(_) => List(Box::new(Float)),
            Value::List(_) => List(Box::new(Unknown)),
            Value::Map(_) => Map,
            Value::Time(_) => Time,
            Value::Duration(_) => Duration,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Int | Int64 | Float)
    }

    fn is_whole(&self) -> bool {
        matches!(self, Int | Int64 | Unknown)
    }

    fn may_be(&self, other: &Type) -> bool {
        *self == Unknown || self == other
    }

    fn is_comparable(&self, other: &Type) -> bool {
        match (self, other) {
            (Unknown | Nil, _) | (_, Unknown | Nil) => true,
            (List(_), List(_)) => true,
            (a, b) => a == b || (a.is_number() && b.is_number()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown => f.write_str("unknown"),
            Nil => f.write_str("nil"),
            Bool => f.write_str("bool"),
            Int => f.write_str("int"),
            Int64 => f.write_str("int64"),
            Float => f.write_str("float64"),
            Text => f.write_str("string"),
            List(of) if **of == Unknown => f.write_str("[]interface {}"),
            List(of) => write!(f, "[]{of}"),
            Map => f.write_str("map[string]interface {}"),
            Time => f.write_str("time.Time"),
            Duration => f.write_str("time.Duration"),
        }
    }
}

/// Finds the type of an expression, or what is wrong with it.
pub fn check(expr: &Expr, scope: &Scope<'_>) -> Result<Type, String> {
    Checker { scope, names: Vec::new(), elements: Vec::new() }.of(expr)
}

struct Checker<'s> {
    scope: &'s Scope<'s>,
    names: Vec<(String, Type)>,
    /// Types of `#` of the predicates around.
    elements: Vec<Type>,
}

type Checked = Result<Type, String>;

impl Checker<'_> {
    fn of(&mut self, expr: &Expr) -> Checked {
        Ok(match &expr.kind {
            ExprKind::Nil => Nil,
            ExprKind::Bool(_) => Bool,
            ExprKind::Int(_) => Int,
            ExprKind::Float(_) => Float,
            ExprKind::Text(_) => Text,
            ExprKind::Name(name) => self.name(name)?,
            ExprKind::Pointer(name) => match &**name {
                "" => self.elements.last().cloned().unwrap_or(Unknown),
                "index" => Int,
                "acc" => Unknown,
                other => return Err(format!("unknown pointer #{other}")),
            },
            ExprKind::Unary(sign, of) => self.unary(sign, of)?,
            ExprKind::Binary(sign, left, right) => self.binary(sign, left, right)?,
            ExprKind::Choice(condition, yes, no) => {
                let kind = self.of(condition)?;
                if !kind.may_be(&Bool) {
                    return Err(format!("non-bool expression (type {kind}) used as condition"));
                }
                let (yes, no) = (self.of(yes)?, self.of(no)?);
                match (yes, no) {
                    (Nil, other) | (other, Nil) => other,
                    (yes, no) if yes == no => yes,
                    _ => Unknown,
                }
            }
            ExprKind::Member(of, key, _) => self.member(of, key)?,
            ExprKind::Slice(of, from, to) => {
                let kind = self.of(of)?;
                if !matches!(kind, List(_) | Text | Unknown) {
                    return Err(format!("cannot slice {kind}"));
                }
                for end in [from, to].into_iter().flatten() {
                    let kind = self.of(end)?;
                    if !kind.is_whole() {
                        return Err(format!("non-integer slice index {kind}"));
                    }
                }
                kind
            }
            ExprKind::Chain(of) => self.of(of)?,
            ExprKind::Call(name, args) => self.call(name, args)?,
            ExprKind::Iterate(name, over, predicate, extra) => {
                self.iterate(name, over, predicate.as_deref(), extra.as_deref())?
            }
            ExprKind::List(items) => {
                let kinds = items.iter().map(|item| self.of(item)).collect::<Result<Vec<_>, _>>()?;
                match kinds.split_first() {
                    Some((first, rest)) if rest.iter().all(|kind| kind == first) => {
                        List(Box::new(first.clone()))
                    }
                    _ => List(Box::new(Unknown)),
                }
            }
            ExprKind::Map(pairs) => {
                for (key, value) in pairs {
                    self.of(key)?;
                    self.of(value)?;
                }
                Map
            }
            ExprKind::Let(name, value, body) => {
                if name == "result" || self.scope.has_function(name) {
                    return Err(format!("cannot redeclare {name}"));
                }
                let kind = self.of(value)?;
                self.names.push((name.clone(), kind));
                let kind = self.of(body);
                self.names.pop();
                kind?
            }
            ExprKind::Sequence(all) => {
                let mut kind = Unknown;
                for one in all {
                    kind = self.of(one)?;
                }
                kind
            }
        })
    }

    fn name(&self, name: &str) -> Checked {
        if let Some((_, kind)) = self.names.iter().rev().find(|(known, _)| known == name) {
            return Ok(kind.clone());
        }
        match (name, self.scope.result) {
            ("$env", _) => Ok(Map),
            ("result", Some(result)) => Ok(Type::of(result)),
            _ => Err(format!("unknown name {name}")),
        }
    }

    fn unary(&mut self, sign: &str, of: &Expr) -> Checked {
        let kind = self.of(of)?;
        match sign {
            "not" | "!" if kind.may_be(&Bool) => Ok(Bool),
            "-" | "+" if kind.is_number() || matches!(kind, Unknown | Duration) => Ok(kind),
            _ => Err(format!("invalid operation: {sign} (mismatched type {kind})")),
        }
    }

    fn binary(&mut self, sign: &str, left: &Expr, right: &Expr) -> Checked {
        let (l, r) = (self.of(left)?, self.of(right)?);
        let either_number =
            |l: &Type, r: &Type| (l.is_number() || *l == Unknown) && (r.is_number() || *r == Unknown);
        let both = |kind: &Type| l.may_be(kind) && r.may_be(kind);
        let any_unknown = l == Unknown || r == Unknown;
        let of_numbers = || match (&l, &r) {
            (Unknown, _) | (_, Unknown) => Unknown,
            (Float, _) | (_, Float) => Float,
            _ => Int,
        };
        let kind = match sign {
            "==" | "!=" if l.is_comparable(&r) => Bool,
            "and" | "or" | "&&" | "||" if both(&Bool) => Bool,
            "<" | ">" | "<=" | ">="
                if either_number(&l, &r) || both(&Text) || both(&Time) || both(&Duration) =>
            {
                Bool
            }
            "+" if either_number(&l, &r) => of_numbers(),
            "+" if both(&Text) => {
                if any_unknown {
                    Unknown
                } else {
                    Text
                }
            }
            "+" if both(&Duration) => {
                if any_unknown {
                    Unknown
                } else {
                    Duration
                }
            }
            "+" if (l.may_be(&Time) && r.may_be(&Duration)) || (l.may_be(&Duration) && r.may_be(&Time)) => {
                Time
            }
            "-" if either_number(&l, &r) => of_numbers(),
            "-" if both(&Time) && !any_unknown => Duration,
            "-" if both(&Duration) && !any_unknown => Duration,
            "-" if l.may_be(&Time) && r.may_be(&Duration) => Time,
            "-" if both(&Time) || both(&Duration) => Unknown,
            "*" if either_number(&l, &r) => of_numbers(),
            "*" if (l == Duration && (r.is_number() || r == Unknown))
                || (r == Duration && (l.is_number() || l == Unknown)) =>
            {
                Duration
            }
            "/" | "**" | "^" if either_number(&l, &r) => Float,
            "%" if l.is_whole() && r.is_whole() => {
                if any_unknown {
                    Unknown
                } else {
                    Int
                }
            }
            ".." if l.is_whole() && r.is_whole() => List(Box::new(Int)),
            "in" => return self.is_in(&l, &r),
            "matches" if both(&Text) => {
                if let ExprKind::Text(text) = &right.kind {
                    pattern(text)?;
                }
                Bool
            }
            "contains" | "startsWith" | "endsWith" if both(&Text) => Bool,
            "??" => match (l, r) {
                (Nil, r) => r,
                (l, Nil) => l,
                (l, r) if l == r => l,
                _ => Unknown,
            },
            _ => return Err(format!("invalid operation: {sign} (mismatched types {l} and {r})")),
        };
        Ok(kind)
    }

    fn is_in(&self, l: &Type, r: &Type) -> Checked {
        match r {
            Unknown | Nil => Ok(Bool),
            Map if l.may_be(&Text) => Ok(Bool),
            Map => Err(format!("cannot use {l} as type string in map key")),
            List(of) if l.is_comparable(of) => Ok(Bool),
            List(of) => Err(format!("cannot use {l} as type {of} in array")),
            _ => Err(format!("invalid operation: in (mismatched types {l} and {r})")),
        }
    }

    fn member(&mut self, of: &Expr, key: &Expr) -> Checked {
        let (kind, by) = (self.of(of)?, self.of(key)?);
        if let (ExprKind::Name(name), ExprKind::Text(field)) = (&of.kind, &key.kind)
            && name == "$env"
        {
            return self.name(field);
        }
        match &kind {
            Unknown => Ok(Unknown),
            Map if by.may_be(&Text) => Ok(Unknown),
            Map => Err(format!("cannot use {by} to get an element from {kind}")),
            List(of) if by.is_whole() => Ok((**of).clone()),
            List(_) => Err(format!("array elements can only be selected using an integer (got {by})")),
            _ => match &key.kind {
                ExprKind::Text(name) => Err(format!("type {kind} has no field {name}")),
                _ => Err(format!("type {kind}[{by}] is undefined")),
            },
        }
    }

    fn iterate(
        &mut self,
        name: &str,
        over: &Expr,
        predicate: Option<&Expr>,
        extra: Option<&Expr>,
    ) -> Checked {
        let kind = self.of(over)?;
        let element = match &kind {
            List(of) => (**of).clone(),
            Unknown => Unknown,
            _ => return Err(format!("builtin {name} takes only array (got {kind})")),
        };
        if let Some(extra) = extra {
            if !matches!(name, "reduce" | "sortBy") {
                return Err(format!("too many arguments to call {name}"));
            }
            self.of(extra)?;
        }
        let found = match predicate {
            None => None,
            Some(predicate) => {
                self.elements.push(element.clone());
                let found = self.of(predicate);
                self.elements.pop();
                Some(found?)
            }
        };
        let decides = matches!(
            name,
            "all"
                | "none"
                | "any"
                | "one"
                | "filter"
                | "count"
                | "find"
                | "findIndex"
                | "findLast"
                | "findLastIndex"
        );
        if let (true, Some(found)) = (decides, &found)
            && !found.may_be(&Bool)
        {
            return Err(format!("predicate should return boolean (got {found})"));
        }
        Ok(match name {
            "all" | "none" | "any" | "one" => Bool,
            "filter" | "sortBy" => List(Box::new(element)),
            "map" => List(Box::new(found.unwrap_or(Unknown))),
            "count" => Int,
            "findIndex" | "findLastIndex" => Unknown,
            "groupBy" => Map,
            _ => Unknown,
        })
    }

    fn call(&mut self, name: &str, args: &[Expr]) -> Checked {
        let Some((least, most)) = self.scope.arity(name) else { return Err(format!("unknown name {name}")) };
        if args.len() < least {
            return Err(format!("not enough arguments to call {name}"));
        }
        if args.len() > most {
            return Err(format!("too many arguments to call {name}"));
        }
        let kinds = args.iter().map(|arg| self.of(arg)).collect::<Result<Vec<_>, _>>()?;
        let first = kinds.first().cloned().unwrap_or(Unknown);
        Ok(match name {
            "asInt" => Int64,
            "asFloat" | "float" | "ceil" | "floor" | "round" => Float,
            "isNaN" | "isInf" => {
                let literal = first == Int && matches!(args[0].kind, ExprKind::Int(_));
                if !literal && !first.may_be(&Float) {
                    return Err(format!("cannot use {first} as argument (type float64) to call {name}"));
                }
                Bool
            }
            "isNil" | "hasPrefix" | "hasSuffix" => Bool,
            "len" => {
                if !matches!(first, List(_) | Map | Text | Unknown) {
                    return Err(format!("invalid argument for len (type {first})"));
                }
                Int
            }
            "int" | "indexOf" | "lastIndexOf" => Int,
            "string" | "type" | "trim" | "trimPrefix" | "trimSuffix" | "upper" | "lower" | "replace"
            | "repeat" | "join" | "toJSON" | "toBase64" | "fromBase64" => Text,
            "split" | "splitAfter" => List(Box::new(Text)),
            "keys" | "values" | "toPairs" | "flatten" | "concat" => List(Box::new(Unknown)),
            "reverse" | "uniq" | "sort" | "take" | "abs" => first,
            "fromPairs" => Map,
            "now" | "date" => Time,
            "duration" => Duration,
            _ => Unknown,
        })
    }
}
