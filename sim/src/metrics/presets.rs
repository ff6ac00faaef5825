//! Queries of the user that the traffic model answers: metrics of requests and of their duration, under the names and
//! labels that proxies and libraries give them.
//!
//! A label that is not known here makes the query one that nobody answers: a filter that is left out would be a lie.

use std::cell::RefCell;

use regex::Regex;
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::names::HASH_LABEL;

use super::counters::Counters;
use super::promql::{Change, Selector, Series};
use crate::dice::Dice;
use crate::traffic::serving_sets;
use crate::world::{Quality, World};

/// What a preset counts.
#[derive(Clone, Copy, PartialEq, Debug)]
enum What {
    /// Requests.
    Requests,
    /// Requests by how long they took; so many milliseconds are one.
    Buckets(f64),
    /// The time that they took together.
    Sum(f64),
}

/// A family of metrics: a part of their names, and what they count. The first that fits counts.
const PRESETS: &[(&str, &str, What)] = &[
    ("latency quantile", "_milliseconds_bucket", What::Buckets(1.0)),
    ("latency quantile", "_ms_bucket", What::Buckets(1.0)),
    ("latency quantile", "_seconds_bucket", What::Buckets(1000.0)),
    ("latency sum", "_milliseconds_sum", What::Sum(1.0)),
    ("latency sum", "_seconds_sum", What::Sum(1000.0)),
    ("requests", "_milliseconds_count", What::Requests),
    ("requests", "_seconds_count", What::Requests),
    ("requests", "_requests_total", What::Requests),
    ("requests", "_requests", What::Requests),
    ("requests", "_requests_count", What::Requests),
    ("requests", "requests_total", What::Requests),
    ("requests", "response_total", What::Requests),
    ("requests", "_upstream_rq", What::Requests),
    ("requests", "_upstream_rq_xx", What::Requests),
    ("requests", "_http_status", What::Requests),
];

/// Labels that say how a request ended, with what they say of a good one and of a bad one.
const OUTCOMES: &[(&[&str], &str, &str)] = &[
    (
        &[
            "code",
            "status",
            "status_code",
            "response_code",
            "http_status",
            "http_status_code",
            "envoy_response_code",
        ],
        "200",
        "500",
    ),
    (&["envoy_response_code_class", "code_class"], "2", "5"),
    (&["classification"], "success", "failure"),
    (&["outcome"], "SUCCESS", "SERVER_ERROR"),
];

/// Labels that say nothing that the model knows of more than one kind.
const IGNORED: &[&str] = &["le", "reporter", "method", "request_protocol", "direction"];

/// The versions a selector is about, and which of their requests.
struct Meant {
    rollout: Key,
    versions: Vec<(Text, String)>,
    good: bool,
    bad: bool,
}

/// The traffic model as Prometheus shows it.
pub struct Shown<'a> {
    /// The world.
    pub world: &'a World,
    /// What was counted.
    pub counters: &'a Counters,
    /// The namespace of whoever asks.
    pub namespace: &'a str,
    /// The time that is asked for.
    pub at: Time,
    /// How often pods are looked at.
    pub scrape: Span,
    /// Names the measurement: the same one sees the same noise.
    pub measurement: String,
    /// The presets that were used.
    pub used: RefCell<Vec<&'static str>>,
}

/// Which requests a selector counts, whatever the time.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Meaning {
    /// The selector.
    pub of: Selector,
    /// The time that is looked at.
    pub window: Span,
    /// Hashes of the versions.
    pub versions: Vec<Text>,
    /// Whether it counts requests that went well.
    pub good: bool,
    /// Whether it counts those that did not.
    pub bad: bool,
}

impl Shown<'_> {
    /// What a selector of requests counts; one about their duration is none.
    pub(crate) fn meaning(&self, of: &Selector) -> Result<Meaning, String> {
        if self.preset(of)? != What::Requests {
            return Err(format!("`{}` is about duration, and only error rates are given", of.name));
        }
        let Some(window) = of.window else { return Err(format!("`{}` needs a time such as [1m]", of.name)) };
        let Meant { versions, good, bad, .. } = self.meant(of)?;
        let versions = versions.into_iter().map(|(hash, _)| hash).collect();
        Ok(Meaning { of: of.clone(), window, versions, good, bad })
    }
}

