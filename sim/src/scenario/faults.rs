//! `fault`: what goes wrong in a scenario, as it is written there and as it is done to the world.
//!
//! A fault names the write that it strikes, counted from the moment at which the entry is played: the story stays the
//! same however many numbers are drawn around it.

use serde_json::{Value, json};
use tidegate_api::object::Kind;
use tidegate_api::time::Span;
use tidegate_controller::seams::ApiError;

use super::cursor::{Cursor, Read};
use crate::cluster::actors::hpa::Load;
use crate::world::{CallNumber, Strike, World};

/// Something that goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Something happens to one write of the controller.
    Strike {
        /// Which one.
        at: Nth,
        /// What.
        what: Struck,
    },
    /// The watch of a kind shows nothing for a while.
    CacheLag {
        /// The kind.
        kind: Kind,
        /// How long.
        how_long: Span,
    },
    /// The watch of a kind breaks, and lists anew after a while.
    WatchGap {
        /// The kind.
        kind: Kind,
        /// How long.
        how_long: Span,
    },
    /// An autoscaler measures another load.
    Load {
        /// Its name.
        autoscaler: String,
        /// The load.
        load: Load,
    },
}

/// A write of the controller, counted from 1 from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nth {
    /// Among all writes.
    Write(u64),
    /// Among the writes of a Rollout's status.
    StatusWrite(u64),
}

/// What happens to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Struck {
    /// Refused, as if computed from an outdated version.
    Conflict,
    /// Carried out, but the answer never comes.
    LostReply,
    /// Neither carried out nor answered.
    LostCall,
    /// The controller dies before.
    CrashBefore,
    /// The controller dies after.
    CrashAfter,
    /// Refused by a server that is too busy.
    TooMany,
    /// Refused by a server that is not there.
    Unavailable,
    /// The call takes so much longer to get there.
    Slow(Span),
}

/// Faults that strike a write, by their name in a scenario.
const STRIKES: &[(&str, Struck)] = &[
    ("conflict", Struck::Conflict),
    ("lost_reply", Struck::LostReply),
    ("lost_call", Struck::LostCall),
    ("crash_before", Struck::CrashBefore),
    ("crash_after", Struck::CrashAfter),
    ("too_many", Struck::TooMany),
    ("unavailable", Struck::Unavailable),
    ("slow", Struck::Slow(Span::ZERO)),
];
const OTHERS: &[&str] = &["cache_lag", "watch_gap", "load"];

impl Struck {
    fn name(self) -> &'static str {
        let same = |known: Struck| std::mem::discriminant(&known) == std::mem::discriminant(&self);
        STRIKES.iter().find(|(_, known)| same(*known)).map_or("", |(name, _)| name)
    }
}

