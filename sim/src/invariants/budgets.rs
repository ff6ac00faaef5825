//! S4: writes of the controller keep within what may surge and what may be missing.

use tidegate_api::object::Object;
use tidegate_controller::names::BOUNDED_SURGE;
use tidegate_controller::rollout::scale::Limits;

use super::routed::{canary, has_size_of_its_own, tolerance};
use super::view::{Seen, View, Views, owner};
use super::{Invariant, Violation};
use crate::dataplane::claims::{Claims, most};
use crate::world::{Happened, World, Writer};

/// The invariant. Without routers both limits bind. With routers the versions that users are led to keep `replicas` less
/// what may be missing among them, and a surge binds where it was asked to. Blue-green may have both versions whole, and S3
/// keeps the one that serves.
pub struct Budgets;

impl Invariant for Budgets {
    fn name(&self) -> &'static str {
        "S4"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before, after: Some(after), call } = what else {
            return Ok(());
        };
        let (Some(set), Some(key)) = (after.replica_set(), owner(after)) else { return Ok(()) };
        let from = before.and_then(|before| before.replica_set()).map_or(0, |set| set.wished());
        let to = set.wished();
        if from == to {
            return Ok(());
        }
        let led = View::of_truth(world, &key)
            .filter(|truth| canary(&truth.rollout).is_some())
            .map(|truth| most(world, &truth.rollout, None));
        let views: Vec<View> = known.of(*call).cloned().chain(View::of_truth(world, &key)).collect();
        let verdicts: Option<Vec<String>> =
            views.iter().map(|view| wrong(view, led.as_ref(), &after.meta.name, from, to)).collect();
        match verdicts.as_deref() {
            Some([.., last]) => Err(Violation::new(self.name(), world, last.clone())),
            _ => Ok(()),
        }
    }
}

/// What is wrong with the new size by this view, if anything. `led` says which versions routes lead to.
fn wrong(view: &View, led: Option<&Claims>, name: &str, from: i64, to: i64) -> Option<String> {
    let canary = view.spec()?.canary()?;
    let n = view.n();
    let limits = Limits::of_canary(canary, n);
    let wished = |seen: &Seen| if seen.set.name() == name { to } else { seen.set.wished() };
    if to > from {
        let surge = match canary.traffic_routing {
            None => limits.surge,
            // Where nothing may surge one pod does, or nothing could move.
            Some(_) if is_bounded(&view.rollout) => limits.surge.max(1),
            Some(_) => return None,
        };
        let total: i64 = view.sets.iter().map(wished).sum();
        let most = n.saturating_add(surge);
        return (total > most)
            .then(|| format!("{name} from {from} to {to}: {total} pods wished, at most {most} may be"));
    }
    // The size that a user chose for the canary is his own; S3 looks at what is led to it.
    if canary.traffic_routing.is_some() && (led.is_none() || has_size_of_its_own(view)) {
        return None;
    }
    let serves = |seen: &&Seen| led.is_none_or(|led| led.any(seen.set.hash()));
    let after: i64 = view.sets.iter().filter(serves).map(|seen| seen.kept(wished(seen))).sum();
    let kept = |seen: &Seen| seen.kept(if seen.set.name() == name { from } else { seen.set.wished() });
    let before: i64 = view.sets.iter().filter(serves).map(kept).sum();
    let tolerated = if led.is_some() { tolerance(canary, n) } else { 0 };
    let least = n - limits.missing(n).max(tolerated);
    (after < least && after < before)
        .then(|| format!("{name} from {from} to {to}: {after} available pods stay, at least {least} must"))
}

/// Whether the pods of all versions are to stay within the surge though routers lead traffic.
fn is_bounded(rollout: &Object) -> bool {
    rollout.meta.annotations.get(BOUNDED_SURGE).is_some_and(|value| &**value == "true")
}
