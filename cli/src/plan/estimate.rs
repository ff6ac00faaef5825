//! An estimate as a table: both versions side by side, and what it rests on.

use tidegate_api::time::Span;
use tidegate_sim::forecast::Forecast;
use tidegate_sim::forecast::estimate::{Estimate, Figure, Side, Sides, Spread};

use super::render::{Style, add, bullets, headline, table, time};

/// The table with its headline and assumptions.
pub fn shown(forecast: &Forecast, estimate: &Estimate, style: Style) -> String {
    let title = format!("Estimate of {} updates each", grouped(estimate.assumed.lives as f64));
    let mut out = headline(&title, style);
    match &estimate.sides {
        Some(sides) => out += &format!("{}\n\n", sides_table(sides, style)),
        None => out += &bullets(&[nothing(forecast)], style),
    }
    out += &bullets(&notes(estimate), style);
    out
}

fn nothing(forecast: &Forecast) -> String {
    match forecast.asked.is_empty() {
        true => "None: the update asks no analysis, so nothing aborts it for its errors".to_owned(),
        false => "None: no metric could be estimated".to_owned(),
    }
}

fn sides_table(sides: &Sides, style: Style) -> String {
    let header = |name: &str, side: &Side| format!("{name} version, {} errors", percent(side.error_rate));
    let columns = [String::new(), header("good", &sides.good), header("bad", &sides.bad)];
    let mut table = table(style, columns.to_vec());
    let mut row = |name: &str, of: &dyn Fn(&Side) -> String| {
        add(&mut table, style, vec![name.to_owned(), of(&sides.good), of(&sides.bad)]);
    };
    let exact = |of: fn(&tidegate_sim::forecast::estimate::Exact) -> f64| {
        move |side: &Side| side.exact.as_ref().map_or_else(|_| "–".to_owned(), |exact| percent(of(exact)))
    };
    row("aborted", &|side| chance(side.aborted));
    row("  by the closed form", &exact(|exact| exact.aborted));
    row("promoted", &|side| chance(side.promoted));
    row("  by the closed form", &exact(|exact| exact.promoted));
    if sides.good.held.value + sides.bad.held.value > 0.0 {
        row("waits for a person", &|side| chance(side.held));
    }
    let mean = |of: fn(&Side) -> Option<Spread>, shown: fn(f64) -> String| {
        move |side: &Side| of(side).map_or("–".to_owned(), |spread| bounded(spread.mean, shown))
    };
    let p95 = |of: fn(&Side) -> Option<Spread>, shown: fn(f64) -> String| {
        move |side: &Side| of(side).map_or("–".to_owned(), |spread| bounded(spread.p95, shown))
    };
    row("detected after, mean", &mean(|side| side.detection, seconds));
    row("detected after, p95", &p95(|side| side.detection, seconds));
    row("requests exposed, mean", &mean(|side| side.exposed, grouped));
    row("requests exposed, p95", &p95(|side| side.exposed, grouped));
    table.to_string()
}

fn notes(estimate: &Estimate) -> Vec<String> {
    let assumed = &estimate.assumed;
    let mut lines: Vec<String> = estimate
        .left_out
        .iter()
        .map(|left| format!("Not estimated: {} ({}): {}; taken to be good", left.metric, left.when, left.why))
        .collect();
    let Some(sides) = &estimate.sides else { return lines };
    let reasons: Vec<&String> =
        [&sides.good, &sides.bad].iter().filter_map(|side| side.exact.as_ref().err()).collect();
    if let Some(why) = reasons.first() {
        lines.push(format!("No closed form: {why}"));
    }
    lines.extend([
        "In brackets: where the true figure lies in 95 of 100 such estimates".to_owned(),
        "Detected and exposed: of updates that were aborted, from the first request to the new version until the abort, \
         and until it has none any more"
            .to_owned(),
        format!(
            "Assumed: {} requests a second; each fails by itself, with the same chance all the time; the version before \
             is as good as a good one",
            assumed.rps
        ),
        format!(
            "Assumed: metrics show all requests, looked at every {}; who must promote does so at once; seed {}",
            time(estimate.scrape),
            assumed.seed
        ),
    ]);
    lines
}

/// `2.31 % (2.03–2.62 %)`.
fn chance(figure: Figure) -> String {
    let bare = |share: f64| percent(share).trim_end_matches(" %").to_owned();
    format!("{} ({}–{})", percent(figure.value), bare(figure.low), percent(figure.high))
}

/// Two digits that say something, and never a certainty that is none.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        whole if whole == 0.0 || whole == 100.0 => format!("{whole} %"),
        small if small < 0.01 => "<0.01 %".to_owned(),
        large if large > 99.99 => ">99.99 %".to_owned(),
        some => {
            let text = format!("{some:.2}");
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

fn bounded(figure: Figure, shown: fn(f64) -> String) -> String {
    let [value, low, high] = [figure.value, figure.low, figure.high].map(shown);
    if low == high { value } else { format!("{value} ({low}–{high})") }
}

fn seconds(seconds: f64) -> String {
    time(Span::seconds(seconds.round() as i64))
}

/// `12,345`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && out != "-" {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_certain_unless_they_are() {
        let shown = [0.0, 0.000_01, 0.000_5, 0.02, 0.1234567, 0.999, 0.999_99, 1.0].map(percent);
        assert_eq!(shown.join(", "), "0 %, <0.01 %, 0.05 %, 2 %, 12.35 %, 99.9 %, >99.99 %, 100 %");
        assert_eq!(chance(Figure { value: 0.5, low: 0.49, high: 0.51 }), "50 % (49–51 %)");
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([0.0, 999.4, 1000.0, 1_234_567.0].map(grouped).join(" "), "0 999 1,000 1,234,567");
    }
}
