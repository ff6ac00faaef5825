//! The manifest on the page of each metric provider runs: in a step of an update, with a good answer in the shape in which
//! the provider sends it the update passes, with a bad one it is aborted, and while nobody answers it is no success.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_api::object::Object;
use tidegate_api::yaml;
use tidegate_sim::play::{Outcome, play};
use tidegate_sim::scenario::{Files, Script, object_of};

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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/providers");
    let mut pages: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|e| e == "md") && !page.ends_with("README.md"));
    pages.sort();
    pages
}

/// The first YAML block of a page: an analysis template.
fn template(page: &Path) -> Object {
    let text = fs::read_to_string(page).unwrap();
    let block = text.split("```yaml\n").nth(1).unwrap_or_else(|| panic!("no manifest in {}", page.display()));
    let block = block.split("```").next().unwrap();
    let documents = yaml::read(&page.display().to_string(), block).unwrap();
    let objects = yaml::objects(documents);
    assert_eq!(objects.len(), 1, "{}", page.display());
    object_of(&objects[0]).unwrap()
}

/// A Secret in the namespace of the controller, or of the run.
fn secret(namespace: &str, name: &str, data: &[(&str, &str)]) -> Value {
    // In base64, as Secrets are stored: all of these happen to be plain.
    let data: BTreeMap<&str, &str> = data.iter().copied().collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

/// `shop`, `7`, `http://influx:8086`, `token` in base64.
const SHOP: &str = "c2hvcA==";
const SEVEN: &str = "Nw==";
const INFLUX: &str = "aHR0cDovL2luZmx1eDo4MDg2";
const TOKEN: &str = "dG9rZW4=";

/// A stylised answer: what a question must contain, and what comes back.
type Answer = (&'static str, Value);

/// What a provider needs, and what it answers when all is well and when it is not.
fn of_provider(name: &str) -> (Vec<Value>, Vec<Answer>, Vec<Answer>) {
    let ours = "argo-rollouts";
    let one = |good: Value, bad: Value| (vec![("", good)], vec![("", bad)]);
    let text = |body: String| json!({"status": 200, "body": body});
    let (secrets, (good, bad)) = match name {
        "prometheus" => (vec![], one(json!([0.01]), json!([0.4]))),
        "web" => {
            let said = |rate: f64| json!({"data": {"errorRate": rate}});
            (vec![secret("default", "health", &[("token", TOKEN)])], one(said(0.01), said(0.4)))
        }
        "datadog" => {
            let keys = secret(ours, "datadog", &[("api-key", TOKEN), ("app-key", TOKEN)]);
            let said = |rate: f64| json!({"data": {"attributes": {"columns": [{"name": "rate", "type": "number", "values": [rate]}]}}});
            (vec![keys], one(said(0.01), said(0.4)))
        }
        "newrelic" => {
            let keys = secret(ours, "shop-newrelic", &[("personal-api-key", TOKEN), ("account-id", SEVEN)]);
            let said = |errors: i64| json!({"data": {"actor": {"account": {"nrql": {"results": [{"errors": errors}]}}}}});
            (vec![keys], one(said(1), said(40)))
        }
        "wavefront" => {
            let said = |rate: f64| json!({"timeseries": [{"data": [[1_767_225_600, rate]]}]});
            let keys = secret(ours, "wavefront-api-tokens", &[("example.wavefront.com", TOKEN)]);
            (vec![keys], one(said(0.01), said(0.4)))
        }
        "graphite" => {
            let said = |rate: f64| json!([{"target": "errors", "datapoints": [[null, 1], [rate, 2]]}]);
            (vec![], one(said(0.01), said(0.4)))
        }
        "influxdb" => {
            let keys =
                secret(ours, "shop-influxdb", &[("address", INFLUX), ("authToken", TOKEN), ("org", SHOP)]);
            let said = |rate: f64| {
                text(format!(
                    "#datatype,string,long,double\r\n#group,false,false,false\r\n#default,_result,,\r\n\
                     ,result,table,_value\r\n,,0,{rate}\r\n\r\n"
                ))
            };
            (vec![keys], one(said(0.01), said(0.4)))
        }
        "cloudwatch" => {
            let said = |rate: f64| {
                text(format!(
                    "<GetMetricDataResponse><GetMetricDataResult><MetricDataResults><member><Id>rate</Id>\
                     <StatusCode>Complete</StatusCode><Timestamps><member>2026-01-01T00:00:00Z</member></Timestamps>\
                     <Values><member>{rate}</member></Values></member></MetricDataResults></GetMetricDataResult>\
                     </GetMetricDataResponse>"
                ))
            };
            (vec![], one(said(0.001), said(0.4)))
        }
        "skywalking" => {
            let said =
                |apdex: &str| json!({"data": {"service_apdex": {"values": {"values": [{"value": apdex}]}}}});
            (vec![], one(said("9950"), said("5000")))
        }
        "kayenta" => {
            let said = |score: i64| {
                let result = json!({"judgeResult": {"score": {"score": score}}});
                vec![
                    ("/canaryConfig", json!([{"id": "7", "name": "errors"}])),
                    ("/canary/7", json!({"canaryExecutionId": "01H"})),
                    ("/canary/01H", json!({"complete": true, "result": result})),
                ]
            };
            (vec![], (said(95), said(10)))
        }
        other => panic!("what does {other} answer?"),
    };
    (secrets, good, bad)
}

/// An update whose only analysis step asks as the page says.
fn play_page(page: &Path, secrets: &[Value], answers: &[Answer], pods: &Value) -> Outcome {
    let mut given: Vec<Value> = secrets.to_vec();
    let template = template(page).to_value();
    let args = template["spec"]["args"].as_array().cloned().unwrap_or_default();
    let bare = args.iter().filter(|arg| arg["value"].is_null() && arg["valueFrom"].is_null());
    let args: Vec<Value> = bare.map(|arg| json!({"name": arg["name"], "value": "shop"})).collect();
    let asked = json!({"templates": [{"templateName": template["metadata"]["name"]}], "args": args});
    given.push(template);
    given.push(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}},
            "template": {"metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "shop", "image": "shop:v1"}]}},
            "strategy": {"canary": {"steps": [{"setWeight": 50}, {"analysis": asked}]}}}}));
    let series: Vec<Value> =
        answers.iter().map(|(part, value)| json!({"match": part, "values": [value]})).collect();
    let story = json!({"about": "A page.", "given": given, "world": {"metrics": series, "pods": pods},
        "when": [{"at": "0s", "set_image": {"rollout": "shop", "image": "shop:v2"}}],
        "then": {"within": "2h"}});
    let script = Script::read("page.yaml", &story.to_string(), &Nowhere)
        .unwrap_or_else(|why| panic!("{}: {}", page.display(), why.render(false)));
    play(&script)
}

