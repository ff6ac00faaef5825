//! Traefik: weights of two entries in the list of a TraefikService that the user made.

use serde_json::Value;
use tidegate_api::object::{Key, Kind};

use super::document::{become_if_new, list, list_mut, set_weight, share, text, trouble, weight};
use super::{Change, Place, Reads, Router, Trouble, View, Want};

/// Traefik's weighted round robin.
pub struct Traefik;

const SERVICES: &[&str] = &["spec", "weighted", "services"];

impl Router for Traefik {
    fn name(&self) -> &'static str {
        "traefik"
    }

    /// A Service without endpoints takes the whole TraefikService along, whatever its weight.
    fn needs_a_stable_pod(&self) -> bool {
        true
    }

    fn needs_a_canary_pod(&self) -> bool {
        true
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        vec![Reads::One(key(at))]
    }

    // ARGO: the reference writes in every pass, whether anything differs or not (Q29).
    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let key = key(&view.at);
        let found = view.get(&key)?;
        let mut document = found.to_value();
        let failed = |what: &str| Err(trouble(&key, &SERVICES.join("."), what));
        let Some(services) = list_mut(&mut document, SERVICES) else {
            return failed("spec.weighted.services was not found in traefik service manifest");
        };
        let sides = [
            ("canary", &view.at.canary.canary_service, want.percent()),
            ("stable", &view.at.canary.stable_service, want.stable_percent()),
        ];
        for (side, name, parts) in sides {
            let mut service = None;
            for entry in services.iter_mut() {
                match entry.get("name").and_then(Value::as_str) {
                    None => return failed("name field was not found in service"),
                    Some(found) if found == &**name => {
                        service = Some(entry);
                        break;
                    }
                    Some(_) => {}
                }
            }
            match service {
                Some(service) => set_weight(service, parts),
                None => return failed(&format!("traefik {side} service was not found")),
            }
        }
        Ok(become_if_new(found, document).into_iter().collect())
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let document = view.objects.get(&key(&view.at))?.to_value();
        let services = list(&document, SERVICES);
        // Traefik takes a missing weight for 1.
        let parts = |entry: &Value| match entry.get("weight") {
            None => 1,
            Some(given) => weight(given).unwrap_or(0).max(0),
        };
        let total = services.iter().map(parts).fold(0, i64::saturating_add);
        let canary = &*view.at.canary.canary_service;
        let canary = services.iter().filter(|entry| text(entry, &["name"]) == canary).map(parts);
        Some(share(canary.fold(0, i64::saturating_add), total, view.at.routing.whole()))
    }
}

fn key(at: &Place<'_>) -> Key {
    let version = &*at.settings.traefik_version;
    let version = version.rsplit_once('/').map_or(version, |(_, version)| version);
    let kind = Kind::new(&format!("{}/{version}", at.settings.traefik_group), "TraefikService");
    Key::new(kind, at.namespace().clone(), text(at.config(), &["weightedTraefikServiceName"]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::stage::{Stage, split};
    use super::super::testing::{any_json, any_want, check_any_document, check_foreign_fields_survive};
    use super::*;

    fn stage(services: Value) -> Stage {
        stage_of(json!({"weighted": {"services": services}}))
    }

    fn stage_of(spec: Value) -> Stage {
        Stage::new(
            json!({"canaryService": "canary", "stableService": "stable",
                "trafficRouting": {"traefik": {"weightedTraefikServiceName": "main"}}}),
            &[json!({"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService",
                "metadata": {"name": "main"}, "spec": spec})],
        )
    }

    fn both() -> Value {
        json!([{"name": "other", "port": 80, "weight": 0}, {"name": "stable", "port": 80},
            {"name": "canary", "port": 80}])
    }

    #[track_caller]
    fn check_trouble(stage: &Stage, text: &str) {
        let trouble = stage.route(&split(30)).unwrap_err();
        assert!(trouble.message.starts_with(text), "{trouble}");
    }

    #[test]
    fn v124_both_weights_are_set_and_nothing_else() {
        let mut stage = stage(both());
        assert_eq!(stage.view(|router, view| router.shown(view)), Some(50));
        assert_eq!(stage.carry_out(&split(30)), [""; 0]);
        assert_eq!(
            stage.document("TraefikService", "main")["spec"]["weighted"]["services"],
            json!([{"name": "other", "port": 80, "weight": 0}, {"name": "stable", "port": 80, "weight": 70},
                {"name": "canary", "port": 80, "weight": 30}])
        );
        assert_eq!(stage.view(|router, view| router.shown(view)), Some(30));
    }

    #[test]
    fn v125_services_that_are_not_in_the_list() {
        check_trouble(&stage(json!([{"name": "stable"}])), "traefik canary service was not found");
        check_trouble(&stage(json!([{"name": "canary"}])), "traefik stable service was not found");
        check_trouble(&stage(json!([{"port": 80}])), "name field was not found in service");
        check_trouble(
            &stage_of(json!({"mirroring": {}})),
            "spec.weighted.services was not found in traefik service manifest",
        );
    }

    #[test]
    fn a_missing_object_says_which_one() {
        let mut stage = stage(both());
        stage.objects.clear();
        let trouble = stage.route(&split(30)).unwrap_err();
        assert!(trouble.is_missing);
        assert_eq!(&*trouble.message, "traefikservices.traefik.io \"main\" not found");
    }

    #[test]
    fn group_and_version_are_the_operators() {
        let mut stage = stage(both());
        stage.settings.traefik_group = "traefik.containo.us".into();
        stage.settings.traefik_version = "v1alpha2".into();
        let version = stage.view(|_, view| key(&view.at).kind.api_version().to_owned());
        assert_eq!(version, "traefik.containo.us/v1alpha2");
    }

    proptest! {
        #[test]
        fn fields_of_others_survive(unknown in prop::collection::vec(any_json(), 1..4), want in any_want()) {
            check_foreign_fields_survive(&stage(both()), &unknown, &want);
        }

        #[test]
        fn no_document_makes_it_panic(spec in any_json(), services in any_json(), want in any_want()) {
            check_any_document(&stage(both()), &spec, &want);
            check_any_document(&stage(both()), &json!({"weighted": {"services": [services]}}), &want);
        }
    }
}
