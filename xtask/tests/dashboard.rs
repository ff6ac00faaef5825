//! The Grafana dashboard asks for metrics that there are, by labels that they have. A panel with a misspelt name is
//! empty, and nobody notices before the night it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Every metric of the controller, its kind and labels: part of the compatibility that users' own dashboards rely on.
const METRICS: [(&str, &str, &str); 46] = [
    ("rollout_info", "gauge", "namespace name strategy traffic_router phase"),
    ("rollout_info_replicas_available", "gauge", "namespace name"),
    ("rollout_info_replicas_unavailable", "gauge", "namespace name"),
    ("rollout_info_replicas_desired", "gauge", "namespace name"),
    ("rollout_info_replicas_updated", "gauge", "namespace name"),
    ("rollout_phase", "gauge", "namespace name strategy phase"),
    ("rollout_reconcile", "histogram", "namespace name"),
    ("rollout_reconcile_error", "counter", "namespace name"),
    ("rollout_events_total", "counter", "namespace name type reason"),
    ("rollout_duration_seconds", "histogram", "status"),
    ("rollout_progression_duration_seconds", "histogram", "status"),
    ("rollout_manual_pause_duration_seconds", "histogram", "status"),
    ("analysis_run_info", "gauge", "namespace name phase"),
    ("analysis_run_phase", "gauge", "namespace name phase"),
    ("analysis_run_metric_type", "gauge", "namespace name metric type"),
    ("analysis_run_metric_phase", "gauge", "namespace name metric type dry_run phase"),
    ("analysis_run_reconcile", "histogram", "namespace name"),
    ("analysis_run_reconcile_error", "counter", "namespace name"),
    ("analysis_template_info", "gauge", "namespace name"),
    ("analysis_template_metric_info", "gauge", "namespace name type metric"),
    ("experiment_info", "gauge", "namespace name phase"),
    ("experiment_phase", "gauge", "namespace name phase"),
    ("experiment_reconcile", "histogram", "namespace name"),
    ("experiment_reconcile_error", "counter", "namespace name"),
    ("notification_send_success", "counter", "namespace name type reason"),
    ("notification_send_error", "counter", "namespace name type reason"),
    ("notification_send", "histogram", "namespace name"),
    ("controller_clientset_k8s_request_total", "counter", "kind namespace name verb status_code"),
    ("argo_rollouts_controller_info", "gauge", "version"),
    ("build_info", "gauge", "version goversion goarch commit"),
    ("workqueue_depth", "gauge", "name"),
    ("workqueue_adds_total", "counter", "name"),
    ("workqueue_retries_total", "counter", "name"),
    ("workqueue_queue_duration_seconds", "histogram", "name"),
    ("workqueue_work_duration_seconds", "histogram", "name"),
    ("workqueue_unfinished_work_seconds", "gauge", "name"),
    ("workqueue_longest_running_processor_seconds", "gauge", "name"),
    ("process_cpu_seconds_total", "counter", ""),
    ("process_resident_memory_bytes", "gauge", ""),
    ("process_virtual_memory_bytes", "gauge", ""),
    ("process_virtual_memory_max_bytes", "gauge", ""),
    ("process_open_fds", "gauge", ""),
    ("process_max_fds", "gauge", ""),
    ("process_start_time_seconds", "gauge", ""),
    ("process_network_receive_bytes_total", "counter", ""),
    ("process_network_transmit_bytes_total", "counter", ""),
];

/// Labels that whoever scrapes adds.
const SCRAPED: [&str; 2] = ["job", "instance"];

#[test]
fn every_question_is_about_metrics_that_there_are() {
    let dashboard = dashboard();
    let series = series();
    let questions = questions(&dashboard);
    assert!(questions.len() > 30, "the questions are found: {}", questions.len());
    for question in &questions {
        check(question, &series).unwrap_or_else(|why| panic!("{question}: {why}"));
    }
}

#[test]
fn a_wrong_name_or_label_is_found() {
    let series = series();
    let check = |question: &str, want: Result<(), &str>| {
        assert_eq!(check(question, &series), want.map_err(str::to_owned), "{question}");
    };
    check("sum by (phase) (rollout_info{namespace=~\"$namespace\"})", Ok(()));
    check("label_values(rollout_info{name=~\"phase, {x}\"}, namespace)", Ok(()));
    check("histogram_quantile(0.9, sum by (le) (rate(rollout_reconcile_bucket[$__rate_interval])))", Ok(()));
    check("process_open_fds * on (job, instance) group_left () build_info", Ok(()));
    check("sum(rollouts_info)", Err("no metric `rollouts_info`"));
    check("rate(rollout_reconcile[5m])", Err("no metric `rollout_reconcile`"));
    check("rollout_info{phases=\"Paused\"}", Err("no label `phases` on rollout_info"));
    check(
        "sum by (verbs) (controller_clientset_k8s_request_total)",
        Err("no label `verbs` on any of its metrics"),
    );
    check("1 + 1", Err("asks for no metric"));
}

