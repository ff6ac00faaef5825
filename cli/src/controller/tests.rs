use clap::Parser;
use tidegate_live::process::Options;

use super::*;

#[derive(Parser, Debug)]
struct Alone {
    #[command(flatten)]
    controller: Controller,
}

fn parse(words: &[&str]) -> Result<Controller, String> {
    let words = ["controller"].into_iter().chain(words.iter().copied());
    Alone::try_parse_from(words).map(|alone| alone.controller).map_err(|error| error.to_string())
}

fn options(words: &[&str]) -> Result<Options, String> {
    let here =
        Surroundings { namespace: "ops".to_owned(), hostname: "pod-1".to_owned(), ..Surroundings::default() };
    parse(words)?.options(&here)
}

/// Each flag of operations.md 1.1 with a value that is not its default. An empty value: a flag that may stand alone.
const FLAGS: &[(&str, &str)] = &[
    ("rollout-resync", "60"),
    ("namespaced", ""),
    ("loglevel", "debug"),
    ("logformat", "json"),
    ("kloglevel", "6"),
    ("metricsPort", "1090"),
    ("metricsport", "1090"),
    ("healthzPort", "1080"),
    ("instance-id", "blue"),
    ("qps", "12.5"),
    ("burst", "25"),
    ("rollout-threads", "3"),
    ("experiment-threads", "3"),
    ("analysis-threads", "3"),
    ("service-threads", "3"),
    ("ingress-threads", "3"),
    ("ephemeral-metadata-threads", "3"),
    ("ephemeral-metadata-update-pod-retries", "5"),
    ("aws-target-group-binding-api-version", "elbv2.k8s.aws/v1"),
    ("alb-tag-key-resource-id", "tag"),
    ("aws-verify-target-group", ""),
    ("alb-verify-weight", ""),
    ("istio-api-version", "v1"),
    ("ambassador-api-version", "getambassador.io/v3alpha1"),
    ("traffic-split-api-version", "v1alpha3"),
    ("traefik-api-group", "traefik.containo.us"),
    ("traefik-api-version", "traefik.containo.us/v1alpha1"),
    ("appmesh-crd-version", "v1beta1"),
    ("ingress-api-version", "networking/v1"),
    ("alb-ingress-classes", "mine"),
    ("nginx-ingress-classes", "mine"),
    ("leader-elect", ""),
    ("leader-election-lease-duration", "30s"),
    ("leader-election-renew-deadline", "14s"),
    ("leader-election-retry-period", "500ms"),
    ("self-service-notification-enabled", ""),
    ("enable-pprof-address", ":6060"),
    ("version", ""),
    ("kubeconfig", "/tmp/config"),
    ("cluster", "c"),
    ("context", "c"),
    ("user", "u"),
    ("namespace", "n"),
    ("server", "https://127.0.0.1:6443"),
    ("tls-server-name", "kubernetes"),
    ("insecure-skip-tls-verify", ""),
    ("certificate-authority", "/tmp/ca"),
    ("client-certificate", "/tmp/cert"),
    ("client-key", "/tmp/key"),
    ("token", "t"),
    ("username", "u"),
    ("password", "p"),
    ("as", "u"),
    ("as-uid", "1"),
    ("as-group", "g"),
    ("as-user-extra", "scopes=view"),
    ("proxy-url", "http://proxy:8080"),
    ("disable-compression", ""),
    ("request-timeout", "5s"),
];

#[test]
fn every_flag_of_the_reference_is_taken_in_both_forms() {
    for (flag, value) in FLAGS {
        if value.is_empty() {
            for form in [
                format!("--{flag}"),
                format!("--{flag}=true"),
                format!("--{flag}=false"),
                format!("--{flag}=F"),
            ] {
                options(&[&form]).unwrap_or_else(|error| panic!("{form}: {error}"));
            }
            assert!(parse(&[&format!("--{flag}=maybe")]).is_err(), "{flag}");
        } else {
            options(&[&format!("--{flag}={value}")]).unwrap_or_else(|error| panic!("{flag}: {error}"));
            options(&[&format!("--{flag}"), value]).unwrap_or_else(|error| panic!("{flag}: {error}"));
        }
    }
}

