//! What load balancers say themselves when they are asked: whether they send what was accepted, and whether they know
//! the pods. Where the operator wants it, nothing shrinks before they have said so (S9).
//!
//! An answer is a fact of one pass: a verification is played again from its beginning with one reply more, until it has
//! come to its end. What is remembered of it is `verified` beside the weights that it is about.

use tidegate_api::object::{Key, Object, Text};
use tidegate_api::spec::{BlueGreen, Canary};
use tidegate_api::time::Span;

use super::super::blue_green;
use super::super::draft::Draft;
use super::super::set::{Deadline, Set};
use super::status::{is_recorded, recorded_verdict};
use super::view;
use crate::names::HASH_LABEL;
use crate::plan::{Need, Notice, Reason};
use crate::question::{Asker, ChosenBy, Hidden, Method, Question, Reply, SigV4};
use crate::routers::alb::registration::{self, Registration};
use crate::routers::alb::verify::{Carried, ENDPOINT, Outcome, Request, SERVICE, Verification};
use crate::routers::{Place, Router, View, Want, places};
use crate::sabotage::Sabotage;

/// Names of the exchanges among the facts of a pass.
const WEIGHTS: &str = "weights of the load balancer";
const TARGETS: &str = "targets of the load balancer";

/// One request may take so long: a pass waits for it.
const TIMEOUT: Span = Span::seconds(10);

/// What is known of something that can be asked.
enum Heard<T> {
    /// All of it.
    All(T),
    /// It was not asked yet, or is being asked.
    NotYet,
}

/// Whether pods other than the stable ones are there: then something may have to shrink, and what is in force matters.
fn is_moving(draft: &Draft<'_>) -> bool {
    draft.sets.iter().enumerate().any(|(index, set)| Some(index) != draft.stable && set.wished() > 0)
}

/// Whether weights can be asked for.
pub fn is_on(draft: &Draft<'_>, routers: &[(&'static dyn Router, Place<'_>)]) -> bool {
    !draft.facts.is_sabotaged(Sabotage::TakeWeightsForGranted)
        && routers.iter().any(|(router, at)| router.verifies(at.settings))
}

/// What the status remembers, as long as it matters; nothing when nobody is asked.
pub fn remembered(draft: &Draft<'_>, routers: &[(&'static dyn Router, Place<'_>)]) -> Option<bool> {
    (is_on(draft, routers) && is_moving(draft)).then(|| recorded_verdict(draft) == Some(true))
}

/// Whether the load balancers send what is wanted; nothing when nobody can be asked, or nothing depends on it. What is
/// only being written is not in force.
// ARGO: the reference asks in `setWeight` steps and at the end alone. Here every split is confirmed once while pods may
// have to go, so also after an abort and between steps (S9).
pub fn weights(
    draft: &mut Draft<'_>,
    spec: &Canary,
    routers: &[(&'static dyn Router, Place<'_>)],
    want: &Want<'_>,
    is_accepted: bool,
) -> Option<bool> {
    if !is_on(draft, routers) {
        (draft.status.alb, draft.status.albs) = (None, None);
        return None;
    }
    if !is_accepted {
        return Some(false);
    }
    let moving = is_moving(draft);
    if moving && recorded_verdict(draft) == Some(true) && is_recorded(draft, spec, want) {
        return Some(true);
    }
    let asked =
        routers.iter().find_map(|(router, at)| router.verification(&view(draft, at), want, moving))?;
    let Heard::All(outcome) = hear(draft, WEIGHTS, asked) else { return Some(false) };
    draft.status.alb = outcome.alb.clone();
    draft.status.albs = outcome.albs.clone();
    if let Some(error) = &outcome.error {
        tell(draft, true, "WeightVerifyError", format!("Failed to verify weight: {error}"));
    }
    let is_older = changed_since_asked(draft, routers);
    Some(conclude(draft, &outcome, WEIGHTS) && !is_older)
}

/// Whether an object that leads traffic has changed since the question was put: the answer says nothing about it.
fn changed_since_asked(draft: &mut Draft<'_>, routers: &[(&'static dyn Router, Place<'_>)]) -> bool {
    let Some(begun) = draft.facts.exchanges.get(WEIGHTS).map(|exchange| exchange.begun) else { return false };
    let world = draft.world;
    let of_routers = routers.iter().flat_map(|(router, at)| router.reads(at));
    let mut keys = of_routers.filter_map(|reads| match reads {
        crate::routers::Reads::One(key) => Some(key),
        _ => None,
    });
    let is_older = keys.any(|key| world.moments.get(&key).is_some_and(|moments| moments.since > begun));
    if is_older {
        draft.wake_at(draft.now, "the load balancer is asked again, for routes have changed");
    }
    is_older
}

/// Whether old pods of a canary must stay because the load balancer may not know those that are stable now. Known before
/// anybody is asked.
pub fn may_be_unregistered(draft: &Draft<'_>, routers: &[(&'static dyn Router, Place<'_>)]) -> bool {
    let goes = |set: &Set| set.wished() > 0 && set.deadline() == Deadline::None;
    is_on(draft, routers)
        && draft.is_fully_promoted()
        && draft.others().iter().any(|index| goes(&draft.sets[*index]))
}

