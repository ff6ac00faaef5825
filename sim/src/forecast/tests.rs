use serde_json::{Value, json};
use tidegate_api::object::Object;
use tidegate_api::time::Span;

use super::*;

fn rollout(replicas: i64, strategy: Value) -> Object {
    object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": template(), "strategy": strategy}}))
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:v1"}]}})
}

fn object(document: Value) -> Object {
    Object::from_value(document).expect("an object")
}

fn canary(replicas: i64, steps: Value) -> Object {
    rollout(replicas, json!({"canary": {"maxSurge": 1, "maxUnavailable": 0, "steps": steps}}))
}

fn blue_green(more: Value) -> Object {
    let mut strategy = json!({"activeService": "active", "previewService": "preview"});
    strategy.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    rollout(3, json!({"blueGreen": strategy}))
}

fn played(rollout: &Object) -> Forecast {
    forecast(rollout, &[], STARTUP).expect("a forecast")
}

/// `5s+2m weight 10→10 stable 9→9 new 1→1 peak 10: pause 2m`, one line a row, times in seconds.
fn rows(forecast: &Forecast) -> String {
    let pair = |(from, to): (i64, i64)| format!("{from}→{to}");
    let line = |row: &Row| {
        let (at, takes) = (row.at.0 / 1000, row.takes.0 / 1000);
        format!(
            "{at}+{takes} {} | weight {} stable {} new {} peak {} | {}",
            row.what,
            pair(row.weight),
            pair(row.stable),
            pair(row.new),
            row.peak,
            row.waits_for
        )
    };
    forecast.rows.iter().map(|row| line(row) + "\n").collect()
}

/// What an abort does, one line a row.
fn aborts(forecast: &Forecast) -> String {
    let line = |row: &Row| {
        let abort = &row.abort;
        let back = abort.traffic_back.map_or("never".to_owned(), |span| (span.0 / 1000).to_string());
        let late = if abort.too_late { " too late" } else { "" };
        format!(
            "{} at {} | weight {}→{} stable {}→{} new {}→{} back {back} rest {} {}{late}\n",
            row.what,
            abort.at.0 / 1000,
            abort.weight.0,
            abort.weight.1,
            abort.stable.0,
            abort.stable.1,
            abort.new.0,
            abort.new.1,
            abort.at_rest.0 / 1000,
            abort.phase
        )
    };
    forecast.rows.iter().map(line).collect()
}

