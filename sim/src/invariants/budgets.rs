//! S4: writes of the controller keep within what may surge and what may be missing.

use tidegate_controller::rollout::scale::Limits;

use super::view::{View, Views, owner};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant, for canaries without routers: blue-green may have both versions whole, and S3 keeps the one that serves.
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
        let views: Vec<View> = known.of(*call).cloned().chain(View::of_truth(world, &key)).collect();
        let verdicts: Option<Vec<String>> =
            views.iter().map(|view| wrong(view, &after.meta.name, from, to)).collect();
        match verdicts.as_deref() {
            Some([.., last]) => Err(Violation::new(self.name(), world, last.clone())),
            _ => Ok(()),
        }
    }
}

/// What is wrong with the new size by this view, if anything.
fn wrong(view: &View, name: &str, from: i64, to: i64) -> Option<String> {
    let spec = view.spec()?;
    let n = view.n();
    let wished = |seen: &super::view::Seen| if seen.set.name() == name { to } else { seen.set.wished() };
    // With routers pods are no traffic: what goes is judged by shares (S3), and surge does not bind.
    if let Some(canary) = spec.canary().filter(|canary| canary.traffic_routing.is_none()) {
        let limits = Limits::of_canary(canary, n);
        if to > from {
            let total: i64 = view.sets.iter().map(wished).sum();
            let most = n.saturating_add(limits.surge);
            return (total > most)
                .then(|| format!("{name} from {from} to {to}: {total} pods wished, at most {most} may be"));
        }
        let after: i64 = view.sets.iter().map(|seen| seen.kept(wished(seen))).sum();
        let before: i64 = view
            .sets
            .iter()
            .map(|seen| seen.kept(if seen.set.name() == name { from } else { seen.set.wished() }))
            .sum();
        let least = n - limits.missing(n);
        return (after < least && after < before).then(|| {
            format!("{name} from {from} to {to}: {after} available pods stay, at least {least} must")
        });
    }
    None
}