/// Asks whether the pods that are stable now are registered, before old ones get their deadline.
pub fn registration_of_canary(draft: &mut Draft<'_>, spec: &Canary) {
    let world = draft.world;
    let routers: Vec<_> = places(&world.rollout, spec, &world.settings).collect();
    if !draft.traffic.is_unregistered || draft.traffic.verified != Some(true) {
        return;
    }
    let verifying = routers.iter().find(|(router, at)| router.verifies(at.settings));
    let names = verifying.map(|(_, at)| view(draft, at)).map(|view: View<'_>| view.names(true));
    draft.traffic.is_unregistered = names.is_some_and(|names| !is_registered(draft, &names.stable));
}

/// Asks the same of a blue-green update, once users are on the new version and before anything depends on it.
pub fn registration_of_blue_green(draft: &mut Draft<'_>, spec: &BlueGreen) {
    let is_asked = draft.world.settings.verify_target_groups
        && !draft.facts.is_sabotaged(Sabotage::TakeWeightsForGranted)
        && !draft.observed.stable_hash().is_empty()
        && !draft.is_fully_promoted()
        && !draft.is_aborted()
        && blue_green::active_hash(draft, spec) == *draft.current_hash()
        && draft.observed.blue_green.as_ref().is_none_or(|status| status.post_run.is_none());
    if is_asked {
        draft.traffic.is_unregistered = !is_registered(draft, &spec.active_service);
    }
}

/// Whether all ready pods behind a Service are registered in its target groups; so is one that has none.
fn is_registered(draft: &mut Draft<'_>, service: &Text) -> bool {
    let world = draft.world;
    // The Service as it is stored: endpoints follow what was accepted.
    let Some(object) = world.services.get(service) else { return false };
    let selects = |object: &Object| object.service().and_then(|body| body.selector.get(HASH_LABEL).cloned());
    if draft.services.get(service).is_some_and(|planned| selects(planned) != selects(object)) {
        return false;
    }
    let of_kind = |kind| world.routes.values().filter(move |object| object.kind == kind).map(|o| &**o);
    let bindings: Vec<&Object> = of_kind(registration::bindings(&world.settings)).collect();
    let slices: Vec<&Object> = of_kind(registration::slices()).collect();
    let Some(asked) = Registration::of(object, &bindings, &slices) else { return true };
    let Heard::All(outcome) = hear(draft, TARGETS, asked) else { return false };
    conclude(draft, &outcome, TARGETS)
}

/// What follows from an outcome whatever it is about. Says whether all is as expected.
fn conclude(draft: &mut Draft<'_>, outcome: &Outcome, what: &str) -> bool {
    for told in &outcome.told {
        tell(draft, told.is_warning, told.reason, told.message.to_string());
    }
    if !outcome.verified {
        let why = outcome.error.as_deref().unwrap_or("not as expected");
        draft.because(Reason::WaitingFor(format!("{what}: {why}").into()));
        let interval = draft.world.settings.verify_interval;
        draft.have_patience(draft.now.plus(interval), "the load balancer is asked again");
    }
    outcome.verified
}

fn tell(draft: &mut Draft<'_>, is_warning: bool, reason: &str, message: String) {
    let notice = draft.notice(reason, message);
    draft.tell(Notice { warning: is_warning, ..notice });
}

/// What is asked request by request.
trait Asked {
    fn request(&self) -> Option<Request>;
    fn take(&mut self, carried: Carried<'_>);
    fn outcome(&self) -> Option<Outcome>;
}

impl Asked for Verification {
    fn request(&self) -> Option<Request> {
        Verification::request(self)
    }

    fn take(&mut self, carried: Carried<'_>) {
        Verification::take(self, carried);
    }

    fn outcome(&self) -> Option<Outcome> {
        Verification::outcome(self)
    }
}

impl Asked for Registration {
    fn request(&self) -> Option<Request> {
        Registration::request(self)
    }

    fn take(&mut self, carried: Carried<'_>) {
        Registration::take(self, carried);
    }

    fn outcome(&self) -> Option<Outcome> {
        Registration::outcome(self)
    }
}

/// Plays a verification with what was replied so far. What is missing becomes a need of this pass, unless somebody was
/// asked a moment ago.
fn hear(draft: &mut Draft<'_>, part: &str, mut asked: impl Asked) -> Heard<Outcome> {
    let exchange = draft.facts.exchanges.get(part);
    if exchange.is_none()
        && let Some(until) = draft.facts.patience.filter(|until| *until > draft.now)
    {
        draft.have_patience(until, "the load balancer is asked again");
        return Heard::NotYet;
    }
    for reply in exchange.iter().flat_map(|exchange| &exchange.replies) {
        match reply {
            Reply::Answered(response) => {
                asked.take(Carried::Answered(response.status, &response.text()));
            }
            Reply::Failed(why) => asked.take(Carried::Failed(why)),
            Reply::Lost => {}
        }
    }
    if let Some(outcome) = asked.outcome() {
        return Heard::All(outcome);
    }
    if let Some(request) = asked.request() {
        let question = question(draft.rollout().key(), &request);
        draft.traffic.needs.push(Need::Reply(part.into(), Box::new(question)));
    }
    Heard::NotYet
}

/// A request as it is carried: signed, to the region in which the controller runs.
fn question(rollout: Key, request: &Request) -> Question {
    let asker = Asker { key: rollout, part: "alb".into() };
    let mut question = Question::new(asker, Method::Post, ENDPOINT);
    question.set_header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    question.body = Some(Hidden::new(request.body()));
    question.timeout = TIMEOUT;
    question.chosen_by = ChosenBy::Operator;
    question.signature = Some(SigV4 { service: SERVICE.into(), ..SigV4::default() });
    question
}