#[test]
fn a_canary_is_told_step_by_step() {
    let steps = json!([{"setWeight": 20}, {"pause": {"duration": "2m"}}, {"setWeight": 60}, {"pause": {}}]);
    let forecast = played(&canary(5, steps));
    insta::assert_snapshot!(rows(&forecast), @"
    0+5 setWeight(20) | weight 0→20 stable 5→4 new 0→1 peak 6 | pods available
    5+120 pause(2m) | weight 20→20 stable 4→4 new 1→1 peak 5 | pause 2m
    125+10 setWeight(60) | weight 20→60 stable 4→2 new 1→3 peak 6 | pods available
    135+0 pause() | weight 60→60 stable 2→2 new 3→3 peak 5 | promotion (pause without duration)
    135+10 all pods | weight 60→100 stable 2→0 new 3→5 peak 6 | pods available
    ");
    insta::assert_snapshot!(aborts(&forecast), @"
    setWeight(20) at 0 | weight 0→0 stable 5→5 new 0→0 back 0 rest 0 Degraded
    pause(2m) at 5 | weight 20→0 stable 4→5 new 1→0 back 5 rest 5 Degraded
    setWeight(60) at 125 | weight 20→0 stable 4→5 new 1→0 back 5 rest 5 Degraded
    pause() at 135 | weight 60→0 stable 2→5 new 3→0 back 15 rest 15 Degraded
    all pods at 140 | weight 80→0 stable 1→5 new 4→0 back 20 rest 20 Degraded
    ");
    let end = &forecast.end;
    assert_eq!((forecast.promotions, forecast.peak, forecast.extra()), (1, 6, 1));
    assert_eq!((end.complete, &*end.phase, end.after.0 / 1000), (true, "Healthy", 145));
    assert_eq!(forecast.extra_pod_seconds, 25, "one pod more in each of the five waves of five seconds");
}

#[test]
fn a_blue_green_shows_preview_pause_switch_and_the_pods_that_stay() {
    let forecast = played(&blue_green(json!({"autoPromotionSeconds": 60, "previewReplicaCount": 1,
        "scaleDownDelaySeconds": 45, "abortScaleDownDelaySeconds": 10})));
    insta::assert_snapshot!(rows(&forecast), @"
    0+5 preview starts | weight 0→0 stable 3→3 new 0→1 peak 4 | pods available
    5+60 pause before the switch | weight 0→0 stable 3→3 new 1→1 peak 4 | autoPromotionSeconds 60
    65+5 switch | weight 0→100 stable 3→3 new 1→3 peak 6 | pods available
    70+45 old pods stay | weight 100→100 stable 3→0 new 3→3 peak 6 | scale-down delay
    ");
    insta::assert_snapshot!(aborts(&forecast), @"
    preview starts at 2 | weight 0→0 stable 3→3 new 0→0 back 0 rest 10 Degraded
    pause before the switch at 5 | weight 0→0 stable 3→3 new 1→0 back 0 rest 10 Degraded
    switch at 67 | weight 0→0 stable 3→3 new 1→0 back 0 rest 10 Degraded
    old pods stay at 70 | weight 100→100 stable 3→0 new 3→3 back never rest 45 Healthy too late
    ");
    assert_eq!((forecast.promotions, forecast.peak), (0, 6));
    assert_eq!((forecast.end.after.0 / 1000, forecast.end.at_rest.0 / 1000), (70, 115));
    assert_eq!(forecast.notes.len(), 2, "both Services were made up: {:?}", forecast.notes);
}

#[test]
fn an_update_without_steps_is_one_row_that_is_aborted_in_the_middle() {
    let forecast = played(&rollout(4, json!({"canary": {"maxSurge": 1, "maxUnavailable": 0}})));
    insta::assert_snapshot!(rows(&forecast), @"0+20 rolling update | weight 0→100 stable 4→0 new 0→4 peak 5 | pods available");
    insta::assert_snapshot!(aborts(&forecast), @"rolling update at 10 | weight 50→0 stable 2→4 new 2→0 back 10 rest 10 Degraded");
}

#[test]
fn each_row_begins_where_the_one_before_ends() {
    for (replicas, surge) in [(1, json!(1)), (3, json!("50%")), (10, json!("25%")), (17, json!("100%"))] {
        let steps = json!([{"setWeight": 1}, {"setWeight": 2}, {"pause": {"duration": 7}}, {"pause": {}},
            {"setWeight": 50}, {"setWeight": 100}]);
        let strategy = json!({"canary": {"maxSurge": surge, "maxUnavailable": 0, "steps": steps}});
        let forecast = played(&rollout(replicas, strategy));
        assert_eq!(forecast.rows.len(), 7, "six steps and the rest: {}", rows(&forecast));
        for pair in forecast.rows.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            assert_eq!(before.at.0 + before.takes.0, after.at.0, "{}", rows(&forecast));
            let (end, begin) = (
                (before.weight.1, before.stable.1, before.new.1),
                (after.weight.0, after.stable.0, after.new.0),
            );
            assert_eq!(end, begin, "{}", rows(&forecast));
        }
        assert_eq!(forecast.rows.iter().map(|row| row.peak).max(), Some(forecast.peak));
        let last = forecast.rows.last().expect("a row");
        assert_eq!((last.weight.1, last.stable.1, last.new.1), (100, 0, replicas));
        assert!(forecast.fewest_ready >= replicas, "nothing may be unavailable");
    }
}

#[test]
fn long_pauses_cost_nothing_but_simulated_time() {
    let steps = json!([{"setWeight": 20}, {"pause": {"duration": "9000h"}}]);
    let end = played(&canary(5, steps)).end;
    assert_eq!(end.after.0 / 1000, 9000 * 3600 + 25);
}

#[test]
fn an_update_that_gives_up_says_how_it_ends() {
    let mut document = canary(5, json!([{"setWeight": 20}])).to_value();
    document["spec"]["progressDeadlineSeconds"] = json!(60);
    document["spec"]["progressDeadlineAbort"] = json!(true);
    let forecast = forecast(&object(document), &[], Span::seconds(300)).expect("a forecast");
    assert_eq!((forecast.end.complete, &*forecast.end.phase), (false, "Degraded"));
    assert_eq!(forecast.rows.last().map(|row| &*row.what), Some("aborted"));
}

#[test]
fn a_rollout_that_is_paused_is_looked_at_as_if_it_were_not() {
    let mut document = canary(5, json!([{"setWeight": 20}])).to_value();
    let plain = played(&object(document.clone()));
    document["spec"]["paused"] = json!(true);
    let paused = played(&object(document));
    assert_eq!(plain.rows, paused.rows);
    assert_eq!((plain.notes.len(), paused.notes.len()), (0, 1));
}

#[test]
fn a_workload_is_needed_and_services_are_made_up() {
    let mut document = canary(2, json!([{"setWeight": 50}])).to_value();
    let spec = document["spec"].as_object_mut().expect("a map");
    spec.remove("template");
    spec.remove("selector");
    spec.insert(
        "workloadRef".to_owned(),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}),
    );
    let rollout = object(document);
    let refusal = forecast(&rollout, &[], STARTUP).expect_err("no workload");
    assert_eq!(
        (&*refusal[0].path, &*refusal[0].why),
        ("spec.workloadRef.name", "Deployment \"app\", which has the pod template, is not among the files")
    );
    let deployment =
        object(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template()}}));
    let forecast = forecast(&rollout, &[deployment], STARTUP).expect("a forecast");
    assert_eq!((forecast.rows.len(), forecast.end.complete), (2, true));
}

