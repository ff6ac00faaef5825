//! SMI: a TrafficSplit of our own divides the requests to the root Service among canary, arms and stable. Linkerd up
//! to 2.11 reads it, later ones through its SMI extension.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind};

use super::document::{adopt, become_if_new, create, list, set, share, text, trouble, weight};
use super::{Change, Place, Reads, Router, Trouble, View, Want};

/// Any mesh that serves `split.smi-spec.io`.
pub struct Smi;

impl Router for Smi {
    fn name(&self) -> &'static str {
        "smi"
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        key(at).map(Reads::One).into_iter().collect()
    }

    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let key = key(&view.at)?;
        let Some(found) = view.objects.get(&key) else {
            if view.unserved.contains(&key.kind) {
                return view.get(&key).map(|_| Vec::new());
            }
            let mut document = json!({"apiVersion": key.kind.api_version(), "kind": key.kind.name(),
                "metadata": {"name": &*key.name, "namespace": &*key.namespace,
                    "ownerReferences": [view.owner()]}});
            split(&mut document, view, want);
            let told = format!("TrafficSplit `{}` created", key.name);
            return Ok(vec![create(key, document).telling("TrafficSplitCreated", told)]);
        };
        if !view.controls(found) {
            let what = format!("Rollout does not own TrafficSplit `{}`", key.name);
            return Err(trouble(&key, "metadata.ownerReferences", what));
        }
        let mut document = found.to_value();
        split(&mut document, view, want);
        adopt(&mut document, view);
        Ok(become_if_new(found, document).into_iter().collect())
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let document = view.objects.get(&key(&view.at).ok()?)?.to_value();
        let backends = list(&document, &["spec", "backends"]);
        let parts = |backend: &Value| weight(&backend["weight"]).unwrap_or(0).max(0);
        let total = backends.iter().map(parts).fold(0, i64::saturating_add);
        let canary = &*view.at.canary.canary_service;
        let canary = backends.iter().filter(|backend| text(backend, &["service"]) == canary).map(parts);
        Some(share(canary.fold(0, i64::saturating_add), total, view.at.routing.whole()))
    }
}

/// The TrafficSplit, in the version that the operator chose.
fn key(at: &Place<'_>) -> Result<Key, Trouble> {
    let version = &*at.settings.split_version;
    if !["v1alpha1", "v1alpha2", "v1alpha3"].contains(&version) {
        return Err(Trouble::of_config(format!("Unsupported TrafficSplit API version `{version}`")));
    }
    let name = match text(at.config(), &["trafficSplitName"]) {
        "" => &*at.rollout.meta.name,
        name => name,
    };
    let kind = Kind::new(&format!("split.smi-spec.io/{version}"), "TrafficSplit");
    Ok(Key::new(kind, at.namespace().clone(), name))
}

