//! An estimate as JSON; `docs/plan.md` describes it.

use serde_json::{Value, json};

use super::{Estimate, Exact, Figure, LeftOut, Side, Spread};

impl Estimate {
    /// The estimate as JSON.
    pub fn to_value(&self) -> Value {
        let assumed = &self.assumed;
        let side = |side: &Side| side.to_value();
        json!({
            "assumed": {
                "rps": assumed.rps, "error_rate": assumed.error_rate, "good_error_rate": assumed.good_error_rate,
                "seeds": assumed.lives, "seed": assumed.seed, "scrape_seconds": self.scrape.0 as f64 / 1000.0,
            },
            "left_out": self.left_out.iter().map(LeftOut::to_value).collect::<Vec<_>>(),
            "good_version": self.sides.as_ref().map(|sides| side(&sides.good)),
            "bad_version": self.sides.as_ref().map(|sides| side(&sides.bad)),
        })
    }
}

impl LeftOut {
    /// The metric as JSON.
    pub fn to_value(&self) -> Value {
        json!({"asked": self.when, "metric": self.metric, "why": self.why})
    }
}

impl Side {
    /// The side as JSON.
    pub fn to_value(&self) -> Value {
        let (exact, why) = match &self.exact {
            Ok(Exact { aborted, promoted }) => {
                (json!({"aborted": aborted, "promoted": promoted}), Value::Null)
            }
            Err(why) => (Value::Null, json!(why)),
        };
        json!({
            "error_rate": self.error_rate, "aborted": self.aborted.to_value(), "promoted": self.promoted.to_value(),
            "held": self.held.to_value(), "closed_form": exact, "no_closed_form": why,
            "detection_seconds": self.detection.map(|spread| spread.to_value()),
            "requests_exposed": self.exposed.map(|spread| spread.to_value()),
        })
    }
}

impl Spread {
    /// The spread as JSON.
    pub fn to_value(&self) -> Value {
        json!({"mean": self.mean.to_value(), "p95": self.p95.to_value()})
    }
}

impl Figure {
    /// The figure as JSON, with its bounds.
    pub fn to_value(&self) -> Value {
        json!({"value": self.value, "low": self.low, "high": self.high})
    }
}