#[test]
fn panels_are_told_apart_and_do_not_overlap() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{}: its id is another's", panel["title"]);
        let place = |side: &str| panel["gridPos"][side].as_u64().expect("a panel has a place");
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{}: too wide", panel["title"]);
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{}: lies on another", panel["title"]);
            }
        }
    }
}

/// What the dashboard asks: the expressions of its panels and of its variables.
fn questions(dashboard: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let panels = list(&dashboard["panels"]);
    let targets = panels.iter().flat_map(|panel| list(&panel["targets"]));
    let expressions = targets.filter_map(|target| target["expr"].as_str().map(str::to_owned));
    let variables = list(&dashboard["templating"]["list"]);
    let variables: Vec<String> = variables
        .iter()
        .filter_map(|variable| variable["query"]["query"].as_str().map(str::to_owned))
        .collect();
    expressions.chain(variables).collect()
}

/// The labels of every series that a scrape shows: a histogram is three.
fn series() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut series = BTreeMap::new();
    for (name, kind, labels) in METRICS {
        let labels: BTreeSet<&str> = labels.split_whitespace().chain(SCRAPED).collect();
        if kind == "histogram" {
            series.insert(format!("{name}_sum"), labels.clone());
            series.insert(format!("{name}_count"), labels.clone());
            series.insert(format!("{name}_bucket"), labels.into_iter().chain(["le"]).collect());
        } else {
            series.insert(name.to_owned(), labels);
        }
    }
    series
}

/// Says what a question asks for that there is not. Every word that is neither called as a function nor a word of the
/// language names a metric; words in braces and in lists after `by` and its like are labels.
fn check(question: &str, series: &BTreeMap<String, BTreeSet<&str>>) -> Result<(), String> {
    let words = words(question);
    let mut metrics: Vec<&str> = Vec::new();
    let mut grouped: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(&word) = words.get(at) {
        at += 1;
        let list_to = |end: &str, from: usize| {
            words[from..].iter().position(|&word| word == end).map_or(words.len(), |length| from + length)
        };
        match word {
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                let end = list_to(")", at);
                grouped.extend(words[at..end].iter().filter(|word| is_name(word)));
                at = end + 1;
            }
            "{" => {
                let end = list_to("}", at);
                let metric = metrics.last().copied().unwrap_or_default();
                for label in words[at..end].iter().filter(|word| is_name(word)) {
                    if !series.get(metric).is_some_and(|labels| labels.contains(label)) {
                        return Err(format!("no label `{label}` on {metric}"));
                    }
                }
                at = end + 1;
            }
            "[" => at = list_to("]", at) + 1,
            // The last argument of `label_values` is a label.
            "," if words[0] == "label_values" => grouped.extend(words.get(at).inspect(|_| at += 1)),
            _ if is_name(word) && words.get(at) != Some(&"(") => {
                let is_aggregate = ["by", "without"].contains(words.get(at).unwrap_or(&""));
                if !is_aggregate {
                    if !series.contains_key(word) {
                        return Err(format!("no metric `{word}`"));
                    }
                    metrics.push(word);
                }
            }
            _ => {}
        }
    }
    for label in grouped {
        if !metrics.iter().any(|metric| series[*metric].contains(label)) {
            return Err(format!("no label `{label}` on any of its metrics"));
        }
    }
    if metrics.is_empty() { Err("asks for no metric".to_owned()) } else { Ok(()) }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Names, numbers and signs; quoted texts are left out.
fn words(question: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_$.".contains(c);
    let mut words = Vec::new();
    for (index, piece) in question.split('"').enumerate() {
        let mut rest = if index % 2 == 0 { piece } else { "" };
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len()).max(first.len_utf8());
            let word = rest[..end].trim();
            words.extend((!word.is_empty()).then_some(word));
            rest = &rest[end..];
        }
    }
    words
}

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/tidegate.json");
    let text = fs::read_to_string(path).expect("the dashboard is in the repository");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}
