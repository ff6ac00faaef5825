//! What an installed controller is asked to do: one story for each thing that needs rights.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests against real programs measure real time"
)]

use serde_json::{Value, json};

use crate::place::{HASH, Outcome, Place, text, time_in};

fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

async fn create(place: &Place, app: &str, replicas: i64, spec: Value) -> Outcome<()> {
    let mut whole = json!({"replicas": replicas, "selector": {"matchLabels": {"app": app}}});
    whole["template"] = template(app, "img:1");
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": app}, "spec": whole});
    place.create("rollouts", &object).await?;
    Ok(())
}

async fn set_image(place: &Place, object: &str, app: &str, image: &str) -> Outcome<Value> {
    place.patch(object, json!({"spec": {"template": template(app, image)}})).await
}

/// Steps, role metadata of pods, an abort, a retry, and the clean-up of old versions.
pub async fn canary(place: &Place) -> Outcome<()> {
    let app = "canary";
    let strategy = json!({"canary": {"steps": [{"setWeight": 50}, {"pause": {}}],
        "canaryMetadata": {"labels": {"role": "canary"}}, "stableMetadata": {"labels": {"role": "stable"}}}});
    create(place, app, 2, json!({"strategy": strategy, "revisionHistoryLimit": 0})).await?;
    place.until_phase(app, "Healthy").await?;
    set_image(place, "rollouts/canary", app, "img:2").await?;
    place.until_paused_at(app, 1).await?;
    place.patch("rollouts/canary/status", json!({"status": {"abort": true}})).await?;
    place.until_phase(app, "Degraded").await?;
    place.patch("rollouts/canary/status", json!({"status": {"abort": false}})).await?;
    place.until_paused_at(app, 1).await?;
    place.patch("rollouts/canary/status", json!({"status": {"pauseConditions": null}})).await?;
    place.until_phase(app, "Healthy").await?;
    let one = |list: &Value| list["items"].as_array().is_some_and(|sets| sets.len() == 1);
    place.until("replicasets?labelSelector=app%3Dcanary", "one set", one).await?;
    let stable = |list: &Value| {
        let pods = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        pods.len() == 2 && pods.iter().all(|pod| pod["metadata"]["labels"]["role"] == "stable")
    };
    place.until("pods?labelSelector=app%3Dcanary", "labelled as stable", stable).await?;
    place.until("events", "told about", |list| told(list, app, "RolloutCompleted")).await?;
    Ok(())
}

fn told(list: &Value, app: &str, reason: &str) -> bool {
    let events = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().any(|event| event["involvedObject"]["name"] == app && event["reason"] == reason)
}

/// Services are switched, and the old version goes after its delay.
pub async fn blue_green(place: &Place) -> Outcome<()> {
    let app = "green";
    for service in ["active", "preview"] {
        let spec = json!({"selector": {"app": app}, "ports": [{"port": 80}]});
        place.create("services", &json!({"metadata": {"name": service}, "spec": spec})).await?;
    }
    let strategy = json!({"blueGreen": {"activeService": "active", "previewService": "preview",
        "autoPromotionEnabled": false, "scaleDownDelaySeconds": 1}});
    create(place, app, 1, json!({"strategy": strategy})).await?;
    place.until_phase(app, "Healthy").await?;
    set_image(place, "rollouts/green", app, "img:2").await?;
    let paused = place.until_phase(app, "Paused").await?;
    place.patch("rollouts/green/status", json!({"status": {"pauseConditions": null}})).await?;
    let switched = place.until_phase(app, "Healthy").await?;
    let service = place.get("services/active").await?;
    assert_eq!(service["spec"]["selector"][HASH], switched["status"]["currentPodHash"]);
    let old = format!("replicasets/{app}-{}", text(&paused, "/status/stableRS"));
    place.until(&old, "at 0", |set| set["spec"]["replicas"] == 0).await?;
    Ok(())
}

/// Pods are evicted one by one until all are younger.
pub async fn restart(place: &Place) -> Outcome<()> {
    let app = "restart";
    create(place, app, 2, json!({"strategy": {"canary": {}}})).await?;
    place.until_phase(app, "Healthy").await?;
    let before = crate::place::uids(&place.list_of("pods", app).await?);
    // Later than the second in which the pods were made.
    let at = time_in(1);
    place.patch("rollouts/restart", json!({"spec": {"restartAt": at}})).await?;
    place
        .until("rollouts/restart", "restarted", |found| found["status"]["restartedAt"] == at.as_str())
        .await?;
    let after = crate::place::uids(&place.list_of("pods", app).await?);
    assert!(before.is_disjoint(&after), "a pod was not restarted");
    Ok(())
}

