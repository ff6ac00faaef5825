//! The ecosystem's own clients on our objects: the real kubectl, the real autoscaler, the patches of other tools.

#[path = "../../../sim/tests/argo_cd/rules.rs"]
mod health;
#[path = "../place/mod.rs"]
mod place;
mod plugin;

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_testbed::{Cluster, Suite, TestResult, run_tests};

use place::{Outcome, Place, text, time_in, uids};

fn main() -> ExitCode {
    run_tests(
        Suite::default()
            .test("kubectl_gets_scales_waits_explains_and_deletes", kubectl)
            .test("applying_in_the_middle_of_an_update", applying)
            .test("server_side_applying_in_the_middle_of_an_update", applying_on_the_server)
            .test("an_autoscaler_scales_a_rollout", autoscaler)
            .test("patches_of_other_tools_are_acted_on", patches)
            .test("kubectl_replace_and_restart", replaced),
    )
}

/// As a user writes it: the autoscaler may own `replicas`.
fn manifest(name: &str, replicas: Option<i64>, image: &str) -> Value {
    let mut rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}},
            "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]}}}});
    if let Some(replicas) = replicas {
        rollout["spec"]["replicas"] = replicas.into();
    }
    rollout
}

impl Place {
    fn apply(&self, words: &[&str], object: &Value) -> Outcome<String> {
        let words: Vec<&str> = ["apply", "-f", "-"].iter().chain(words).copied().collect();
        self.kubectl(&words, &object.to_string())
    }

    fn wait(&self, object: &str, what: &str) -> TestResult {
        self.kubectl(&["wait", object, &format!("--for={what}"), "--timeout=60s"], "")?;
        Ok(())
    }
}

async fn kubectl(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "kubectl").await?;
    let mut controller = place.controller()?;
    place.apply(&[], &manifest("web", Some(2), "img:1"))?;
    place.wait("rollout/web", "jsonpath={.status.phase}=Healthy")?;
    for condition in ["Available", "Healthy", "Completed", "Progressing"] {
        place.wait("ro/web", &format!("condition={condition}"))?;
    }
    let table = place.kubectl(&["get", "ro"], "")?;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "DESIRED", "CURRENT", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    assert_eq!(rows[1][..5], ["web", "2", "2", "2", "2"]);
    assert_eq!(
        place.kubectl(&["get", "rollouts.argoproj.io", "-o", "name"], "")?.trim(),
        "rollout.argoproj.io/web"
    );

    place.kubectl(&["scale", "ro/web", "--replicas=3"], "")?;
    place.wait("ro/web", "jsonpath={.status.availableReplicas}=3")?;
    let scale = place.get("rollouts/web/scale").await?;
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(3), &json!(3)));
    assert_eq!(scale["status"]["selector"], "app=web");

    let explained = place.kubectl(&["explain", "rollout.spec.strategy.canary"], "")?;
    for field in ["steps", "maxSurge", "canaryService", "stableMetadata"] {
        assert!(explained.contains(field), "{field} is not explained:\n{explained}");
    }
    place.kubectl(
        &[
            "patch",
            "ro/web",
            "--type=json",
            "-p",
            r#"[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"img:2"}]"#,
        ],
        "",
    )?;
    place.wait("ro/web", "condition=Paused")?;
    let described = place.kubectl(&["describe", "ro/web"], "")?;
    assert!(described.contains("RolloutPaused"), "no event is described:\n{described}");

    place.kubectl(&["delete", "ro/web", "--wait"], "")?;
    let none = |list: &Value| list["items"].as_array().is_some_and(Vec::is_empty);
    place.until("pods", "empty", none).await?;
    place.until("replicasets", "empty", none).await?;
    controller.expect_well()
}

async fn applying(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "applying").await?;
    let mut controller = place.controller()?;
    change_in_the_middle(&place, &[]).await?;
    let sets = place.list("replicasets").await?;
    let copied = |set: &Value| {
        set["metadata"]["annotations"]
            .as_object()
            .is_some_and(|all| all.keys().any(|key| key.contains("last-applied")))
    };
    assert!(!sets.iter().any(copied), "the applied manifest was copied to a set");
    controller.expect_well()
}

async fn applying_on_the_server(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "applying").await?;
    let mut controller = place.controller()?;
    change_in_the_middle(&place, &["--server-side", "--field-manager=gitops"]).await?;
    let rollout = place.kubectl(&["get", "ro/web", "-o", "json", "--show-managed-fields"], "")?;
    let rollout: Value = serde_json::from_str(&rollout)?;
    let ours = rollout["metadata"]["managedFields"].as_array().into_iter().flatten();
    for entry in ours.filter(|entry| entry["manager"] == "rollouts-controller") {
        let fields = entry["fieldsV1"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        let fields = fields.unwrap_or_default();
        assert!(!fields.contains(&"f:spec".to_owned()), "we own a part of the specification: {entry}");
    }
    controller.expect_well()
}

