//! Whether what a scenario waits for holds.

use super::{Bound, Compare, Condition};
use crate::trace::view::View;
use crate::world::World;

impl Bound {
    /// Whether the number is within the bound.
    pub fn holds(self, number: i64) -> bool {
        match self.how {
            Compare::Less => number < self.with,
            Compare::AtMost => number <= self.with,
            Compare::Equal => number == self.with,
            Compare::AtLeast => number >= self.with,
            Compare::More => number > self.with,
        }
    }

    /// Reads `> 20`, `<=5`, `7`.
    pub fn parse(text: &str) -> Option<Bound> {
        let text = text.trim();
        let signs = [
            ("<=", Compare::AtMost),
            (">=", Compare::AtLeast),
            ("==", Compare::Equal),
            ("<", Compare::Less),
            (">", Compare::More),
        ];
        let (how, rest) = signs
            .iter()
            .find_map(|(sign, how)| Some((*how, text.strip_prefix(sign)?)))
            .unwrap_or((Compare::Equal, text));
        let with = rest.trim().trim_end_matches('%').parse().ok()?;
        Some(Bound { how, with })
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.how {
            Compare::Less => "<",
            Compare::AtMost => "<=",
            Compare::Equal => "==",
            Compare::AtLeast => ">=",
            Compare::More => ">",
        };
        write!(out, "{sign} {}", self.with)
    }
}

impl Condition {
    /// Whether all of it holds now. A status that was computed from an older specification does not count: it says
    /// nothing about what the user did since.
    pub fn holds(&self, world: &World) -> bool {
        let Some(object) = super::verbs::rollout(world, &self.rollout) else { return false };
        let Some(body) = object.rollout() else { return false };
        let status = &body.status;
        let observed = status.observed_generation.as_deref().and_then(|text| text.parse().ok());
        if observed.is_some_and(|observed: i64| observed < object.meta.generation) || observed.is_none() {
            return false;
        }
        let says = |wish: &Option<String>, is: Option<&str>| wish.as_deref().is_none_or(|w| is == Some(w));
        let plain = says(&self.phase, status.phase.as_deref())
            && self.step.is_none_or(|step| status.index() == Some(step))
            && self
                .message
                .as_deref()
                .is_none_or(|part| status.message.as_deref().is_some_and(|all| all.contains(part)));
        if !plain {
            return false;
        }
        if self.weight.is_none() && self.replicas.is_empty() && self.healthy_pods.is_none() {
            return true;
        }
        let view = View::of(world, object);
        let pods =
            |revision: i64| view.sets.iter().filter(|s| s.revision == revision).map(|s| s.pods).sum::<i64>();
        self.weight.is_none_or(|bound| bound.holds(view.weight))
            && self.replicas.iter().all(|(revision, count)| pods(*revision) == *count)
            && self.healthy_pods.is_none_or(|bound| bound.holds(view.sets.iter().map(|s| s.ready).sum()))
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.rollout)?;
        if let Some(phase) = &self.phase {
            write!(out, " {phase}")?;
        }
        if let Some(step) = self.step {
            write!(out, " at step {step}")?;
        }
        if let Some(weight) = self.weight {
            write!(out, " weight {weight}")?;
        }
        if let Some(message) = &self.message {
            write!(out, " saying \"{message}\"")?;
        }
        for (revision, count) in &self.replicas {
            write!(out, " revision {revision} with {count} pods")?;
        }
        match self.healthy_pods {
            Some(bound) => write!(out, " healthy pods {bound}"),
            None => Ok(()),
        }
    }
}
