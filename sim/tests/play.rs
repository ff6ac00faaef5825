//! Playing scenarios: every invariant watches, and what was seen is told.

use tidegate_controller::sabotage::Sabotage;
use tidegate_sim::invariants::all;
use tidegate_sim::play::{Outcome, Setup, play, play_with};
use tidegate_sim::scenario::{Files, Script};

struct Nowhere;

impl Files for Nowhere {
    fn text(&self, _file: &str) -> Result<String, String> {
        Err("there are no files".to_owned())
    }

    fn matching(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

const PAUSED_CANARY: &str = "
given:
- apiVersion: argoproj.io/v1alpha1
  kind: Rollout
  metadata: {name: web}
  spec:
    replicas: 4
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}}
      spec: {containers: [{name: web, image: \"web:1\"}]}
    strategy: {canary: {steps: [{setWeight: 25}, {pause: {duration: 10s}}, {setWeight: 50}, {pause: {duration: 10s}}]}}
when:
- at: 5s
  set_image: {rollout: web, image: \"web:2\"}
";

fn script(text: &str) -> Script {
    Script::read("test.yaml", text, &Nowhere).expect("a scenario")
}

fn sabotaged(text: &str, sabotage: Sabotage) -> Outcome {
    play_with(&script(text), Setup { sabotage: Some(sabotage), ..Setup::default() })
}

#[test]
fn a_scenario_without_then_is_still_held_to_every_invariant() {
    let outcome = sabotaged(PAUSED_CANARY, Sabotage::SkipPause);
    let first = outcome.violations.first().expect("a violation");
    assert_eq!(first.id, "S13");
    let failures: Vec<String> = outcome.failures.iter().map(ToString::to_string).collect();
    assert!(failures[0].starts_with("invariant S13 broken at 00:00:"), "{failures:?}");
    assert!(failures[0].contains(" by Rollout web: "), "{failures:?}");

    let told = &outcome.to_value()["invariants"]["violations"][0];
    assert_eq!((&told["id"], &told["objects"]), (&"S13".into(), &serde_json::json!(["Rollout web"])));
    assert!(told["at_ms"].as_i64().is_some_and(|at| at > 5_000), "{told}");
}

#[test]
fn each_invariant_is_told_once() {
    let outcome = sabotaged(PAUSED_CANARY, Sabotage::SkipPause);
    let mut ids: Vec<&str> = outcome.violations.iter().map(|violation| violation.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), outcome.violations.len());
    assert_eq!(outcome.failures.len(), outcome.violations.len());
}

#[test]
fn a_world_at_rest_is_asked_before_the_beginning_and_at_the_end() {
    let outcome = play(&script("given: []\n"));
    assert_eq!(usize::try_from(outcome.checks), Ok(2 * all().len()));
}

#[test]
fn a_silent_play_is_judged_like_a_told_one() {
    let setup = Setup { silent: true, ..Setup::default() };
    let (told, silent) = (play(&script(PAUSED_CANARY)), play_with(&script(PAUSED_CANARY), setup));
    assert_eq!((told.hash, told.checks, &told.ends), (silent.hash, silent.checks, &silent.ends));
    assert!(!told.lines.is_empty() && silent.milestones().keys().eq(["script"]));
}

#[test]
fn the_first_deployment_is_watched_too() {
    let waiting = PAUSED_CANARY.split("when:").next().unwrap_or_default();
    let quiet = play(&script(waiting));
    assert!(quiet.lines.is_empty() && quiet.violations.is_empty());
    assert!(quiet.checks > 500, "{}", quiet.checks);
    let tracks = quiet.milestones();
    assert_eq!(serde_json::json!(tracks["rs/rev1/desired"]), serde_json::json!([0, 4]));
}

#[test]
fn milestones_count_what_the_script_did() {
    let text = format!(
        "{PAUSED_CANARY}- once: {{rollout: web, phase: Paused}}
  promote: web
- note: nothing to see
- once: {{rollout: web, phase: Healthy}}
  abort: shop
"
    );
    let tracks = play(&script(&text)).milestones();
    let expected =
        ["set_image ok", "wait ok", "promote ok", "wait ok", "abort refused: there is no Rollout shop"];
    assert_eq!(tracks["script"], expected);
    assert_eq!(tracks["final/Rollout/web/phase"], ["Healthy"]);
}

#[test]
fn a_wait_that_never_ends_names_its_line() {
    let text = format!("{PAUSED_CANARY}- once: {{rollout: web, phase: Degraded}}\n  promote: web\n");
    let outcome = play(&script(&text));
    assert_eq!(outcome.failures[0].line, 16);
    assert_eq!(outcome.milestones()["script"], ["set_image ok", "wait timed out"]);
}
