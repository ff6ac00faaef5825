//! A metric made ready to be measured ten thousand times: which requests its query counts, and what each value means.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tidegate_api::analysis::Metric;
use tidegate_api::object::{Key, Strings, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::analysis::condition::judge;
use tidegate_controller::analysis::secrets::Masks;
use tidegate_controller::providers::{self, Ask, Next, SoFar, Surroundings, Told};
use tidegate_controller::seams::Question;

use super::users::Version;
use crate::metrics::presets::{Meaning, Shown};
use crate::metrics::promql::{Change, Expr, Selector, Series};
use crate::metrics::series::Point;
use crate::metrics::{parameters, render};
use crate::world::World;

/// No range query is evaluated at more times.
const MOST_STEPS: i64 = 1_000;

/// What was counted of a version in a time: requests, those that went wrong, and the time between the two looks. Nothing
/// where there were not two looks.
pub(super) type Counted = Option<(i64, i64, Span)>;

/// Who counts: a version, in a window that ends so long before the measurement.
pub(super) type Count<'a> = &'a mut dyn FnMut(Version, Span, Span) -> Counted;

/// A metric of a run.
#[derive(Clone, Debug)]
pub(super) struct Query {
    expr: Expr,
    meanings: Vec<(Meaning, Vec<Version>)>,
    /// How long before the measurement the query is evaluated.
    instants: Vec<Span>,
    metric: Metric,
    run: Key,
    question: Question,
    surroundings: Surroundings,
    now: Time,
    /// What values mean, as far as anybody asked.
    judged: RefCell<BTreeMap<Vec<u64>, &'static str>>,
}

impl Query {
    /// Reads a metric. `world` is one in which the run is under way; what the estimate knows nothing of says why.
    pub fn read(
        metric: &Metric,
        run: &Key,
        world: &mut World,
        of_hash: &dyn Fn(&str) -> Option<Version>,
    ) -> Result<Query, String> {
        let provider = providers::type_name(&metric.provider);
        if provider != "Prometheus" {
            return Err(format!("it asks {provider}, and the traffic model answers Prometheus only"));
        }
        let surroundings =
            Surroundings { prometheus: Some("http://prometheus".into()), ..Surroundings::default() };
        let now = world.now();
        let (secrets, masks) = (BTreeMap::new(), Masks::default());
        let ask = Ask {
            run,
            began: Some(now.stamp()),
            metric,
            now,
            secrets: &secrets,
            surroundings: &surroundings,
            masks: &masks,
        };
        let question = match providers::begin(&ask) {
            Ok(Next::Call(question)) => *question,
            Ok(_) => return Err("it asks no query".to_owned()),
            Err(why) => return Err(why.to_string()),
        };
        let parameters = parameters(&question);
        let of = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
        let expr = Expr::parse(of("query").unwrap_or_default())?;
        let before = |name: &str| {
            let seconds = of(name).and_then(|text| text.parse::<f64>().ok())?;
            Some(Span(now.0.saturating_sub((seconds * 1000.0) as i64)))
        };
        let step = of("step").and_then(|text| text.parse::<f64>().ok()).map(|step| (step * 1000.0) as i64);
        let instants = match (before("start"), before("end"), step) {
            (Some(start), Some(end), Some(step)) => {
                let count = (start.0.saturating_sub(end.0).max(0) / step.max(1)).min(MOST_STEPS);
                (0..=count).map(|n| Span(start.0.saturating_sub(n.saturating_mul(step.max(1))))).collect()
            }
            _ => vec![Span::ZERO],
        };
        let scrape = world.config().metrics.scrape;
        let _ = world.counters();
        let Some(counters) = world.counters.as_deref() else { return Err("nobody is counted".to_owned()) };
        let shown = Shown {
            world,
            counters,
            namespace: &run.namespace,
            at: now,
            scrape,
            measurement: String::new(),
            used: RefCell::default(),
        };
        let mut meanings: Vec<(Meaning, Vec<Version>)> = Vec::new();
        for selector in expr.selectors() {
            let meaning = shown.meaning(selector)?;
            let versions = meaning.versions.iter().filter_map(|hash| of_hash(hash)).collect();
            meanings.push((meaning, versions));
        }
        if meanings.is_empty() {
            return Err("its query counts no requests".to_owned());
        }
        let query = Query {
            expr,
            meanings,
            instants,
            metric: metric.clone(),
            run: run.clone(),
            question,
            surroundings,
            now,
            judged: RefCell::default(),
        };
        // What is not understood is found out with any numbers.
        query.values(&mut |_, _, _| Some((100, 1, Span::seconds(60))))?;
        Ok(query)
    }

    /// The longest time that it looks back.
    pub fn reach(&self) -> Span {
        let window = self.meanings.iter().map(|(meaning, _)| meaning.window).max().unwrap_or_default();
        let instant = self.instants.iter().copied().max().unwrap_or_default();
        Span(window.0.saturating_add(instant.0))
    }

    /// The versions whose requests it counts.
    pub fn versions(&self) -> impl Iterator<Item = Version> + '_ {
        self.meanings.iter().flat_map(|(_, versions)| versions.iter().copied())
    }

    /// Every window that it looks at: its length, and how long before the measurement it ends.
    pub fn windows(&self) -> impl Iterator<Item = (Span, Span)> + '_ {
        let of = |(meaning, _): &(Meaning, Vec<Version>)| meaning.window;
        self.meanings.iter().map(of).flat_map(|window| self.instants.iter().map(move |end| (window, *end)))
    }

    /// The phase of one measurement.
    pub fn measure(&self, count: Count<'_>) -> &'static str {
        let Ok(values) = self.values(count) else { return "Error" };
        let key: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        if let Some(phase) = self.judged.borrow().get(&key) {
            return phase;
        }
        let phase = self.judge(&values);
        self.judged.borrow_mut().insert(key, phase);
        phase
    }

    fn values(&self, count: Count<'_>) -> Result<Vec<f64>, String> {
        let mut values = Vec::new();
        for end in &self.instants {
            let mut sampled = Sampled { query: self, end: *end, count: &mut *count };
            values.extend(self.expr.value(&mut sampled)?);
        }
        Ok(values)
    }

    /// What a reply with these values makes of a measurement.
    fn judge(&self, values: &[f64]) -> &'static str {
        let (secrets, masks) = (BTreeMap::new(), Masks::default());
        let ask = Ask {
            run: &self.run,
            began: Some(self.now.stamp()),
            metric: &self.metric,
            now: self.now,
            secrets: &secrets,
            surroundings: &self.surroundings,
            masks: &masks,
        };
        let values: Vec<_> = values.iter().copied().map(render::number).collect();
        let reply = render::reply("prometheus", &self.question, &Point::Value(values.into()), self.now);
        let metadata = Strings::default();
        let next = providers::resume(&ask, SoFar { step: 0, metadata: &metadata }, Told::Reply(&reply));
        match next {
            Ok(Next::Measured(reading)) => {
                judge(&self.metric, &reading.result, self.now).map_or("Error", |outcome| outcome.phase())
            }
            Ok(Next::Decided { outcome, .. }) => outcome.phase(),
            Ok(Next::Call(_) | Next::Again { .. }) | Err(_) => "Error",
        }
    }
}