#[test]
fn the_last_of_repeated_flags_counts_and_lists_grow() {
    for (flag, value) in FLAGS.iter().filter(|(_, value)| !value.is_empty()) {
        options(&[&format!("--{flag}={value}"), &format!("--{flag}={value}")])
            .unwrap_or_else(|error| panic!("{flag}: {error}"));
    }
    let twice =
        options(&["--metricsPort=1", "--metricsport", "2", "--namespaced", "--namespaced=false"]).unwrap();
    assert_eq!((twice.metrics_port, twice.namespaced), (2, false));
    let lists = parse(&[
        "--alb-ingress-classes",
        "a,b",
        "--alb-ingress-classes",
        "c",
        "--as-group=x",
        "--as-group=y",
    ]);
    let lists = lists.unwrap();
    assert_eq!(
        lists.routing.settings(&Surroundings::default()).map(|routing| routing.alb_classes),
        Ok(vec!["a,b".into(), "c".into()])
    );
    assert_eq!(lists.connection.options().act_as_groups, ["x", "y"]);
}

#[test]
fn flags_change_what_they_name() {
    let plain = options(&[]).unwrap();
    let timing = plain.election.as_ref().expect("it is on").timing;
    assert_eq!(timing, Timing::default());
    assert_eq!((plain.health_port, plain.metrics_port, plain.lanes), (8080, 8090, 10));
    assert_eq!((plain.qps, plain.burst, plain.profile_address), (200.0, 400, None));
    assert_eq!(plain.election.expect("it is on").namespace, "ops");

    let set = options(&[
        "-n=shop",
        "--namespaced",
        "--instance-id",
        "blue",
        "--qps=0",
        "--burst=-1",
        "--enable-pprof-address=:6060",
        "--leader-election-lease-duration=1m",
        "--request-timeout=7",
    ])
    .unwrap();
    assert_eq!(set.client.namespace.as_deref(), Some("shop"));
    assert_eq!(set.client.request_timeout, Some(std::time::Duration::from_secs(7)));
    assert_eq!(set.instance_id.as_deref(), Some("blue"));
    assert_eq!((set.qps, set.burst), (0.0, 0));
    assert_eq!(set.profile_address, Some("0.0.0.0:6060".parse().unwrap()));
    assert_eq!(set.election.expect("it is on").timing.duration, Span::seconds(60));
    assert!(options(&["--leader-elect=false"]).unwrap().election.is_none());
    assert!(options(&["--controllers", "analysis"]).unwrap().runs_only);
}

#[test]
fn what_cannot_be_is_said_before_anything_starts() {
    for (words, part) in [
        (&["--controllers=rollouts"][..], "unsupported controller: rollouts"),
        (&["--controllers=analysis,x"], "unsupported controller: x"),
        (&["--leader-election-renew-deadline=15s"], "--leader-election-lease-duration must be more"),
        (&["--leader-election-retry-period=10s"], "--leader-election-renew-deadline must be more"),
        (&["--leader-election-retry-period=0"], "more than 0"),
        (&["--leader-election-retry-period=2"], "missing unit"),
        (&["--enable-pprof-address=nowhere"], "is no address"),
        (&["--metricsPort=70000"], "70000"),
        (&["--namespaced", "true"], "unexpected argument"),
        (&["--no-such-flag"], "unexpected argument"),
    ] {
        let error = options(words).expect_err(&words.join(" "));
        assert!(error.contains(part), "{words:?}: {error}");
    }
    let nowhere = parse(&[]).unwrap().options(&Surroundings::default()).unwrap_err();
    assert!(nowhere.contains("POD_NAMESPACE is empty"), "{nowhere}");
    parse(&["--leader-elect=false"]).unwrap().options(&Surroundings::default()).unwrap();
}