/// Writes Service and backends. The object is ours: it has exactly these backends, but their own further fields stay.
fn split(document: &mut Value, view: &View<'_>, want: &Want<'_>) {
    let canary = view.at.canary;
    let root = match text(view.at.config(), &["rootService"]) {
        "" => &*canary.stable_service,
        root => root,
    };
    let arms = want.arms.iter().map(|arm| (&*arm.service, super::percent(arm.weight, want.whole)));
    let sides = [(&*canary.canary_service, want.percent())];
    let stable = [(&*canary.stable_service, want.stable_percent())];
    let before = list(document, &["spec", "backends"]);
    let backend = |(service, parts): (&str, i64)| {
        let mut backend = before.iter().find(|backend| text(backend, &["service"]) == service).cloned();
        let backend = backend.get_or_insert_with(|| json!({"service": service}));
        if weight(&backend["weight"]) != Some(parts) {
            // A Kubernetes quantity in the first version, a number in the others.
            let is_quantity = &*view.at.settings.split_version == "v1alpha1";
            let parts = if is_quantity { Value::from(parts.to_string()) } else { Value::from(parts) };
            set(backend, &[], "weight", Some(parts));
        }
        backend.take()
    };
    let backends: Vec<Value> = sides.into_iter().chain(arms).chain(stable).map(backend).collect();
    set(document, &["spec"], "backends", Some(Value::from(backends)));
    set(document, &["spec"], "service", Some(Value::from(root)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::stage::{Stage, split};
    use super::super::testing::{any_json, any_want, check_any_document, check_foreign_fields_survive};
    use super::super::{Arm, What};
    use super::*;

    fn stage_of(smi: Value, objects: &[Value]) -> Stage {
        Stage::new(
            json!({"canaryService": "canary", "stableService": "stable", "trafficRouting": {"smi": smi}}),
            objects,
        )
    }

    fn stage(version: &str) -> Stage {
        let mut stage = stage_of(json!({}), &[]);
        stage.settings.split_version = version.into();
        stage
    }

    fn document(stage: &Stage) -> Value {
        stage.document("TrafficSplit", "web")
    }

    fn backends(stage: &Stage) -> Vec<String> {
        let document = document(stage);
        let backends = document["spec"]["backends"].as_array().unwrap().iter();
        backends.map(|b| format!("{} {}", b["service"].as_str().unwrap(), b["weight"])).collect()
    }

    #[test]
    fn v110_a_split_is_made() {
        let mut stage = stage("v1alpha1");
        assert_eq!(stage.view(|router, view| router.shown(view)), None);
        assert_eq!(stage.carry_out(&split(10)), ["TrafficSplitCreated: TrafficSplit `web` created"]);
        assert_eq!(
            document(&stage),
            json!({"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit",
                "metadata": {"name": "web", "namespace": "prod", "ownerReferences": [
                    {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u1",
                        "controller": true, "blockOwnerDeletion": true}]},
                "spec": {"service": "stable", "backends": [
                    {"service": "canary", "weight": "10"}, {"service": "stable", "weight": "90"}]}})
        );
        assert_eq!(stage.view(|router, view| router.shown(view)), Some(10));
    }

    #[test]
    fn v111_v112_weights_move_without_an_event_and_only_when_they_differ() {
        for (version, half) in [("v1alpha1", "\"50\""), ("v1alpha2", "50"), ("v1alpha3", "50")] {
            let mut stage = stage(version);
            stage.carry_out(&split(10));
            assert_eq!(stage.carry_out(&split(50)), [""; 0]);
            assert_eq!(backends(&stage), [format!("canary {half}"), format!("stable {half}")]);
            stage.carry_out(&split(100));
            assert_eq!(stage.view(|router, view| router.shown(view)), Some(100));
        }
    }

    #[test]
    fn a_quantity_that_was_stored_as_a_number_stays() {
        let mut stage = stage("v1alpha1");
        stage.carry_out(&split(10));
        let mut stored = document(&stage);
        stored["spec"]["backends"][0]["weight"] = json!(10);
        stage.put(stored);
        assert_eq!(stage.route(&split(10)).unwrap(), []);
    }

    #[test]
    fn v113_a_split_of_somebody_else_is_refused_and_that_of_a_predecessor_taken_over() {
        let mut stage = stage("v1alpha1");
        stage.carry_out(&split(10));
        let mut stored = document(&stage);
        stored["metadata"]["ownerReferences"][0]["uid"] = json!("before");
        stage.put(stored.clone());
        stage.carry_out(&split(10));
        assert_eq!(document(&stage)["metadata"]["ownerReferences"][0]["uid"], "u1");
        stored["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        stage.put(stored);
        let trouble = stage.route(&split(10)).unwrap_err();
        assert!(trouble.message.contains("Rollout does not own TrafficSplit `web`"), "{trouble}");
    }

    #[test]
    fn v114_an_unknown_version_is_refused() {
        let stage = stage("does-not-exist");
        let trouble = stage.route(&split(10)).unwrap_err();
        assert_eq!(&*trouble.message, "Unsupported TrafficSplit API version `does-not-exist`");
    }

    #[test]
    fn v115_arms_stand_between_the_sides() {
        let arm = |service: &str| Arm { service: service.into(), hash: "h".into(), weight: 5 };
        let mut stage = stage("v1alpha2");
        stage.carry_out(&Want { arms: &[arm("a"), arm("b")], ..split(10) });
        assert_eq!(backends(&stage), ["canary 10", "a 5", "b 5", "stable 80"]);
        stage.carry_out(&split(10));
        assert_eq!(backends(&stage), ["canary 10", "stable 90"]);
    }

    #[test]
    fn root_service_and_name_are_those_of_the_rollout() {
        let mut stage = stage_of(json!({"rootService": "root", "trafficSplitName": "other"}), &[]);
        stage.carry_out(&split(0));
        assert_eq!(stage.document("TrafficSplit", "other")["spec"]["service"], "root");
    }

    #[test]
    fn a_kind_that_is_not_served_is_trouble_at_once() {
        let stage = stage("v1alpha1");
        let kinds = [Kind::new("split.smi-spec.io/v1alpha1", "TrafficSplit")];
        let made = stage.view(|router, view| router.route(&View { unserved: &kinds, ..*view }, &split(10)));
        assert!(made.unwrap_err().message.contains("does not serve split.smi-spec.io/v1alpha1"));
    }

    proptest! {
        #[test]
        fn fields_of_others_survive(unknown in prop::collection::vec(any_json(), 1..4), want in any_want()) {
            let mut stage = stage("v1alpha2");
            stage.carry_out(&Want { arms: want.arms, ..split(0) });
            check_foreign_fields_survive(&stage, &unknown, &want);
        }

        #[test]
        fn no_document_makes_it_panic(spec in any_json(), config in any_json(), want in any_want()) {
            let mut stage = stage("v1alpha1");
            let [change] = &stage.route(&split(0)).unwrap()[..] else { unreachable!() };
            let What::Create(made) = &change.what else { unreachable!() };
            stage.put((**made).clone());
            check_any_document(&stage, &spec, &want);
            if config.is_object() {
                check_any_document(&stage_of(config, &[(**made).clone()]), &spec, &want);
            }
        }
    }
}
