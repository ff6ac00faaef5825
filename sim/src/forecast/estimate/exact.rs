//! The closed form: what a textbook says of measurements that know nothing of each other.
//!
//! Each measurement is bad with the probability that a binomial count makes its condition fail; a run fails when more
//! of them are bad than its limit allows. Nothing of the controller's verdicts is used here: this is the check on them.

use tidegate_api::analysis::{Count, Metric};
use tidegate_api::time::Span;

use super::life::{Run, Timetable};
use super::numbers::Binomial;
use super::query::Query;
use super::users::{Clock, Version};
use crate::forecast::asked::Reaction;

/// Less is nothing.
const NOTHING: f64 = 1e-12;
/// A run without a count is followed no further.
const MOST: usize = 100_000;

/// What the closed form says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Exact {
    /// The probability that the update is aborted.
    pub aborted: f64,
    /// The probability that it is promoted.
    pub promoted: f64,
}

/// The closed form, or why there is none.
pub(super) fn exact(table: &Timetable, rate: &dyn Fn(Version) -> f64) -> Result<Exact, String> {
    let runs = || table.runs.iter().filter(|run| run.is_drawn());
    let mut windows: Vec<(Version, i64, i64)> = Vec::new();
    let (mut goes_on, mut aborted) = (1.0, 0.0);
    for run in runs() {
        let (metric, query, measured) = only(run)?;
        let mut bad = Vec::new();
        for at in measured {
            bad.push(badness(table, query, *at, rate, &mut windows)?);
        }
        let [failed, passed, neither] = verdict(metric, &bad, run.blocks);
        if neither > NOTHING {
            return Err("a run may end without a verdict".to_owned());
        }
        if run.does.get("Failed").is_some_and(|does| *does != Reaction::Aborts) {
            continue;
        }
        aborted += goes_on * failed;
        goes_on *= passed;
    }
    windows.sort_unstable();
    let overlap = windows.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2);
    match overlap {
        true => Err("the windows of two measurements overlap".to_owned()),
        false => Ok(Exact { aborted, promoted: goes_on }),
    }
}

/// The one metric of a run that decides.
fn only(run: &Run) -> Result<(&Metric, &Query, &[i64]), String> {
    let all = run.metrics.iter().zip(&run.queries).zip(&run.measured);
    let mut all = all.filter_map(|((metric, query), measured)| Some((metric, query.as_ref()?, &**measured)));
    let first = all.next().ok_or("nothing is measured")?;
    match all.next() {
        None => Ok(first),
        Some(_) => Err("several metrics of one run decide together".to_owned()),
    }
}

/// The probability that a measurement at this time is bad.
fn badness(
    table: &Timetable,
    query: &Query,
    at: i64,
    rate: &dyn Fn(Version) -> f64,
    windows: &mut Vec<(Version, i64, i64)>,
) -> Result<f64, String> {
    let mut chancy: Vec<Version> = query.versions().filter(|version| rate(*version) > 0.0).collect();
    chancy.sort_unstable();
    chancy.dedup();
    let mut ends: Vec<(Span, Span)> = query.windows().collect();
    ends.sort_unstable();
    ends.dedup();
    let (&[(window, end)], [] | [_]) = (&*ends, &*chancy) else {
        return Err("a query looks at several times or versions at once".to_owned());
    };
    let clock = Clock::new();
    let looks = &table.looks;
    let count = |version: Version| {
        let (first, last) = looks.within(at - end.0, window);
        let taken = |look: i64| clock.taken(&table.users, version, looks.time(look));
        let first = (first..last).find(|look| version == Version::Old || taken(*look) > 0.0)?;
        let requests = taken(last).floor() as i64 - taken(first).floor() as i64;
        Some((requests, first, last))
    };
    let phase = |errors: i64| {
        query.measure(&mut |version, _, _| {
            let (requests, first, last) = count(version)?;
            let errors = if chancy.contains(&version) { errors } else { 0 };
            Some((requests, errors, Span((last - first) * looks.every)))
        })
    };
    let requests = chancy.first().and_then(|version| count(*version).map(|found| (*version, found)));
    let binomial = match requests {
        None => Binomial::new(0, 0.0),
        Some((version, (requests, first, last))) => {
            windows.push((version, first, last));
            Binomial::new(requests, rate(version))
        }
    };
    let (mut bad, mut other) = (0.0, 0.0);
    for (errors, share) in binomial.counts() {
        match phase(errors) {
            "Failed" => bad += share,
            "Successful" => {}
            _ => other += share,
        }
    }
    match other > NOTHING {
        true => Err("a measurement may be an error or inconclusive".to_owned()),
        false => Ok(bad),
    }
}

