//! Ambassador and Emissary: beside each Mapping of the user stands a copy for the canary Service with its share as
//! weight. It is made when the canary gets traffic, and goes when that has been 0 for a while.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};

use super::document::{
    adopt, at, become_if_new, controlling_rollout, create, delete, list, list_mut, set, set_weight, share,
    text, trouble, weight,
};
use super::{Change, Place, Reads, Router, Trouble, View, Want};
use crate::sabotage::Sabotage;

/// Ambassador's and Emissary's Mappings.
pub struct Ambassador;

impl Router for Ambassador {
    fn name(&self) -> &'static str {
        "ambassador"
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        let pairs = mappings(at).into_iter().flat_map(|name| [key(at, name), canary_key(at, name)]);
        pairs.map(Reads::One).collect()
    }

    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let mut changes = Vec::new();
        let mut troubles = Vec::new();
        for name in mappings(&view.at) {
            match canary_change(view, want, name) {
                Ok(change) => changes.extend(change),
                Err(trouble) => troubles.push(trouble),
            }
        }
        match &troubles[..] {
            [] => Ok(changes),
            [first, more @ ..] => {
                let mut trouble = first.clone();
                if !more.is_empty() {
                    let all: String = troubles.iter().map(|trouble| format!("[{trouble}]")).collect();
                    trouble.message = format!("{} errors found: {all}", troubles.len()).into();
                }
                Err(trouble)
            }
        }
    }

    // ARGO: the reference sleeps five seconds in its worker between weight 0 and the deletion (Q33).
    fn retire(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        if want.percent() != 0 {
            return Ok(Vec::new());
        }
        let idle = mappings(&view.at).into_iter().map(|name| canary_key(&view.at, name)).filter(|key| {
            let canary = view.objects.get(key).filter(|canary| !is_of_another(view, canary));
            canary.is_some_and(|canary| weight(&canary.to_value()["spec"]["weight"]) == Some(0))
        });
        Ok(idle.map(delete).collect())
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let shown = |name: &str| {
            let Some(canary) = view.objects.get(&canary_key(&view.at, name)) else {
                // Without a canary Mapping nothing goes to the canary.
                return view.objects.contains_key(&key(&view.at, name)).then_some(0);
            };
            let parts = weight(&canary.to_value()["spec"]["weight"]).unwrap_or(0);
            Some(share(parts, 100, view.at.routing.whole()))
        };
        mappings(&view.at).into_iter().filter_map(shown).max()
    }

    // ARGO: the reference leaves the copy with its weight when a Rollout no longer names the Mapping (Q33).
    fn clean_up(&self, object: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
        let owner = controlling_rollout(object)?;
        let is_copy = ["Mapping", "AmbassadorMapping"].contains(&object.kind.name())
            && object.meta.name.ends_with("-canary");
        if !is_copy || is_user(owner) {
            return None;
        }
        let mut document = object.to_value();
        match weight(&document["spec"]["weight"]) {
            None => None,
            Some(0) => Some(delete(object.key())),
            Some(_) => {
                set_weight(&mut document["spec"], 0);
                become_if_new(object, document)
            }
        }
    }
}

/// Each Mapping once, in the order of the list.
fn mappings<'a>(at: &Place<'a>) -> Vec<&'a str> {
    let config: &'a Value = &at.stanza.config;
    let mut names = Vec::new();
    for name in list(config, &["mappings"]).iter().filter_map(Value::as_str) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The kind that the operator chose: a group and version, or a version of Ambassador's own group.
fn kind(at: &Place<'_>) -> Kind {
    let chosen = &*at.settings.ambassador_version;
    let (group, version) = chosen.split_once('/').unwrap_or(("getambassador.io", chosen));
    let name = if group == "x.getambassador.io" { "AmbassadorMapping" } else { "Mapping" };
    Kind::new(&format!("{group}/{version}"), name)
}

