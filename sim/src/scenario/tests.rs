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
- restart_controller:
- upgrade_controller: {down: 30s}
- note: done
then:
  ends: {web: Healthy}
  within: 20m
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
    assert_eq!(script.when.len(), 30);
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
    assert!(entry("{metric: {}}").contains("is not built yet"));
    let shown = problem("given: []\nthen: {sometimes: []}\n");
    assert!(
        shown.contains("unknown key `sometimes`") && shown.contains("ends, within, never, holds"),
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