/// A GitOps tool applies while an update is paused: nothing new, another size, other steps, another image, the old image.
async fn change_in_the_middle(place: &Place, words: &[&str]) -> TestResult {
    place.apply(words, &manifest("web", Some(2), "img:1"))?;
    place.until_phase("web", "Healthy").await?;
    let mut object = manifest("web", Some(2), "img:2");
    place.apply(words, &object)?;
    let paused = place.until_paused_at("web", 1).await?;
    place.apply(words, &object)?;
    let after = place.get("rollouts/web").await?;
    assert_eq!(after["metadata"]["generation"], paused["metadata"]["generation"], "the same was applied");
    object["spec"]["replicas"] = 4.into();
    place.apply(words, &object)?;
    place.until("rollouts/web", "four", |found| found["status"]["availableReplicas"] == 4).await?;
    let scaled = place.until_paused_at("web", 1).await?;
    assert_eq!(scaled["status"]["updatedReplicas"], 2);
    // Other steps begin the update again.
    object["spec"]["strategy"]["canary"]["steps"] = json!([{"setWeight": 25}, {"pause": {}}]);
    place.apply(words, &object)?;
    place.until("rollouts/web", "at 25", |found| found["status"]["updatedReplicas"] == 1).await?;
    place.until_paused_at("web", 1).await?;
    object["spec"]["template"]["spec"]["containers"][0]["image"] = "img:3".into();
    place.apply(words, &object)?;
    let third = |found: &Value| found["metadata"]["annotations"][place::REVISION] == "3";
    place.until("rollouts/web", "at revision 3", third).await?;
    place.until_paused_at("web", 1).await?;
    object["spec"]["template"]["spec"]["containers"][0]["image"] = "img:1".into();
    place.apply(words, &object)?;
    let back = place.until_phase("web", "Healthy").await?;
    assert_eq!(back["status"]["stableRS"], paused["status"]["stableRS"]);
    assert_eq!(place.list("replicasets").await?.len(), 3);
    Ok(())
}

async fn autoscaler(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "autoscaler").await?;
    let mut controller = place.controller()?;
    place.apply(&[], &manifest("web", None, "img:1"))?;
    place.until_phase("web", "Healthy").await?;
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
    let target = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"});
    let autoscaler = json!({"metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4, "metrics": [metric]}});
    place.create("horizontalpodautoscalers", &autoscaler).await?;
    // It has no metrics here, but below its minimum it needs none.
    place.until("rollouts/web", "at two", |found| found["status"]["HPAReplicas"] == 2).await?;
    let able = |found: &Value| {
        let conditions = found["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let able = conditions
            .iter()
            .any(|condition| condition["type"] == "AbleToScale" && condition["status"] == "True");
        able && found["status"]["currentReplicas"] == 2
    };
    place.until("horizontalpodautoscalers/web", "able to scale", able).await?;
    // In the middle of an update both versions count.
    place.apply(&[], &manifest("web", None, "img:2"))?;
    place.until_paused_at("web", 1).await?;
    let scale = place.get("rollouts/web/scale").await?;
    assert_eq!(scale["spec"]["replicas"], 2, "applying without a size leaves the autoscaler's");
    let pods = i64::try_from(place.list_of("pods", "web").await?.len())?;
    assert_eq!(scale["status"]["replicas"], pods);
    place.until("horizontalpodautoscalers/web", "able to scale", able).await?;
    controller.expect_well()
}

async fn patches(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "patches").await?;
    let mut controller = place.controller()?;
    let all = |image: &str| -> Value {
        let items: Vec<Value> = plugin::ROWS.iter().map(|row| manifest(row.name, Some(2), image)).collect();
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    };
    place.apply(&[], &all("img:1"))?;
    for row in plugin::ROWS {
        let healthy = place.until_phase(row.name, "Healthy").await?;
        assert_eq!(health::of_rollout(&healthy), ("Healthy", String::new()));
    }
    place.apply(&[], &all("img:2"))?;
    for row in plugin::ROWS {
        let paused = place.until_paused_at(row.name, 1).await?;
        assert_eq!(health::of_rollout(&paused), ("Suspended", "CanaryPauseStep".to_owned()));
    }
    for row in plugin::ROWS {
        for (of_status, how, patch) in row.patches {
            let mut words = vec!["patch", "rollout", row.name, "--type", how, "-p", patch];
            words.extend(of_status.then_some("--subresource=status"));
            place.kubectl(&words, "")?;
        }
    }
    for row in plugin::ROWS {
        let (phase, step, health) = row.ends;
        let ended = |found: &Value| {
            found["status"]["phase"] == phase
                && found["status"]["currentStepIndex"] == step
                && health::of_rollout(found).0 == health
        };
        place.until(&format!("rollouts/{}", row.name), &format!("{phase} at step {step}"), ended).await?;
    }
    let aborted = place.get("rollouts/abort").await?;
    let message = "RolloutAborted: Rollout aborted update to revision 2";
    assert_eq!(health::of_rollout(&aborted), ("Degraded", message.to_owned()));
    // Paused by a person, and the step goes on when it is resumed.
    place
        .kubectl(&["patch", "rollout", "pause", "--type=merge", "-p", r#"{"spec":{"paused":false}}"#], "")?;
    place.until_paused_at("pause", 1).await?;
    controller.expect_well()
}

/// `set image` of the plugin writes the whole object; `restart` sets a time.
async fn replaced(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "replace").await?;
    let mut controller = place.controller()?;
    place.apply(&[], &manifest("web", Some(2), "img:1"))?;
    let mut whole = place.until_phase("web", "Healthy").await?;
    whole["spec"]["template"]["spec"]["containers"][0]["image"] = "img:2".into();
    place.kubectl(&["replace", "-f", "-"], &whole.to_string())?;
    place.until_paused_at("web", 1).await?;
    place.kubectl(
        &[
            "patch",
            "ro",
            "web",
            "--subresource=status",
            "--type=merge",
            "-p",
            r#"{"status":{"promoteFull":true}}"#,
        ],
        "",
    )?;
    place.until_phase("web", "Healthy").await?;
    let before = uids(&place.list_of("pods", "web").await?);
    let at = time_in(1);
    place.kubectl(
        &["patch", "ro", "web", "--type=merge", "-p", &json!({"spec": {"restartAt": at}}).to_string()],
        "",
    )?;
    place.until("rollouts/web", "restarted", |found| text(found, "/status/restartedAt") == at).await?;
    let after = uids(&place.list_of("pods", "web").await?);
    assert!(before.is_disjoint(&after), "a pod was not restarted");
    controller.expect_well()
}
