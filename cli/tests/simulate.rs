//! `tidegate simulate`: what may be given, what is told as data, how it ends.

mod program;

use program::{Folder, MANIFEST, scenario};
use serde_json::Value;

const DOCUMENTED: &str = include_str!("../../docs/output.md");

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("a mapping").keys().map(String::as_str).collect()
}

#[test]
fn json_has_the_documented_shape() {
    let folder = Folder::new("simulate_json");
    folder.write("web.yaml", MANIFEST);
    folder.write("a.yaml", &scenario("[web.yaml]", "Healthy"));
    let ran = folder.run("simulate a.yaml --seed 7 -o json");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let run: Value = serde_json::from_str(&ran.out).unwrap();
    let top = [
        "at_rest",
        "detections",
        "ends",
        "events",
        "hash",
        "invariants",
        "milestones",
        "scenario",
        "seed",
        "simulated_seconds",
        "users",
        "writes",
    ];
    assert_eq!(keys(&run), top);
    assert_eq!(keys(&run["events"][0]), ["at_ms", "detail", "what", "who"]);
    assert_eq!(keys(&run["invariants"]), ["checks", "violations"]);
    for key in top.iter().chain(&[
        "at_ms",
        "detail",
        "what",
        "who",
        "checks",
        "violations",
        "id",
        "objects",
        "message",
    ]) {
        assert!(DOCUMENTED.contains(&format!("`{key}`")), "docs/output.md says nothing of {key}");
    }
    assert_eq!(run["scenario"], "a.yaml");
    assert_eq!(run["seed"], 7);
    assert_eq!(run["ends"], serde_json::json!({"web": "Healthy"}));
    assert_eq!((&run["at_rest"], &run["users"]), (&Value::Bool(true), &Value::Null));
    assert!(run["invariants"]["checks"].as_u64().unwrap() > 1000);
    assert_eq!(run["invariants"]["violations"], serde_json::json!([]));
    assert_eq!(run["hash"].as_str().unwrap().len(), 16);
}

