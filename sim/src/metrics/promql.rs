//! As much of PromQL as queries about releases are written in: sums of rates, their ratios, quantiles of histograms.
//!
//! A sum of series and a single series are the same here: whoever knows the series answers a selector with one number, or
//! with nothing where there is no series. What is not understood is an error that says so; it is never guessed.

use tidegate_api::duration::GoDuration;
use tidegate_api::time::Span;

/// A query.
#[derive(Clone, PartialEq, Debug)]
pub enum Expr {
    /// `0.95`
    Number(f64),
    /// `http_requests_total{code="500"}[1m]`
    Select(Selector),
    /// `sum(…)`
    Call(String, Vec<Expr>),
    /// `… / …`
    Binary(String, Box<Expr>, Box<Expr>),
}

/// Which series are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selector {
    /// The name of the metric.
    pub name: String,
    /// Label, operator, value.
    pub matchers: Vec<(String, String, String)>,
    /// The time that is looked at.
    pub window: Option<Span>,
}

/// How a counter is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Its growth in a second.
    Rate,
    /// Its growth.
    Increase,
}

/// Whoever knows the series. Nothing means that there is no such series.
pub trait Series {
    /// How much a counter has grown.
    fn change(&mut self, of: &Selector, how: Change) -> Result<Option<f64>, String>;
    /// The value below which so many of the observations in a histogram lie.
    fn quantile(&mut self, of: &Selector, quantile: f64) -> Result<Option<f64>, String>;
}

/// Functions that change nothing where there is one series at most.
const PLAIN: &[&str] =
    &["sum", "avg", "max", "min", "sort", "sort_desc", "vector", "round", "last_over_time"];

impl Expr {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Expr, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        if parser.tokens.len() > LONGEST {
            return Err("it is too long".to_owned());
        }
        let expr = parser.binary(0)?;
        match parser.peek() {
            None => Ok(expr),
            Some(token) => Err(format!("`{token}` is not understood here")),
        }
    }

    /// The value of a query; nothing where Prometheus answers an empty vector.
    pub fn value(&self, series: &mut dyn Series) -> Result<Option<f64>, String> {
        match self {
            Expr::Number(number) => Ok(Some(*number)),
            Expr::Select(selector) => Err(format!(
                "`{}` counts from the beginning; a rate or an increase over a time is meant",
                selector.name
            )),
            Expr::Binary(sign, left, right) => {
                let (left, right) = (left.value(series)?, right.value(series)?);
                if sign == "or" {
                    return Ok(left.or(right));
                }
                let Some((left, right)) = left.zip(right) else { return Ok(None) };
                Ok(Some(match sign.as_str() {
                    "+" => left + right,
                    "-" => left - right,
                    "*" => left * right,
                    "/" => left / right,
                    other => return Err(format!("`{other}` is not understood")),
                }))
            }
            Expr::Call(name, arguments) => self.call(name, arguments, series),
        }
    }

    fn call(&self, name: &str, arguments: &[Expr], series: &mut dyn Series) -> Result<Option<f64>, String> {
        match (name, arguments) {
            ("rate" | "irate", [Expr::Select(of)]) => series.change(of, Change::Rate),
            ("increase" | "delta", [Expr::Select(of)]) => series.change(of, Change::Increase),
            ("histogram_quantile", [quantile, buckets]) => {
                let quantile = quantile.value(series)?.unwrap_or(f64::NAN);
                let of = buckets.selector().ok_or("histogram_quantile needs the buckets of one histogram")?;
                series.quantile(of, quantile)
            }
            ("scalar", [one]) => Ok(Some(one.value(series)?.unwrap_or(f64::NAN))),
            ("abs", [one]) => Ok(one.value(series)?.map(f64::abs)),
            ("clamp_min", [one, least]) => {
                let least = least.value(series)?.unwrap_or(f64::NAN);
                Ok(one.value(series)?.map(|value| value.max(least)))
            }
            ("clamp_max", [one, most]) => {
                let most = most.value(series)?.unwrap_or(f64::NAN);
                Ok(one.value(series)?.map(|value| value.min(most)))
            }
            (plain, [one]) if PLAIN.contains(&plain) => one.value(series),
            _ => Err(format!("the function `{name}` is not understood")),
        }
    }

    /// Every selector of it.
    pub(crate) fn selectors(&self) -> Vec<&Selector> {
        match self {
            Expr::Number(_) => Vec::new(),
            Expr::Select(of) => vec![of],
            Expr::Call(_, arguments) => arguments.iter().flat_map(Expr::selectors).collect(),
            Expr::Binary(_, left, right) => {
                [left, right].into_iter().flat_map(|one| one.selectors()).collect()
            }
        }
    }

    /// The one selector below.
    fn selector(&self) -> Option<&Selector> {
        match self {
            Expr::Select(of) => Some(of),
            Expr::Call(_, arguments) => match arguments.as_slice() {
                [one] => one.selector(),
                _ => None,
            },
            _ => None,
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Number(f64),
    Text(String),
    Window(Span),
    Sign(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(word) => f.write_str(word),
            Token::Number(number) => write!(f, "{number}"),
            Token::Text(text) => write!(f, "\"{text}\""),
            Token::Window(span) => write!(f, "[{}ms]", span.0),
            Token::Sign(sign) => f.write_str(sign),
        }
    }
}

