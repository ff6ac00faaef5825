//! The form in which the API server stores an object: fields that the CRD does not know are gone, defaults are filled
//! in. What a write did not touch is in that form already and is not looked at, so writes of sizes and statuses, which
//! are nearly all writes, cost nothing here.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::analysis::AnalysisDocument;
use tidegate_api::object::{Body, Object, RolloutStatus, Template};
use tidegate_api::schema;

/// Brings what changed since `before` into the stored form.
pub fn bring(before: Option<&Object>, after: &mut Object) {
    let old = before.map(|object| &object.body);
    let kind = after.kind.name().to_owned();
    match (&mut after.body, old) {
        (Body::Rollout(new), old) => {
            let old = match old {
                Some(Body::Rollout(old)) => Some(old),
                _ => None,
            };
            if old.is_none_or(|old| !Arc::ptr_eq(&old.spec, &new.spec)) {
                let spec = stored(&kind, json!({"spec": new.spec.raw()}))["spec"].take();
                match old {
                    // What was worked out about the specification is kept with it.
                    Some(old) if *old.spec.raw() == spec => new.spec = old.spec.clone(),
                    _ if *new.spec.raw() == spec => {}
                    _ => *new = new.with_spec(spec),
                }
            }
            // The controller writes nothing that the CRD does not know; others may.
            if new.status.rest.is_some() && old.is_none_or(|old| old.status.rest != new.status.rest) {
                let status = stored(&kind, json!({"status": new.status.to_value()}))["status"].take();
                *new = new.with_status(RolloutStatus::from_value(&status));
            }
        }
        (Body::ReplicaSet(new), old) => {
            let old =
                old.and_then(|old| if let Body::ReplicaSet(old) = old { Some(&old.template) } else { None });
            bring_template(old, &mut new.template);
        }
        (Body::Deployment(new), old) => {
            let old =
                old.and_then(|old| if let Body::Deployment(old) = old { Some(&old.template) } else { None });
            bring_template(old, &mut new.template);
        }
        (Body::Other(new), old) if schema::KINDS.contains(&&*kind) && after.kind.group() == "argoproj.io" => {
            let touched = !matches!(old, Some(Body::Other(old)) if Arc::ptr_eq(old, new));
            if touched {
                *new = Arc::new(stored(&kind, (**new).clone()));
            }
        }
        (Body::AnalysisRun(new), old) => {
            let old = old.and_then(|old| if let Body::AnalysisRun(old) = old { Some(old) } else { None });
            if old.is_none_or(|old| !Arc::ptr_eq(&old.spec, &new.spec)) {
                let spec = stored(&kind, json!({"spec": new.spec.raw()}))["spec"].take();
                match old {
                    Some(old) if *old.spec.raw() == spec => new.spec = old.spec.clone(),
                    _ if *new.spec.raw() == spec => {}
                    _ => *new = new.with_spec(spec),
                }
            }
        }
        (Body::Experiment(new), old) => {
            let old = old.and_then(|old| if let Body::Experiment(old) = old { Some(old) } else { None });
            if old.is_none_or(|old| !Arc::ptr_eq(&old.spec, &new.spec)) {
                let spec = stored(&kind, json!({"spec": new.spec.raw()}))["spec"].take();
                match old {
                    Some(old) if *old.spec.raw() == spec => new.spec = old.spec.clone(),
                    _ if *new.spec.raw() == spec => {}
                    _ => *new = new.with_spec(spec),
                }
            }
        }
        (Body::AnalysisTemplate(new), old) => {
            let touched =
                !matches!(old, Some(Body::AnalysisTemplate(old)) if Arc::ptr_eq(&old.spec, &new.spec));
            if touched {
                let spec = stored(&kind, json!({"spec": new.spec.raw()}))["spec"].take();
                new.spec = Arc::new(AnalysisDocument::new(spec));
            }
        }
        (Body::Other(_) | Body::Pod(_) | Body::Service(_), _) => {}
    }
}

