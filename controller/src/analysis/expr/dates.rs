//! Instants as text, in the layouts of the reference's language: the way in which a certain second of 2006 is written.

use tidegate_api::time::{Stamp, Time};

const SECOND: i128 = 1_000_000_000;

/// Layouts that are tried when none is given.
const LAYOUTS: &[&str] = &["2006-01-02", "15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Reads an instant; in UTC where the text does not say otherwise.
pub fn parse(text: &str, layout: Option<&str>) -> Result<i128, String> {
    match layout {
        Some(layout) => read(text, layout).ok_or_else(|| {
            format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as {layout:?}")
        }),
        None => {
            LAYOUTS.iter().find_map(|layout| read(text, layout)).ok_or_else(|| format!("invalid date {text}"))
        }
    }
}

/// The whole second of an instant.
pub fn print(nanos: i128) -> String {
    let millis = i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX);
    Time(millis).stamp().to_string()
}

/// What a layout may hold, the longer pieces first.
const PIECES: &[&str] = &[
    "January", "Jan", "2006", "01", "02", "03", "04", "05", "06", "15", "_2", "PM", "MST", "Z07:00", "Z0700",
    "-07:00", "-0700", "1", "2", "3", "4", "5",
];

fn read(text: &str, layout: &str) -> Option<i128> {
    let (mut text, mut layout) = (text, layout);
    let (mut year, mut month, mut day) = (1_i64, 1_i64, 1_i64);
    let (mut hour, mut minute, mut second, mut nanos, mut offset) = (0_i64, 0_i64, 0_i64, 0_i128, 0_i64);
    let mut afternoon = None;
    while let Some(next) = layout.chars().next() {
        let piece = PIECES.iter().find(|piece| layout.starts_with(**piece)).copied().unwrap_or_default();
        if piece.is_empty() {
            text = text.strip_prefix(next)?;
            layout = &layout[next.len_utf8()..];
            continue;
        }
        layout = &layout[piece.len()..];
        match piece {
            "2006" => year = digits(&mut text, 4, 4)?,
            "06" => {
                let short = digits(&mut text, 2, 2)?;
                year = if short >= 69 { 1900 + short } else { 2000 + short };
            }
            "January" | "Jan" => {
                let names = |name: &str| if piece == "Jan" { name[..3].to_owned() } else { name.to_owned() };
                let index = MONTHS.iter().position(|name| text.starts_with(&names(name)))?;
                text = &text[names(MONTHS[index]).len()..];
                month = i64::try_from(index).ok()? + 1;
            }
            "01" => month = digits(&mut text, 2, 2)?,
            "1" => month = digits(&mut text, 1, 2)?,
            "02" => day = digits(&mut text, 2, 2)?,
            "2" | "_2" => {
                text = text.trim_start_matches(' ');
                day = digits(&mut text, 1, 2)?;
            }
            "15" | "03" => hour = digits(&mut text, 2, 2)?,
            "3" => hour = digits(&mut text, 1, 2)?,
            "04" => minute = digits(&mut text, 2, 2)?,
            "4" => minute = digits(&mut text, 1, 2)?,
            "PM" => {
                let word = text.get(..2)?;
                afternoon = Some(match word {
                    "AM" => false,
                    "PM" => true,
                    _ => return None,
                });
                text = &text[2..];
            }
            "MST" => text = text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT"))?,
            "Z07:00" | "Z0700" if text.starts_with('Z') => text = &text[1..],
            "Z07:00" | "-07:00" => offset = zone(&mut text, true)?,
            "Z0700" | "-0700" => offset = zone(&mut text, false)?,
            // Seconds; a fraction may follow them unasked.
            _ => {
                second = if piece == "05" { digits(&mut text, 2, 2)? } else { digits(&mut text, 1, 2)? };
                if let Some(rest) =
                    text.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                {
                    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
                    let kept: String = rest[..count.min(9)].to_owned();
                    nanos = format!("{kept:0<9}").parse().ok()?;
                    text = &rest[count..];
                    layout = layout.strip_prefix('.').map_or(layout, |l| l.trim_start_matches(['0', '9']));
                }
            }
        }
    }
    match afternoon {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    if !text.is_empty() || second > 59 {
        return None;
    }
    let stamp = Stamp::parse(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))?;
    Some(i128::from(stamp.0 - offset) * SECOND + nanos)
}

fn digits(text: &mut &str, least: usize, most: usize) -> Option<i64> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    let number = text[..count].parse().ok();
    *text = &text[count..];
    number
}

fn zone(text: &mut &str, colon: bool) -> Option<i64> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    *text = &text[1..];
    let hours = digits(text, 2, 2)?;
    if colon {
        *text = text.strip_prefix(':')?;
    }
    let minutes = digits(text, 2, 2)?;
    Some(sign * (hours * 3600 + minutes * 60))
}
