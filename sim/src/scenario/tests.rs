//! Scenarios that are read, what is said about those that cannot be, and expectations that fail.

use super::keys::TABLE;
use super::{Files, Script};
use crate::play::play;

struct NoFiles;

impl Files for NoFiles {
    fn text(&self, file: &str) -> Result<String, String> {
        Err(format!("{file} is not there"))
    }

    fn matching(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

const EVERYTHING: &str = r#"
about: Every key of the language.
given:
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
settled: true
world:
  seed: 7
  lag: 1ms..5ms
  pods:
    startup: 2s..8s
    "web:v2": {ready: never, crash_after: 5s, exit: 1, flaps: {up: 1s, down: 2s, times: 3}, termination: 1s}
  traffic: {rps: {0s: 100, 5m: 200}, sessions: 1m, matching: 2.5%, services: {web: web}}
  quality: {"web:v2": {errors: 0.5%, latency: 300ms, capacity: 50}}
  metrics: [{provider: prometheus, match: errors, values: [0.5, [], NaN, {rate: 1}, {status: 500, body: down}]}]
  scrape: 5s
  routers: {propagation: 0s..1s, istio: 1s..5s, proxies: 3, endpoints: 10ms..20ms, elb: true, unserved: [HTTPRoute]}
when:
- {at: 0s, set_image: {rollout: web, container: web, image: "web:v2"}}
- once: {rollout: web, phase: Paused, step: 1, weight: "> 20", message: Canary, replicas: {2: "<= 3"}, healthy_pods: 5}
  after: 10s
  promote: web
- once: {rollout: web, condition: {type: Progressing, status: "True", reason: RolloutPaused, message: paused}}
  promote_full: web
- once: {event: {reason: RolloutCompleted, message: revision 2, count: 1}, time_since: 5s}
  abort: web
- once: {object: {kind: ReplicaSet, rollout: web, revision: 2, path: spec.replicas, value: "> 1"}}
  retry: web
- once: {object: {kind: Pod, count: 3}}
  undo: {rollout: web, to_revision: 1}
- restart: web
- pause: web
- resume: web
- scale: {rollout: web, replicas: 3}
- apply: {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}}}
- create: [{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {selector: {app: web}}}]
- patch: {kind: Rollout, name: web, merge: {status: {abort: true}}, subresource: status}
- patch: {kind: Service, name: web, json: [{op: remove, path: /spec/selector/app}]}
- delete: {kind: Service, name: web}
- ready: {rollout: web, side: stable, count: 1}
- unready: {rollout: web, side: 2}
- load: {autoscaler: web, total: 10, per_pod: 2}
- fault: {next_write: {fails: lost_reply, kind: Service, skip: 1}}
- fault: {next_write: {fails: slow, by: 2s, subresource: status}}
- fault: {conflicts: {rate: 50%, for: 30s}}
- fault: {lost_replies: {rate: 5%, for: 30s}}
- fault: {refusals: {rate: 5%, for: 30s}}
- fault: {crashes: {rate: 5%, for: 30s}}
- fault: {watch_lag: {kind: Pod, lag: 1s..2s}}
- fault: {watch_stall: {kind: Pod, for: 1s}}
- fault: {watch_break: {kind: Pod, for: 1s}}
- fault: {router_outage: {router: istio, for: 1s}}
- fault: {proxy_stall: {router: nginx, for: 1s}}
- metric: {provider: web, match: /success, values: [{late: 2s, value: 1}, {fails: gone}]}
- terminate: {analysis_run: web-2-1}
- terminate: {experiment: web-2-0}
- once: {experiment: web-2-0, phase: Running}
  note: trying
- fault: {metric_outage: {provider: web, for: 5s}}
- fault: {metric_slow: {by: 5s, for: 5s}}
- fault: {metric_says: {value: NaN, for: 5s}}
- once: {analysis_run: web-2-1, phase: Running}
  note: asking
- fault: {elb: {says: throttled, for: 1s}}
- fault: {put_back: {kind: VirtualService, name: web, times: 2, after: 1s..2s}}
- traffic: 500
- quality: {"web:v2": {errors: 100%}}
- serve: HTTPRoute
- unserve: HTTPRoute
- restart_controller:
- upgrade_controller: {down: 30s}
- note: done
then:
  ends: {web: Healthy}
  within: 20m
  users_saw: {rollout: web, errors: "<= 0.25%", no_endpoint: 0, share: {"web:v2": ">= 10%"}}
  never: [{rollout: web, weight: "> 50"}]
  holds: [{rollout: web, healthy_pods: ">= 3"}]
"#;

fn problem(text: &str) -> String {
    let read = Script::read("story.yaml", text, &NoFiles);
    read.expect_err("this is wrong").render(false)
}

#[test]
fn every_key_of_the_table_is_read() {
    let script = Script::read("everything.yaml", EVERYTHING, &NoFiles).expect("a scenario");
    assert_eq!(script.when.len(), 46);
    for section in TABLE {
        for key in section.keys {
            assert!(EVERYTHING.contains(&format!("{}:", key.name)), "{} is never written", key.name);
        }
    }
}

