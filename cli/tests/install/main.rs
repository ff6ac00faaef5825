//! Installing with the words of the README, and then working with exactly the rights that the installation grants.
//!
//! The API server checks every request against the role (RBAC), and notes down what was asked: a right that is missing
//! fails the test, and one that was never used is listed.

#[path = "../place/mod.rs"]
mod place;
mod rights;
mod stories;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_testbed::kubectl::kubectl;
use tidegate_testbed::{Cluster, Suite, TestResult, run_tests};

use place::{Outcome, Place, Program};

fn main() -> ExitCode {
    run_tests(Suite::default().test("installed_with_kubectl_it_works_with_the_rights_of_its_role", install))
}

/// Both installations, one after the other: two controllers must not look after the same namespace.
async fn install(cluster: Arc<Cluster>) -> TestResult {
    let kubectl = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        kubectl(cluster.kubeconfig(), &words, "")
    };
    kubectl("create namespace argo-rollouts")?;
    let file = deploy("install.yaml");
    let apply = format!("apply -n argo-rollouts -f {}", file.display());
    kubectl(&apply)?;
    // A GitOps tool applies every few minutes.
    let again = kubectl(&apply)?;
    let changed: Vec<&str> = again.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    assert!(changed.is_empty(), "applied again it changes {changed:?}");
    place::until_served(&cluster).await?;
    whole_cluster(&cluster).await?;

    kubectl("create namespace team")?;
    kubectl(&format!("apply -n team -f {}", deploy("namespace-install.yaml").display()))?;
    one_namespace(&cluster).await
}

async fn whole_cluster(cluster: &Arc<Cluster>) -> TestResult {
    let home = Place::existing(cluster, "argo-rollouts").await?;
    // The Deployment is one whose pods the API server admits.
    home.until("deployments/argo-rollouts", "available", |found| found["status"]["availableReplicas"] == 1)
        .await?;
    let kubeconfig = as_service_account(&home, "cluster")?;
    let mut controller = Program::start(&kubeconfig, "argo-rollouts", &[])?;
    let (one, other) = (Place::new(cluster, "shop").await?, Place::new(cluster, "bank").await?);
    let late = Place::new(cluster, "late").await?;
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/crds");
    let apisix = crds.join("apisixroutes.apisix.apache.org.yaml");
    stories::late_kind(&late, &apisix).await?;
    for folder in [crds.join("generated"), crds] {
        home.kubectl(&["apply", "--server-side", "-f", &folder.display().to_string()], "")?;
    }
    let mut places = Vec::new();
    for router in stories::ROUTERS {
        places.push((Place::new(cluster, &router.replace('_', "-")).await?, *router));
    }
    let routers = places.iter().map(|(place, router)| stories::router(place, router));
    let told = tokio::try_join!(
        futures::future::try_join_all(routers),
        stories::canary(&one),
        stories::blue_green(&one),
        stories::restart(&one),
        stories::workload(&other, "onsuccess"),
        stories::workload(&other, "progressively"),
        stories::default_replicas(&other),
        stories::adoption(&other),
    );
    expect_permitted(cluster, "argo-rollouts", |_| true)?;
    home.get("leases/argo-rollouts-controller-lock").await?;
    controller.expect_well()?;
    told?;
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/argo-rollouts";
    let role = place::ask(&home.client, "GET", role, None, None).await?;
    report(cluster, "argo-rollouts", &role)
}

async fn one_namespace(cluster: &Arc<Cluster>) -> TestResult {
    let home = Place::existing(cluster, "team").await?;
    let kubeconfig = as_service_account(&home, "namespace")?;
    let mut controller = Program::start(&kubeconfig, "team", &[place::NAMESPACED])?;
    let told = tokio::try_join!(
        stories::canary(&home),
        stories::blue_green(&home),
        stories::restart(&home),
        stories::workload(&home, "onsuccess"),
        stories::adoption(&home),
    );
    expect_permitted(cluster, "team", |namespace| namespace == "team")?;
    controller.expect_well()?;
    told?;
    let role = home.get("roles/argo-rollouts").await?;
    report(cluster, "team", &role)
}

/// Fails if something was refused for want of a right, or asked outside. Another's API server tells nobody what it was
/// asked; there the log of the controller must do.
fn expect_permitted(cluster: &Cluster, namespace: &str, inside: impl Fn(&str) -> bool) -> TestResult {
    let Some(asked) = asked(cluster, namespace)? else { return Ok(()) };
    assert!(asked.refused.is_empty(), "missing rights:\n{}", rights::told(&asked.refused));
    let outside: Vec<&String> = asked.namespaces.iter().filter(|place| !inside(place)).collect();
    assert!(outside.is_empty(), "asked outside of {namespace}: {outside:?}");
    assert!(!asked.used.is_empty());
    Ok(())
}

/// Lists the rights that nothing used.
fn report(cluster: &Cluster, namespace: &str, role: &Value) -> TestResult {
    let Some(asked) = asked(cluster, namespace)? else { return Ok(()) };
    let granted = rights::granted(role);
    assert!(!granted.is_empty());
    println!("rights of {namespace} that were used:\n{}", rights::told(asked.used.intersection(&granted)));
    println!(
        "rights of {namespace} that were never used:\n{}",
        rights::told(granted.difference(&asked.used))
    );
    Ok(())
}

fn asked(cluster: &Cluster, namespace: &str) -> Outcome<Option<rights::Asked>> {
    let Cluster::Own(plane) = cluster else { return Ok(None) };
    let user = format!("system:serviceaccount:{namespace}:argo-rollouts");
    rights::asked(&plane.folder().join("audit.log"), &user).map(Some)
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

/// A kubeconfig with the token of the service account of a namespace's installation.
fn as_service_account(place: &Place, name: &str) -> Outcome<PathBuf> {
    let token = place.kubectl(&["create", "token", "argo-rollouts"], "")?;
    let mut config: Value =
        serde_json::from_str(&place.kubectl(&["config", "view", "--raw", "-o", "json"], "")?)?;
    for user in config["users"].as_array_mut().into_iter().flatten() {
        user["user"] = json!({"token": token.trim()});
    }
    let path =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.kubeconfig", std::process::id()));
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}
