//! Forecasts as tables for a terminal and for Markdown.

use comfy_table::{Cell, CellAlignment, Table, presets};
use tidegate_api::time::Span;
use tidegate_sim::forecast::{Change, Difference, Forecast, Pair, Row};

use super::analyses;

/// What reads the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A person at a terminal.
    Table,
    /// Whatever shows Markdown.
    Markdown,
}

/// One forecast.
pub fn plan(forecast: &Forecast, style: Style) -> String {
    let mut table = table(style, plan_header(forecast));
    forecast.rows.iter().for_each(|row| add(&mut table, style, plan_cells(forecast, row)));
    let mut aborts = self::table(style, abort_header(forecast));
    forecast.rows.iter().for_each(|row| add(&mut aborts, style, abort_cells(forecast, row)));
    let mut out = headline(&title(forecast), style);
    out += &format!("{table}\n\n");
    out += &bullets(&summary(forecast), style);
    out += &headline("Aborted", style);
    out += &format!("{aborts}\n\n");
    out += &analyses::shown(forecast, style);
    out += &bullets(&assumptions(forecast), style);
    out
}

/// How each pair differs, and what stands alone.
pub fn differences(pairs: &[Difference], removed: &[Forecast], added: &[Forecast], style: Style) -> String {
    let mut shown: Vec<String> = pairs.iter().map(|pair| difference(pair, style)).collect();
    for forecast in removed {
        shown.push(headline(&format!("{}: no longer there", forecast.name), style));
    }
    for forecast in added {
        shown.push(headline(&format!("{}: new", forecast.name), style) + &plan(forecast, style));
    }
    shown.join("\n")
}

fn difference(difference: &Difference, style: Style) -> String {
    let Pair { old, new } = &difference.of;
    let (before, now) = (title(old), title(new));
    let title = if before == now { now } else { format!("{before} → {now}") };
    let mut out = headline(&title, style);
    if difference.is_none() {
        return out + "Both do the same.\n";
    }
    let signed = |header: Vec<String>| std::iter::once(String::new()).chain(header).collect::<Vec<_>>();
    let mut table = table(style, signed(plan_header(new)));
    let mut aborts = self::table(style, signed(abort_header(new)));
    let (mut rows, mut aborted) = (0, 0);
    for change in &difference.rows {
        let (was, is) = match change {
            Change::Added(row) => (None, Some(row)),
            Change::Removed(row) => (Some(row), None),
            Change::Changed(pair) => (Some(&pair.old), Some(&pair.new)),
        };
        let sides = [("-", old, was), ("+", new, is)];
        rows += add_if_news(&mut table, style, sides.map(|(s, f, r)| (s, r.map(|r| plan_cells(f, r)))), &[0]);
        aborted += add_if_news(
            &mut aborts,
            style,
            sides.map(|(s, f, r)| (s, r.map(|r| abort_cells(f, r)))),
            &[0, 1],
        );
    }
    if rows > 0 {
        out += &format!("{table}\n\n");
    }
    let mut lines = changed_figures(old, new);
    if difference.shifted > 0 {
        lines.push(format!("Steps that do the same at another time: {}", difference.shifted));
    }
    out += &bullets(&lines, style);
    if aborted > 0 {
        out += &headline("Aborted", style);
        out += &format!("{aborts}\n\n");
    }
    out += &changed_analyses(old, new, style);
    out + &bullets(&assumptions(new), style)
}

/// What is asked differently. Rows belong together by when something is asked, metric, and outcome.
fn changed_analyses(old: &Forecast, new: &Forecast, style: Style) -> String {
    let (was, is) = (analyses::rows(old), analyses::rows(new));
    let signed = std::iter::once(String::new()).chain(analyses::header()).collect();
    let mut table = table(style, signed);
    let mut changed = 0;
    let is_of = |row: &Vec<String>, other: &Vec<String>| row[..3] == other[..3];
    for row in &was {
        let now = is.iter().find(|other| is_of(row, other)).cloned();
        changed += add_if_news(&mut table, style, [("-", Some(row.clone())), ("+", now)], &[]);
    }
    for row in is.iter().filter(|row| !was.iter().any(|other| is_of(row, other))) {
        changed += add_if_news(&mut table, style, [("-", None), ("+", Some(row.clone()))], &[]);
    }
    if changed == 0 { String::new() } else { headline("Analyses", style) + &format!("{table}\n\n") }
}

