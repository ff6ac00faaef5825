//! `tidegate plan` as a user sees it: output, errors, exit codes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the program in the top folder; what it printed on both streams, and the exit code if it is not 0.
fn tidegate(arguments: &[&str], input: &str) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the top folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .current_dir(top)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut shown = text(&output.stdout) + &text(&output.stderr);
    if output.status.code() != Some(0) {
        shown += &format!("exit code {:?}\n", output.status.code());
    }
    shown
}

fn manifest(name: &str) -> String {
    format!("scenarios/manifests/{name}.yaml")
}

fn plan(arguments: &[&str]) -> String {
    tidegate(&[&["plan"], arguments].concat(), "")
}

const BAD: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: -1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: \"web:v1\"}]}
  strategy:
    canary:
      steps:
      - setWeight: 200
      - analysis: {templates: [{templateName: errors}]}
";

#[test]
fn a_canary_as_a_table() {
    insta::assert_snapshot!(plan(&["-f", &manifest("web-canary-gated")]));
}

#[test]
fn a_blue_green_as_a_table() {
    insta::assert_snapshot!(plan(&["-f", &manifest("web-blue-green-timed"), &manifest("web-services")]));
}

#[test]
fn a_rolling_update_as_markdown() {
    insta::assert_snapshot!(plan(&["-f", &manifest("web-rolling"), "-o", "markdown"]));
}

#[test]
fn a_canary_as_json() {
    insta::assert_snapshot!(plan(&[&manifest("web-canary"), "-o", "json", "--startup", "500ms"]));
}

#[test]
fn a_difference_as_a_table() {
    let old = manifest("web-canary");
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&old)).expect("read");
    let new = text.replace("duration: 2m", "duration: 5m").replace("maxSurge: 1", "maxSurge: 3");
    insta::assert_snapshot!(tidegate(&["plan", "-f", "-", "--against", &old], &new));
}

