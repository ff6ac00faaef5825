//! What users see of a case in the simulator: the same manifests, pods, traffic and acts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::{Span, Time};
use tidegate_sim::play::{Outcome, Setup, play_with};
use tidegate_sim::scenario::{
    Bound, Compare, Condition, Entry, Moment, ObjectCondition, Script, Simple, Target, Verb,
};
use tidegate_sim::world::{FaultRates, Interventions, Quality, TrafficModel};

use super::comparison::version;
use super::ground::{RATE, services};
use super::{Act, Case, Manner, Shares, image};

/// The port of the Gateway, of which the simulator makes nothing.
const PORT: u16 = 80;
/// With each of them start-ups, lags and deaths are drawn anew.
const SEEDS: u64 = 50;
/// The real controller is killed once in four seconds on average, wherever it is. The simulated one dies at one of its
/// writes, the worst of places; so many of a thousand writes make it about as often.
const DEADLY: u32 = 150;
/// The real one is dead for 750 ms on average, and needs a moment to start.
const DEAD: Span = Span::millis(1_000);

/// What users saw of a case in the simulator, with each of some seeds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Simulated {
    /// Requests that went wrong with the worst seed.
    pub failed: i64,
    /// The least and the greatest percent of all requests that each version answered.
    pub shares: BTreeMap<String, (f64, f64)>,
    /// How long the shortest took, and the longest.
    pub took: (Duration, Duration),
}

impl Simulated {
    /// Plays a case; an error when the story goes another way than it should, or the first seed breaks an
    /// invariant.
    pub fn play(case: Case) -> Result<Simulated, String> {
        let plays = (0..SEEDS).map(|seed| once(case, seed)).collect::<Result<Vec<_>, _>>()?;
        Ok(Simulated::of(&plays))
    }

    fn of(plays: &[Seen]) -> Simulated {
        let versions = plays.iter().flat_map(|play| play.shares.keys());
        let range = |version: &String| {
            let shares = plays.iter().map(|play| play.shares.get(version).copied().unwrap_or(0.0));
            shares.fold((f64::MAX, f64::MIN), |(low, high), share| (low.min(share), high.max(share)))
        };
        let took = || plays.iter().map(|play| play.took);
        Simulated {
            failed: plays.iter().map(|play| play.failed).max().unwrap_or_default(),
            shares: versions.map(|version| (version.clone(), range(version))).collect(),
            took: (took().min().unwrap_or_default(), took().max().unwrap_or_default()),
        }
    }
}

/// What users saw with one seed.
struct Seen {
    failed: i64,
    shares: Shares,
    took: Duration,
}

fn once(case: Case, seed: u64) -> Result<Seen, String> {
    // Invariants need most of the time; one life of a case is as good as another for them.
    let mut setup = Setup { unjudged: seed > 0, ..Setup::default() };
    if case.manner == Manner::Killed {
        setup.interventions = deadly();
    }
    let outcome = play_with(&script(case, seed)?, setup);
    if let Some(failure) = outcome.failures.first() {
        return Err(format!(
            "{} with seed {seed} in the simulator: {failure}\n{}",
            case.name(),
            outcome.trace()
        ));
    }
    Ok(seen(&outcome))
}

fn seen(outcome: &Outcome) -> Seen {
    let felt = outcome.meter().total(Some("web"));
    let told = felt.to_value();
    let all = felt.requests().max(1) as f64;
    let share = |count: &Value| 100.0 * count.as_f64().unwrap_or_default() / all;
    let versions = told["versions"].as_object().into_iter().flatten();
    Seen {
        failed: felt.errors().0,
        shares: versions.map(|(image, count)| (version(image).to_owned(), share(count))).collect(),
        took: Duration::from_millis(u64::try_from(outcome.simulated.0).unwrap_or_default()),
    }
}

