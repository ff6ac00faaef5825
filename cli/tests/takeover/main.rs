//! Taking over from the reference, and giving back.
//!
//! A fleet is put on a real API server as the reference leaves it, with its pods running; then the program starts. A
//! restart of every pod is the failure that users of the reference remember (#4696): so nothing at rest may be written,
//! no pod made or taken, and an update goes on from where it is. Afterwards [`back::misread`] reads what the program
//! left with the reference's eyes.

mod back;
mod left;
#[path = "../place/mod.rs"]
mod place;

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_testbed::{Cluster, Suite, TestResult, run_tests};

use left::{APP, Era, Left, Version, conditions, hash_of, template_hash};
use place::{HASH, Outcome, Place, Program, text, time_in, uids};

fn main() -> ExitCode {
    run_tests(
        Suite::default()
            .test("the_hashes_of_this_test_are_the_references", |_| golden())
            .test("healthy_fleets_are_left_alone", healthy)
            .test("fleets_of_older_versions_are_left_alone", older)
            .test("a_paused_canary_goes_on_from_its_step", paused)
            .test("a_paused_canary_with_role_metadata_and_anti_affinity_is_left_alone", adorned)
            .test("a_timed_pause_counts_from_when_it_began", timed)
            .test("a_rolling_update_goes_on", rolling)
            .test("a_paused_canary_is_aborted", paused_then_aborted)
            .test("an_aborted_canary_stays_aborted_and_is_retried", aborted)
            .test("a_blue_green_before_the_switch_is_promoted", before_the_switch)
            .test("a_blue_green_before_the_switch_is_aborted", aborted_before_the_switch)
            .test("a_blue_green_after_the_switch_shrinks_the_old_version_in_time", after_the_switch)
            .test("an_aborted_blue_green_keeps_its_deadline", aborted_blue_green)
            .test("a_referenced_workload_is_left_alone_and_goes_on", workload)
            .test("another_of_us_goes_on_where_one_was_told_to_stop", upgrade)
            .test("another_of_us_goes_on_where_one_was_killed", killed)
            .test("the_one_in_waiting_goes_on_when_the_leader_is_told_to_stop", elected),
    )
}

const STEPS: &str = r#"[{"setWeight":25},{"pause":{}},{"setWeight":50},{"pause":{}}]"#;

