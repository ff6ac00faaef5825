//! What every picture of a Rollout is made of: its phase, step and weights as clients tell them, ages, icons, colours
//! and columns.

use serde_json::Value;
use tidegate_api::object::Object;
use tidegate_api::time::Stamp;
use tidegate_controller::rollout::{not_seen_yet, phase as computed_phase};

/// Phase and message as clients tell them: what the controller has not seen yet, else what it wrote.
pub fn phase(rollout: &Object) -> Option<(String, String)> {
    let body = rollout.rollout()?;
    if let Some(message) = not_seen_yet(rollout) {
        return Some(("Progressing".to_owned(), message.to_owned()));
    }
    if let Some(phase) = body.status.phase.as_deref().filter(|phase| !phase.is_empty()) {
        return Some((phase.to_owned(), body.status.message.as_deref().unwrap_or("").to_owned()));
    }
    let (phase, message) = computed_phase(body.spec.spec(), &body.status);
    Some((phase.to_owned(), message))
}

/// Step under way and count of steps; nothing without steps.
pub fn step(rollout: &Object) -> Option<(i64, i64)> {
    let body = rollout.rollout()?;
    let count = i64::try_from(body.spec.spec().canary()?.steps.len()).unwrap_or(i64::MAX);
    (count > 0).then(|| (body.status.index().unwrap_or(0), count))
}

/// The weight that stands for all traffic.
pub fn weight_max(rollout: &Object) -> i64 {
    let canary = rollout.rollout().and_then(|body| body.spec.spec().canary().cloned());
    let routing = canary.and_then(|canary| canary.traffic_routing);
    routing.map_or(100, |routing| routing.whole())
}

/// Whether a step is under way.
pub fn is_in_a_step(rollout: &Object) -> bool {
    step(rollout).is_some_and(|(index, count)| index < count)
}

/// The weight that the canary shall have now; nothing for other strategies.
pub fn set_weight(rollout: &Object) -> Option<i64> {
    let body = rollout.rollout()?;
    let canary = body.spec.spec().canary()?;
    if body.status.is_aborted() {
        return Some(0);
    }
    if !is_in_a_step(rollout) {
        return Some(weight_max(rollout));
    }
    let done = usize::try_from(body.status.index().unwrap_or(0)).unwrap_or(0).saturating_add(1);
    Some(canary.steps.iter().take(done).rev().find_map(|step| step.weight).unwrap_or(0))
}

/// How long something has been there, as Kubernetes tells it.
pub fn age(since: Stamp, now: Stamp) -> String {
    human(now.0.saturating_sub(since.0))
}

/// Seconds for people: two units at most, fewer the longer it is.
pub fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, l: &str, small: i64, s: &str| {
        if small == 0 { format!("{large}{l}") } else { format!("{large}{l}{small}{s}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 2920 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// When an object was made.
pub fn created(object: &Value) -> Option<Stamp> {
    Stamp::parse(object["metadata"]["creationTimestamp"].as_str()?)
}

/// The text at a pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The number at a pointer; 0 where there is none.
pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The list at a pointer; empty where there is none.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An annotation; empty where there is none.
pub fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["annotations"][name].as_str().unwrap_or("")
}

/// The icon of a status word.
pub fn icon(status: &str) -> &'static str {
    match status {
        "Healthy" | "Successful" => "✔",
        "Progressing" | "Running" => "◌",
        "Pending" => "◷",
        "Paused" => "॥",
        "Degraded" | "Failed" | "ReplicaFailure" => "✖",
        "Error" | "InvalidSpec" => "⚠",
        "Unknown" | "Inconclusive" => "?",
        "ScaledDown" => "•",
        _ => " ",
    }
}

/// The colour of an icon or a tag, as an SGR code.
pub fn ink(word: &str) -> &'static str {
    match word {
        "◷" | "?" | "canary" => "33",
        "◌" | "preview" | "ping" | "pong" => "94",
        "⚠" | "✖" => "31",
        "✔" | "stable" | "active" => "32",
        _ => "0",
    }
}

/// The text in this colour, when there are colours.
pub fn paint(text: &str, ink: &str, color: bool) -> String {
    if color { format!("\x1b[{ink}m{text}\x1b[0m") } else { text.to_owned() }
}

/// One cell of a table: what is seen of it decides the width of its column.
#[derive(Clone, Default)]
pub struct Cell {
    shown: String,
    width: usize,
}

impl Cell {
    /// Text of one colour.
    pub fn plain(text: &str) -> Cell {
        Cell { shown: text.to_owned(), width: text.chars().count() }
    }

    /// This text, seen as `plain`, painted as `shown`.
    pub fn painted(plain: &str, shown: String) -> Cell {
        Cell { shown, width: plain.chars().count() }
    }
}

/// Rows as columns, each as wide as its widest cell or its least width, two spaces between them. The last cell of a
/// row is not filled up.
pub fn columns(rows: &[Vec<Cell>], least: &[usize]) -> String {
    let mut widths = least.to_vec();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let used = row.iter().rposition(|cell| cell.width > 0).map_or(0, |last| last + 1);
        for (at, (cell, width)) in row.iter().zip(&widths).take(used).enumerate() {
            out.push_str(&cell.shown);
            if at + 1 < used {
                out.extend(std::iter::repeat_n(' ', width - cell.width + 2));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_kubernetes_tells_them() {
        let table = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (45, "45s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (7080, "118m"),
            (10_800, "3h"),
            (25_500, "7h5m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (1_036_800, "12d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ];
        for (seconds, told) in table {
            assert_eq!(human(seconds), told, "{seconds}");
        }
    }
}
