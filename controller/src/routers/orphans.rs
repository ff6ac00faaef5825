//! Objects on which a Rollout left something and that it no longer names.

use tidegate_api::object::{Key, Kind};

use super::{ALL, Change, What};
use crate::cache::{Cache, references};
use crate::edit::Edit;
use crate::plan::{IfRefused, Plan, Verb, Write};
use crate::rollout::draft::version_of;

/// Decides whether an object of a router still carries what a Rollout left there.
pub fn plan_clean_up(cache: &Cache, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = cache.get(key).filter(|object| object.meta.deleting.is_none()) else { return plan };
    let is_user = |name: &str| {
        let rollout = cache.get(&Key::new(Kind::Rollout, key.namespace.clone(), name));
        rollout.is_some_and(|rollout| references(rollout, cache.settings()).contains(key))
    };
    let Some(Change { what, .. }) = ALL.iter().find_map(|router| router.clean_up(object, &is_user)) else {
        return plan;
    };
    let verb = match what {
        What::Become(document) => {
            Verb::Edit(vec![Edit::Document(std::sync::Arc::new(object.to_value()), document)])
        }
        What::Delete => Verb::Delete,
        What::Create(_) => return plan,
    };
    plan.writes.push(Write {
        key: key.clone(),
        guard: version_of(object),
        verb,
        notices: Vec::new(),
        if_refused: IfRefused::Stop,
    });
    plan
}