/// Selectors answered with what was drawn.
struct Sampled<'q, 'c> {
    query: &'q Query,
    end: Span,
    count: Count<'c>,
}

impl Series for Sampled<'_, '_> {
    fn change(&mut self, of: &Selector, how: Change) -> Result<Option<f64>, String> {
        let found = self.query.meanings.iter().find(|(meaning, _)| meaning.of == *of);
        let Some((meaning, versions)) = found else { return Err("it is not known".to_owned()) };
        let mut sum = None;
        for version in versions {
            let Some((requests, errors, span)) = (self.count)(*version, meaning.window, self.end) else {
                continue;
            };
            let grown =
                if meaning.good { requests - errors } else { 0 } + if meaning.bad { errors } else { 0 };
            let value = match how {
                Change::Rate => grown as f64 / (span.0 as f64 / 1000.0),
                Change::Increase => grown as f64 * meaning.window.0 as f64 / span.0 as f64,
            };
            sum = Some(sum.unwrap_or(0.0) + value);
        }
        Ok(sum)
    }

    fn quantile(&mut self, of: &Selector, _quantile: f64) -> Result<Option<f64>, String> {
        Err(format!("`{}` is about duration, and only error rates are given", of.name))
    }
}

/// Whether a text is one of two hashes.
pub(super) fn of_hash<'h>(old: &'h Text, new: &'h Text) -> impl Fn(&str) -> Option<Version> + 'h {
    move |hash| match hash {
        hash if *hash == **new => Some(Version::New),
        hash if *hash == **old => Some(Version::Old),
        _ => None,
    }
}