impl Series for Shown<'_> {
    fn change(&mut self, of: &Selector, how: Change) -> Result<Option<f64>, String> {
        let what = self.preset(of)?;
        let Some(window) = of.window else { return Err(format!("`{}` needs a time such as [1m]", of.name)) };
        let meant = self.meant(of)?;
        let mut sum: Option<f64> = None;
        for (hash, image) in &meant.versions {
            let Some((requests, errors, span)) = self.counted(&meant.rollout, hash, window) else { continue };
            let mut grown = 0;
            grown += if meant.good { requests - errors } else { 0 };
            grown += if meant.bad { errors } else { 0 };
            let mut grown = grown as f64;
            if let What::Sum(unit) = what {
                grown *= self.latency(image)? / unit;
            }
            let value = match how {
                Change::Rate => grown / (span.0 as f64 / 1000.0),
                // As far as was counted, stretched over the time that was asked for.
                Change::Increase => grown * window.0 as f64 / span.0 as f64,
            };
            sum = Some(sum.unwrap_or(0.0) + value);
        }
        Ok(sum)
    }

    fn quantile(&mut self, of: &Selector, quantile: f64) -> Result<Option<f64>, String> {
        let What::Buckets(unit) = self.preset(of)? else {
            return Err(format!("`{}` is no histogram that the traffic model knows", of.name));
        };
        let Some(window) = of.window else { return Err(format!("`{}` needs a time such as [1m]", of.name)) };
        let meant = self.meant(of)?;
        let mut parts: Vec<(f64, i64)> = Vec::new();
        for (hash, image) in &meant.versions {
            let Some((requests, _, _)) = self.counted(&meant.rollout, hash, window) else { continue };
            parts.push((self.latency(image)? / unit, requests));
        }
        if parts.is_empty() {
            return Ok(None);
        }
        parts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: i64 = parts.iter().map(|(_, requests)| requests).sum();
        if all == 0 {
            return Ok(Some(f64::NAN));
        }
        let mut seen = 0;
        for (latency, requests) in &parts {
            seen += requests;
            if seen as f64 >= quantile * all as f64 {
                return Ok(Some(*latency));
            }
        }
        Ok(parts.last().map(|(latency, _)| *latency))
    }
}

impl Shown<'_> {
    fn preset(&self, of: &Selector) -> Result<What, String> {
        let found = PRESETS.iter().find(|(_, end, _)| of.name.ends_with(end));
        let (name, _, what) =
            found.ok_or_else(|| format!("`{}` is no metric that the traffic model knows", of.name))?;
        let mut used = self.used.borrow_mut();
        if !used.contains(name) {
            used.push(name);
        }
        Ok(*what)
    }

    /// How long a version takes to answer, in milliseconds.
    fn latency(&self, image: &str) -> Result<f64, String> {
        let latency = truth(self.world, image).latency;
        let latency = latency
            .ok_or_else(|| format!("the scenario does not say the latency of {image} (`world.quality`)"))?;
        Ok(latency.0 as f64)
    }

    /// Requests of a version between the first and the last look at its pods in this time, how many of them went wrong
    /// as far as the sample shows, and the time between the looks. Nothing where there were not two looks.
    fn counted(&self, rollout: &Key, hash: &Text, window: Span) -> Option<(i64, i64, Span)> {
        let scrape = self.scrape.0.max(1);
        let start = self.world.config().start;
        let last = self.at.since(start).0.div_euclid(scrape);
        let first = (self.at.since(start).0 - window.0 + scrape - 1).div_euclid(scrape).max(0);
        let look = |number: i64| start.plus(Span(number * scrape));
        let first = (first..last).find(|number| self.counters.at(rollout, hash, look(*number)).is_some())?;
        let shown = |number: i64| self.counters.at(rollout, hash, look(number)).map(|taken| taken.whole());
        let ((all_then, bad_then), (all, bad)) = (shown(first)?, shown(last)?);
        let (requests, expected) = ((all - all_then).max(0), (bad - bad_then).max(0));
        let seed = self.world.config().seed;
        let mut dice = Dice::new(seed, &format!("sample {} {hash} {first} {last}", self.measurement));
        Some((requests, sample(&mut dice, requests, expected), look(last).since(look(first))))
    }

    fn meant(&self, of: &Selector) -> Result<Meant, String> {
        let world = self.world;
        let mut rollouts: Vec<&Object> = Vec::new();
        let all: Vec<_> = world.store().of_kind(&Kind::Rollout).collect();
        rollouts.extend(all.iter().map(|rollout| &***rollout));
        rollouts.retain(|rollout| *rollout.meta.namespace == *self.namespace);
        let (mut good, mut bad) = (true, true);
        let mut versions: Vec<(Key, Text, String, Vec<String>)> = Vec::new();
        for rollout in &rollouts {
            for set in serving_sets(world, rollout) {
                let Some(hash) = set.meta.labels.get(HASH_LABEL) else { continue };
                let image = set.replica_set().map_or(String::new(), |body| {
                    body.template.spec.value()["containers"][0]["image"].as_str().unwrap_or("").to_owned()
                });
                versions.push((rollout.key(), hash.clone(), image, names(world, rollout, set)));
            }
        }
        for (label, how, value) in &of.matchers {
            let regex = match how.as_str() {
                "=~" | "!~" => Some(
                    Regex::new(&format!("^(?:{value})$")).map_err(|_| format!("`{value}` is no pattern"))?,
                ),
                _ => None,
            };
            let is = |text: &str| {
                let same = regex.as_ref().map_or(text == value, |regex| regex.is_match(text));
                same != how.starts_with('!')
            };
            if let Some((_, when_good, when_bad)) =
                OUTCOMES.iter().find(|(labels, ..)| labels.contains(&label.as_str()))
            {
                good &= is(when_good);
                bad &= is(when_bad);
            } else if label.ends_with("pod_template_hash") {
                versions.retain(|(_, hash, _, _)| is(hash));
            } else if label.ends_with("namespace") {
                if !is(self.namespace) {
                    versions.clear();
                }
            } else if !IGNORED.contains(&label.as_str()) {
                let before = versions.len();
                versions.retain(|(_, _, _, names)| names.iter().any(|name| is(name)));
                if versions.is_empty() && before > 0 && !how.starts_with('!') {
                    return Err(format!(
                        "`{label}{how}\"{value}\"` names no version, Service or pod of this world"
                    ));
                }
            }
        }
        let Some((rollout, ..)) = versions.first().cloned() else {
            let rollout = rollouts.first().map(|rollout| rollout.key());
            let rollout = rollout.ok_or("there is no Rollout whose users could be counted")?;
            return Ok(Meant { rollout, versions: Vec::new(), good, bad });
        };
        if versions.iter().any(|(other, ..)| *other != rollout) {
            return Err(format!("the labels of `{}` do not say which Rollout is meant", of.name));
        }
        let versions = versions.into_iter().map(|(_, hash, image, _)| (hash, image)).collect();
        Ok(Meant { rollout, versions, good, bad })
    }
}