#[test]
fn a_difference_as_markdown_and_json() {
    let files = ["-f", &manifest("web-blue-green"), "--against", &manifest("web-blue-green-manual")];
    insta::assert_snapshot!(plan(&[&files[..], &["-o", "markdown"]].concat()));
    let json = plan(&[&files[..], &["-o", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let [difference] = &value["differences"].as_array().expect("a list")[..] else { panic!("{json}") };
    assert_eq!(difference["same"], false);
    assert_eq!(difference["old"]["promotions"], 1);
    assert_eq!(difference["new"]["promotions"], 0);
}

#[test]
fn manifests_that_do_the_same_are_said_to() {
    let file = manifest("web-canary");
    insta::assert_snapshot!(plan(&["-f", &file, "--against", &file]));
}

#[test]
fn everything_that_is_wrong_is_said_at_its_place() {
    insta::assert_snapshot!(tidegate(&["plan", "-f", "-"], BAD));
}

#[test]
fn analyses_are_shown_with_what_each_outcome_leads_to() {
    insta::assert_snapshot!(plan(&["-f", &manifest("web-analysis-step"), &manifest("web-checks")]));
}

#[test]
fn a_template_that_is_not_there_is_named_at_its_place() {
    insta::assert_snapshot!(plan(&["-f", &manifest("web-analysis-background")]));
}

#[test]
fn what_analyses_do_differently_is_shown() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(manifest(name));
        std::fs::read_to_string(path).expect("read")
    };
    let new = read("web-checks")
        .replace("failureLimit: 2", "failureLimit: 1")
        .replace("interval: 30s", "interval: 20s");
    let new = format!("{}---\n{new}", read("web-analysis-step"));
    let (rollout, old) = (manifest("web-analysis-step"), manifest("web-checks"));
    insta::assert_snapshot!(tidegate(&["plan", "-f", "-", "--against", &rollout, "--against", &old], &new));
}

const ESTIMATE: [&str; 8] =
    ["--error-rate", "1.5%", "--good-error-rate", "0.005", "--rps", "50", "--seeds", "2000"];

#[test]
fn an_estimate_as_a_table() {
    let files = ["-f", &manifest("web-analysis-step"), &manifest("web-checks")];
    let shown = plan(&[&files[..], &ESTIMATE].concat());
    let estimate = shown.split_once("Estimate of").map(|(_, estimate)| estimate);
    insta::assert_snapshot!(estimate.expect("an estimate"));
}

#[test]
fn an_estimate_as_markdown_and_json() {
    let files = ["-f", &manifest("web-analysis-background"), &manifest("web-checks")];
    let shown = plan(&[&files[..], &ESTIMATE, &["-o", "markdown"]].concat());
    let estimate = shown.split_once("### Estimate").map(|(_, estimate)| estimate);
    insta::assert_snapshot!(estimate.expect("an estimate"));
    let json = plan(&[&files[..], &ESTIMATE, &["-o", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    insta::assert_snapshot!(format!("{:#}", value["rollouts"][0]["estimate"]));
}

#[test]
fn where_nothing_is_asked_there_is_nothing_to_estimate() {
    let shown = plan(&[&["-f", &manifest("web-canary")], &ESTIMATE[..]].concat());
    let estimate = shown.split_once("Estimate of").map(|(_, estimate)| estimate);
    insta::assert_snapshot!(estimate.expect("an estimate"));
    insta::assert_snapshot!(plan(&["-f", &manifest("web-canary"), "--error-rate", "2"]));
}

#[test]
fn a_workload_that_is_not_there_is_named() {
    let lone = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: app}
  strategy: {canary: {}}
";
    insta::assert_snapshot!(tidegate(&["plan", "-f", "-"], lone));
}

#[test]
fn input_without_a_rollout_is_wrong_use() {
    insta::assert_snapshot!(plan(&["-f", &manifest("web-services")]));
    insta::assert_snapshot!(plan(&["-f", "no-such-file.yaml"]));
    insta::assert_snapshot!(plan(&["-f", "-", "--against", "-"]));
    insta::assert_snapshot!(plan(&["-f", "scenarios/canary/basic.yaml"]));
}

#[test]
fn several_rollouts_have_a_table_each() {
    let of = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(manifest("web-rolling"));
        std::fs::read_to_string(path).expect("read").replace("{name: web}", &format!("{{name: {name}}}"))
    };
    let shown = tidegate(&["plan", "-f", "-"], &format!("{}---\n{}", of("a"), of("b")));
    let titles: Vec<&str> = shown.lines().filter(|line| line.contains(": canary of")).collect();
    assert_eq!(titles, ["a: canary of 8 pods", "b: canary of 8 pods"]);
}

#[test]
fn the_help_teaches() {
    insta::assert_snapshot!(plan(&["--help"]));
}

/// The shape of the JSON is a contract: every key stands in the documentation.
#[test]
fn every_key_of_the_json_is_documented() {
    fn keys(value: &serde_json::Value, found: &mut Vec<String>) {
        if let Some(map) = value.as_object() {
            found.extend(map.keys().cloned());
            map.values().for_each(|value| keys(value, found));
        }
        value.as_array().into_iter().flatten().for_each(|value| keys(value, found));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plan.md");
    let documentation = std::fs::read_to_string(path).expect("docs/plan.md");
    let (new, old) = (manifest("web-canary"), manifest("web-canary-gated"));
    let mut found = Vec::new();
    let (asks, checks) = (manifest("web-analysis-step"), manifest("web-checks"));
    let asked = [&["-f", &asks, &checks, "-o", "json"], &ESTIMATE[..]].concat();
    let against = vec!["-f", &new, "--against", &old, "-o", "json"];
    for arguments in [vec!["-f", &new, "-o", "json"], against, asked] {
        keys(&serde_json::from_str(&plan(&arguments)).expect("JSON"), &mut found);
    }
    let missing: Vec<&String> =
        found.iter().filter(|key| !documentation.contains(&format!("`{key}`"))).collect();
    assert!(found.len() > 30 && missing.is_empty(), "not documented: {missing:?}");
}
