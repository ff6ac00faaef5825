//! The bed itself: with a person in place of a controller.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testbed::requests::{Ground, Pods, Report, Route, Shares};
use tidegate_testbed::{Cluster, TestResult};
use tokio::time::sleep;

const PODS: Pods = Pods { count: 5, startup: (500, 1000), pre_stop: 2 };
const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");
const POD: (&str, &str) = ("v1", "Pod");
/// The proxy has heard of a change by then.
const HEARD: Duration = Duration::from_secs(2);

pub async fn life(cluster: Arc<Cluster>) -> TestResult {
    let ground = Ground::open(&cluster, "bed-life", Route::TraefikService, PODS).await?;
    ground.services(&labels("v1"), &labels("v1")).await?;
    deploy(&ground, "v1", 1).await?;
    available(&ground, "v1", 1).await?;
    let pods = ground.list(POD).await?;
    let pod = pods[0]["status"]["podIP"].as_str().unwrap_or_default().parse()?;
    assert_eq!(ground.ask(pod).await, Ok(200));
    deploy(&ground, "v1", 0).await?;
    // It is being deleted, and answers still.
    let name = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
    ground.until(POD, name, |pod| pod["metadata"]["deletionTimestamp"].is_string()).await?;
    assert_eq!(ground.ask(pod).await, Ok(200));
    ground.until(POD, name, Value::is_null).await?;
    let refused = ground.ask(pod).await;
    assert!(refused.as_ref().is_err_and(|why| why.contains("refused")), "{refused:?}");
    Ok(ground.close().await?)
}

pub async fn traefik_service(cluster: Arc<Cluster>) -> TestResult {
    by_hand(&cluster, "bed-traefik", Route::TraefikService).await
}

pub async fn http_route(cluster: Arc<Cluster>) -> TestResult {
    by_hand(&cluster, "bed-gateway", Route::HttpRoute).await
}

/// A careful person: pods first, then weight, then both Services, then fewer pods.
async fn by_hand(cluster: &Cluster, name: &str, route: Route) -> TestResult {
    let ground = Ground::open(cluster, name, route, PODS).await?;
    ground.services(&labels("v1"), &labels("v2")).await?;
    for (version, count) in [("v1", PODS.count), ("v2", PODS.count)] {
        deploy(&ground, version, count).await?;
        available(&ground, version, count).await?;
    }
    let stream = ground.stream().await?;
    let mut expected = Vec::new();
    for canary in [0, 20, 50, 80, 100] {
        ground.weigh(canary).await?;
        sleep(HEARD).await;
        let from = stream.elapsed();
        sleep(HEARD).await;
        expected.push((canary, from, stream.elapsed()));
    }
    // A Service without pods would take away the whole of a TraefikService, even with no weight on it.
    ground.services(&labels("v2"), &labels("v2")).await?;
    sleep(HEARD).await;
    deploy(&ground, "v1", 0).await?;
    available(&ground, "v1", 0).await?;
    sleep(HEARD).await;
    let report = stream.stop().await;
    println!("{name}: {report}");
    assert_eq!(report.failed(), 0, "{report}");
    for (canary, from, until) in expected {
        let shares = shares(canary);
        let off = report.off(&shares, from, until);
        assert!(off <= 3.0, "{off:.1} points off {shares:?} in {from:?}..{until:?}\n{report}");
    }
    Ok(ground.close().await?)
}

/// A careless person: weight without pods, and more weight than a pod can bear.
pub async fn failures(cluster: Arc<Cluster>) -> TestResult {
    let ground = Ground::open(&cluster, "bed-failures", Route::HttpRoute, PODS).await?;
    ground.services(&labels("v1"), &labels("v2")).await?;
    deploy(&ground, "v1", PODS.count).await?;
    available(&ground, "v1", PODS.count).await?;
    deploy(&ground, "v2", 0).await?;
    let stream = ground.stream().await?;
    sleep(HEARD).await;
    let good = stream.elapsed();
    ground.weigh(50).await?;
    sleep(HEARD).await;
    let without = stream.elapsed();
    deploy(&ground, "v2", 1).await?;
    available(&ground, "v2", 1).await?;
    ground.weigh(100).await?;
    sleep(2 * HEARD).await;
    let report = stream.stop().await;
    println!("bed-failures: {report}");
    let failed = |from, until| 100.0 - report.shares(from, until).values().sum::<f64>();
    assert!(failed(Duration::ZERO, good) < 0.1, "{report}");
    assert!(failed(good, without) > 20.0, "nobody serves half of the requests\n{report}");
    // One pod answers half of all.
    let end = Duration::MAX;
    assert!(has(&report, "503 overload of shop/web:v2"), "{report}");
    assert!((40.0..70.0).contains(&failed(without + 2 * HEARD, end)), "{report}");
    Ok(ground.close().await?)
}

/// What the proxy does by default, and what a controller must know.
pub async fn empty_service(cluster: Arc<Cluster>) -> TestResult {
    let ground = Ground::open(&cluster, "bed-empty", Route::TraefikService, PODS).await?;
    ground.services(&labels("v1"), &labels("v1")).await?;
    deploy(&ground, "v1", PODS.count).await?;
    available(&ground, "v1", PODS.count).await?;
    let stream = ground.stream().await?;
    sleep(HEARD).await;
    let from = stream.elapsed();
    ground.services(&labels("v1"), &labels("v2")).await?;
    sleep(HEARD).await;
    let report = stream.stop().await;
    assert!(report.failures().keys().all(|(second, _)| *second >= from.as_secs()), "{report}");
    assert!(has(&report, "404 404 page not found"), "no weight is on it, and yet:\n{report}");
    Ok(ground.close().await?)
}

fn has(report: &Report, cause: &str) -> bool {
    report.failures().keys().any(|(_, told)| *told == cause)
}

fn shares(canary: i64) -> Shares {
    let sides = [("shop/web:v1", 100 - canary), ("shop/web:v2", canary)];
    sides.into_iter().map(|(image, share)| (image.to_owned(), share as f64)).collect()
}

fn labels(version: &str) -> Value {
    json!({"app": "web", "version": version})
}

/// A Deployment for each version.
async fn deploy(ground: &Ground, version: &str, count: i64) -> Result<(), kube::Error> {
    let labels = labels(version);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": version, "namespace": ground.namespace},
        "spec": {"replicas": count, "selector": {"matchLabels": labels},
            "template": ground.template(&format!("shop/web:{version}"), &labels)}});
    ground.apply(&deployment).await
}

async fn available(ground: &Ground, version: &str, count: i64) -> TestResult {
    let is_there = |deployment: &Value| {
        let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        number("/status/observedGeneration") == number("/metadata/generation")
            && number("/status/replicas") == count
            && number("/status/availableReplicas") == count
    };
    ground.until(DEPLOYMENT, version, is_there).await
}