#[test]
fn services_that_do_not_fit_are_all_named() {
    let service = |name: &str| {
        object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "other"}}}))
    };
    let others = [service("active"), service("preview")];
    let refusals = forecast(&blue_green(json!({})), &others, STARTUP).expect_err("both select other pods");
    let paths: Vec<&str> = refusals.iter().map(|refusal| &*refusal.path).collect();
    assert_eq!(paths, ["spec.strategy.blueGreen.activeService", "spec.strategy.blueGreen.previewService"]);
}

#[test]
fn more_pods_than_can_be_played_are_refused() {
    let refusal = forecast(&canary(MOST_REPLICAS + 1, json!([])), &[], STARTUP).expect_err("too many");
    assert_eq!(refusal[0].path, "spec.replicas");
}

#[test]
fn a_difference_names_what_changed_and_counts_what_only_moved() {
    let steps = |weight: i64, pause: &str| json!([{"setWeight": weight}, {"pause": {"duration": pause}}, {"setWeight": 60}, {"pause": {"duration": "9s"}}]);
    let of = |steps: Value| played(&canary(5, steps));
    let same = difference(of(steps(20, "1m")), of(steps(20, "1m")));
    assert!(same.is_none() && same.rows.is_empty());

    let longer = difference(of(steps(20, "1m")), of(steps(20, "2m")));
    let [Change::Changed(pair)] = &longer.rows[..] else { panic!("{:?}", longer.rows) };
    assert_eq!((&*pair.old.what, &*pair.new.what), ("pause(1m)", "pause(2m)"));
    assert_eq!(longer.shifted, 3, "all that comes after it begins later");
    assert!(!longer.is_none());

    let without =
        difference(of(steps(20, "1m")), of(json!([{"setWeight": 20}, {"pause": {"duration": "1m"}}])));
    let gone = |change: &Change| matches!(change, Change::Removed(_));
    assert_eq!(without.rows.iter().filter(|change| gone(change)).count(), 2, "{:?}", without.rows);
}

#[test]
fn weights_of_routers_are_those_that_proxies_serve_by() {
    let strategy = json!({"canary": {"stableService": "stable", "canaryService": "canary",
        "trafficRouting": {"nginx": {"stableIngress": "main"}},
        "steps": [{"setWeight": 20}, {"pause": {"duration": "30s"}}, {"setWeight": 60}]}});
    let forecast = played(&rollout(5, strategy));
    assert_eq!(
        rows(&forecast),
        "0+6 setWeight(20) | weight 0→20 stable 5→5 new 0→1 peak 6 | pods available and known to proxies\n\
         6+30 pause(30s) | weight 20→20 stable 5→5 new 1→1 peak 6 | pause 30s\n\
         36+6 setWeight(60) | weight 20→60 stable 5→5 new 1→3 peak 8 | pods available and known to proxies\n\
         42+6 all pods | weight 60→100 stable 5→5 new 3→5 peak 10 | pods available and known to proxies\n\
         48+32 old pods stay | weight 100→100 stable 5→0 new 5→5 peak 10 | scale-down delay\n"
    );
    let invented = "Ingress main is not among the files; taken to lead to the stable Service";
    assert!(forecast.notes.iter().any(|note| note == invented), "{:?}", forecast.notes);
}