#[test]
fn every_page_passes_a_good_version_and_aborts_a_bad_one() {
    let mut seen = Vec::new();
    for page in pages() {
        let name = page.file_stem().unwrap().to_string_lossy().into_owned();
        let ends = |outcome: &Outcome| outcome.ends["shop"].clone();
        let shown = |outcome: &Outcome| format!("{name}: {:?}\n{}", outcome.failures, outcome.trace());
        if name == "job" {
            // Its measurements are pods.
            for (exit, end) in [(0, "Healthy"), (1, "Degraded")] {
                let pods = json!({"smoke-test:v1": {"exit": exit}});
                let outcome = play_page(&page, &[], &[], &pods);
                assert_eq!(ends(&outcome), end, "{}", shown(&outcome));
            }
        } else {
            let (secrets, good, bad) = of_provider(&name);
            let nobody = [("", json!({"fails": "connection refused"}))];
            for (answers, end) in [(&good[..], "Healthy"), (&bad, "Degraded"), (&nobody, "Degraded")] {
                let outcome = play_page(&page, &secrets, answers, &json!({}));
                assert_eq!(ends(&outcome), end, "{}", shown(&outcome));
                assert!(outcome.violations.is_empty(), "{}", shown(&outcome));
                let is_error = outcome.trace().contains(" Error ");
                assert_eq!(is_error, answers == nobody, "{}", shown(&outcome));
            }
        }
        seen.push(name);
    }
    let known = tidegate_controller::providers::ALL.len() + 1;
    assert_eq!(seen.len(), known, "a page for each provider, and for Jobs: {seen:?}");
}