#[test]
fn what_is_not_understood_is_pointed_at() {
    let entry = |entry: &str| problem(&format!("given: []\nwhen:\n- {entry}\n"));
    assert!(entry("{at: 0s, explode: web}").contains("unknown verb `explode`"));
    assert!(entry("{at: 0s, abort: web, retry: web}").contains("this one has `abort` and `retry`"));
    assert!(entry("{once: {phase: Paused}, abort: web}").contains("`rollout` is missing here"));
    assert!(entry("{fault: {earthquake: {}}}").contains("unknown fault `earthquake`"));
    assert!(entry("{fault: {conflicts: {rate: 200%, for: 1s}}}").contains("a percentage such as 30%"));
    assert!(entry("{fault: {next_write: {fails: badly}}}").contains("one of conflict, too_many"));
    assert!(entry("{fault: {next_write: {fails: conflict, by: 1s}}}").contains("belongs to `fails: slow`"));
    assert!(entry("{fault: {next_write: {fails: slow}}}").contains("`by`"));
    assert!(entry("{delete: {kind: ReplicaSet}}").contains("which object is meant"));
    assert!(entry("{fault: {router_outage: {router: abacus, for: 1s}}}").contains("one of istio, nginx"));
    assert!(problem("given: []\nworld: {quality: {x: {errors: 101%}}}\n").contains("a percentage such as"));
    assert!(entry("{metric: {}}").contains("`values`"));
    assert!(
        entry("{metric: {provider: oracle, values: [1]}}").contains("this must be a provider: prometheus")
    );
    assert!(entry("{metric: {values: [{status: 7}]}}").contains("this must be a status of HTTP"));
    assert!(entry("{terminate: {rollout: web}}").contains("unknown key `rollout`"));
    assert!(entry("{terminate: {analysis_run: a, experiment: b}}").contains("one thing ends at a time"));
    assert!(
        entry("{once: {analysis_run: a, experiment: b, phase: Running}, note: x}").contains("of one thing")
    );
    let shown = problem("given: []\nthen: {sometimes: []}\n");
    assert!(
        shown.contains("unknown key `sometimes`") && shown.contains("ends, within, users_saw, never, holds"),
        "{shown}"
    );
}

const RELEASE: &str = r#"
given:
- apiVersion: argoproj.io/v1alpha1
  kind: Rollout
  metadata: {name: web}
  spec:
    replicas: 2
    selector: {matchLabels: {app: web}}
    template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:v1"}]}}
    strategy: {canary: {}}
when:
- {at: 0s, set_image: {rollout: web, image: "web:v2"}}
then:
"#;

/// What fails when a release is expected to be so.
fn failures(then: &str) -> Vec<String> {
    let script = Script::read("release.yaml", &format!("{RELEASE}  {then}\n"), &NoFiles).expect("a scenario");
    play(&script).failures.iter().map(|failure| failure.message.clone()).collect()
}

#[test]
fn expectations_that_hold_say_nothing() {
    assert_eq!(failures(r#"holds: [{rollout: web, replicas: {1: 0, 2: 2}}]"#), [""; 0]);
    assert_eq!(failures(r#"holds: [{event: {reason: RolloutCompleted, count: 1}}]"#), [""; 0]);
    assert_eq!(failures(r#"never: [{rollout: web, healthy_pods: "< 2"}]"#), [""; 0]);
}

#[test]
fn expectations_that_do_not_hold_are_failures() {
    assert_eq!(
        failures("holds: [{object: {kind: Rollout, name: web, path: spec.replicas, value: 3}}]"),
        ["at the end it does not hold: Rollout web spec.replicas is 3"]
    );
    assert_eq!(
        failures("holds: [{object: {kind: Rollout, name: web, path: spec.replicas, value: null}}]").len(),
        1
    );
    assert_eq!(failures("holds: [{object: {kind: Rollout, name: gone}}]").len(), 1);
    assert_eq!(failures("holds: [{event: RolloutAborted}]").len(), 1);
    let met = failures(r#"never: [{rollout: web, weight: ">= 50"}]"#);
    assert!(met.len() == 1 && met[0].ends_with("it may never be that web weight >= 50"), "{met:?}");
    assert_eq!(failures("never: [{event: RolloutCompleted}]").len(), 1);
}

#[test]
fn what_is_written_reads_as_the_same_script() {
    let script = Script::read("everything.yaml", EVERYTHING, &NoFiles).expect("a scenario");
    let again = Script::read("everything.yaml", &script.to_yaml(), &NoFiles).expect("it is a scenario again");
    assert_eq!((again.traffic, again.quality), (script.traffic, script.quality));
    assert_eq!((again.routers, again.then.users_saw), (script.routers, script.then.users_saw));
    assert_eq!(again.when.len(), script.when.len());
}

/// Two versions of equal size, half of the users for each; what users saw is counted to the request.
#[test]
fn users_are_counted_where_a_scenario_has_some() {
    let play_with = |world: &str, then: &str| {
        let text = format!("world: {{{world}}}\n{RELEASE}  {then}\n");
        play(&Script::read("release.yaml", &text, &NoFiles).expect("a scenario"))
    };
    let exact = "pods: {startup: 5s}, traffic: {rps: 1000}, routers: {endpoints: 0s}";
    let outcome = play_with(exact, "users_saw: {errors: 0, no_endpoint: 0}");
    assert_eq!(outcome.failures, []);
    let all = outcome.meter().total(None).requests();
    assert!(all > 5_000 && all < 60_000, "{all}");
    assert!(outcome.trace().contains("users"), "{}", outcome.trace());
    // Whatever the new version takes, one of ten goes wrong.
    let bad = format!("{exact}, quality: {{\"web:v2\": {{errors: 10%}}}}");
    let outcome = play_with(&bad, "users_saw: {errors: 0}");
    let felt = outcome.meter().total(None);
    assert_eq!(felt.errors().0, (felt.share("web:v2").0 + 9) / 10);
    assert!(outcome.failures[0].message.starts_with("users saw errors "), "{:?}", outcome.failures);
    // Nobody is counted where nobody asks.
    assert_eq!(play_with("seed: 1", "ends: Healthy").to_value()["users"], serde_json::Value::Null);
}