fn analysis_template(name: &str, metrics: Value) -> Object {
    object(
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": name},
        "spec": {"metrics": metrics}}),
    )
}

fn metric(name: &str, more: Value) -> Value {
    let mut metric = json!({"name": name, "successCondition": "result[0] < 0.01",
        "provider": {"prometheus": {"address": "http://prometheus", "query": "up"}}});
    metric.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    metric
}

fn checked(steps: Value, templates: &[Object]) -> Forecast {
    forecast(&canary(5, steps), templates, STARTUP).expect("a forecast")
}

fn inline(template: &str) -> Value {
    json!({"analysis": {"templates": [{"templateName": template}]}})
}

/// `step 2 error-rate bad: 5,65 Failed +60 aborts`, one line an outcome, times in seconds.
fn outcomes(forecast: &Forecast) -> String {
    let mut all = String::new();
    for asked in &forecast.asked {
        for metric in &asked.metrics {
            for (answer, told) in &metric.outcomes {
                let times: Vec<String> = told.measured.iter().map(|at| (at.0 / 1000).to_string()).collect();
                let verdict = told.verdict.as_deref().unwrap_or("no verdict");
                let (times, after) = (times.join(","), told.after.0 / 1000);
                let (name, answer, does) = (&metric.name, answer.name(), told.does.name());
                all += &format!("{} {name} {answer}: {times} {verdict} +{after} {does}\n", asked.when);
            }
        }
    }
    all
}

/// The reference's documentation has it off by one: what is tolerated is the limit, what fails is one more.
#[test]
fn a_limit_of_n_fails_at_the_one_after() {
    let fails_at = |limit: i64| {
        let template = analysis_template(
            "checks",
            json!([metric("error-rate", json!({"count": 9, "interval": "1m", "failureLimit": limit}))]),
        );
        let forecast = checked(json!([{"setWeight": 20}, inline("checks")]), &[template]);
        forecast.asked[0].metrics[0].outcomes[&Answer::Bad].measured.len()
    };
    assert_eq!([0, 1, 2, 3].map(fails_at), [1, 2, 3, 4]);
}

