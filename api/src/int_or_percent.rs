//! How many pods may be surplus or missing during an update: a number, or a share of the desired pods.

use serde::{Deserialize, Serialize};

/// A number or a text, kept as it was written. Text is a percentage, with or without its sign: `"2"` is 2 %.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    /// So many.
    Int(i64),
    /// Such a share.
    Text(String),
}

/// A text that is no percentage.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid value {0:?}: neither a whole number nor a percentage")]
pub struct NotAPercentage(pub String);

/// What to do with a fraction of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// A surge: never less than asked for.
    Up,
    /// Missing pods: never more than allowed.
    Down,
}

/// How far the number of pods may leave the desired one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leeway {
    /// Pods above it.
    pub surge: i64,
    /// Pods below it.
    pub unavailable: i64,
}

impl Leeway {
    /// For a canary of so many replicas. Absent values count as zero here: defaults are filled in before. An update
    /// must be able to move, so both zero means one pod may be missing.
    pub fn resolve(
        max_surge: Option<&IntOrPercent>,
        max_unavailable: Option<&IntOrPercent>,
        replicas: i64,
    ) -> Result<Leeway, NotAPercentage> {
        let share =
            |value: Option<&IntOrPercent>, rounding| value.map_or(Ok(0), |v| v.of(replicas, rounding));
        let (surge, unavailable) = (share(max_surge, Rounding::Up)?, share(max_unavailable, Rounding::Down)?);
        Ok(Leeway { surge, unavailable: if surge == 0 && unavailable == 0 { 1 } else { unavailable } })
    }

    /// The same, with what the reference makes of unparsable text: no leeway at all.
    pub fn resolve_or_none(
        max_surge: Option<&IntOrPercent>,
        max_unavailable: Option<&IntOrPercent>,
        replicas: i64,
    ) -> Leeway {
        Leeway::resolve(max_surge, max_unavailable, replicas).unwrap_or_default()
    }

    /// How many of so many replicas may really be missing.
    pub fn unavailable_of(self, replicas: i64) -> i64 {
        if replicas == 0 { 0 } else { self.unavailable.min(replicas) }
    }
}

/// How many of a blue-green rollout's replicas may be missing; here nothing makes it at least one.
pub fn blue_green_unavailable(max_unavailable: &IntOrPercent, replicas: i64) -> Result<i64, NotAPercentage> {
    Ok(max_unavailable.of(replicas, Rounding::Down)?.min(replicas))
}

impl IntOrPercent {
    /// The number itself, or the share of `total`. Held at the limits of 64 bits.
    pub fn of(&self, total: i64, rounding: Rounding) -> Result<i64, NotAPercentage> {
        let text = match self {
            IntOrPercent::Int(n) => return Ok(*n),
            IntOrPercent::Text(text) => text,
        };
        let percent: i64 = text.replace('%', "").parse().map_err(|_| NotAPercentage(text.clone()))?;
        let hundredths = i128::from(percent) * i128::from(total);
        let share = match rounding {
            Rounding::Down => hundredths.div_euclid(100),
            Rounding::Up => -(-hundredths).div_euclid(100),
        };
        Ok(share.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Option<IntOrPercent> {
        Some(IntOrPercent::Text(text.to_owned()))
    }

    fn int(n: i64) -> Option<IntOrPercent> {
        Some(IntOrPercent::Int(n))
    }

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        for (name, surge, unavailable, replicas, want) in [
            ("S1", text("0%"), text("0%"), 0, Some((0, 1))),
            ("S2", text("39%"), text("39%"), 10, Some((4, 3))),
            ("S3", text("oops"), text("39%"), 10, None),
            ("S4", text("55%"), text("urg"), 10, None),
            ("S5", None, text("39%"), 10, Some((0, 3))),
            ("S6", text("39%"), None, 10, Some((4, 0))),
            ("S7", None, None, 10, Some((0, 1))),
            ("text is a percentage", text("2"), text("%5%0"), 10, Some((1, 5))),
            ("numbers stay", int(3), int(20), 10, Some((3, 20))),
            ("no number", text(""), int(1), 10, None),
            ("no whole number", text("1.5%"), int(1), 10, None),
            ("space", text(" 5%"), int(1), 10, None),
        ] {
            let found = Leeway::resolve(surge.as_ref(), unavailable.as_ref(), replicas);
            assert_eq!(found.as_ref().ok().map(|l| (l.surge, l.unavailable)), want, "{name}");
            let settled = Leeway::resolve_or_none(surge.as_ref(), unavailable.as_ref(), replicas);
            assert_eq!((settled.surge, settled.unavailable), want.unwrap_or((0, 0)), "{name}");
        }
        let refused = Leeway::resolve(text("oops").as_ref(), None, 10).unwrap_err();
        assert_eq!(refused.to_string(), "invalid value \"oops\": neither a whole number nor a percentage");
    }

    #[test]
    fn no_more_can_be_missing_than_there_are() {
        for (name, unavailable, replicas, want) in [
            ("S8", int(5), 10, 5),
            ("S8", int(10), 10, 10),
            ("S8", int(10), 5, 5),
            ("S8", int(10), 0, 0),
            ("S9", text("50%"), 10, 5),
            ("S9", text("100%"), 5, 5),
        ] {
            let leeway = Leeway::resolve(int(1).as_ref(), unavailable.as_ref(), replicas).unwrap();
            assert_eq!(leeway.unavailable_of(replicas), want, "{name}");
        }
        let at_a_time = |value: Option<IntOrPercent>, n| blue_green_unavailable(&value.unwrap(), n).unwrap();
        assert_eq!(at_a_time(text("25"), 1), 0, "S10");
        assert_eq!(at_a_time(text("25"), 8), 2);
        assert_eq!(at_a_time(int(9), 3), 3);
    }

    #[test]
    fn values_are_kept_as_written() {
        for value in [json!(3), json!("25%"), json!("%"), json!("3")] {
            let read: IntOrPercent = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), value);
        }
    }

    proptest! {
        #[test]
        fn shares_stay_near_the_exact_one(percent in 0i64..=300, total in 0i64..=1_000_000) {
            let share = text(&format!("{percent}%")).unwrap();
            let (down, up) = (share.of(total, Rounding::Down).unwrap(), share.of(total, Rounding::Up).unwrap());
            prop_assert!(down * 100 <= percent * total && percent * total <= up * 100);
            prop_assert!(up - down <= 1);
        }

        #[test]
        fn nothing_overflows(percent in any::<i64>(), total in any::<i64>()) {
            let share = text(&percent.to_string()).unwrap();
            let _ = (share.of(total, Rounding::Down), share.of(total, Rounding::Up));
        }
    }
}
