//! What a kubelet would write into the status of a pod.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tidegate_api::object::Object;
use tidegate_api::time::Stamp;
use tidegate_sim::cluster::life::{Containers, Look};

/// Where the pods live: 10.244.0.0/16, without the first and the last address.
pub(super) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0af4_0000 + 1 + number % 0xfffe)
}

/// What stays the same over the life of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Birth {
    pub(super) address: Ipv4Addr,
    pub(super) at: Stamp,
}

/// A strategic merge patch of the status. The API server merges conditions by type, so those of others stay.
pub(super) fn patch(pod: &Object, look: Look, birth: Birth, ready_since: Stamp, now: Stamp) -> Value {
    let address = birth.address.to_string();
    let ended = matches!(look.containers, Containers::Ended(_));
    let condition = |name: &str, is: bool, since: Stamp| {
        let mut condition = json!({
            "type": name,
            "status": if is { "True" } else { "False" },
            "lastTransitionTime": since.to_string(),
        });
        if !is {
            let reason = if ended { "PodCompleted" } else { "ContainersNotReady" };
            condition["reason"] = reason.into();
        }
        condition
    };
    json!({"status": {
        "phase": look.phase,
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": birth.at.to_string(),
        "conditions": [
            condition("PodReadyToStartContainers", !ended, birth.at),
            condition("Initialized", true, birth.at),
            condition("Ready", look.ready, ready_since),
            condition("ContainersReady", look.ready, ready_since),
        ],
        "containerStatuses": containers(pod, look, birth.at, now),
    }})
}

fn containers(pod: &Object, look: Look, started: Stamp, now: Stamp) -> Vec<Value> {
    let spec = pod.pod().and_then(|body| body.spec["containers"].as_array());
    let uid = &pod.meta.uid;
    let terminated = |code: i64| {
        let reason = if code == 0 { "Completed" } else { "Error" };
        json!({"exitCode": code, "reason": reason, "startedAt": started.to_string(), "finishedAt": now.to_string()})
    };
    let one = |(place, container): (usize, &Value)| {
        let mut status = json!({
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "containerID": format!("stand-in://{uid}-{place}"),
            "ready": look.ready,
            "started": matches!(look.containers, Containers::Run),
            "restartCount": 0,
        });
        status["state"] = match look.containers {
            Containers::Run => json!({"running": {"startedAt": started.to_string()}}),
            Containers::Ended(code) => json!({"terminated": terminated(code)}),
            Containers::CrashLoop => {
                status["restartCount"] = 1.into();
                status["lastState"] = json!({"terminated": terminated(1)});
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}})
            }
        };
        status
    };
    spec.into_iter().flatten().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(look: Look, pointer: &str, expected: Value) {
        let pod = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}))
        .unwrap();
        let birth = Birth { address: address(0), at: Stamp(0) };
        let patch = patch(&pod, look, birth, Stamp(5), Stamp(9));
        assert_eq!(patch["status"].pointer(pointer), Some(&expected), "{patch:#}");
    }

    const READY: Look = Look { phase: "Running", ready: true, containers: Containers::Run };
    const LOOPS: Look = Look { phase: "Running", ready: false, containers: Containers::CrashLoop };
    const ENDED: Look = Look { phase: "Failed", ready: false, containers: Containers::Ended(3) };

    #[test]
    fn what_a_pod_shows() {
        check(READY, "/podIP", json!("10.244.0.1"));
        check(READY, "/conditions/2/status", json!("True"));
        check(READY, "/conditions/2/lastTransitionTime", json!("1970-01-01T00:00:05Z"));
        check(READY, "/containerStatuses/0/state/running/startedAt", json!("1970-01-01T00:00:00Z"));
        check(LOOPS, "/conditions/3/status", json!("False"));
        check(LOOPS, "/containerStatuses/0/state/waiting/reason", json!("CrashLoopBackOff"));
        check(ENDED, "/phase", json!("Failed"));
        check(ENDED, "/conditions/2/reason", json!("PodCompleted"));
        check(ENDED, "/containerStatuses/0/state/terminated/exitCode", json!(3));
    }

    #[test]
    fn addresses_stay_within_the_network() {
        assert_eq!(address(0xfffd).to_string(), "10.244.255.254");
        assert_eq!(address(0xfffe).to_string(), "10.244.0.1");
    }
}
