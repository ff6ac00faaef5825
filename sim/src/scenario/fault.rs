//! `fault`: what goes wrong between the controller and the API server, as it is written in a scenario and as it is done
//! to the world.
//!
//! A write is counted from the moment at which its fault is ordered: the story stays the same however many numbers are
//! drawn around it.

use std::fmt;

use serde_json::{Value, json};
use tidegate_api::object::Kind;
use tidegate_api::time::Span;

use super::Target;
use super::cursor::{Cursor, Read};
use super::keys::known;
use super::metrics;
use super::read_condition::kind;
use super::write::{duration, range};
use crate::dataplane;
use crate::dataplane::elb::{REFUSALS, Refusal};
use crate::metrics::{Outage, Trouble};
use crate::world::{Millis, NextWrite, Strike, World};

/// What goes wrong between the controller and the API server.
#[derive(Clone, PartialEq, Debug)]
pub enum Fault {
    /// Something happens to one write to come.
    NextWrite(NextWrite),
    /// So many writes of a thousand, for a while.
    Rate {
        /// What becomes of them.
        what: Mishap,
        /// How many.
        per_mille: u32,
        /// How long.
        span: Span,
    },
    /// Watches show things later from now on.
    WatchLag {
        /// The watch of this kind; all of them when absent.
        kind: Option<Kind>,
        /// How much later.
        lag: Millis,
    },
    /// A watch shows nothing for a while, then everything.
    WatchStall(Kind, Span),
    /// A watch breaks; what it has not shown is never shown, and so much later it lists anew.
    WatchBreak(Kind, Span),
    /// The controller of a router takes nothing over for a while.
    RouterOutage(String, Span),
    /// One of its proxies takes nothing over for a while.
    ProxyStall(String, Span),
    /// A metric provider does not do what it should for a while.
    Metric {
        /// Which provider; all of them when absent.
        provider: Option<String>,
        /// What is wrong.
        trouble: Trouble,
        /// How long.
        span: Span,
    },
    /// The interface of AWS's load balancers does not answer as it should.
    Elb(Refusal, Span),
    /// Somebody puts an object back as it is now whenever the controller has changed it.
    PutBack {
        /// Which one.
        target: Target,
        /// How often.
        times: u32,
        /// How long after the change.
        after: Millis,
    },
}

/// What becomes of writes by chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// Refused as computed from an outdated version.
    Conflict,
    /// Without an answer, carried out or not.
    LostReply,
    /// Refused by a server that is busy or not there.
    Refusal,
    /// The controller dies before or after.
    Crash,
}

/// What can happen to one write, by its name. How much slower a slow one is stands beside it.
const STRIKES: &[(&str, Strike)] = &[
    ("conflict", Strike::Conflict),
    ("too_many", Strike::TooMany),
    ("unavailable", Strike::Unavailable),
    ("lost_reply", Strike::LostReply),
    ("lost_request", Strike::LostRequest),
    ("crash_before", Strike::CrashBefore),
    ("crash_after", Strike::CrashAfter),
    ("slow", Strike::Slow(Span::ZERO)),
];

const MISHAPS: &[(&str, Mishap)] = &[
    ("conflicts", Mishap::Conflict),
    ("lost_replies", Mishap::LostReply),
    ("refusals", Mishap::Refusal),
    ("crashes", Mishap::Crash),
];

fn strike_name(strike: Strike) -> &'static str {
    let same = |known: Strike| std::mem::discriminant(&known) == std::mem::discriminant(&strike);
    STRIKES.iter().find(|(_, known)| same(*known)).map_or("", |(name, _)| name)
}

impl Fault {
    /// From now on it goes wrong.
    pub fn begin(&self, world: &mut World) {
        let now = world.now();
        match self {
            Fault::NextWrite(next) => world.config_mut().interventions.on_next.push(next.clone()),
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
            Fault::RouterOutage(router, span) => world.router_outage(router, now.plus(*span)),
            Fault::ProxyStall(router, span) => world.stall_proxy(router, now.plus(*span)),
            Fault::Metric { provider, trouble, span } => {
                let outage =
                    Outage { provider: provider.clone(), trouble: trouble.clone(), until: now.plus(*span) };
                world.config_mut().metrics.outages.insert(0, outage);
            }
            Fault::Elb(how, span) => world.refuse_at_elb(*how, now.plus(*span)),
            Fault::PutBack { target, times, after } => {
                let key = target.all(world).next().map(|object| object.key());
                if let Some(key) = key {
                    world.put_back(&key, *times, *after);
                }
            }
        }
    }

