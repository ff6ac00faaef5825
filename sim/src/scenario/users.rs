//! `users_saw`: what users must have felt.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::cursor::{Cursor, Read};
use super::keys::known;
use super::{Bound, Compare};
use crate::traffic::Meter;

/// What users must have felt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UsersSaw {
    /// Of this Rollout; of all together when absent.
    pub rollout: Option<String>,
    /// Requests that went wrong.
    pub errors: Option<Amount>,
    /// Requests for which there was no endpoint.
    pub no_endpoint: Option<Amount>,
    /// Requests that versions took, by the end of their image.
    pub share: BTreeMap<String, Amount>,
}

/// A bound of requests: how many (`0`), or which part of all (`<= 1%`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amount {
    /// The bound; of a part in millionths.
    pub bound: Bound,
    /// Whether a part of all is meant.
    pub is_part: bool,
}

impl Amount {
    /// Whether so many requests, which are so many millionths of all, are within the bound.
    pub fn holds(self, (count, part): (i64, i64)) -> bool {
        self.bound.holds(if self.is_part { part } else { count })
    }

    fn parse(text: &str) -> Option<Amount> {
        let text = text.trim();
        let Some(number) = text.strip_suffix('%') else {
            return Bound::parse(text).map(|bound| Amount { bound, is_part: false });
        };
        let digits = number.find(|c: char| !"<>= ".contains(c)).unwrap_or(number.len());
        let how = Bound::parse(&format!("{}0", &number[..digits]))?.how;
        let with = millionths(&text[digits..])?;
        Some(Amount { bound: Bound { how, with }, is_part: true })
    }
}

/// A percentage such as `0.25%`, in millionths.
pub(super) fn millionths(text: &str) -> Option<i64> {
    let number = text.trim().strip_suffix('%')?.trim();
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    if rest.len() > 4
        || !rest.chars().all(|c| c.is_ascii_digit())
        || !whole.chars().all(|c| c.is_ascii_digit())
    {
        return None;
    }
    let below: i64 = format!("{rest:0<4}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(10_000)?.checked_add(below)
}

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.bound.how {
            Compare::Less => "< ",
            Compare::AtMost => "<= ",
            Compare::Equal => "",
            Compare::AtLeast => ">= ",
            Compare::More => "> ",
        };
        match self.is_part {
            true => write!(out, "{sign}{}", percent(self.bound.with)),
            false => write!(out, "{sign}{}", self.bound.with),
        }
    }
}

fn percent(millionths: i64) -> String {
    let (whole, below) = (millionths / 10_000, millionths % 10_000);
    let below = format!("{below:04}");
    match below.trim_end_matches('0') {
        "" => format!("{whole}%"),
        below => format!("{whole}.{below}%"),
    }
}

impl UsersSaw {
    /// What users felt otherwise than they should.
    pub(crate) fn complaints(&self, meter: &Meter) -> Vec<String> {
        let felt = meter.total(self.rollout.as_deref());
        let mut wrong = Vec::new();
        let mut check = |name: &str, amount: Option<Amount>, found: (i64, i64)| {
            if let Some(amount) = amount.filter(|amount| !amount.holds(found)) {
                let (count, part) = found;
                wrong.push(format!("users saw {name} {count} ({}), not {amount}", percent(part)));
            }
        };
        check("errors", self.errors, felt.errors());
        check("no_endpoint", self.no_endpoint, felt.no_endpoint());
        for (image, amount) in &self.share {
            check(&format!("share of {image}"), Some(*amount), felt.share(image));
        }
        wrong
    }

    pub(super) fn to_value(&self) -> Value {
        let mut value = json!({});
        if let Some(rollout) = &self.rollout {
            value["rollout"] = json!(rollout);
        }
        for (name, amount) in [("errors", self.errors), ("no_endpoint", self.no_endpoint)] {
            if let Some(amount) = amount {
                value[name] = json!(amount.to_string());
            }
        }
        for (image, amount) in &self.share {
            value["share"][image] = json!(amount.to_string());
        }
        value
    }
}

pub(super) fn read(at: &Cursor<'_>) -> Read<UsersSaw> {
    at.fields(&known("users_saw"))?;
    let amount_of = |name: &str| at.get(name).map(|field| amount(&field)).transpose();
    let mut share = BTreeMap::new();
    if let Some(field) = at.get("share") {
        for (image, field) in field.entries()? {
            share.insert(image.to_owned(), amount(&field)?);
        }
    }
    Ok(UsersSaw {
        rollout: at.get("rollout").map(|field| field.owned()).transpose()?,
        errors: amount_of("errors")?,
        no_endpoint: amount_of("no_endpoint")?,
        share,
    })
}

fn amount(field: &Cursor<'_>) -> Read<Amount> {
    let parsed = match field.value.as_str() {
        Some(text) => Amount::parse(text),
        None => field.value.as_i64().and_then(|number| Amount::parse(&number.to_string())),
    };
    parsed.map_or_else(|| field.wrong("this must be a number of requests or a part such as \"<= 1%\""), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_counts_or_parts() {
        let check = |text: &str, found, expected| {
            let amount = Amount::parse(text).expect("an amount");
            assert_eq!(amount.holds(found), expected, "{text} {found:?}");
            assert_eq!(Amount::parse(&amount.to_string()), Some(amount), "{text} is written as it is read");
        };
        check("0", (0, 0), true);
        check("0", (1, 1), false);
        check("<= 1%", (5, 10_000), true);
        check("<=1%", (5, 10_001), false);
        check("< 0.25%", (5, 2_499), true);
        check("50%", (7, 500_000), true);
        check(">= 3", (3, 0), true);
        for nonsense in ["", "%", "1.23456%", "x%", "<= -1%", "1,5%"] {
            assert_eq!(Amount::parse(nonsense), None, "{nonsense}");
        }
    }
}