/// The probabilities that a run fails, passes, and does neither. After the measurements that are given, more are like
/// the last one; a run that does not hold the update up ends with them.
fn verdict(metric: &Metric, bad: &[f64], blocks: bool) -> [f64; 3] {
    let number = |amount: &Option<tidegate_api::analysis::Amount>| amount.as_ref().map_or(0, |a| a.number);
    let limit = usize::try_from(number(&metric.failure_limit)).ok();
    let in_a_row = usize::try_from(number(&metric.consecutive_success_limit)).unwrap_or(0);
    let times = match metric.times() {
        Count::Times(times) => usize::try_from(times).unwrap_or(0),
        Count::Unlimited => MOST,
    };
    let most = if blocks { times } else { times.min(bad.len()) };
    let (mut failed, mut passed, mut neither) = (0.0, 0.0, 0.0);
    // By failures and by successes in a row, as far as either matters.
    let (rows, columns) = (limit.map_or(1, |limit| limit + 1), in_a_row.max(1));
    let mut open = vec![vec![0.0; columns]; rows];
    open[0][0] = 1.0;
    let mut left = 1.0;
    for measurement in 1..=most {
        let Some(bad) = bad.get(measurement - 1).or(bad.last()) else { break };
        let mut next = vec![vec![0.0; columns]; rows];
        for (failures, row) in open.iter().enumerate() {
            for (successes, share) in row.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                match limit {
                    Some(limit) if failures + 1 > limit => failed += share * bad,
                    Some(_) => next[failures + 1][0] += share * bad,
                    None => next[0][0] += share * bad,
                }
                let good = share * (1.0 - bad);
                match in_a_row {
                    0 => next[failures][0] += good,
                    wanted if successes + 1 >= wanted => passed += good,
                    _ => next[failures][successes + 1] += good,
                }
            }
        }
        open = next;
        left = open.iter().flatten().sum();
        if left < NOTHING {
            break;
        }
    }
    let is_counted_out = most == times && times < MOST;
    match (is_counted_out && in_a_row > 0, limit) {
        (false, _) => passed += left,
        (true, Some(_)) => neither += left,
        (true, None) => failed += left,
    }
    [failed, passed, neither]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(metric: Value, bad: f64, expected: [f64; 3]) {
        let measured = metric["count"].as_u64().unwrap_or(4);
        let bad = vec![bad; usize::try_from(measured).expect("few")];
        let found = verdict(&Metric::read(&metric), &bad, true);
        let close = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-9);
        assert!(close, "{metric}: {found:?}, not {expected:?}");
    }

    #[test]
    fn limits_are_those_of_the_textbook() {
        let with = |more: Value| {
            let mut metric = json!({"name": "m", "interval": "1m"});
            metric.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            metric
        };
        // One bad one is enough: 1 - 0.9^5.
        check(with(json!({"count": 5})), 0.1, [0.40951, 0.59049, 0.0]);
        // At least three of five: 10 q^3 p^2 + 5 q^4 p + q^5.
        check(with(json!({"count": 5, "failureLimit": 2})), 0.1, [0.00856, 0.99144, 0.0]);
        // Two good ones in a row out of three, failures without a limit: 0.81 + 0.1 * 0.81.
        check(
            with(json!({"count": 3, "failureLimit": -1, "consecutiveSuccessLimit": 2})),
            0.1,
            [0.109, 0.891, 0.0],
        );
        // The same with a limit of one: two bad ones fail, and good bad good decides nothing.
        check(
            with(json!({"count": 3, "failureLimit": 1, "consecutiveSuccessLimit": 2})),
            0.1,
            [0.1 * 0.1 + 2.0 * 0.9 * 0.1 * 0.1, 0.891, 0.9 * 0.1 * 0.9],
        );
        // Without a count: at last.
        check(with(json!({"failureLimit": -1, "consecutiveSuccessLimit": 3})), 0.5, [0.0, 1.0, 0.0]);
    }
}