    /// Its name in a scenario.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::NextWrite(_) => "next_write",
            Fault::Rate { what, .. } => {
                MISHAPS.iter().find(|(_, known)| known == what).map_or("", |(name, _)| name)
            }
            Fault::WatchLag { .. } => "watch_lag",
            Fault::WatchStall(..) => "watch_stall",
            Fault::WatchBreak(..) => "watch_break",
            Fault::RouterOutage(..) => "router_outage",
            Fault::ProxyStall(..) => "proxy_stall",
            Fault::Metric { trouble, .. } => metrics::trouble(trouble).0,
            Fault::Elb(..) => "elb",
            Fault::PutBack { .. } => "put_back",
        }
    }

    /// What becomes of whom: for the write that it strikes that is the name of the strike.
    pub fn effect(&self) -> &'static str {
        match self {
            Fault::NextWrite(next) => strike_name(next.strike),
            other => other.name(),
        }
    }

    /// The fault as a scenario has it.
    pub(super) fn to_value(&self) -> Value {
        let mut fields = json!({});
        let mut of = |kind: &Option<Kind>| {
            if let Some(kind) = kind {
                fields["kind"] = json!(kind.name());
            }
        };
        match self {
            Fault::NextWrite(next) => {
                of(&next.kind);
                fields["fails"] = json!(strike_name(next.strike));
                if let Strike::Slow(by) = next.strike {
                    fields["by"] = json!(duration(by));
                }
                if next.of_status {
                    fields["subresource"] = json!("status");
                }
                if next.skip > 0 {
                    fields["skip"] = json!(next.skip);
                }
            }
            Fault::Rate { per_mille, span, .. } => {
                fields = json!({"rate": format!("{}%", per_mille / 10), "for": duration(*span)});
            }
            Fault::WatchLag { kind, lag } => {
                of(kind);
                fields["lag"] = range(*lag);
            }
            Fault::WatchStall(kind, span) | Fault::WatchBreak(kind, span) => {
                fields = json!({"kind": kind.name(), "for": duration(*span)});
            }
            Fault::RouterOutage(router, span) | Fault::ProxyStall(router, span) => {
                fields = json!({"router": router, "for": duration(*span)});
            }
            Fault::Metric { provider, trouble, span } => {
                fields["for"] = json!(duration(*span));
                if let Some(provider) = provider {
                    fields["provider"] = json!(provider);
                }
                if let Some((name, value)) = metrics::trouble(trouble).1 {
                    fields[name] = value;
                }
            }
            Fault::Elb(how, span) => {
                fields = json!({"says": refusal_name(*how), "for": duration(*span)});
            }
            Fault::PutBack { target, times, after } => {
                fields = json!({"kind": target.kind.name(), "name": target.name, "times": times,
                    "after": range(*after)});
            }
        }
        json!({ self.name(): fields })
    }

    pub(super) fn read(at: &Cursor<'_>) -> Read<Fault> {
        let entries = at.entries()?;
        let [(name, field)] = entries.as_slice() else {
            return at.wrong("this must be one fault with what belongs to it");
        };
        if let Some((_, what)) = MISHAPS.iter().find(|(known, _)| known == name) {
            return rate(field, *what);
        }
        match *name {
            "next_write" => next_write(field).map(Fault::NextWrite),
            "watch_lag" => {
                field.fields(&known("lag"))?;
                let kind = field.get("kind").map(|field| kind(&field)).transpose()?;
                Ok(Fault::WatchLag { kind, lag: field.need("lag")?.millis()? })
            }
            "watch_stall" => watch(field).map(|(kind, span)| Fault::WatchStall(kind, span)),
            "watch_break" => watch(field).map(|(kind, span)| Fault::WatchBreak(kind, span)),
            "router_outage" => router(field).map(|(router, span)| Fault::RouterOutage(router, span)),
            "proxy_stall" => router(field).map(|(router, span)| Fault::ProxyStall(router, span)),
            "elb" => elb(field),
            "put_back" => put_back(field),
            "metric_outage" | "metric_slow" | "metric_says" => metric(name, field),
            unknown => {
                let error = field.document.error_at_key(&field.path, format!("unknown fault `{unknown}`"));
                Err(error.with_help(format!("faults: {}", known("fault").join(", "))))
            }
        }
    }
}

fn next_write(at: &Cursor<'_>) -> Read<NextWrite> {
    at.fields(&known("next_write"))?;
    let fails = at.need("fails")?;
    let name = fails.text()?;
    let strike = match STRIKES.iter().find(|(known, _)| *known == name) {
        Some((_, Strike::Slow(_))) => Strike::Slow(at.need("by")?.span()?),
        Some((_, strike)) => *strike,
        None => {
            let names: Vec<&str> = STRIKES.iter().map(|(name, _)| *name).collect();
            return fails.wrong(format!("this must be one of {}", names.join(", ")));
        }
    };
    if let Some(by) = at.get("by").filter(|_| !matches!(strike, Strike::Slow(_))) {
        return by.wrong_key("`by` belongs to `fails: slow`");
    }
    let skip = match at.get("skip") {
        None => 0,
        Some(field) => u64::try_from(field.number()?).or_else(|_| field.wrong("this must be 0 or more"))?,
    };
    let of_status = at.get("subresource").map_or(Ok(false), |field| field.is_status())?;
    let kind = at.get("kind").map(|field| kind(&field)).transpose()?;
    Ok(NextWrite { kind, of_status, skip, strike })
}