/// Adds the sides to a table unless they say the same beside what is to be left out of the comparison.
fn add_if_news(
    table: &mut Table,
    style: Style,
    sides: [(&str, Option<Vec<String>>); 2],
    leave_out: &[usize],
) -> usize {
    let bare = |cells: &Option<Vec<String>>| {
        let mut cells = cells.clone().unwrap_or_default();
        for at in leave_out {
            if let Some(cell) = cells.get_mut(*at) {
                cell.clear();
            }
        }
        cells
    };
    if bare(&sides[0].1) == bare(&sides[1].1) {
        return 0;
    }
    for (sign, cells) in sides {
        if let Some(cells) = cells {
            add(table, style, std::iter::once(sign.to_owned()).chain(cells).collect());
        }
    }
    1
}

fn title(forecast: &Forecast) -> String {
    let strategy = if forecast.strategy == "canary" { "canary" } else { "blue-green" };
    format!("{}: {strategy} of {}", forecast.name, pods(forecast.replicas))
}

fn sides(forecast: &Forecast) -> (&'static str, &'static str) {
    if forecast.strategy == "canary" { ("stable", "canary") } else { ("active", "preview") }
}

fn plan_header(forecast: &Forecast) -> Vec<String> {
    let (stable, new) = sides(forecast);
    ["at", "step", "weight", stable, new, "peak", "waits for", "takes"].map(str::to_owned).to_vec()
}

fn plan_cells(forecast: &Forecast, row: &Row) -> Vec<String> {
    let _ = forecast;
    vec![
        time(row.at),
        step(row),
        weight(row.weight),
        from_to(row.stable),
        from_to(row.new),
        row.peak.to_string(),
        row.waits_for.clone(),
        time(row.takes),
    ]
}

fn abort_header(forecast: &Forecast) -> Vec<String> {
    let (stable, new) = sides(forecast);
    ["at", "step", "weight", stable, new, "traffic is back", "at rest"].map(str::to_owned).to_vec()
}

fn abort_cells(_forecast: &Forecast, row: &Row) -> Vec<String> {
    let abort = &row.abort;
    let midway = if abort.midway { ", midway" } else { "" };
    let back = match (abort.too_late, abort.traffic_back) {
        (true, _) => "never: too late, the new version is stable".to_owned(),
        (false, None) => "never".to_owned(),
        (false, Some(span)) => after(span),
    };
    vec![
        time(abort.at),
        format!("{}{midway}", step(row)),
        weight(abort.weight),
        from_to(abort.stable),
        from_to(abort.new),
        back,
        after(abort.at_rest),
    ]
}

fn step(row: &Row) -> String {
    match row.step {
        Some(step) => format!("{step} {}", row.what),
        None => row.what.clone(),
    }
}

fn after(span: Span) -> String {
    if span == Span::ZERO { "at once".to_owned() } else { format!("after {}", time(span)) }
}

fn from_to((from, to): (i64, i64)) -> String {
    if from == to { to.to_string() } else { format!("{from} → {to}") }
}

fn weight(share: (i64, i64)) -> String {
    format!("{} %", from_to(share))
}

fn pods(count: i64) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

fn peak(forecast: &Forecast) -> String {
    if forecast.extra() == 0 {
        return format!("Peak: {}, no more than in normal times", pods(forecast.peak));
    }
    let share = match forecast.replicas {
        0 => String::new(),
        replicas => format!(", {} %", forecast.extra().saturating_mul(100) / replicas),
    };
    format!(
        "Peak: {}, {} more than in normal times{share} ({} pod-seconds in all)",
        pods(forecast.peak),
        forecast.extra(),
        forecast.extra_pod_seconds
    )
}