/// From the reference's own tests.
async fn golden() -> TestResult {
    assert_eq!(hash_of(r#"{"metadata":{},"spec":{"containers":null}}"#), "658c46c486");
    assert_eq!(hash_of(r#"[{"pause":{}},{"pause":{}}]"#), "79c9b9f6bf");
    let old = r#"{"metadata":{"creationTimestamp":null,"labels":{"app":"canary-scaledowndelay"}},"spec":{"containers":[{"name":"canary-scaledowndelay","image":"nginx:1.19-alpine","ports":[{"name":"http","containerPort":80,"protocol":"TCP"}],"resources":{"requests":{"cpu":"5m","memory":"16Mi"}}}]}}"#;
    assert_eq!(hash_of(old), "66597877b7");
    assert_eq!(hash_of(&old.replace("\"creationTimestamp\":null,", "")), "674d8cf959");
    Ok(())
}

fn canary(era: Era, pods: [i64; 2], status: Value) -> Left {
    let steps: Value = serde_json::from_str(STEPS).unwrap_or_default();
    let mut left = Left {
        era,
        replicas: 4,
        strategy: json!({"canary": {"steps": steps}}),
        versions: vec![Version::new("img:1", pods[0]), Version::new("img:2", pods[1])],
        stable: 0,
        status: json!({"currentStepHash": hash_of(STEPS)}),
        services: Vec::new(),
        references_a_workload: false,
    };
    left::merge(&mut left.status, &status);
    left
}

fn healthy_canary(era: Era) -> Left {
    Left { stable: 1, ..canary(era, [0, 4], json!({"currentStepIndex": 4})) }
}

fn paused_canary(era: Era) -> Left {
    let left = canary(era, [3, 1], json!({"currentStepIndex": 1}));
    held(left, "CanaryPauseStep", -3600)
}

fn held(mut left: Left, reason: &str, since: i64) -> Left {
    let set = format!("{APP}-{}", left.hash(1));
    let pause = json!({"reason": reason, "startTime": time_in(since)});
    let held = json!({"phase": "Paused", "message": reason, "controllerPause": true, "pauseConditions": [pause],
        "conditions": conditions(&set, "Paused")});
    left::merge(&mut left.status, &held);
    left
}

fn cut(mut left: Left) -> Left {
    let message = "RolloutAborted: Rollout aborted update to revision 2";
    let cut = json!({"phase": "Degraded", "message": message, "abort": true, "abortedAt": time_in(-60),
        "conditions": conditions("", "Degraded")});
    left::merge(&mut left.status, &cut);
    left
}

fn blue_green(pods: [i64; 2], stable: usize) -> Left {
    let mut left = Left {
        era: Era::Current,
        replicas: 2,
        strategy: json!({"blueGreen": {"activeService": "active", "previewService": "preview",
            "autoPromotionEnabled": false, "scaleDownDelaySeconds": 2}}),
        versions: vec![Version::new("img:1", pods[0]), Version::new("img:2", pods[1])],
        stable,
        status: Value::Null,
        services: vec![("active", stable), ("preview", 1)],
        references_a_workload: false,
    };
    let active = left.hash(stable);
    left.status = json!({"HPAReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "selector": format!("app={APP},{HASH}={active}"),
        "blueGreen": {"activeSelector": active, "previewSelector": left.hash(1)}});
    left
}

async fn healthy(cluster: Arc<Cluster>) -> TestResult {
    let (fleet, mut controller) = Fleet::take_over(&cluster, healthy_canary(Era::Current)).await?;
    fleet.expect_untouched().await?;
    // An update after the takeover: one new set, and the old ones stay what they are.
    let image = json!({"spec": {"template": left::template(APP, "img:3")}});
    fleet.place.patch("rollouts/shop", image).await?;
    fleet.place.until_paused_at(APP, 1).await?;
    let sets = fleet.place.list_of("replicasets", APP).await?;
    let new = format!("{APP}-{}", template_hash(APP, "img:3", Era::Current));
    assert!(sets.iter().any(|set| text(set, "/metadata/name") == new), "the new set is not {new}");
    assert_eq!(sets.len(), 3);
    fleet.expect_no_pod_but_of(&["img:3"], 3).await?;
    fleet.give_back("img:3", Some(STEPS)).await?;
    controller.expect_well()
}

async fn older(cluster: Arc<Cluster>) -> TestResult {
    for era in [Era::NullTime, Era::Unknown, Era::Collided] {
        let counted = |mut left: Left| {
            if era == Era::Collided {
                left.status["collisionCount"] = 1.into();
            }
            left
        };
        let (fleet, mut controller) = Fleet::take_over(&cluster, counted(healthy_canary(era))).await?;
        fleet.expect_untouched().await?;
        fleet.give_back("img:2", Some(STEPS)).await?;
        controller.expect_well()?;
        let (fleet, mut controller) = Fleet::take_over(&cluster, counted(paused_canary(era))).await?;
        fleet.expect_untouched().await?;
        fleet.promote_to_the_end().await?;
        controller.expect_well()?;
    }
    // Long ago the generation was observed as a hash; that is written anew, and nothing else.
    let mut left = healthy_canary(Era::NullTime);
    left.status["observedGeneration"] = "589f4cd8b6".into();
    let (fleet, mut controller) = Fleet::take_over(&cluster, left).await?;
    fleet.place.until_phase(APP, "Healthy").await?;
    fleet.expect_no_pod_but_of(&[], 2).await?;
    fleet.give_back("img:2", Some(STEPS)).await?;
    controller.expect_well()
}

async fn paused(cluster: Arc<Cluster>) -> TestResult {
    let (fleet, mut controller) = Fleet::take_over(&cluster, paused_canary(Era::Current)).await?;
    fleet.expect_untouched().await?;
    fleet.give_back("img:2", Some(STEPS)).await?;
    fleet.promote_to_the_end().await?;
    controller.expect_well()
}

async fn adorned(cluster: Arc<Cluster>) -> TestResult {
    let mut left = paused_canary(Era::Current);
    left.strategy["canary"]["canaryMetadata"] = json!({"labels": {"role": "canary"}});
    left.strategy["canary"]["stableMetadata"] = json!({"labels": {"role": "stable"}});
    let anti_affinity = json!({"preferredDuringSchedulingIgnoredDuringExecution": {"weight": 5}});
    left.strategy["canary"]["antiAffinity"] = anti_affinity;
    let role = |role: &str| json!({"metadata": {"labels": {"role": role}}});
    let note = |role: &str| format!("{{\"labels\":{{\"role\":\"{role}\"}}}}");
    const NOTE: &str = "rollout.argoproj.io/ephemeral-metadata";
    let selector = json!({"matchExpressions": [{"key": HASH, "operator": "In", "values": [left.hash(0)]}]});
    left.versions[0] =
        left.versions[0].clone().annotated(NOTE, &note("stable")).with_template(role("stable"));
    let mut template = role("canary");
    template["spec"]["affinity"]["podAntiAffinity"] = json!({
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": {
            "labelSelector": selector, "topologyKey": "kubernetes.io/hostname", "namespaces": ["NAMESPACE"]}}]});
    left.versions[1] = left.versions[1].clone().annotated(NOTE, &note("canary")).with_template(template);
    let (fleet, mut controller) = Fleet::take_over(&cluster, left).await?;
    fleet.expect_untouched().await?;
    fleet.give_back("img:2", Some(STEPS)).await?;
    controller.expect_well()
}

async fn timed(cluster: Arc<Cluster>) -> TestResult {
    let steps = r#"[{"setWeight":25},{"pause":{"duration":"1h"}}]"#;
    let mut left =
        canary(Era::Current, [3, 1], json!({"currentStepIndex": 1, "currentStepHash": hash_of(steps)}));
    left.strategy["canary"]["steps"] = serde_json::from_str(steps)?;
    // Ends while the test runs; counted anew it would not.
    let (fleet, mut controller) = Fleet::take_over(&cluster, held(left, "CanaryPauseStep", -3588)).await?;
    fleet.expect_untouched().await?;
    fleet.place.until_phase(APP, "Healthy").await?;
    fleet.give_back("img:2", Some(steps)).await?;
    controller.expect_well()
}

async fn rolling(cluster: Arc<Cluster>) -> TestResult {
    let mut left =
        canary(Era::Current, [2, 2], json!({"currentStepHash": hash_of("null"), "phase": "Progressing"}));
    left.strategy = json!({"canary": {}});
    let (fleet, mut controller) = Fleet::take_over(&cluster, left).await?;
    fleet.place.until_phase(APP, "Healthy").await?;
    fleet.until_pods(&[("img:1", 0), ("img:2", 4)]).await?;
    fleet.expect_no_pod_but_of(&["img:2"], 2).await?;
    fleet.give_back("img:2", Some("null")).await?;
    controller.expect_well()
}

async fn paused_then_aborted(cluster: Arc<Cluster>) -> TestResult {
    let (fleet, mut controller) = Fleet::take_over(&cluster, paused_canary(Era::Current)).await?;
    fleet.place.patch("rollouts/shop/status", json!({"status": {"abort": true}})).await?;
    fleet.place.until_phase(APP, "Degraded").await?;
    fleet.until_pods(&[("img:1", 4), ("img:2", 0)]).await?;
    fleet.expect_no_pod_but_of(&["img:1"], 2).await?;
    fleet.give_back("img:2", Some(STEPS)).await?;
    controller.expect_well()
}

async fn aborted(cluster: Arc<Cluster>) -> TestResult {
    let left = cut(canary(Era::Current, [4, 0], json!({"currentStepIndex": 0})));
    let (fleet, mut controller) = Fleet::take_over(&cluster, left).await?;
    fleet.expect_untouched().await?;
    fleet.place.patch("rollouts/shop/status", json!({"status": {"abort": false}})).await?;
    fleet.place.until_paused_at(APP, 1).await?;
    fleet.until_pods(&[("img:1", 3), ("img:2", 1)]).await?;
    fleet.give_back("img:2", Some(STEPS)).await?;
    controller.expect_well()
}

async fn before_the_switch(cluster: Arc<Cluster>) -> TestResult {
    let (fleet, mut controller) =
        Fleet::take_over(&cluster, held(blue_green([2, 2], 0), "BlueGreenPause", -60)).await?;
    fleet.expect_untouched().await?;
    fleet.give_back("img:2", None).await?;
    fleet.place.patch("rollouts/shop/status", json!({"status": {"pauseConditions": null}})).await?;
    fleet.place.until_phase(APP, "Healthy").await?;
    let service = fleet.place.get("services/active").await?;
    assert_eq!(service["spec"]["selector"][HASH], fleet.left.hash(1));
    fleet.give_back("img:2", None).await?;
    fleet.until_pods(&[("img:1", 0), ("img:2", 2)]).await?;
    fleet.expect_no_pod_but_of(&[], 2).await?;
    controller.expect_well()
}

async fn aborted_before_the_switch(cluster: Arc<Cluster>) -> TestResult {
    let (fleet, mut controller) =
        Fleet::take_over(&cluster, held(blue_green([2, 2], 0), "BlueGreenPause", -60)).await?;
    fleet.place.patch("rollouts/shop/status", json!({"status": {"abort": true}})).await?;
    fleet.place.until_phase(APP, "Degraded").await?;
    let service = fleet.place.get("services/active").await?;
    assert_eq!(service["spec"]["selector"][HASH], fleet.left.hash(0));
    fleet.expect_no_pod_but_of(&[], 2).await?;
    fleet.give_back("img:2", None).await?;
    controller.expect_well()
}

async fn after_the_switch(cluster: Arc<Cluster>) -> TestResult {
    let mut left = blue_green([2, 2], 1);
    // Behind the time that the test needs until it looks.
    left.versions[0] = left.versions[0].clone().annotated("scale-down-deadline", &time_in(14));
    let (fleet, mut controller) = Fleet::take_over(&cluster, left).await?;
    fleet.expect_untouched().await?;
    fleet.give_back("img:2", None).await?;
    fleet.until_pods(&[("img:1", 0), ("img:2", 2)]).await?;
    fleet.expect_no_pod_but_of(&[], 2).await?;
    controller.expect_well()
}

async fn aborted_blue_green(cluster: Arc<Cluster>) -> TestResult {
    let mut left = cut(blue_green([2, 2], 0));
    left.versions[1] = left.versions[1].clone().annotated("scale-down-deadline", &time_in(14));
    let (fleet, mut controller) = Fleet::take_over(&cluster, left).await?;
    fleet.expect_untouched().await?;
    fleet.until_pods(&[("img:1", 2), ("img:2", 0)]).await?;
    fleet.give_back("img:2", None).await?;
    controller.expect_well()
}

async fn workload(cluster: Arc<Cluster>) -> TestResult {
    let left = Left { references_a_workload: true, ..healthy_canary(Era::Current) };
    let (fleet, mut controller) = Fleet::take_over(&cluster, left).await?;
    fleet.expect_untouched().await?;
    let image = json!({"spec": {"template": left::template(APP, "img:3")}});
    fleet.place.patch("deployments/work", image).await?;
    let rollout = fleet.place.until_paused_at(APP, 1).await?;
    assert_eq!(rollout["metadata"]["annotations"]["rollout.argoproj.io/workload-generation"], "2");
    assert_eq!(rollout["status"]["workloadObservedGeneration"], "2");
    assert_eq!(rollout["spec"]["template"], Value::Null, "the template is never written back");
    fleet.give_back("img:3", Some(STEPS)).await?;
    controller.expect_well()
}

/// One of ours makes an update half way, is told to end, and another one goes on.
async fn upgrade(cluster: Arc<Cluster>) -> TestResult {
    let (fleet, controller) = Fleet::take_over(&cluster, paused_canary(Era::Current)).await?;
    let (status, within) = controller.stop().await?;
    assert!(status.success(), "{status}");
    assert!(within.as_millis() < 2500, "it ended after {within:?}");
    let mut next = fleet.place.controller()?;
    fleet.until_looked_at("second").await?;
    fleet.expect_untouched().await?;
    // In the middle of a step, too.
    fleet.promote().await?;
    fleet
        .place
        .until("rollouts/shop", "past the pause", |found| found["status"]["currentStepIndex"] != 1)
        .await?;
    next.expect_well()?;
    next.stop().await?;
    let mut last = fleet.place.controller()?;
    fleet.place.until_paused_at(APP, 3).await?;
    fleet.promote().await?;
    fleet.place.until_phase(APP, "Healthy").await?;
    fleet.expect_no_pod_but_of(&["img:2"], 2).await?;
    fleet.give_back("img:2", Some(STEPS)).await?;
    last.expect_well()
}

async fn killed(cluster: Arc<Cluster>) -> TestResult {
    let (fleet, controller) = Fleet::take_over(&cluster, paused_canary(Era::Current)).await?;
    fleet.promote().await?;
    drop(controller);
    let mut next = fleet.place.controller()?;
    fleet.place.until_paused_at(APP, 3).await?;
    fleet.promote().await?;
    fleet.place.until_phase(APP, "Healthy").await?;
    fleet.expect_no_pod_but_of(&["img:2"], 2).await?;
    fleet.give_back("img:2", Some(STEPS)).await?;
    next.expect_well()
}

/// An upgrade as a Deployment makes it: the next one waits while the first works.
async fn elected(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "takeover").await?;
    let left = paused_canary(Era::Current);
    left.put(&place).await?;
    let before = Snapshot::of(&place).await?;
    let first = place.candidate()?;
    let fleet = Fleet { place, left, before };
    fleet.until_looked_at("lantern").await?;
    let mut second = fleet.place.candidate()?;
    let lease = "leases/argo-rollouts-controller-lock";
    let holder = text(&fleet.place.get(lease).await?, "/spec/holderIdentity").to_owned();
    let (status, within) = first.stop().await?;
    assert!(status.success(), "{status}");
    assert!(within.as_millis() < 2500, "it ended after {within:?}");
    let left_behind = text(&fleet.place.get(lease).await?, "/spec/holderIdentity").to_owned();
    assert_ne!(left_behind, holder, "the lease was given back before the process ended");
    let another = |lease: &Value| !["", &*holder].contains(&text(lease, "/spec/holderIdentity"));
    fleet.place.until(lease, "held by the other", another).await?;
    fleet.expect_untouched().await?;
    fleet.promote_to_the_end().await?;
    second.expect_well()
}

