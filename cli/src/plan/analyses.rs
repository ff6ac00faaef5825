//! What is asked while an update goes on, as a table: when each measurement happens, and what each outcome leads to.

use tidegate_api::time::Span;
use tidegate_sim::forecast::{Answer, Asked, AskedMetric, Consequence, Forecast, Reaction};

use super::render::{Style, add, headline, table, time};

/// More measurements than that are not told one by one.
const MOST_TIMES: usize = 4;

/// The table with its headline; nothing where nothing is asked.
pub fn shown(forecast: &Forecast, style: Style) -> String {
    if forecast.asked.is_empty() {
        return String::new();
    }
    let mut table = table(style, header());
    let mut above = Vec::new();
    for row in rows(forecast) {
        let mut shown = row.clone();
        // What the row above says already is left out: the run, then the metric.
        let same = row.iter().zip(&above).take(2).take_while(|(mine, above)| mine == above).count();
        shown.iter_mut().take(same).for_each(String::clear);
        add(&mut table, style, shown);
        above = row;
    }
    headline("Analyses", style) + &format!("{table}\n\n")
}

/// The columns.
pub fn header() -> Vec<String> {
    ["asked", "metric", "measurements", "at", "verdict", "after", "then"].map(str::to_owned).to_vec()
}

/// One row an outcome of a metric.
pub fn rows(forecast: &Forecast) -> Vec<Vec<String>> {
    let metrics = |asked: &Asked| {
        let rows = asked.metrics.iter().map(|metric| outcomes(asked, metric));
        rows.collect::<Vec<_>>().concat()
    };
    forecast.asked.iter().flat_map(metrics).collect()
}

/// What was assumed of the measurements.
pub fn assumption(forecast: &Forecast) -> Option<String> {
    let text = "of one metric all measurements come out the same while all others are good, and have their answer at once";
    (!forecast.asked.is_empty()).then(|| text.to_owned())
}

fn outcomes(asked: &Asked, metric: &AskedMetric) -> Vec<Vec<String>> {
    let name = match metric.dry_run {
        true => format!("{} ({}, dry run)", metric.name, metric.provider),
        false => format!("{} ({})", metric.name, metric.provider),
    };
    let row = |(answer, consequence): (&Answer, &Consequence)| {
        let answer = match answer {
            Answer::Good => "good",
            Answer::Bad => "bad",
            Answer::Error => "outage",
            Answer::Inconclusive => "inconclusive",
        };
        let told = told(consequence);
        [asked.when.clone(), name.clone(), answer.to_owned()].into_iter().chain(told).collect()
    };
    let mut rows: Vec<Vec<String>> = metric.outcomes.iter().map(row).collect();
    if !metric.outcomes.contains_key(&Answer::Bad) {
        let never = ["bad", "", "never: it has no condition", "", ""].map(str::to_owned);
        let row = [asked.when.clone(), name.clone()].into_iter().chain(never).collect();
        rows.insert(rows.len().min(1), row);
    }
    rows
}

/// When, what verdict, after what time, and what the Rollout does.
fn told(consequence: &Consequence) -> [String; 4] {
    let Consequence { measured, verdict, after, does, .. } = consequence;
    let verdict = match verdict {
        None => "none: ends with the update".to_owned(),
        Some(verdict) if measured.is_empty() => verdict.clone(),
        Some(verdict) => format!("{verdict} at the {}", ordinal(measured.len())),
    };
    let does = match does {
        Reaction::GoesOn => "goes on",
        Reaction::Pauses => "pauses",
        Reaction::Aborts => "aborts",
    };
    [times(measured), verdict, time(*after), does.to_owned()]
}

/// `5s, 1m5s, 2m5s`, or the first ones and how many there are.
fn times(all: &[Span]) -> String {
    let shown = |times: &[Span]| times.iter().map(|at| time(*at)).collect::<Vec<_>>().join(", ");
    match all {
        [] => "never".to_owned(),
        few if few.len() <= MOST_TIMES => shown(few),
        many => {
            let last = many.last().copied().unwrap_or_default();
            format!("{}, … {} ({} times)", shown(&many[..3]), time(last), many.len())
        }
    }
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_endings() {
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal).join(" "),
            "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th"
        );
    }

    #[test]
    fn many_times_are_told_by_the_first_and_the_last() {
        let all: Vec<Span> = (1..=9).map(|n| Span::seconds(n * 30)).collect();
        assert_eq!(times(&all), "30s, 1m, 1m30s, … 4m30s (9 times)");
        assert_eq!(times(&all[..4]), "30s, 1m, 1m30s, 2m");
        assert_eq!(times(&[]), "never");
    }
}