const SIGNS: &[&str] = &[
    "=~", "!~", "!=", "==", ">=", "<=", ">", "<", "=", "(", ")", "{", "}", ",", "+", "-", "*", "/", "%", "^",
    "@",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |part: &str| {
            part.find(|c: char| !(c.is_alphanumeric() || "_:.".contains(c))).unwrap_or(part.len())
        };
        if first == '#' {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if matches!(first, '"' | '\'' | '`') {
            let (inside, after) = quoted(&rest[1..], first).ok_or("a quoted text has no end")?;
            all.push(Token::Text(inside));
            rest = after;
        } else if first == '[' {
            let (inside, after) = rest[1..].split_once(']').ok_or("`[` has no `]`")?;
            let span = window(inside.trim()).ok_or_else(|| format!("`[{inside}]` is not understood"))?;
            all.push(Token::Window(span));
            rest = after;
        } else if first.is_ascii_digit() || first == '.' {
            let (number, after) = rest.split_at(word(rest));
            all.push(Token::Number(number.parse().map_err(|_| format!("`{number}` is not understood"))?));
            rest = after;
        } else if first.is_alphabetic() || first == '_' || first == ':' {
            let (name, after) = rest.split_at(word(rest));
            all.push(Token::Word(name.to_owned()));
            rest = after;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            all.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(format!("`{first}` is not understood"));
        }
        rest = rest.trim_start();
    }
    Ok(all)
}

/// What stands before the closing quote, and what after it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let (mut inside, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                if !matches!(c, '\\' | '"' | '\'') {
                    inside.push('\\');
                }
                inside.push(c);
                escaped = false;
            }
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return Some((inside, &text[at + c.len_utf8()..])),
            c => inside.push(c),
        }
    }
    None
}

/// `5m`, `1h30m`, `1d`; no subqueries.
fn window(text: &str) -> Option<Span> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let millis = match days {
        Some(days) => days.checked_mul(86_400_000)?,
        None => GoDuration::parse(text).ok()?.nanos().div_euclid(1_000_000),
    };
    (millis > 0).then_some(Span(millis))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// How many words a query may have.