/// A fleet of the reference that the program has looked at.
struct Fleet {
    place: Place,
    left: Left,
    before: Snapshot,
}

impl Fleet {
    /// Puts it on the server, starts the program, and waits until that has had a look.
    async fn take_over(cluster: &Arc<Cluster>, left: Left) -> Outcome<(Fleet, Program)> {
        let place = Place::new(cluster, "takeover").await?;
        let mut left = left;
        for version in &mut left.versions {
            let told = version.template.to_string().replace("NAMESPACE", &place.namespace);
            version.template = serde_json::from_str(&told)?;
        }
        left.put(&place).await?;
        let before = Snapshot::of(&place).await?;
        let controller = place.controller()?;
        let fleet = Fleet { place, left, before };
        fleet.until_looked_at("lantern").await?;
        Ok((fleet, controller))
    }

    /// A Rollout of its own that becomes healthy shows that the program works; the fleet was in its list before.
    async fn until_looked_at(&self, lantern: &str) -> TestResult {
        let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": lantern},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": lantern}},
                "template": left::template(lantern, "img:1"), "strategy": {"canary": {}}}});
        self.place.create("rollouts", &object).await?;
        self.place.until_phase(lantern, "Healthy").await?;
        Ok(())
    }

    /// Nothing at all was written.
    async fn expect_untouched(&self) -> TestResult {
        let after = Snapshot::of(&self.place).await?;
        let told = |snapshot: &Snapshot| {
            snapshot
                .objects
                .iter()
                .map(|(name, object)| (name.clone(), object.to_string()))
                .collect::<Vec<_>>()
        };
        for (before, after) in told(&self.before).iter().zip(told(&after)) {
            if *before != after {
                return Err(format!("touched at rest:\n  was {before:?}\n  is  {after:?}").into());
            }
        }
        assert_eq!(self.before.objects.len(), after.objects.len(), "other objects than before");
        assert_eq!(self.before.pods, after.pods, "other pods than before");
        Ok(())
    }

    /// What kubectl's plugin of the reference sends to promote.
    async fn promote(&self) -> TestResult {
        self.place.patch("rollouts/shop/status", json!({"status": {"pauseConditions": null}})).await?;
        Ok(())
    }

    /// Promotes the canary that is paused at its first pause until it is done, and no pod is made twice.
    async fn promote_to_the_end(&self) -> TestResult {
        self.promote().await?;
        self.place.until_paused_at(APP, 3).await?;
        self.until_pods(&[("img:1", 2), ("img:2", 2)]).await?;
        self.promote().await?;
        self.place.until_phase(APP, "Healthy").await?;
        self.until_pods(&[("img:1", 0), ("img:2", 4)]).await?;
        self.expect_no_pod_but_of(&["img:2"], 2).await?;
        self.give_back("img:2", Some(STEPS)).await
    }

    /// The sets have the pods that they had and grow only in these versions; there are so many sets.
    async fn expect_no_pod_but_of(&self, images: &[&str], sets: usize) -> TestResult {
        let pods = self.place.list_of("pods", APP).await?;
        let known = &self.before.pods;
        for pod in pods.iter().filter(|pod| !known.contains(text(pod, "/metadata/uid"))) {
            let image = text(pod, "/spec/containers/0/image");
            assert!(images.contains(&image), "a pod of {image} was made");
        }
        let now = self.place.list_of("replicasets", APP).await?;
        assert_eq!(
            now.len(),
            sets,
            "sets: {}",
            json!(now.iter().map(|set| &set["metadata"]["name"]).collect::<Vec<_>>())
        );
        Ok(())
    }

    async fn until_pods(&self, wanted: &[(&str, i64)]) -> TestResult {
        for (image, pods) in wanted {
            let set = format!("replicasets/{APP}-{}", template_hash(APP, image, self.left.era));
            let reached = |found: &Value| {
                found["spec"]["replicas"] == *pods
                    && found["status"]["availableReplicas"].as_i64().unwrap_or(0) == *pods
            };
            self.place.until(&set, &format!("at {pods}"), reached).await?;
        }
        Ok(())
    }

    /// The reference would find its place.
    async fn give_back(&self, image: &str, steps: Option<&str>) -> TestResult {
        let wrong = back::misread(&self.place, image, steps).await?;
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("the reference would misread: {}", wrong.join("; ")).into())
        }
    }
}

/// Everything of the fleet that somebody could write, and which pods it has.
struct Snapshot {
    objects: Vec<(String, Value)>,
    pods: std::collections::BTreeSet<String>,
}

impl Snapshot {
    async fn of(place: &Place) -> Outcome<Snapshot> {
        let mut objects = vec![(APP.to_owned(), place.get("rollouts/shop").await?)];
        for kind in ["replicasets", "services", "deployments"] {
            let all = if kind == "replicasets" {
                place.list_of(kind, APP).await?
            } else {
                place.list(kind).await?
            };
            objects.extend(
                all.into_iter().map(|object| (format!("{kind}/{}", text(&object, "/metadata/name")), object)),
            );
        }
        let pods = uids(&place.list_of("pods", APP).await?);
        Ok(Snapshot { objects, pods })
    }
}