fn key(at: &Place<'_>, name: &str) -> Key {
    Key::new(kind(at), at.namespace().clone(), name)
}

/// The canary's copy of a Mapping. Names may have 253 characters.
fn canary_key(at: &Place<'_>, name: &str) -> Key {
    let cut: String = name.chars().take(246).collect();
    key(at, &format!("{cut}-canary"))
}

fn is_of_another(view: &View<'_>, canary: &Object) -> bool {
    canary.meta.controller().is_some() && !view.controls(canary)
}

/// What the canary's copy of one Mapping needs.
fn canary_change(view: &View<'_>, want: &Want<'_>, name: &str) -> Result<Option<Change>, Trouble> {
    let parts = want.percent();
    let canary_key = canary_key(&view.at, name);
    let told = format!("Set canary mapping weight to {parts}");
    if let Some(canary) = view.objects.get(&canary_key) {
        if is_of_another(view, canary) {
            let what = format!("Ambassador mapping \"{}\" is controlled by another object", canary_key.name);
            return Err(trouble(&canary_key, "metadata.ownerReferences", what));
        }
        let mut document = canary.to_value();
        if !document["spec"].is_object() {
            return Err(trouble(&canary_key, "spec", "Ambassador mapping has no specification"));
        }
        set_weight(&mut document["spec"], parts);
        own(&mut document, view);
        let change = become_if_new(canary, document);
        return Ok(change.map(|change| change.telling("CanaryMappingWeightUpdate", told)));
    }
    if parts == 0 {
        return Ok(None);
    }
    let key = key(&view.at, name);
    let base = view.get(&key).map_err(|trouble| {
        let told = format!("Ambassador mapping \"{name}\" not found");
        trouble.telling("AmbassadorMappingNotFound", told)
    })?;
    let mut document = base.to_value();
    if !matches!(&document["spec"]["weight"], Value::Null) && weight(&document["spec"]["weight"]) != Some(0) {
        let what = format!("Ambassador mapping \"{name}\" can not define weight");
        let trouble = trouble(&key, "spec.weight", &what);
        return Err(trouble.telling("AmbassadorMappingConfigError", what));
    }
    if !document["spec"].is_object() {
        return Err(trouble(&key, "spec", "Ambassador mapping has no specification"));
    }
    let canary = view.at.canary;
    let service = text(&document, &["spec", "service"]);
    let service = match &*canary.stable_service {
        "" => service.to_owned(),
        stable => service.replacen(stable, &canary.canary_service, 1),
    };
    if view.is_sabotaged(Sabotage::BareCopies) {
        document["spec"] = json!({"prefix": document["spec"]["prefix"]});
    }
    set(&mut document, &["spec"], "service", Some(Value::from(service)));
    set_weight(&mut document["spec"], parts);
    set(&mut document, &[], "status", None);
    let metadata = json!({"name": &*canary_key.name, "namespace": &*canary_key.namespace});
    set(&mut document, &[], "metadata", Some(metadata));
    own(&mut document, view);
    Ok(Some(create(canary_key, document).telling("CanaryMappingWeightUpdate", told)))
}

