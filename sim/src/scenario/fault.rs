//! Faults that a scenario orders.

use std::fmt;

use tidegate_api::object::Kind;

use super::{Fault, Mishap};
use crate::world::{NextWrite, World};

impl Fault {
    /// From now on it goes wrong.
    pub(crate) fn begin(&self, world: &mut World) {
        let now = world.now();
        match self {
            Fault::NextWrite { kind, skip, strike } => {
                let next = NextWrite { kind: kind.clone(), skip: *skip, strike: strike.clone() };
                world.config_mut().interventions.on_next.push(next);
            }
            Fault::Rate { what, per_mille, span } => {
                let rates = &mut world.config_mut().interventions.rates;
                rates.until = now.plus(*span);
                match what {
                    Mishap::Conflict => rates.conflict = *per_mille,
                    Mishap::LostReply => rates.lost_reply = *per_mille,
                    Mishap::Refusal => rates.refuse = *per_mille,
                    // Before or after, half of them each.
                    Mishap::Crash => {
                        (rates.crash_before, rates.crash_after) = (per_mille / 2, per_mille - per_mille / 2);
                    }
                }
            }
            Fault::WatchLag { kind: Some(kind), lag } => {
                world.config_mut().watch_lag_of.insert(kind.clone(), *lag);
            }
            Fault::WatchLag { kind: None, lag } => world.config_mut().watch_lag = *lag,
            Fault::WatchStall(kind, span) => world.stall_watch(kind, now.plus(*span)),
            Fault::WatchBreak(kind, span) => world.break_watch(kind, *span),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of =
            |kind: &Option<Kind>| kind.as_ref().map_or(String::new(), |kind| format!(" of {}", kind.name()));
        match self {
            Fault::NextWrite { kind, .. } => write!(out, "next_write{}", of(kind)),
            Fault::Rate { what, per_mille, span } => {
                let name = match what {
                    Mishap::Conflict => "conflicts",
                    Mishap::LostReply => "lost_replies",
                    Mishap::Refusal => "refusals",
                    Mishap::Crash => "crashes",
                };
                write!(out, "{name} {}% for {}s", per_mille / 10, span.0 / 1000)
            }
            Fault::WatchLag { kind, lag } => write!(out, "watch_lag{} {}ms..{}ms", of(kind), lag.0, lag.1),
            Fault::WatchStall(kind, span) => {
                write!(out, "watch_stall of {} for {}s", kind.name(), span.0 / 1000)
            }
            Fault::WatchBreak(kind, span) => {
                write!(out, "watch_break of {} for {}s", kind.name(), span.0 / 1000)
            }
        }
    }
}