#[test]
fn milestones_are_the_tracks_of_the_recordings() {
    let folder = Folder::new("simulate_milestones");
    folder.write("web.yaml", MANIFEST);
    folder.write("a.yaml", &scenario("[web.yaml]", "Healthy"));
    let run: Value = serde_json::from_str(&folder.run("simulate a.yaml -o json").out).unwrap();
    let track = |name: &str| run["milestones"][name].to_string();
    assert_eq!(track("script"), r#"["set_image ok"]"#);
    assert_eq!(track("rs/rev2/desired"), "[0,1,2,3,4,5,6,7,8,9,10]");
    assert_eq!(track("rollout/web/stable"), r#"["-","rev1","rev2"]"#);
    assert_eq!(track("final/Rollout/web/phase"), r#"["Healthy"]"#);
    assert_eq!(track("pods/rev2/made"), "[10]");
}

#[test]
fn given_takes_files_patterns_and_objects() {
    let folder = Folder::new("simulate_given");
    let manifest = |name: &str| {
        MANIFEST
            .replace("{name: web}", &format!("{{name: {name}}}"))
            .replace("app: web", &format!("app: {name}"))
    };
    folder.write("manifests/web-b.yaml", &manifest("b"));
    folder.write("manifests/web-a.yaml", &manifest("a"));
    folder.write("manifests/deep/er/web-c.yaml", &manifest("c"));
    folder.write("manifests/notes.txt", "no manifest");
    folder.write("manifests/.hidden.yaml", "no: manifest");
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}";
    for (given, ends) in [
        ("[../manifests/web-a.yaml]", &["a"][..]),
        ("[../manifests/*.yaml]", &["a", "b"]),
        ("[../manifests/web-?.yaml]", &["a", "b"]),
        ("[\"../manifests/web-[b-z].yaml\"]", &["b"]),
        ("[../manifests/**/*.yaml]", &["a", "b", "c"]),
        ("[../*/web-b.yaml]", &["b"]),
        (&format!("[../manifests/web-a.yaml, {service}]"), &["a"]),
    ] {
        folder.write("scenarios/a.yaml", &format!("given: {given}\n"));
        let ran = folder.run("simulate scenarios/a.yaml -o json");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{given}");
        let run: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(keys(&run["ends"]), ends, "{given}");
    }
}

#[test]
fn a_pattern_of_nothing_is_underlined() {
    let folder = Folder::new("simulate_no_match");
    folder.write("a.yaml", "given:\n- manifests/*.yaml\n");
    let ran = folder.run("simulate a.yaml");
    let said = "error: no file matches `manifests/*.yaml`
 --> a.yaml:2:3
  |
2 | - manifests/*.yaml
  |   ^^^^^^^^^^^^^^^^
";
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), said));
}

#[test]
fn an_expectation_that_fails_is_told_and_counts() {
    let folder = Folder::new("simulate_fails");
    folder.write("web.yaml", MANIFEST);
    folder.write("good.yaml", &scenario("[web.yaml]", "Healthy"));
    folder.write("bad.yaml", &scenario("[web.yaml]", "Degraded"));
    let ran = folder.run("simulate bad.yaml good.yaml");
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    assert!(ran.out.contains("\nFAILED: line 6: web ends Healthy, not Degraded\n"), "{}", ran.out);
    let ran = folder.run("simulate bad.yaml good.yaml -o json");
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err, "bad.yaml: FAILED: line 6: web ends Healthy, not Degraded\n");
    assert_eq!(ran.out.lines().count(), 2);
}

#[test]
fn wrong_use_and_unreadable_input_are_two() {
    let folder = Folder::new("simulate_wrong");
    folder.write("a.yaml", "given: [\n");
    folder.write("b.yaml", "given: []\nthen: {end: Healthy}\n");
    for words in [
        "simulate",
        "simulate missing.yaml",
        "simulate a.yaml",
        "simulate b.yaml",
        "simulate a.yaml -o xml",
        "simulate a.yaml --seed x",
    ] {
        let ran = folder.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{words}");
        assert!(ran.err.starts_with("error: "), "{words}: {}", ran.err);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_world_that_takes_no_output_is_three() {
    let folder = Folder::new("simulate_full");
    folder.write("web.yaml", MANIFEST);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = folder.run_into("simulate web.yaml", full.into());
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.starts_with("error: cannot write to standard output: "), "{}", ran.err);
}

/// What plain manifests ask is shown as `plan` shows it, and the queries about users are answered meanwhile.
#[test]
fn plain_manifests_show_what_they_ask() {
    let folder = Folder::new("simulate_analyses");
    folder.write("web.yaml", include_str!("../../scenarios/manifests/web-analysis-step.yaml"));
    let checks = include_str!("../../scenarios/manifests/web-checks.yaml");
    folder.write("checks.yaml", checks);
    let ran = folder.run("simulate web.yaml checks.yaml");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for told in [
        "no series under `world.metrics` fits it",
        "web: Analyses",
        "Failed at the 3rd",
        "Inconclusive at the 2nd",
    ] {
        assert!(ran.out.contains(told), "{told}: {}", ran.out);
    }
    let json: Value = serde_json::from_str(&folder.run("simulate web.yaml checks.yaml -o json").out).unwrap();
    let asked = &json["analyses"][0];
    assert_eq!((&asked["rollout"], &asked["asked"][0]["question"]), (&"web".into(), &"Step".into()));
    let missing = folder.run("simulate web.yaml");
    assert_eq!(missing.code, Some(1));
    let named = "spec.strategy.canary.steps[1].analysis.templates[0].templateName: AnalysisTemplate \"checks\" is not";
    assert!(missing.err.contains(named), "{}", missing.err);
}

/// A version that an analysis found out is told with what it cost.
#[test]
fn what_a_bad_version_cost_is_told() {
    let folder = Folder::new("simulate_detections");
    folder.write("web.yaml", include_str!("../../scenarios/manifests/web-analysis-step.yaml"));
    let checks = include_str!("../../scenarios/manifests/web-checks.yaml");
    let metrics = checks.split_once("  - name: queue").map(|(before, _)| before).unwrap();
    folder.write("checks.yaml", metrics);
    folder.write(
        "bad.yaml",
        "about: A bad version is found out.\ngiven: [web.yaml, checks.yaml]\nworld: {traffic: {rps: 100}, \
         quality: {\"web:v2\": {errors: 5%}}}\nwhen:\n- {at: 0s, set_image: {rollout: web, image: \"web:v2\"}}\n\
         then: {ends: Degraded}\n",
    );
    let ran = folder.run("simulate bad.yaml -o json");
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let [found] = &json["detections"].as_array().unwrap()[..] else { panic!("{json:#}") };
    for key in keys(found) {
        assert!(DOCUMENTED.contains(&format!("`{key}`")), "docs/output.md says nothing of {key}");
    }
    assert_eq!((&found["rollout"], &found["image"]), (&"web".into(), &"web:v2".into()));
    // Measured after one, two and three minutes; a fifth of the requests goes there until the pod is replaced.
    let (after, exposed) = (found["after_ms"].as_i64().unwrap(), found["requests_exposed"].as_i64().unwrap());
    assert!((170_000..=190_000).contains(&after), "{after}");
    assert!((after / 50..=after / 50 + 200).contains(&exposed), "{exposed} in {after} ms");
    let last = folder.run("simulate bad.yaml").out;
    assert!(last.contains("web web:v2 taken back"), "{last}");
}