fn end(forecast: &Forecast) -> String {
    let end = &forecast.end;
    if !end.complete {
        return format!("Ends {} after {}: {}", end.phase, time(end.after), end.message);
    }
    let by_hand = match forecast.promotions {
        0 => String::new(),
        1 => ", plus 1 promotion by hand".to_owned(),
        count => format!(", plus {count} promotions by hand"),
    };
    let rest = match time(end.at_rest) == time(end.after) {
        true => String::new(),
        false => format!("; at rest after {}", time(end.at_rest)),
    };
    format!("Earliest end: after {}{by_hand}{rest}", time(end.after))
}

fn fewest(forecast: &Forecast) -> String {
    format!("Fewest ready: {}", pods(forecast.fewest_ready))
}

fn summary(forecast: &Forecast) -> Vec<String> {
    vec![end(forecast), peak(forecast), fewest(forecast)]
}

fn changed_figures(old: &Forecast, new: &Forecast) -> Vec<String> {
    let mut lines = Vec::new();
    for (was, is) in summary(old).into_iter().zip(summary(new)) {
        if was != is {
            lines.extend([format!("was: {was}"), format!("now: {is}")]);
        }
    }
    lines
}

fn assumptions(forecast: &Forecast) -> Vec<String> {
    let startup = format!("each pod is ready {} after it is made", time(forecast.startup));
    let by_hand = "; who must promote does so at once";
    let mut lines = vec![format!("Assumed: {startup}{}", if forecast.promotions > 0 { by_hand } else { "" })];
    lines.extend(analyses::assumption(forecast).map(|text| format!("Assumed: {text}")));
    lines.extend(forecast.notes.iter().map(|note| format!("Assumed: {note}")));
    lines
}

pub(super) fn headline(text: &str, style: Style) -> String {
    match style {
        Style::Table => format!("{text}\n"),
        Style::Markdown => format!("### {}\n\n", escaped(text)),
    }
}

pub(super) fn bullets(lines: &[String], style: Style) -> String {
    if lines.is_empty() {
        return String::new();
    }
    match style {
        Style::Table => lines.iter().map(|line| format!("{line}\n")).collect::<String>() + "\n",
        Style::Markdown => {
            lines.iter().map(|line| format!("* {}\n", escaped(line))).collect::<String>() + "\n"
        }
    }
}

pub(super) fn table(style: Style, header: Vec<String>) -> Table {
    let mut table = Table::new();
    let preset = match style {
        Style::Table => presets::UTF8_FULL_CONDENSED,
        Style::Markdown => presets::ASCII_MARKDOWN,
    };
    table.load_style(preset).set_header(header);
    table
}

pub(super) fn add(table: &mut Table, style: Style, cells: Vec<String>) {
    let cells = cells.into_iter().map(|cell| {
        let is_number =
            cell.starts_with(|c: char| c.is_ascii_digit()) && cell.chars().all(|c| c.is_ascii_digit());
        let text = if style == Style::Markdown { escaped(&cell) } else { cell };
        let cell = Cell::new(text);
        if is_number { cell.set_alignment(CellAlignment::Right) } else { cell }
    });
    table.add_row(cells.collect::<Vec<_>>());
}

/// No text of a manifest may break a table or become markup.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '`' | '*' | '_' | '[' | ']' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// `1h2m3s`, without what is zero.
pub(super) fn time(span: Span) -> String {
    let seconds = span.0.div_euclid(1000);
    if seconds == 0 && span.0 > 0 {
        return format!("{}ms", span.0);
    }
    let mut out = String::new();
    for (count, unit) in [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")] {
        if count > 0 {
            out += &format!("{count}{unit}");
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_leave_out_what_is_zero() {
        let shown = [0, 500, 5_000, 120_000, 3_605_000].map(|ms| time(Span::millis(ms)));
        assert_eq!(shown, ["0s", "500ms", "5s", "2m", "1h5s"]);
    }

    #[test]
    fn no_text_of_a_manifest_breaks_a_markdown_table() {
        assert_eq!(escaped("a|b\n<script>"), "a\\|b \\<script\\>");
    }
}