const LONGEST: usize = 2000;
/// How deep a query may nest.
const DEEPEST: usize = 64;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(is);
        is
    }

    fn wants(&mut self, sign: &str) -> Result<(), String> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(format!("`{sign}` is missing")),
        }
    }

    /// `or` binds least, then `+` and `-`, then `*` and `/`.
    fn binary(&mut self, depth: usize) -> Result<Expr, String> {
        self.level(0, depth)
    }

    fn level(&mut self, level: usize, depth: usize) -> Result<Expr, String> {
        const LEVELS: [&[&str]; 3] = [&["or"], &["+", "-"], &["*", "/"]];
        if depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        let Some(signs) = LEVELS.get(level) else { return self.unary(depth) };
        let mut left = self.level(level + 1, depth)?;
        loop {
            let sign = match self.peek() {
                Some(Token::Sign(sign)) if signs.contains(sign) => (*sign).to_owned(),
                Some(Token::Word(word)) if signs.contains(&word.as_str()) => word.clone(),
                _ => return Ok(left),
            };
            self.at += 1;
            // `/ on(x) group_left sum(…)`: with one series on each side it says nothing.
            if self.clause(&["on", "ignoring"]) {
                self.clause(&["group_left", "group_right"]);
            }
            let right = self.level(level + 1, depth)?;
            left = Expr::Binary(sign, Box::new(left), Box::new(right));
        }
    }

    fn unary(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        if self.takes("-") {
            let one = self.unary(depth + 1)?;
            return Ok(Expr::Binary("-".to_owned(), Box::new(Expr::Number(0.0)), Box::new(one)));
        }
        if self.takes("(") {
            let inside = self.binary(depth + 1)?;
            self.wants(")")?;
            return Ok(inside);
        }
        match self.next() {
            Some(Token::Number(number)) => Ok(Expr::Number(number)),
            Some(Token::Word(name)) => self.named(name, depth),
            Some(Token::Sign("{")) => {
                self.at -= 1;
                self.select(String::new())
            }
            Some(token) => Err(format!("`{token}` is not understood here")),
            None => Err("it ends too early".to_owned()),
        }
    }

    fn named(&mut self, name: String, depth: usize) -> Result<Expr, String> {
        let aggregates = self.clause(&["by", "without"]);
        if !self.takes("(") {
            if aggregates {
                return Err(format!("`{name} by` needs what it is of"));
            }
            return self.select(name);
        }
        let mut arguments = Vec::new();
        while !self.takes(")") {
            if !arguments.is_empty() {
                self.wants(",")?;
            }
            arguments.push(self.binary(depth + 1)?);
        }
        self.clause(&["by", "without"]);
        Ok(Expr::Call(name, arguments))
    }

    /// `by (a, b)`.
    fn clause(&mut self, words: &[&str]) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(word)) if words.contains(&word.as_str()));
        if is {
            self.at += 1;
            if self.takes("(") {
                while self.next().is_some_and(|token| token != Token::Sign(")")) {}
            }
        }
        is
    }

    fn select(&mut self, name: String) -> Result<Expr, String> {
        let mut selector = Selector { name, ..Selector::default() };
        if self.takes("{") {
            while !self.takes("}") {
                match (self.next(), self.next(), self.next()) {
                    (Some(Token::Word(label)), Some(Token::Sign(how)), Some(Token::Text(value)))
                        if matches!(how, "=" | "!=" | "=~" | "!~") =>
                    {
                        selector.matchers.push((label, how.to_owned(), value));
                    }
                    _ => return Err("labels are written name=\"value\"".to_owned()),
                }
                if !self.takes(",") && !matches!(self.peek(), Some(Token::Sign("}"))) {
                    return Err("`}` is missing".to_owned());
                }
            }
        }
        if let Some(Token::Window(window)) = self.peek() {
            selector.window = Some(*window);
            self.at += 1;
        }
        Ok(Expr::Select(selector))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers rates with the number of matchers plus one, and keeps what it was asked for.
    struct Asked(Vec<String>);

    impl Series for Asked {
        fn change(&mut self, of: &Selector, how: Change) -> Result<Option<f64>, String> {
            self.0.push(format!("{how:?} {} {:?} {:?}", of.name, of.matchers.len(), of.window.map(|w| w.0)));
            Ok((of.name != "none").then_some(of.matchers.len() as f64 + 1.0))
        }

        fn quantile(&mut self, of: &Selector, quantile: f64) -> Result<Option<f64>, String> {
            self.0.push(format!("quantile {quantile} {}", of.name));
            Ok(Some(quantile))
        }
    }

    fn value(query: &str) -> Result<Option<f64>, String> {
        Expr::parse(query)?.value(&mut Asked(Vec::new()))
    }

    #[test]
    fn queries_about_releases_are_understood() {
        let ratio = "sum(rate(http_requests_total{job=\"web\", code=~\"5..\"}[1m])) by (job)\n / sum by (job) \
                     (rate(http_requests_total{job=\"web\"}[1m])) # errors";
        assert_eq!(value(ratio), Ok(Some(1.5)));
        assert_eq!(value("1 - rate(a[5m]) / rate(b{x='y'}[5m]) * 2"), Ok(Some(0.0)));
        assert_eq!(value("sum(increase(none[1m])) or vector(0)"), Ok(Some(0.0)));
        assert_eq!(value("sum(increase(none[1m])) / 2"), Ok(None));
        assert_eq!(value("(rate(none[1m]) or on() vector(7))"), Ok(Some(7.0)));
        assert_eq!(value("-clamp_max(rate(a{b!=\"\"}[1h30m]), 1)"), Ok(Some(-1.0)));
        let quantile = "histogram_quantile(0.95, sum(rate(d_bucket{a=\"b\"}[2m])) by (le)) * 1000";
        assert_eq!(value(quantile), Ok(Some(950.0)));
        let mut asked = Asked(Vec::new());
        let _ = Expr::parse("rate(a{b=\"c\",}[1d])").unwrap().value(&mut asked);
        assert_eq!(asked.0, ["Rate a 1 Some(86400000)"]);
    }

    #[test]
    fn what_is_not_understood_says_so() {
        for (query, why) in [
            ("", "it ends too early"),
            ("up", "`up` counts from the beginning; a rate or an increase over a time is meant"),
            ("predict_linear(a[1m], 3)", "the function `predict_linear` is not understood"),
            ("rate(a[1m]) > 3", "`>` is not understood here"),
            ("rate(a{b}[1m])", "labels are written name=\"value\""),
            ("rate(a[1m:5s])", "`[1m:5s]` is not understood"),
            ("rate(a[1m]", "`,` is missing"),
            ("'a", "a quoted text has no end"),
            ("a ? b", "`?` is not understood"),
        ] {
            assert_eq!(value(query), Err(why.to_owned()), "{query}");
        }
        assert_eq!(value(&"(".repeat(1_000)), Err("it is nested too deeply".to_owned()));
        assert_eq!(value(&"1+".repeat(10_000)), Err("it is too long".to_owned()));
        assert_eq!(value(&"-".repeat(1_000)), Err("it is nested too deeply".to_owned()));
    }
}
