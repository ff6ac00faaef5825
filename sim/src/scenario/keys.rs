//! Every key of a scenario, with one line that says what it means: the table that reading checks keys against, and
//! that the reference page is written from.

/// The keys that may stand in one place.
pub struct Section {
    /// Its name in this table.
    pub name: &'static str,
    /// The heading in the reference.
    pub title: &'static str,
    /// The keys.
    pub keys: &'static [Key],
}

/// One key.
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value looks like.
    pub value: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// The names of the keys that may stand in a section.
pub(super) fn known(section: &str) -> Vec<&'static str> {
    let found = TABLE.iter().find(|known| known.name == section);
    found.map_or_else(Vec::new, |section| section.keys.iter().map(|key| key.name).collect())
}

/// The reference of the scenario language, in Markdown.
pub fn page() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in TABLE {
        out += &format!("\n## {}\n\n| Key | Value | Meaning |\n|---|---|---|\n", section.title);
        for key in section.keys {
            out += &format!("| `{}` | {} | {} |\n", key.name, key.value, key.meaning);
        }
    }
    out
}

const INTRODUCTION: &str = "\
<!-- Written by `cargo xtask scenario-keys`. -->
# The scenario language

A scenario is one YAML file: what is in a cluster, what people do there and when, and what must come of it. `tidegate
simulate FILE` plays it, `tidegate test DIR` plays all of a folder and compares their traces with the snapshots. Every
invariant is watched in every scenario; `then` says only what is special. Unknown keys are errors.

Durations are written `90s`, `1h30m` or as a number of seconds, ranges `2s..8s`, bounds `3`, `\"> 20\"`, `\"<= 5\"`.
";

macro_rules! keys {
    ($($name:literal, $value:literal, $meaning:literal;)*) => {
        &[$(Key { name: $name, value: $value, meaning: $meaning }),*]
    };
}