/// Makes the Rollout the owner of the copy, so that it goes with it.
// ARGO: the copies of the reference have no owner and stay when the Rollout is deleted (Q33).
fn own(document: &mut Value, view: &View<'_>) {
    if list(document, &["metadata", "ownerReferences"]).iter().any(|owner| at(owner, &["controller"]) == true)
    {
        adopt(document, view);
        return;
    }
    match list_mut(document, &["metadata", "ownerReferences"]) {
        Some(owners) => owners.push(view.owner()),
        None => set(document, &["metadata"], "ownerReferences", Some(json!([view.owner()]))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::What;
    use super::super::stage::{Stage, split};
    use super::super::testing::{any_json, any_want, check_any_document, check_foreign_fields_survive};
    use super::*;

    fn stage_of(mappings: Value, objects: &[Value]) -> Stage {
        Stage::new(
            json!({"canaryService": "canary-service", "stableService": "main-service",
                "trafficRouting": {"ambassador": {"mappings": mappings}}}),
            objects,
        )
    }

    fn stage(service: &str) -> Stage {
        stage_of(json!(["main"]), &[mapping("main", json!({"prefix": "/", "service": service, "ttl": 3}))])
    }

    fn mapping(name: &str, spec: Value) -> Value {
        json!({"apiVersion": "getambassador.io/v2", "kind": "Mapping",
            "metadata": {"name": name, "labels": {"a": "b"}}, "spec": spec})
    }

    fn canary(stage: &Stage) -> Value {
        stage.document("Mapping", "main-canary")
    }

    #[test]
    fn v126_a_copy_for_the_canary_is_made() {
        let mut stage = stage("main-service:8080");
        assert_eq!(stage.view(|router, view| router.shown(view)), Some(0));
        assert_eq!(stage.route(&split(0)).unwrap(), []);
        assert_eq!(
            stage.carry_out(&split(13)),
            ["CanaryMappingWeightUpdate: Set canary mapping weight to 13"]
        );
        assert_eq!(
            canary(&stage),
            json!({"apiVersion": "getambassador.io/v2", "kind": "Mapping",
                "metadata": {"name": "main-canary", "namespace": "prod", "ownerReferences": [
                    {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u1",
                        "controller": true, "blockOwnerDeletion": true}]},
                "spec": {"prefix": "/", "service": "canary-service:8080", "ttl": 3, "weight": 13}})
        );
        assert_eq!(stage.view(|router, view| router.shown(view)), Some(13));
    }

    #[test]
    fn v127_scheme_and_port_around_the_service_stay() {
        for (base, copy) in [
            ("main-service", "canary-service"),
            ("https://main-service:8080", "https://canary-service:8080"),
            ("other", "other"),
        ] {
            let mut stage = stage(base);
            stage.carry_out(&split(13));
            assert_eq!(canary(&stage)["spec"]["service"], copy);
        }
    }

    #[test]
    fn v128_only_the_weight_of_a_copy_changes() {
        let mut stage = stage("main-service");
        stage.put(mapping("main-canary", json!({"service": "canary-service", "weight": 5, "x": 1})));
        stage.carry_out(&split(13));
        let canary = canary(&stage);
        assert_eq!(canary["spec"], json!({"service": "canary-service", "weight": 13, "x": 1}));
        // A copy that the reference left gets an owner, and keeps its labels.
        assert_eq!(canary["metadata"]["ownerReferences"][0]["uid"], "u1");
        assert_eq!(canary["metadata"]["labels"]["a"], "b");
    }

    #[test]
    fn v129_weight_0_comes_first_and_the_deletion_later() {
        let mut stage = stage("main-service");
        stage.carry_out(&split(13));
        let retire =
            |stage: &Stage, weight| stage.view(|router, view| router.retire(view, &split(weight))).unwrap();
        assert_eq!(retire(&stage, 0), []);
        stage.carry_out(&split(0));
        assert_eq!(canary(&stage)["spec"]["weight"], 0);
        assert_eq!(retire(&stage, 13), []);
        let [gone] = &retire(&stage, 0)[..] else { panic!() };
        assert_eq!((&*gone.key.name, &gone.what), ("main-canary", &What::Delete));
    }

    #[test]
    fn v130_a_base_with_a_weight_of_its_own_is_refused() {
        let weighted = mapping("main", json!({"service": "main-service", "weight": 20}));
        let trouble = stage_of(json!(["main"]), &[weighted]).route(&split(20)).unwrap_err();
        assert!(trouble.message.contains("Ambassador mapping \"main\" can not define weight"), "{trouble}");
        assert!(trouble.message.contains("spec.weight"), "{trouble}");
        assert_eq!(&*trouble.event.unwrap().0, "AmbassadorMappingConfigError");
        let zero = mapping("main", json!({"service": "main-service", "weight": 0}));
        stage_of(json!(["main"]), &[zero]).carry_out(&split(20));
    }

    #[test]
    fn v131_long_names_are_cut() {
        let stage = stage("main-service");
        let name = stage.view(|_, view| canary_key(&view.at, &"m".repeat(253)).name);
        assert_eq!((name.len(), name.ends_with("m-canary")), (253, true));
    }

    #[test]
    fn v132_kinds_by_the_operators_version() {
        for (version, api_version, name) in [
            ("x.getambassador.io/v3alpha1", "x.getambassador.io/v3alpha1", "AmbassadorMapping"),
            ("invalid.com/v1alpha1", "invalid.com/v1alpha1", "Mapping"),
            ("v1", "getambassador.io/v1", "Mapping"),
        ] {
            let mut stage = stage("main-service");
            stage.settings.ambassador_version = version.into();
            let kind = stage.view(|_, view| kind(&view.at));
            assert_eq!((kind.api_version(), kind.name()), (api_version, name));
        }
    }

    #[test]
    fn all_missing_mappings_are_told() {
        let one = stage_of(json!(["a"]), &[]).route(&split(5)).unwrap_err();
        assert_eq!(&*one.message, "mappings.getambassador.io \"a\" not found");
        assert!(one.is_missing);
        assert_eq!(&*one.event.unwrap().0, "AmbassadorMappingNotFound");
        let two = stage_of(json!(["a", "b"]), &[]).route(&split(5)).unwrap_err();
        assert_eq!(
            &*two.message,
            "2 errors found: [mappings.getambassador.io \"a\" not found][mappings.getambassador.io \"b\" not found]"
        );
    }

    #[test]
    fn a_mapping_of_somebody_else_is_neither_edited_nor_deleted() {
        let mut stage = stage("main-service");
        let mut foreign = mapping("main-canary", json!({"weight": 0}));
        foreign["metadata"]["ownerReferences"] = json!([{"apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout", "name": "another", "uid": "u2", "controller": true}]);
        stage.put(foreign);
        assert!(stage.route(&split(5)).unwrap_err().message.contains("controlled by another"));
        assert_eq!(stage.view(|router, view| router.retire(view, &split(0))).unwrap(), []);
    }

    #[test]
    fn the_copy_of_a_rollout_without_mappings_is_cleaned_up() {
        let mut stage = stage("main-service");
        stage.carry_out(&split(13));
        let clean_up = |stage: &Stage, is_user: bool| {
            let object = Object::from_value(canary(stage)).unwrap();
            Ambassador.clean_up(&object, &|name| is_user && name == "web")
        };
        assert_eq!(clean_up(&stage, true), None);
        let Some(Change { what: What::Become(zero), .. }) = clean_up(&stage, false) else { panic!() };
        assert_eq!(zero["spec"]["weight"], 0);
        stage.put((*zero).clone());
        assert_eq!(clean_up(&stage, false).unwrap().what, What::Delete);
        let base = Object::from_value(stage.document("Mapping", "main")).unwrap();
        assert_eq!(Ambassador.clean_up(&base, &|_| false), None);
    }

    proptest! {
        #[test]
        fn fields_of_others_survive(unknown in prop::collection::vec(any_json(), 1..4), want in any_want()) {
            let mut stage = stage("main-service");
            stage.put(mapping("main-canary", json!({"service": "canary-service", "weight": 5})));
            check_foreign_fields_survive(&stage, &unknown, &want);
        }

        #[test]
        fn no_document_makes_it_panic(spec in any_json(), mappings in any_json(), want in any_want()) {
            check_any_document(&stage("main-service"), &spec, &want);
            let objects = [mapping("main", json!({})), mapping("main-canary", json!({}))];
            check_any_document(&stage_of(json!(["main"]), &objects), &spec, &want);
            check_any_document(&stage_of(mappings, &objects), &spec, &want);
        }
    }
}