fn stored(kind: &str, mut object: Value) -> Value {
    schema::prune(kind, &mut object);
    schema::apply_defaults(kind, &mut object);
    object
}

fn bring_template(before: Option<&Template>, template: &mut Template) {
    let is_same =
        |before: &Template| before.spec.is_shared_with(&template.spec) && before.rest == template.rest;
    if template.is_empty() || before.is_some_and(is_same) {
        return;
    }
    let full = schema::default_pod_template(&template.to_value());
    // A template that cannot be read as one is left to the checks.
    if let Ok(full) = Template::from_value(full, "spec.template")
        && full != *template
    {
        *template = full;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::object::{Key, Kind};
    use tidegate_api::time::Time;

    use crate::cluster::store::{Part, Store};

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    fn create(store: &mut Store, value: Value) -> Value {
        let change = store.create(object(value), Time(0)).expect("accepted");
        change.after.expect("there").to_value()
    }

    #[test]
    fn fields_that_the_crd_does_not_know_are_not_stored() {
        let mut store = Store::default();
        let stored = create(
            &mut store,
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r", "namespace": "n"},
                "spec": {"replicas": 1, "odd": 1, "selector": {"matchLabels": {"a": "b"}}, "paused": null,
                    "template": {"metadata": {"name": "x", "labels": {"a": "b"}},
                        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}], "new": 1}]}}}}),
        );
        assert_eq!(
            stored["spec"],
            json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}})
        );
        let key = Key::new(Kind::Rollout, "n", "r");
        let with_odd_field = |object: &mut Object| {
            let Body::Rollout(body) = &mut object.body else { return Ok(()) };
            let mut spec = body.spec.raw().into_owned();
            spec["odd"] = json!(2);
            *body = body.with_spec(spec);
            Ok(())
        };
        let change = store.update(&key, None, Part::Main, with_odd_field).expect("accepted");
        assert!(change.is_idle(), "what is pruned away is no change");
        let with_odd_status = |object: &mut Object| {
            let Body::Rollout(body) = &mut object.body else { return Ok(()) };
            *body = body.with_status(RolloutStatus::from_value(&json!({"abort": true, "odd": 1})));
            Ok(())
        };
        let change = store.update(&key, None, Part::Status, with_odd_status).expect("accepted");
        assert_eq!(change.after.expect("there").to_value()["status"], json!({"abort": true}));
    }

    #[test]
    fn pod_templates_of_built_in_workloads_get_their_defaults() {
        let mut store = Store::default();
        let stored = create(
            &mut store,
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "s", "namespace": "n"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                    "spec": {"odd": 1, "containers": [{"name": "c", "image": "web:1"}]}}}}),
        );
        let pod = &stored["spec"]["template"]["spec"];
        assert_eq!((&pod["restartPolicy"], &pod["odd"]), (&json!("Always"), &Value::Null));
        assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
        let key = Key::new(Kind::ReplicaSet, "n", "s");
        let before = store.get(&key).expect("there").clone();
        let scaled = |object: &mut Object| {
            if let Body::ReplicaSet(body) = &mut object.body {
                body.replicas = Some(3);
            }
            Ok(())
        };
        let after = store.update(&key, None, Part::Main, scaled).expect("accepted").after.expect("there");
        let spec = |object: &Object| object.replica_set().expect("a set").template.spec.clone();
        assert!(spec(&before).is_shared_with(&spec(&after)), "nobody looks at what was not touched");
    }

    #[test]
    fn other_kinds_of_ours_are_pruned_too() {
        let mut store = Store::default();
        let stored = create(
            &mut store,
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": "t", "namespace": "n"},
                "spec": {"odd": 1, "metrics": [{"name": "m", "provider": {"datadog": {"query": "q"}}}]}}),
        );
        assert_eq!(
            stored["spec"],
            json!({"metrics": [{"name": "m", "provider":
                {"datadog": {"query": "q", "apiVersion": "v1", "interval": "5m", "requestTimeout": "10s"}}}]})
        );
    }
}
