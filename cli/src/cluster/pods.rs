//! The status of a pod in one word, as `kubectl get pods` tells it.

use serde_json::Value;

use super::view::{list, number, text};

/// The word, and the icon before it.
pub fn status(pod: &Value) -> (String, &'static str) {
    let word = word(pod);
    let icon = icon(&word);
    (word, icon)
}

/// `ready:1/2`, and `restarts:3` if there were any.
pub fn info(pod: &Value) -> String {
    let (mut ready, mut restarts) = (0, 0);
    for container in list(pod, "/status/containerStatuses") {
        restarts += number(container, "/restartCount");
        let is_up = container["ready"] == true && !container["state"]["running"].is_null();
        ready += i64::from(is_up);
    }
    if word(pod).starts_with("Init:") {
        restarts =
            list(pod, "/status/initContainerStatuses").iter().map(|c| number(c, "/restartCount")).sum();
    }
    let total = list(pod, "/spec/containers").len();
    if restarts > 0 {
        format!("ready:{ready}/{total},restarts:{restarts}")
    } else {
        format!("ready:{ready}/{total}")
    }
}

fn word(pod: &Value) -> String {
    let mut word = match text(pod, "/status/reason") {
        "" => text(pod, "/status/phase").to_owned(),
        reason => reason.to_owned(),
    };
    let initialising = initialising(pod);
    match &initialising {
        Some(init) => word.clone_from(init),
        None => word = of_containers(pod, word),
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return if text(pod, "/status/reason") == "NodeLost" { "Unknown" } else { "Terminating" }.to_owned();
    }
    word
}

/// What the init containers wait for; nothing when they are done.
fn initialising(pod: &Value) -> Option<String> {
    let specs = list(pod, "/spec/initContainers");
    for (at, container) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let spec = specs.iter().find(|spec| spec["name"] == container["name"]);
        let is_sidecar = spec.is_some_and(|spec| spec["restartPolicy"] == "Always");
        let state = &container["state"];
        let is_over = state["terminated"].is_object() && number(state, "/terminated/exitCode") == 0;
        if is_over || (is_sidecar && container["started"] == true) {
            continue;
        }
        if state["terminated"].is_object() {
            return Some(format!("Init:{}", ending(state)));
        }
        return Some(match text(state, "/waiting/reason") {
            "" | "PodInitializing" => format!("Init:{at}/{}", specs.len()),
            reason => format!("Init:{reason}"),
        });
    }
    None
}

fn of_containers(pod: &Value, mut word: String) -> String {
    let mut runs = false;
    for container in list(pod, "/status/containerStatuses").iter().rev() {
        let state = &container["state"];
        let waiting = text(state, "/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut word);
        } else if state["terminated"].is_object() {
            word = ending(state);
        } else if container["ready"] == true && state["running"].is_object() {
            runs = true;
        }
    }
    if word == "Completed" && runs { "Running".to_owned() } else { word }
}

fn ending(state: &Value) -> String {
    match (text(state, "/terminated/reason"), number(state, "/terminated/signal")) {
        ("", 0) => format!("ExitCode:{}", number(state, "/terminated/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn icon(word: &str) -> &'static str {
    match word {
        "Pending" | "Terminating" | "ContainerCreating" | "PodInitializing" => "◌",
        "Running" | "Completed" => "✔",
        "Failed" | "InvalidImageName" | "CrashLoopBackOff" => "✖",
        "ImagePullBackOff" | "RegistryUnavailable" => "⚠",
        "Unknown" => "?",
        _ if word.starts_with("Init:") => "◌",
        _ if word.starts_with("Signal:") || word.starts_with("ExitCode:") => "✖",
        _ if word.ends_with("Error") || word.starts_with("Err") => "⚠",
        _ => " ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(pod: Value) -> String {
        let (word, icon) = status(&pod);
        format!("{icon} {word} {}", info(&pod))
    }

    #[test]
    fn a_pod_is_told_as_kubectl_tells_it() {
        let one = |phase: &str, state: Value| {
            json!({"metadata": {}, "spec": {"containers": [{}]},
                "status": {"phase": phase, "containerStatuses": [{"ready": phase == "Running", "restartCount": 0, "state": state}]}})
        };
        assert_eq!(told(one("Running", json!({"running": {}}))), "✔ Running ready:1/1");
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        assert_eq!(told(one("Pending", waiting("ContainerCreating"))), "◌ ContainerCreating ready:0/1");
        assert_eq!(told(one("Pending", waiting("ErrImagePull"))), "⚠ ErrImagePull ready:0/1");
        assert_eq!(told(one("Pending", waiting("CrashLoopBackOff"))), "✖ CrashLoopBackOff ready:0/1");
        assert_eq!(told(one("Failed", json!({"terminated": {"exitCode": 3}}))), "✖ ExitCode:3 ready:0/1");
        assert_eq!(
            told(one("Failed", json!({"terminated": {"signal": 9, "exitCode": 137}}))),
            "✖ Signal:9 ready:0/1"
        );
        assert_eq!(
            told(one("Failed", json!({"terminated": {"reason": "OOMKilled"}}))),
            "  OOMKilled ready:0/1"
        );
        let mut leaving = one("Running", json!({"running": {}}));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(told(leaving.clone()), "◌ Terminating ready:1/1");
        leaving["status"]["reason"] = json!("NodeLost");
        assert_eq!(told(leaving), "? Unknown ready:1/1");
        let init = json!({"metadata": {}, "spec": {"containers": [{}], "initContainers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "a", "restartCount": 2, "state": {"terminated": {"exitCode": 0}}},
                {"name": "b", "restartCount": 1, "state": {"running": {}}}]}});
        assert_eq!(told(init), "◌ Init:1/2 ready:0/1,restarts:3");
        let mut crashing = one("Running", waiting("CrashLoopBackOff"));
        crashing["status"]["containerStatuses"][0]["restartCount"] = json!(4);
        assert_eq!(told(crashing), "✖ CrashLoopBackOff ready:0/1,restarts:4");
    }
}
