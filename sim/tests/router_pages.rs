//! The manifest on the page of each router plays as the page says: a release that ends well and that no user notices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;
use tidegate_api::yaml;
use tidegate_sim::forecast::{STARTUP, forecast};
use tidegate_sim::play::play;
use tidegate_sim::scenario::{Entry, Files, Moment, Script, Verb, object_of};

struct Nowhere;

impl Files for Nowhere {
    fn text(&self, _file: &str) -> Result<String, String> {
        Err("a page stands for itself".to_owned())
    }

    fn matching(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// The pages, without the overview.
fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/routers");
    let mut pages: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|e| e == "md") && !page.ends_with("README.md"));
    pages.sort();
    assert!(pages.len() >= 9, "{pages:?}");
    pages
}

/// The first YAML block of a page.
fn manifest(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let block = text.split("```yaml\n").nth(1).unwrap_or_else(|| panic!("no manifest in {}", page.display()));
    block.split("```").next().unwrap().to_owned()
}

/// A page's manifest as a story: the first deployment, then an update.
fn story(page: &Path) -> Script {
    let (name, text) = (page.display().to_string(), manifest(page));
    let documents = yaml::read(&name, &text).unwrap();
    if documents.iter().any(Script::is_scenario) {
        return Script::read(&name, &text, &Nowhere).unwrap();
    }
    let given: Vec<Object> =
        yaml::objects(documents).iter().map(|document| object_of(document).unwrap()).collect();
    let rollout = given.iter().find(|object| object.kind == Kind::Rollout).unwrap();
    let verb = Verb::SetImage {
        rollout: rollout.meta.name.to_string(),
        container: None,
        image: "shop:next".to_owned(),
    };
    let mut script = Script::of(&name, given.clone());
    script.when.push(Entry { moment: Moment::At(Span::ZERO), after: Span::ZERO, verb, line: 0 });
    script.promote_after = Some(Span::seconds(30));
    script
}

#[test]
fn every_page_plays_to_a_good_end_that_users_do_not_notice() {
    for page in pages() {
        let outcome = play(&story(&page));
        let shown = || format!("{}\n{}", page.display(), outcome.trace());
        assert!(outcome.failures.is_empty(), "{:?}\n{}", outcome.failures, shown());
        assert!(outcome.ends.values().all(|phase| phase == "Healthy"), "{}", shown());
        let felt = outcome.meter().total(None);
        assert!(felt.requests() > 0, "{}", shown());
        assert_eq!((felt.errors().0, felt.no_endpoint().0), (0, 0), "{}", shown());
    }
}

/// A page's release where each change of a route takes this long to reach proxies, for how many seconds. No request is lost.
fn seconds(page: &Path, millis: i64) -> i64 {
    let mut script = story(page);
    script.routers.propagation = (millis, millis);
    let outcome = play(&script);
    let shown = || format!("{} with {millis} ms\n{}", page.display(), outcome.trace());
    assert!(outcome.ends.values().all(|phase| phase == "Healthy"), "{}", shown());
    let felt = outcome.meter().total(None);
    assert_eq!((felt.errors().0, felt.no_endpoint().0, outcome.violations.len()), (0, 0, 0), "{}", shown());
    outcome.simulated.0 / 1000
}

/// Proxies may take as long as the propagation time of one second behind each router, and where a router says what its
/// proxies serve by, that is waited for, however long it takes.
#[test]
fn what_is_in_force_is_waited_for() {
    for page in pages() {
        let soon = seconds(&page, 900);
        if ["gateway-api.md", "linkerd.md"].iter().any(|name| page.ends_with(name)) {
            let late = seconds(&page, 8_000);
            assert!(late >= soon + 10, "{}: {soon} s, then {late} s", page.display());
        }
    }
}

#[test]
fn every_page_can_be_planned() {
    for page in pages() {
        let objects = story(&page).given;
        let rollout = objects.iter().find(|object| object.kind == Kind::Rollout).unwrap();
        let plan = forecast(rollout, &objects, STARTUP)
            .unwrap_or_else(|refusals| panic!("{}: {refusals:?}", page.display()));
        assert!(plan.end.complete, "{}: {:?}", page.display(), plan.end);
        assert_eq!(plan.end.phase, "Healthy", "{}", page.display());
        assert_eq!(plan.notes, [""; 0], "{}: all that is read stands on the page", page.display());
        // The first weight is what its step says, and the pods of the stable side are all there.
        let weights: Vec<i64> = plan.rows.iter().map(|row| row.weight.1).collect();
        assert!(weights.contains(&20) && weights.last() == Some(&100), "{}: {weights:?}", page.display());
    }
}

/// What routers read and nobody gave is made up where the Rollout says enough of it, else it is named.
#[test]
fn a_rollout_alone_is_planned_or_told_what_is_missing() {
    for (page, missing) in [
        ("nginx.md", ""),
        ("traefik.md", ""),
        ("smi.md", ""),
        ("apisix.md", "ApisixRoute"),
        ("ambassador.md", "Mapping"),
        ("alb.md", "Ingress"),
    ] {
        let page = pages().into_iter().find(|path| path.ends_with(page)).unwrap();
        let objects = story(&page).given;
        let rollout = objects.iter().find(|object| object.kind == Kind::Rollout).unwrap();
        match forecast(rollout, &[], STARTUP) {
            Ok(plan) => {
                assert_eq!((missing, plan.end.phase.as_str()), ("", "Healthy"), "{}", page.display());
                assert!(plan.notes.len() >= 2, "{:?}", plan.notes);
            }
            Err(refusals) => {
                let why = &refusals[0].why;
                assert!(!missing.is_empty() && why.starts_with(missing), "{}: {refusals:?}", page.display());
            }
        }
    }
}