#[test]
fn each_outcome_of_a_step_is_played() {
    let both = json!({"count": 3, "interval": "30s", "failureCondition": "result[0] > 0.1", "inconclusiveLimit": 1,
        "initialDelay": "20s", "consecutiveErrorLimit": 1});
    let template = analysis_template(
        "checks",
        json!([metric("error-rate", json!({"count": 3, "interval": "1m"})), metric("load", both)]),
    );
    let forecast = checked(json!([{"setWeight": 20}, inline("checks"), {"setWeight": 60}]), &[template]);
    insta::assert_snapshot!(outcomes(&forecast), @"
    step 2 error-rate good: 5,65,125 Successful +120 goes on
    step 2 error-rate bad: 5 Failed +0 aborts
    step 2 error-rate error: 5,15,25,35,45 Error +40 aborts
    step 2 load good: 25,55,85 Successful +60 goes on
    step 2 load bad: 25 Failed +0 aborts
    step 2 load error: 25,35 Error +10 aborts
    step 2 load inconclusive: 25,55 Inconclusive +30 pauses
    ");
    assert_eq!(forecast.rows[1].waits_for, "analysis");
}

#[test]
fn evidence_in_the_background_ends_with_an_update_that_waits_for_a_person() {
    let steps = json!([{"setWeight": 20}, {"pause": {"duration": "2m"}}, {"pause": {}}, {"setWeight": 60}]);
    let mut document = canary(5, steps).to_value();
    document["spec"]["strategy"]["canary"]["analysis"] = json!({"startingStep": 1, "templates": [{"templateName": "checks"}], "dryRun": [{"metricName": "dry"}]});
    let template = analysis_template(
        "checks",
        json!([metric("error-rate", json!({"interval": "1m"})), metric("dry", json!({"interval": "1m"}))]),
    );
    let forecast = forecast(&object(document), &[template], STARTUP).expect("a forecast");
    insta::assert_snapshot!(outcomes(&forecast), @"
    background error-rate good: 5,65,125 no verdict +140 goes on
    background error-rate bad: 5 Failed +0 aborts
    background error-rate error: 5,15,25,35,45 Error +40 aborts
    background dry good: 5,65,125 no verdict +140 goes on
    background dry bad: 5 Failed +0 goes on
    background dry error: 5,15,25,35,45 Error +40 goes on
    ");
    assert_eq!((forecast.promotions, forecast.end.complete), (1, true));
}

#[test]
fn a_blue_green_update_is_asked_about_before_and_after_the_switch() {
    let asks = |template: &str| json!({"templates": [{"templateName": template, "clusterScope": template == "after"}]});
    let rollout =
        blue_green(json!({"prePromotionAnalysis": asks("before"), "postPromotionAnalysis": asks("after")}));
    let mut after =
        analysis_template("after", json!([metric("errors", json!({"count": 2, "interval": "30s"}))]))
            .to_value();
    after["kind"] = json!("ClusterAnalysisTemplate");
    let job =
        json!([{"name": "smoke", "provider": {"job": {"spec": {"template": {"spec": {"containers": []}}}}}}]);
    let templates = [analysis_template("before", job), object(after)];
    let forecast = forecast(&rollout, &templates, STARTUP).expect("a forecast");
    insta::assert_snapshot!(rows(&forecast), @"
    0+5 preview starts | weight 0→100 stable 3→3 new 0→3 peak 6 | pods available, then analysis
    5+30 after the switch | weight 100→100 stable 3→3 new 3→3 peak 6 | analysis
    35+30 old pods stay | weight 100→100 stable 3→0 new 3→3 peak 6 | scale-down delay
    ");
    insta::assert_snapshot!(outcomes(&forecast), @"
    before the switch smoke good: 5 Successful +0 goes on
    before the switch smoke bad: 5 Failed +0 aborts
    before the switch smoke error: 5,15,25,35,45 Error +40 aborts
    after the switch errors good: 5,35 Successful +30 goes on
    after the switch errors bad: 5 Failed +0 aborts
    after the switch errors error: 5,15,25,35,45 Error +40 aborts
    ");
}

#[test]
fn the_analyses_of_an_experiment_are_played() {
    let steps = json!([{"experiment": {"duration": "2m",
        "templates": [{"name": "new", "specRef": "canary"}],
        "analyses": [{"name": "errors", "templateName": "checks"}]}}, {"setWeight": 50}]);
    let template =
        analysis_template("checks", json!([metric("errors", json!({"count": 3, "interval": "20s"}))]));
    insta::assert_snapshot!(outcomes(&checked(steps, &[template])), @"
    experiment in step 1: errors errors good: 5,25,45 Successful +40 goes on
    experiment in step 1: errors errors bad: 5 Failed +0 aborts
    experiment in step 1: errors errors error: 5,15,25,35,45 Error +40 aborts
    ");
}

#[test]
fn templates_that_are_missing_or_make_no_sense_are_named_with_their_field() {
    let steps = json!([inline("none"), {"setWeight": 20}, inline("outer"), inline("odd")]);
    let outer = object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": {"name": "outer"}, "spec": {"templates": [{"templateName": "inner"}]}}));
    let odd = analysis_template(
        "odd",
        json!([{"name": "a", "successCondition": "result <", "provider": {"plugin": {"mine": {}}}}]),
    );
    let refusals = forecast(&canary(2, steps), &[outer, odd], STARTUP).expect_err("nothing fits");
    let told: Vec<String> =
        refusals.iter().map(|refusal| format!("{}: {}", refusal.path, refusal.why)).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    spec.strategy.canary.steps[0].analysis.templates[0].templateName: AnalysisTemplate "none" is not among the files
    spec.strategy.canary.steps[2].analysis.templates[0].templateName: AnalysisTemplate "inner", which AnalysisTemplate "outer" names (spec.templates[0].templateName), is not among the files
    spec.strategy.canary.steps[3].analysis.templates[0].templateName: AnalysisTemplate "odd": spec.metrics[0].provider: no valid provider in metric 'a'
    spec.strategy.canary.steps[3].analysis.templates[0].templateName: AnalysisTemplate "odd": spec.metrics[0].successCondition: unexpected token EOF
    "#);
}

#[test]
fn secrets_of_arguments_are_made_up() {
    let mut template = analysis_template("checks", json!([metric("a", json!({}))])).to_value();
    template["spec"]["args"] =
        json!([{"name": "token", "valueFrom": {"secretKeyRef": {"name": "key-ring", "key": "token"}}}]);
    let forecast = checked(json!([inline("checks")]), &[object(template)]);
    assert_eq!(forecast.asked[0].metrics[0].outcomes[&Answer::Good].verdict.as_deref(), Some("Successful"));
    assert!(forecast.notes.iter().any(|note| note.starts_with("Secret key-ring")), "{:?}", forecast.notes);
}