fn script(case: Case, seed: u64) -> Result<Script, String> {
    let (name, pods) = (case.name(), case.pods());
    let mut given = case.route.objects(&name, PORT);
    given.extend(services(&name, &Case::selector(), &Case::selector()));
    given.push(case.rollout(&name, "v1"));
    let read = |object| Object::from_value(object).map_err(|why| why.to_string());
    let given = given.into_iter().map(read).collect::<Result<_, _>>()?;
    let quality = Quality { capacity: Some(pods.capacity() as i64), ..Quality::default() };
    Ok(Script {
        seed,
        pods: pods.models(),
        traffic: Some(TrafficModel { rps: vec![(Span::ZERO, RATE.into())], ..TrafficModel::default() }),
        quality: vec![(String::new(), quality)],
        when: case.acts().into_iter().map(|act| entry(act, pods.count)).collect(),
        ..Script::of(&name, given)
    })
}

fn entry(act: Act, pods: i64) -> Entry {
    let web = || "web".to_owned();
    let verb = |verb| (Moment::Next, Span::ZERO, verb);
    let until = |condition| {
        let condition = Condition { rollout: Some(web()), ..condition };
        (Moment::Once(Box::new(condition)), Span::ZERO, Verb::Note("it goes on".to_owned()))
    };
    let (moment, after, verb) = match act {
        Act::Image(version) => {
            verb(Verb::SetImage { rollout: web(), container: None, image: image(version) })
        }
        Act::Abort => verb(Verb::Simple(Simple::Abort, web())),
        Act::PromoteFull => verb(Verb::Simple(Simple::PromoteFull, web())),
        Act::Released(_) => until(Condition { phase: Some("Healthy".to_owned()), ..Condition::default() }),
        Act::Weight(percent) => until(shows("status.canary.weights.canary.weight", percent)),
        Act::Alone => until(Condition {
            healthy_pods: Some(Bound { how: Compare::Equal, with: pods }),
            ..shows("status.replicas", pods)
        }),
        Act::Rest(time) => {
            let time = Span::millis(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
            (Moment::Next, time, Verb::Note("a while has passed".to_owned()))
        }
    };
    Entry { moment, after, verb, line: 0 }
}

/// The Rollout shows this number.
fn shows(path: &str, number: i64) -> Condition {
    let target = Target { kind: Kind::Rollout, name: Some("web".to_owned()), rollout: None, revision: None };
    let object =
        ObjectCondition { target, path: Some(path.to_owned()), value: Some(json!(number)), count: None };
    Condition { object: Some(object), ..Condition::default() }
}

fn deadly() -> Interventions {
    let rates = FaultRates {
        crash_before: DEADLY / 2,
        crash_after: DEADLY / 2,
        until: Time(i64::MAX),
        ..FaultRates::default()
    };
    Interventions { rates, restart_after: DEAD, ..Interventions::default() }
}

#[cfg(test)]
mod tests {
    use tidegate_sim::play::live;

    use super::super::{Route, Story};
    use super::*;

    #[test]
    fn nobody_is_failed_in_the_simulator() {
        for case in Case::all() {
            assert_eq!(once(case, 0).unwrap().failed, 0, "{}", case.name());
        }
    }

    #[test]
    fn a_rollback_within_the_window_walks_no_step() {
        let took = |story| {
            let case = Case { story, manner: Manner::Plain, route: Route::HttpRoute };
            once(case, 0).unwrap().took
        };
        // Twelve seconds of pauses.
        assert!(took(Story::RollbackWindow) + Duration::from_secs(12) < took(Story::TwoInARow));
    }

    #[test]
    fn the_controller_dies_about_once_in_four_seconds() {
        let (mut deaths, mut seconds) = (0, 0.0);
        for case in Case::all().into_iter().filter(|case| case.manner == Manner::Killed) {
            let setup = Setup { interventions: deadly(), unjudged: true, ..Setup::default() };
            let life = live(&script(case, 1).unwrap(), setup);
            deaths += life.world.controller().unwrap().number - 1;
            seconds += life.outcome.simulated.0 as f64 / 1_000.0;
        }
        let between = seconds / f64::from(deaths);
        assert!((3.5..4.5).contains(&between), "{between:.1} s");
    }
}