fn rate(at: &Cursor<'_>, what: Mishap) -> Read<Fault> {
    at.fields(&known("rate"))?;
    let field = at.need("rate")?;
    let percent = match field.value.as_str() {
        Some(text) => text.trim().strip_suffix('%').and_then(|digits| digits.trim().parse().ok()),
        None => None,
    };
    let percent: Option<u32> = percent.filter(|percent| *percent <= 100);
    match percent {
        Some(percent) => Ok(Fault::Rate { what, per_mille: percent * 10, span: at.need("for")?.span()? }),
        None => field.wrong("this must be a percentage such as 30%"),
    }
}

fn watch(at: &Cursor<'_>) -> Read<(Kind, Span)> {
    at.fields(&known("watch"))?;
    Ok((kind(&at.need("kind")?)?, at.need("for")?.span()?))
}

fn router(at: &Cursor<'_>) -> Read<(String, Span)> {
    at.fields(&known("router_fault"))?;
    let name = at.need("router")?;
    if !dataplane::ALL.iter().any(|proxy| Some(proxy.name) == name.value.as_str()) {
        let names: Vec<&str> = dataplane::ALL.iter().map(|proxy| proxy.name).collect();
        return name.wrong(format!("this must be one of {}", names.join(", ")));
    }
    Ok((name.owned()?, at.need("for")?.span()?))
}

fn metric(name: &str, at: &Cursor<'_>) -> Read<Fault> {
    at.fields(&known(name))?;
    let trouble = match name {
        "metric_slow" => Trouble::Slow(at.need("by")?.span()?),
        "metric_says" => Trouble::Says(metrics::point(&at.need("value")?)?),
        _ => Trouble::Down,
    };
    let provider = at.get("provider").map(|field| metrics::provider(&field)).transpose()?;
    Ok(Fault::Metric { provider, trouble, span: at.need("for")?.span()? })
}

fn elb(at: &Cursor<'_>) -> Read<Fault> {
    at.fields(&known("elb"))?;
    let says = at.need("says")?;
    match REFUSALS.iter().find(|(name, _)| Some(*name) == says.value.as_str()) {
        Some((_, how)) => Ok(Fault::Elb(*how, at.need("for")?.span()?)),
        None => {
            let names: Vec<&str> = REFUSALS.iter().map(|(name, _)| *name).collect();
            says.wrong(format!("this must be one of {}", names.join(", ")))
        }
    }
}

fn refusal_name(how: Refusal) -> &'static str {
    REFUSALS.iter().find(|(_, known)| *known == how).map_or("", |(name, _)| name)
}

fn put_back(at: &Cursor<'_>) -> Read<Fault> {
    at.fields(&known("put_back"))?;
    let target = Target {
        kind: kind(&at.need("kind")?)?,
        name: Some(at.need("name")?.owned()?),
        rollout: None,
        revision: None,
    };
    let times = match at.get("times") {
        None => 1,
        Some(field) => u32::try_from(field.number()?).or_else(|_| field.wrong("this must be 0 or more"))?,
    };
    let after = at.get("after").map_or(Ok((1_000, 3_000)), |field| field.millis())?;
    Ok(Fault::PutBack { target, times, after })
}

/// As a trace tells it: `next_write crash_after of Service`.
impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let of =
            |kind: &Option<Kind>| kind.as_ref().map_or(String::new(), |kind| format!(" of {}", kind.name()));
        match self {
            Fault::NextWrite(next) => {
                write!(out, "{name} {}{}", strike_name(next.strike), of(&next.kind))?;
                if let Strike::Slow(by) = next.strike {
                    write!(out, " by {}", duration(by))?;
                }
                if next.of_status {
                    write!(out, " of status")?;
                }
                if next.skip > 0 { write!(out, " after {} others", next.skip) } else { Ok(()) }
            }
            Fault::Rate { per_mille, span, .. } => {
                write!(out, "{name} {}% for {}", per_mille / 10, duration(*span))
            }
            Fault::WatchLag { kind, lag } => {
                write!(out, "{name}{} {}", of(kind), range(*lag).as_str().unwrap_or(""))
            }
            Fault::WatchStall(kind, span) | Fault::WatchBreak(kind, span) => {
                write!(out, "{name} of {} for {}", kind.name(), duration(*span))
            }
            Fault::RouterOutage(router, span) | Fault::ProxyStall(router, span) => {
                write!(out, "{name} of {router} for {}", duration(*span))
            }
            Fault::Metric { provider, span, .. } => {
                let of = provider.as_ref().map_or(String::new(), |provider| format!(" of {provider}"));
                write!(out, "{name}{of} for {}", duration(*span))
            }
            Fault::Elb(how, span) => {
                write!(out, "{name} says {} for {}", refusal_name(*how), duration(*span))
            }
            Fault::PutBack { target, times, .. } => write!(out, "{name} {target} {times} times"),
        }
    }
}