/// The whole language.
pub const TABLE: &[Section] = &[
    Section {
        name: "scenario",
        title: "A scenario",
        keys: keys! {
            "about", "sentence", "The idea.";
            "given", "list", "What is in the cluster: files beside the scenario, patterns of their names, or objects in place. Objects that carry a `metadata.uid` were written by an earlier controller: they are put there with their status before ours starts; where no pods are given, the ReplicaSets make theirs before.";
            "settled", "true or false", "Whether the first deployment has come to rest before 00:00:00 (the default).";
            "world", "mapping", "How the invented cluster behaves.";
            "when", "list", "What people do, in order.";
            "then", "mapping", "What must come of it.";
        },
    },
    Section {
        name: "world",
        title: "`world`",
        keys: keys! {
            "seed", "number", "Where all chance comes from; 0 when absent.";
            "lag", "range", "How long a change takes until a watch shows it; 1ms..20ms when absent.";
            "pods", "mapping", "How pods behave: the keys below for all of them, or under an image (the end of its name) for its pods.";
            "traffic", "mapping", "The users of every Rollout. They are counted where this is said, and for Rollouts with `trafficRouting`.";
            "quality", "`{IMAGE: {errors, latency, capacity}}`", "What each version truly does to its users, by the end of its image.";
            "routers", "mapping", "How the controllers of routers and their proxies behave.";
            "metrics", "list", "What metric providers answer. Queries of Prometheus about requests and their duration are answered from the traffic where nothing here fits; what nobody answers is an error of that measurement.";
            "scrape", "duration", "How often a metric system looks at pods; 15s when absent.";
        },
    },
    Section {
        name: "metric",
        title: "`metrics`, an entry, and the verb `metric`",
        keys: keys! {
            "provider", "name", "Only questions to this provider, by its name in metrics; any when absent.";
            "match", "text", "Only questions whose address or body contains it, as it is written in the metric; any when absent.";
            "values", "list", "One a measurement, the last one repeats: a number, a list of numbers (`[]` is an empty answer), `NaN`, a JSON document, `{status: 500, body: text}`, `{fails: text}` where nobody answers, `{late: 40s, value: 1}`.";
        },
    },
    Section {
        name: "traffic",
        title: "`traffic`",
        keys: keys! {
            "rps", "number or `{FROM: number}`", "Requests a second to each Rollout, or from when on how many; 100 when absent.";
            "sessions", "duration", "How long users stay on a version where the router keeps them there; 5m when absent.";
            "matching", "percentage", "How many requests carry the headers that header routes ask for; none when absent.";
            "services", "`{ROLLOUT: service}`", "The Service that users call where no router stands before it. When absent: the active Service; one that the Rollout does not name and that selects its pods; the stable Service; the pods themselves.";
        },
    },
    Section {
        name: "quality",
        title: "`quality`, under an image",
        keys: keys! {
            "errors", "percentage", "How many requests it answers with an error.";
            "latency", "duration", "How long an answer takes.";
            "capacity", "number", "Requests a second that one pod carries; those beyond are errors.";
        },
    },
    Section {
        name: "routers",
        title: "`routers`",
        keys: keys! {
            "propagation", "range", "From the moment at which a route is accepted until a proxy serves by it; 50ms..400ms when absent. Under the name of a router (`istio`, `nginx`, `alb`, `smi`, `ambassador`, `traefik`, `apisix`, `gateway`) for that one.";
            "proxies", "number", "How many proxies of each kind there are, each with as many users and a lag of its own; 1 when absent.";
            "endpoints", "range", "How long proxies send requests by endpoints that have changed; 10ms..100ms when absent.";
            "elb", "true or false", "Whether load balancers of AWS can be asked what they do, and the controller asks them (`--aws-verify-target-group`); false when absent.";
            "unserved", "list of kinds", "What the API server does not serve, as if nobody had installed it.";
        },
    },
    Section {
        name: "pods",
        title: "`pods`",
        keys: keys! {
            "startup", "range", "From a pod's creation until it is ready; 2s..8s when absent.";
            "ready", "`never` or `always`", "Whether it is ever ready.";
            "crash_after", "range", "So long after it is ready it fails for good.";
            "exit", "number", "It ends as soon as it runs, with this exit code.";
            "flaps", "`{up, down, times}`", "Loses its readiness after `up`, gets it back after `down`, so many times.";
            "termination", "range", "From its deletion until it is gone; nothing when absent.";
        },
    },
    Section {
        name: "flaps",
        title: "`flaps`",
        keys: keys! {
            "up", "range", "How long a pod stays ready.";
            "down", "range", "How long it is not.";
            "times", "number", "How often.";
        },
    },
    Section {
        name: "entry",
        title: "An entry of `when`: its moment",
        keys: keys! {
            "at", "duration", "So long after the beginning.";
            "once", "conditions", "The first moment at which all of it holds, counted after the entry before.";
            "after", "duration", "So much later than `at` or `once`, or than the entry before.";
        },
    },
    Section {
        name: "verb",
        title: "An entry of `when`: its verb",
        keys: keys! {
            "set_image", "`{rollout, container, image}`", "Gives a container another image, in the workload where the Rollout refers to one.";
            "promote", "Rollout", "On to the next step, or out of a pause.";
            "promote_full", "Rollout", "To the end at once.";
            "abort", "Rollout", "Back to the stable version.";
            "retry", "Rollout", "Once more after an abort.";
            "undo", "Rollout or `{rollout, to_revision}`", "The pod template of an earlier revision.";
            "restart", "Rollout", "All pods anew.";
            "pause", "Rollout", "Sets `spec.paused`.";
            "resume", "Rollout", "Clears `spec.paused`.";
            "scale", "`{rollout, replicas}`", "Sets the wished pods through the scale subresource.";
            "apply", "objects", "Makes or replaces objects; a file, an object, or a list of them.";
            "create", "objects", "Makes objects.";
            "patch", "mapping", "Changes an object.";
            "delete", "object", "Deletes an object.";
            "ready", "`{rollout, side, count}`", "Makes pods ready, whatever their model says.";
            "unready", "`{rollout, side, count}`", "Takes the readiness of pods away.";
            "load", "`{autoscaler, total, per_pod}`", "Gives a HorizontalPodAutoscaler this work to measure; it then scales by what it reads.";
            "metric", "mapping", "A series of values that a metric provider answers from now on, in place of one for the same questions.";
            "terminate", "`{analysis_run}` or `{experiment}`", "Tells an AnalysisRun or an Experiment to end.";
            "traffic", "number", "So many requests a second from now on.";
            "quality", "`{IMAGE: {errors, latency, capacity}}`", "What versions do to their users from now on.";
            "serve", "kind", "From now on the API server serves this kind.";
            "unserve", "kind", "From now on it does not.";
            "fault", "`{NAME: …}`", "Something goes wrong between the controller and the API server, or behind it.";
            "restart_controller", "nothing", "The controller dies and is started again, knowing nothing.";
            "upgrade_controller", "nothing or `{down}`", "The controller ends, and another one is started so much later (5s).";
            "note", "text", "Says something in the trace.";
        },
    },
    Section {
        name: "set_image",
        title: "`set_image`",
        keys: keys! {
            "rollout", "name", "The Rollout.";
            "container", "name", "The container or init container; the only container when absent.";
            "image", "text", "The image.";
        },
    },
    Section {
        name: "undo",
        title: "`undo`",
        keys: keys! {
            "rollout", "name", "The Rollout.";
            "to_revision", "number", "The revision; the one before the latest when absent.";
        },
    },
    Section {
        name: "scale",
        title: "`scale`",
        keys: keys! {
            "rollout", "name", "The Rollout.";
            "replicas", "number", "How many pods.";
        },
    },
    Section {
        name: "target",
        title: "An object (`delete`, `patch`, `object`)",
        keys: keys! {
            "kind", "text", "Its kind.";
            "name", "text", "Its name.";
            "rollout", "name", "The Rollout that owns it.";
            "revision", "number", "Its revision, for ReplicaSets: their names contain a hash.";
        },
    },
    Section {
        name: "patch",
        title: "`patch`, beside the object",
        keys: keys! {
            "merge", "mapping", "A merge patch (RFC 7396).";
            "json", "list", "A JSON patch (RFC 6902).";
            "subresource", "`status`", "The status is meant.";
        },
    },
    Section {
        name: "readiness",
        title: "`ready` and `unready`",
        keys: keys! {
            "rollout", "name", "The Rollout.";
            "side", "`stable`, `new` or a revision", "Whose pods; those of the new version when absent.";
            "count", "number", "How many; all when absent.";
        },
    },
    Section {
        name: "load",
        title: "`load`",
        keys: keys! {
            "autoscaler", "name", "The HorizontalPodAutoscaler.";
            "total", "number", "The work there is.";
            "per_pod", "number", "What one pod carries; 1 when absent.";
        },
    },
    Section {
        name: "fault",
        title: "`fault`",
        keys: keys! {
            "next_write", "mapping", "Something happens to one write to come.";
            "conflicts", "`{rate, for}`", "Writes are refused as computed from an outdated version.";
            "lost_replies", "`{rate, for}`", "Writes get no answer, carried out or not.";
            "refusals", "`{rate, for}`", "Writes are refused by a server that is busy or not there.";
            "crashes", "`{rate, for}`", "The controller dies at writes and is started again a second later.";
            "watch_lag", "`{kind, lag}`", "Watches show changes so much later, from now on.";
            "watch_stall", "`{kind, for}`", "A watch shows nothing for a while.";
            "watch_break", "`{kind, for}`", "A watch breaks: what it has not shown it never shows, and so much later it lists anew.";
            "router_outage", "`{router, for}`", "The controller of a router takes nothing over for a while.";
            "proxy_stall", "`{router, for}`", "The first proxy of a router takes nothing over for a while; the others do.";
            "metric_outage", "`{provider, for}`", "Nobody answers questions to this metric provider, or to any, for a while.";
            "metric_slow", "`{provider, by, for}`", "Its answers take so much longer.";
            "metric_says", "`{provider, value, for}`", "It answers this in place of what it should: `NaN`, `[]`, `{status: 503}`, a lie.";
            "elb", "`{says, for}`", "The interface of AWS's load balancers does not answer as it should.";
            "put_back", "`{kind, name, times, after}`", "Somebody puts an object back as it is now whenever the controller has changed it, as GitOps does.";
        },
    },
    Section {
        name: "next_write",
        title: "`next_write`",
        keys: keys! {
            "fails", "`conflict`, `too_many`, `unavailable`, `lost_reply`, `lost_request`, `crash_before`, `crash_after` or `slow`", "What becomes of it: refused as computed from an outdated version, by a server that is too busy, or by one that is not there; carried out without an answer; lost on its way; the controller dies before or after it is carried out; it takes longer to get there.";
            "by", "duration", "How much longer, where it is `slow`.";
            "kind", "text", "Only writes of this kind count.";
            "subresource", "`status`", "Only writes of a status count.";
            "skip", "number", "So many are let through first.";
        },
    },
    Section {
        name: "rate",
        title: "`conflicts`, `lost_replies`, `refusals`, `crashes`",
        keys: keys! {
            "rate", "percent", "How many of the writes.";
            "for", "duration", "How long.";
        },
    },
    Section {
        name: "watch",
        title: "`watch_stall` and `watch_break`",
        keys: keys! {
            "kind", "text", "The watch of this kind.";
            "for", "duration", "How long.";
        },
    },
    Section {
        name: "lag",
        title: "`watch_lag`",
        keys: keys! {
            "kind", "text", "The watch of this kind; all of them when absent.";
            "lag", "range", "How much later.";
        },
    },
    Section {
        name: "upgrade_controller",
        title: "`upgrade_controller`",
        keys: keys! {
            "down", "duration", "How long there is no controller.";
        },
    },
    Section {
        name: "terminate",
        title: "`terminate`",
        keys: keys! {
            "analysis_run", "name", "The AnalysisRun: its name, or its name without the hash in it, as in `web-2-1`.";
            "experiment", "name", "The Experiment: its name, or its name without the hash in it, as in `web-2-0`.";
        },
    },
    Section {
        name: "metric_outage",
        title: "`metric_outage`",
        keys: keys! {
            "provider", "name", "The provider, by its name in metrics; all of them when absent.";
            "for", "duration", "How long.";
        },
    },
    Section {
        name: "metric_slow",
        title: "`metric_slow`",
        keys: keys! {
            "provider", "name", "The provider, by its name in metrics; all of them when absent.";
            "by", "duration", "How much longer an answer takes.";
            "for", "duration", "How long.";
        },
    },
    Section {
        name: "metric_says",
        title: "`metric_says`",
        keys: keys! {
            "provider", "name", "The provider, by its name in metrics; all of them when absent.";
            "value", "as in `metrics`", "What it answers.";
            "for", "duration", "How long.";
        },
    },
    Section {
        name: "condition",
        title: "Conditions (`once`, `never`, `holds`)",
        keys: keys! {
            "rollout", "name", "The Rollout that the next ones are about. `once` waits until its status was computed from its present specification.";
            "analysis_run", "name", "The AnalysisRun that `phase` is about: its name, or its name without the hash in it, as in `web-2-1` (step 1 of revision 2), `web-2` (in the background), `web-2-pre`, `web-2-post`.";
            "experiment", "name", "The Experiment that `phase` is about: its name, or its name without the hash in it, as in `web-2-0` (step 0 of revision 2).";
            "phase", "text", "`status.phase`, of the Rollout, the AnalysisRun or the Experiment.";
            "step", "number", "`status.currentStepIndex`.";
            "weight", "bound", "The share of users that the new version has, in percent.";
            "message", "text", "A part of `status.message`.";
            "condition", "`{type, status, reason, message}`", "One of `status.conditions`; of the message a part.";
            "replicas", "`{REVISION: bound}`", "Pods of a revision that exist.";
            "healthy_pods", "bound", "Ready pods of all revisions.";
            "object", "mapping", "A field of an object, or how many objects there are.";
            "event", "reason or `{reason, message, count}`", "Kubernetes events recorded since the entry before; at least one when `count` is absent. Of the message a part.";
            "time_since", "duration", "So much time has passed since the entry before.";
        },
    },
    Section {
        name: "status_condition",
        title: "`condition`",
        keys: keys! {
            "type", "text", "Its type.";
            "status", "text", "Its status; any when absent.";
            "reason", "text", "Its reason; any when absent.";
            "message", "text", "A part of its message.";
        },
    },
    Section {
        name: "object",
        title: "`object`, beside the object",
        keys: keys! {
            "path", "text", "The field: `spec.replicas`, or `/metadata/annotations/a~1b` where names have dots.";
            "value", "anything", "What stands there: a bound for numbers, null for nothing; anything when absent.";
            "count", "bound", "How many such objects there are.";
        },
    },
    Section {
        name: "event",
        title: "`event`",
        keys: keys! {
            "reason", "text", "Its reason.";
            "message", "text", "A part of its message.";
            "count", "bound", "How many.";
        },
    },
    Section {
        name: "router_fault",
        title: "`router_outage` and `proxy_stall`",
        keys: keys! {
            "router", "`istio`, `nginx`, `alb`, `smi`, `ambassador`, `traefik`, `apisix` or `gateway`", "The router.";
            "for", "duration", "How long.";
        },
    },
    Section {
        name: "elb",
        title: "`elb`",
        keys: keys! {
            "says", "`throttled`, `error`, `nothing` or `unregistered`", "What it says instead: that it is asked too often; an error; nothing at all; that no target group knows any pod.";
            "for", "duration", "How long.";
        },
    },
    Section {
        name: "put_back",
        title: "`put_back`",
        keys: keys! {
            "kind", "text", "The kind of the object.";
            "name", "text", "Its name.";
            "times", "number", "How often; once when absent.";
            "after", "range", "How long after the change; 1s..3s when absent.";
        },
    },
    Section {
        name: "users_saw",
        title: "`users_saw`",
        keys: keys! {
            "rollout", "name", "The users of this Rollout; those of all together when absent.";
            "errors", "bound", "Requests that went wrong, whatever the reason: how many, or which part of all (`\"<= 1%\"`).";
            "no_endpoint", "bound", "Those among them for which there was no endpoint.";
            "share", "`{IMAGE: bound}`", "Requests that a version took, by the end of its image.";
        },
    },
    Section {
        name: "then",
        title: "`then`",
        keys: keys! {
            "ends", "phase or `{ROLLOUT: phase}`", "The phase at the end; the world must be at rest there.";
            "within", "duration", "How long it may take; a day when absent.";
            "users_saw", "mapping", "What users must have felt between 00:00:00 and the end.";
            "never", "list of conditions", "What may never be so, at no event.";
            "holds", "list of conditions", "What must be so at the end; `event` counts from the beginning.";
        },
    },
];