/// Everything by which labels call a version: its pods' labels, its Rollout, its ReplicaSet, its pods, and the Services
/// that lead to it.
fn names(world: &World, rollout: &Object, set: &Object) -> Vec<String> {
    let mut all = vec![rollout.meta.name.to_string(), set.meta.name.to_string()];
    let Some(body) = set.replica_set() else { return all };
    all.extend(body.template.labels.iter().map(|(_, value)| value.to_string()));
    all.extend(world.store().owned_by(&set.meta.uid, &Kind::Pod).map(|pod| pod.meta.name.to_string()));
    for service in world.store().of_kind(&Kind::Service) {
        let selector = service.service().map(|body| &body.selector);
        let selects = selector.is_some_and(|selector| {
            !selector.is_empty()
                && selector.iter().all(|(key, value)| {
                    body.template.labels.get(key) == Some(value) || set.meta.labels.get(key) == Some(value)
                })
        });
        if selects && service.meta.namespace == rollout.meta.namespace {
            let (name, namespace) = (&service.meta.name, &service.meta.namespace);
            all.push(name.to_string());
            all.push(format!("{name}.{namespace}"));
            all.push(format!("{name}.{namespace}.svc"));
            all.push(format!("{name}.{namespace}.svc.cluster.local"));
        }
    }
    all
}

/// What a version truly does to its users.
fn truth(world: &World, image: &str) -> Quality {
    let all = &world.config().quality;
    all.iter().find(|(end, _)| image.ends_with(end.as_str())).map_or(Quality::default(), |(_, truth)| *truth)
}

/// How many of so many requests went wrong when so many of them were to be expected: drawn one by one where they are
/// few, else from the bell that they come near to.
pub fn sample(dice: &mut Dice, requests: i64, expected: i64) -> i64 {
    if requests <= 0 || expected <= 0 {
        return 0;
    }
    if expected >= requests {
        return requests;
    }
    if requests <= 1000 {
        let wrong = (0..requests).filter(|_| dice.between(1, requests) <= expected).count();
        return i64::try_from(wrong).unwrap_or(0);
    }
    // Twelve even draws are nearly a normal one, and the same on every machine.
    let even: i64 = (0..12).map(|_| dice.between(0, 1_000_000)).sum();
    let normal = (even - 6_000_000) as f64 / 1_000_000.0;
    let share = expected as f64 / requests as f64;
    let spread = (requests as f64 * share * (1.0 - share)).sqrt();
    ((expected as f64 + normal * spread).round() as i64).clamp(0, requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_scatter_around_the_truth() {
        for (requests, expected) in [(100, 8), (100_000, 8000)] {
            let mut dice = Dice::new(1, "sample");
            let drawn: Vec<i64> = (0..2000).map(|_| sample(&mut dice, requests, expected)).collect();
            let mean = drawn.iter().sum::<i64>() as f64 / 2000.0;
            let spread = drawn.iter().map(|n| (*n as f64 - mean).powi(2)).sum::<f64>() / 2000.0;
            let wanted = expected as f64 * (1.0 - expected as f64 / requests as f64);
            assert!((mean - expected as f64).abs() < 4.0 * (wanted / 2000.0).sqrt(), "{mean}");
            assert!((spread / wanted - 1.0).abs() < 0.15, "{spread} {wanted}");
        }
        let mut dice = Dice::new(1, "sample");
        assert_eq!([sample(&mut dice, 0, 0), sample(&mut dice, 9, 0), sample(&mut dice, 9, 9)], [0, 0, 9]);
    }
}