/// The template of a Deployment, whose pods go as ours come.
pub async fn workload(place: &Place, scale_down: &str) -> Outcome<()> {
    let app = format!("work-{scale_down}");
    let deployment = json!({"metadata": {"name": app}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": app}},
        "template": template(&app, "img:1")}});
    place.create("deployments", &deployment).await?;
    let reference =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": app, "scaleDown": scale_down});
    create(place, &app, 2, json!({"strategy": {"canary": {}}, "workloadRef": reference, "template": null}))
        .await?;
    place.until_phase(&app, "Healthy").await?;
    let object = format!("deployments/{app}");
    place.until(&object, "at 0", |found| found["spec"]["replicas"] == 0).await?;
    let changed = set_image(place, &object, &app, "img:2").await?;
    let generation = changed["metadata"]["generation"].to_string();
    let updated = |found: &Value| {
        found["status"]["workloadObservedGeneration"] == generation.as_str()
            && found["status"]["phase"] == "Healthy"
    };
    place.until(&format!("rollouts/{app}"), "updated", updated).await?;
    Ok(())
}

/// Who names no size gets one pod, written into the specification for autoscalers.
pub async fn default_replicas(place: &Place) -> Outcome<()> {
    let spec = json!({"strategy": {"canary": {}}, "replicas": null});
    create(place, "sizeless", 1, spec).await?;
    let rollout = place.until_phase("sizeless", "Healthy").await?;
    assert_eq!(rollout["spec"]["replicas"], 1);
    Ok(())
}

/// A set that somebody let go is taken back, and its pods live on.
pub async fn adoption(place: &Place) -> Outcome<()> {
    let app = "orphan";
    create(place, app, 1, json!({"strategy": {"canary": {}}})).await?;
    let rollout = place.until_phase(app, "Healthy").await?;
    let before = crate::place::uids(&place.list_of("pods", app).await?);
    let set = format!("replicasets/{app}-{}", text(&rollout, "/status/currentPodHash"));
    place.patch(&set, json!({"metadata": {"ownerReferences": null}})).await?;
    let uid = &rollout["metadata"]["uid"];
    place.until(&set, "taken back", |set| set["metadata"]["ownerReferences"][0]["uid"] == *uid).await?;
    assert_eq!(before, crate::place::uids(&place.list_of("pods", app).await?));
    Ok(())
}

/// Routers, each with a manifest that scenarios play too.
pub const ROUTERS: &[&str] =
    &["alb", "ambassador", "apisix", "gateway_api", "istio", "linkerd", "nginx", "smi", "traefik"];

/// The documents of a router's manifest.
fn manifest(router: &str) -> Outcome<Vec<String>> {
    let file = format!("{}/../scenarios/manifests/routed/{router}.yaml", env!("CARGO_MANIFEST_DIR"));
    Ok(std::fs::read_to_string(file)?.split("---\n").map(str::to_owned).collect())
}

fn apply(place: &Place, documents: &[String]) -> Outcome<()> {
    place.kubectl(&["apply", "-f", "-"], &documents.join("---\n"))?;
    Ok(())
}

/// A weight moves through the objects of a router, and all of them are cleaned up.
pub async fn router(place: &Place, router: &str) -> Outcome<()> {
    apply(place, &manifest(router)?)?;
    place.until_phase("web", "Healthy").await?;
    update(place).await.map_err(|error| format!("{router}: {error}").into())
}

async fn update(place: &Place) -> Outcome<()> {
    set_image(place, "rollouts/web", "web", "web:v2").await?;
    let is_led = |found: &Value| {
        found["status"]["canary"]["weights"]["canary"]["weight"] == 20
            && found["status"]["currentStepIndex"].as_i64() >= Some(1)
    };
    place.until("rollouts/web", "at weight 20", is_led).await?;
    place.patch("rollouts/web/status", json!({"status": {"promoteFull": true}})).await?;
    place.until_phase("web", "Healthy").await?;
    place.kubectl(&["delete", "rollout", "web"], "")?;
    Ok(())
}

/// A kind that is installed only when a Rollout has asked for it long since is found within 30 s.
pub async fn late_kind(place: &Place, definition: &std::path::Path) -> Outcome<()> {
    let documents = manifest("apisix")?;
    let (routes, others): (Vec<String>, Vec<String>) =
        documents.into_iter().partition(|document| document.contains("kind: ApisixRoute"));
    apply(place, &others)?;
    let says = |found: &Value| {
        let conditions = found["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "TrafficRoutingError")
    };
    place.until("rollouts/web", "told that the kind is not served", says).await?;
    // Waits between looks have grown by then.
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    place.kubectl(&["apply", "--server-side", "-f", &definition.display().to_string()], "")?;
    let wait = ["wait", "--for=condition=Established", "crd/apisixroutes.apisix.apache.org", "--timeout=20s"];
    place.kubectl(&wait, "")?;
    apply(place, &routes)?;
    let begin = std::time::Instant::now();
    place.until_phase("web", "Healthy").await?;
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    Ok(())
}
