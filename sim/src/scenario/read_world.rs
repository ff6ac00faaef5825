//! How the invented cluster behaves, as it is written in a scenario.

use tidegate_api::time::Span;

use super::Script;
use super::cursor::{Cursor, Read};
use super::keys::known;
use crate::dataplane;
use crate::world::{Flaps, PodModel, PodModels, Quality, RouterModel, TrafficModel};

pub(super) fn read_world(world: &Cursor<'_>, script: &mut Script) -> Read<()> {
    for (name, field) in world.entries()? {
        match name {
            "seed" => {
                script.seed =
                    u64::try_from(field.number()?).or_else(|_| field.wrong("a seed is 0 or more"))?
            }
            "pods" => script.pods = read_pods(&field)?,
            "lag" => script.watch_lag = field.millis()?,
            "traffic" => script.traffic = Some(read_traffic(&field)?),
            "quality" => script.quality = read_quality(&field)?,
            "routers" => script.routers = read_routers(&field)?,
            "metrics" => script.metrics = super::metrics::read_all(&field)?,
            "scrape" => {
                script.scrape = match field.span()? {
                    every if every > Span::ZERO => every,
                    _ => return field.wrong("this must be more than nothing"),
                }
            }
            _ => world.fields(&known("world"))?,
        }
    }
    Ok(())
}

fn read_pods(pods: &Cursor<'_>) -> Read<PodModels> {
    let keys = known("pods");
    let mut models = PodModels::default();
    let entries = pods.entries()?;
    for (_, field) in entries.iter().filter(|(name, _)| keys.contains(name)) {
        read_model(field, &mut models.default)?;
    }
    for (image, field) in entries.iter().filter(|(name, _)| !keys.contains(name)) {
        if !field.value.is_object() {
            return field.wrong_key(format!("`{image}` is neither an image nor one of {}", keys.join(", ")));
        }
        field.fields(&keys)?;
        let mut model = models.default.clone();
        for (_, field) in field.entries()? {
            read_model(&field, &mut model)?;
        }
        models.by_image.push(((*image).to_owned(), model));
    }
    // The longest suffix says most.
    models.by_image.sort_by(|(a, _), (b, _)| (b.len(), a).cmp(&(a.len(), b)));
    Ok(models)
}

fn read_model(field: &Cursor<'_>, model: &mut PodModel) -> Read<()> {
    let is = |name: &str| field.path.ends_with(&format!("[{name}]"));
    if is("startup") {
        model.startup = field.millis()?;
    } else if is("ready") {
        model.ready = match field.value.as_str() {
            Some("never") => false,
            Some("always") => true,
            _ => return field.wrong("this must be `never` or `always`"),
        };
    } else if is("crash_after") {
        model.crash_after = Some(field.millis()?);
    } else if is("exit") {
        model.exit = Some(field.number()?);
    } else if is("termination") {
        model.termination = field.millis()?;
    } else if is("flaps") {
        field.fields(&known("flaps"))?;
        let times = field.need("times")?;
        model.flaps = Some(Flaps {
            up: field.need("up")?.millis()?,
            down: field.need("down")?.millis()?,
            times: u32::try_from(times.number()?).or_else(|_| times.wrong("this must be 0 or more"))?,
        });
    }
    Ok(())
}

fn read_traffic(at: &Cursor<'_>) -> Read<TrafficModel> {
    at.fields(&known("traffic"))?;
    let mut traffic = TrafficModel::default();
    if let Some(rps) = at.get("rps") {
        traffic.rps = match rps.value.is_object() {
            false => vec![(Span::ZERO, rate(&rps)?)],
            true => {
                let entries = rps.entries()?;
                let mut steps = Vec::new();
                for (from, field) in &entries {
                    let from = super::cursor::parse_span(from).map_or_else(
                        || field.wrong_key("this must be a duration, counted from the beginning"),
                        Ok,
                    )?;
                    steps.push((from, rate(field)?));
                }
                steps.sort();
                steps
            }
        };
    }
    if let Some(sessions) = at.get("sessions") {
        traffic.sessions = sessions.span()?;
    }
    if let Some(matching) = at.get("matching") {
        traffic.matching = millionths(&matching)? / 1000;
    }
    if let Some(services) = at.get("services") {
        for (rollout, service) in services.entries()? {
            traffic.services.insert(rollout.to_owned(), service.owned()?);
        }
    }
    Ok(traffic)
}

/// Requests a second.
pub(super) fn rate(field: &Cursor<'_>) -> Read<i64> {
    match field.number()? {
        rps @ 0..=1_000_000_000 => Ok(rps),
        _ => field.wrong("this must be 0 or more, and at most 1000000000"),
    }
}

/// A percentage such as `0.5%`, in millionths.
fn millionths(field: &Cursor<'_>) -> Read<i64> {
    let parsed = field.value.as_str().and_then(super::users::millionths).filter(|part| *part <= 1_000_000);
    parsed.map_or_else(|| field.wrong("this must be a percentage such as 0.5%"), Ok)
}

/// What versions do to their users, the longest end of an image first.
pub(super) fn read_quality(at: &Cursor<'_>) -> Read<Vec<(String, Quality)>> {
    let mut all = Vec::new();
    for (image, field) in at.entries()? {
        field.fields(&known("quality"))?;
        let capacity = field.get("capacity").map(|field| rate(&field)).transpose()?;
        let latency = field.get("latency").map(|field| field.span()).transpose()?;
        let errors = field.get("errors").map_or(Ok(0), |field| millionths(&field))?;
        all.push((image.to_owned(), Quality { errors, latency, capacity }));
    }
    all.sort_by(|(a, _), (b, _)| (b.len(), a).cmp(&(a.len(), b)));
    Ok(all)
}

fn read_routers(at: &Cursor<'_>) -> Read<RouterModel> {
    let mut routers = RouterModel::default();
    for (name, field) in at.entries()? {
        match name {
            "propagation" => routers.propagation = field.millis()?,
            "endpoints" => routers.endpoints = field.millis()?,
            "proxies" => {
                routers.proxies = match field.number()? {
                    count @ 1..=100 => usize::try_from(count).unwrap_or(1),
                    _ => return field.wrong("this must be a number from 1 to 100"),
                }
            }
            "elb" => routers.elb = field.flag()?,
            "unserved" => {
                for kind in field.items()? {
                    routers.unserved.insert(kind.owned()?, None);
                }
            }
            router if dataplane::ALL.iter().any(|proxy| proxy.name == router) => {
                routers.propagation_of.insert(router.to_owned(), field.millis()?);
            }
            _ => {
                let mut keys = known("routers");
                keys.extend(dataplane::ALL.iter().map(|proxy| proxy.name));
                at.fields(&keys)?;
            }
        }
    }
    Ok(routers)
}