impl Fault {
    /// Its name in a scenario.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Strike { what, .. } => what.name(),
            Fault::CacheLag { .. } => "cache_lag",
            Fault::WatchGap { .. } => "watch_gap",
            Fault::Load { .. } => "load",
        }
    }

    pub(super) fn read(at: &Cursor<'_>) -> Read<Fault> {
        let entries = at.entries()?;
        let [(name, field)] = entries.as_slice() else { return at.wrong("an entry has one fault") };
        if let Some((_, what)) = STRIKES.iter().find(|(known, _)| known == name) {
            return read_strike(field, *what);
        }
        let kind = || {
            let kind = field.need("kind")?;
            Kind::by_name(kind.text()?).map_or_else(|| kind.wrong("this kind is unknown"), Ok)
        };
        match *name {
            "cache_lag" | "watch_gap" => {
                field.fields(&["kind", "for"])?;
                let (kind, how_long) = (kind()?, field.need("for")?.span()?);
                Ok(match *name {
                    "cache_lag" => Fault::CacheLag { kind, how_long },
                    _ => Fault::WatchGap { kind, how_long },
                })
            }
            "load" => {
                field.fields(&["autoscaler", "total", "per_pod"])?;
                let load =
                    Load { total: field.need("total")?.number()?, per_pod: field.need("per_pod")?.number()? };
                Ok(Fault::Load { autoscaler: field.need("autoscaler")?.owned()?, load })
            }
            _ => {
                let error = at.document.error_at_key(&field.path, format!("unknown fault `{name}`"));
                let names: Vec<&str> =
                    STRIKES.iter().map(|(name, _)| *name).chain(OTHERS.iter().copied()).collect();
                Err(error.with_help(format!("faults: {}", names.join(", "))))
            }
        }
    }

    /// The fault as a scenario has it.
    pub fn to_value(&self) -> Value {
        let inner = match self {
            Fault::Strike { at, what } => {
                let mut inner = match at {
                    Nth::Write(n) => json!({"write": n}),
                    Nth::StatusWrite(n) => json!({"status_write": n}),
                };
                if let Struck::Slow(by) = what {
                    inner["by"] = json!(duration(*by));
                }
                inner
            }
            Fault::CacheLag { kind, how_long } | Fault::WatchGap { kind, how_long } => {
                json!({"kind": kind.name(), "for": duration(*how_long)})
            }
            Fault::Load { autoscaler, load } => {
                json!({"autoscaler": autoscaler, "total": load.total, "per_pod": load.per_pod})
            }
        };
        json!({ self.name(): inner })
    }

    /// What it says in a trace.
    pub fn said(&self) -> String {
        let value = self.to_value();
        let fields = value[self.name()].as_object().into_iter().flatten();
        let words: Vec<String> = fields
            .map(|(name, value)| {
                format!("{name} {}", value.as_str().map_or(value.to_string(), str::to_owned))
            })
            .collect();
        format!("{} {}", self.name(), words.join(" "))
    }

    /// Does it to the world, from now on.
    pub(crate) fn befall(&self, world: &mut World) {
        match self {
            Fault::Strike { at, what } => {
                let counts = world.call_counts();
                let number = match at {
                    Nth::Write(n) => CallNumber::Write(counts.writes + n.saturating_sub(1)),
                    Nth::StatusWrite(n) => {
                        CallNumber::StatusWrite(counts.status_writes + n.saturating_sub(1))
                    }
                };
                world.config_mut().interventions.on_call.push((number, strike(*what)));
            }
            Fault::CacheLag { kind, how_long } => {
                let until = world.now().plus(*how_long);
                world.stall_watch(kind, until);
            }
            Fault::WatchGap { kind, how_long } => world.break_watch(kind, *how_long),
            Fault::Load { autoscaler, load } => {
                let found = super::verbs::named(world, &Kind::HorizontalPodAutoscaler, autoscaler);
                if let Some(key) = found.map(|object| object.key()) {
                    world.set_load(&key, *load);
                }
            }
        }
    }
}

fn strike(what: Struck) -> Strike {
    match what {
        Struck::Conflict => Strike::Refuse(ApiError::Conflict(
            "the object has been modified; please apply your changes to the latest version and try again"
                .into(),
        )),
        Struck::LostReply => Strike::LoseReply { applied: true },
        Struck::LostCall => Strike::LoseReply { applied: false },
        Struck::CrashBefore => Strike::CrashBefore,
        Struck::CrashAfter => Strike::CrashAfter,
        Struck::TooMany => Strike::Refuse(ApiError::TooMany(
            "the server has received too many requests and has asked us to try again later".into(),
        )),
        Struck::Unavailable => Strike::Refuse(ApiError::Unavailable(
            "the server is currently unable to handle the request".into(),
        )),
        Struck::Slow(by) => Strike::Delay(by),
    }
}

fn read_strike(field: &Cursor<'_>, what: Struck) -> Read<Fault> {
    let slow = matches!(what, Struck::Slow(_));
    field.fields(if slow { &["write", "status_write", "by"] } else { &["write", "status_write"] })?;
    let count = |at: Cursor<'_>| {
        let number = u64::try_from(at.number()?).ok().filter(|n| *n > 0);
        number.map_or_else(|| at.wrong("writes are counted from 1"), Ok)
    };
    let at = match (field.get("write"), field.get("status_write")) {
        (Some(at), None) => Nth::Write(count(at)?),
        (None, Some(at)) => Nth::StatusWrite(count(at)?),
        _ => return field.wrong("this needs either `write` or `status_write`: which write it strikes"),
    };
    let what = if slow { Struck::Slow(field.need("by")?.span()?) } else { what };
    Ok(Fault::Strike { at, what })
}

/// A duration as a scenario has it.
pub(super) fn duration(span: Span) -> String {
    match span.0 % 1000 {
        0 => format!("{}s", span.0 / 1000),
        _ => format!("{}ms", span.0),
    }
}
