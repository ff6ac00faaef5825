//! One row for each rule of a pod template.

use serde_json::{Value, json};

use crate::validate::check;

/// Problems of a Rollout whose pod has these fields beside one good container.
fn shown(pod: Value) -> Vec<String> {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
    let rollout = json!({"selector": {"matchLabels": {"app": "demo"}}, "strategy": {"canary": {}},
        "template": {"metadata": {"labels": {"app": "demo"}}, "spec": spec}});
    let of = |p: &crate::problem::Problem| p.to_string().trim_end_matches(": ").to_owned();
    check(&rollout).problems.iter().map(of).collect()
}

/// Checks what is wrong with a pod; paths are shown without their beginning.
#[track_caller]
fn pod(fields: Value, expected: &[&str]) {
    let got = shown(fields.clone());
    let got: Vec<&str> = got.iter().map(|p| p.trim_start_matches("spec.template.spec.")).collect();
    assert_eq!(got, expected, "{fields}");
}

/// Checks what is wrong with one container.
#[track_caller]
fn container(fields: Value, expected: &[&str]) {
    let mut all = json!({"name": "c", "image": "i"});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let got = shown(json!({"containers": [all], "volumes": [{"name": "v", "emptyDir": {}}]}));
    let got: Vec<&str> =
        got.iter().map(|p| p.trim_start_matches("spec.template.spec.containers[0].")).collect();
    assert_eq!(got, expected, "{fields}");
}

#[test]
fn a_rich_pod_breaks_no_rule() {
    let probe = json!({"httpGet": {"path": "/", "port": "http"}, "successThreshold": 1});
    pod(
        json!({
            "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "m"}}], "livenessProbe": probe, "readinessProbe": probe,
                "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
                "resources": {"requests": {"cpu": "500m", "memory": 1000}, "limits": {"cpu": 1, "example.com/gpu": 1}},
                "securityContext": {"privileged": true, "runAsUser": 0}}],
            "initContainers": [{"name": "i", "image": "i"},
                {"name": "side", "image": "i", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["a"]}}}],
            "volumes": [{"name": "v", "configMap": {"name": "m"}}, {"name": "w"}],
            "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 1}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "demo"}}}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "serviceAccountName": "me",
            "unknownField": {"stays": true},
        }),
        &[],
    );
}

#[test]
fn rules_of_the_whole_pod() {
    pod(json!({"containers": []}), &["containers: Required value"]);
    pod(
        json!({"restartPolicy": "Never"}),
        &["restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
    pod(
        json!({"activeDeadlineSeconds": 0}),
        &[
            "activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            "activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ],
    );
    pod(
        json!({"ephemeralContainers": [{"name": "e"}]}),
        &["ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"],
    );
    pod(
        json!({"dnsPolicy": "None"}),
        &["dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    );
    pod(json!({"hostname": "a.b"}), &["hostname: Invalid value: \"a.b\": must not contain dots"]);
    pod(
        json!({"securityContext": {"runAsUser": -1}}),
        &["securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
    );
    pod(
        json!({"terminationGracePeriodSeconds": "30s"}),
        &["terminationGracePeriodSeconds: Invalid value: \"30s\": must be a whole number"],
    );
    let ports = json!([{"containerPort": 80, "hostPort": 81}]);
    pod(
        json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": ports}]}),
        &[
            "containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ],
    );
    pod(
        json!({"containers": [{"name": "c", "image": "i", "ports": ports}, {"name": "c", "image": "i", "ports": ports}]}),
        &[
            "containers[1].name: Duplicate value: \"c\"",
            "containers[1].ports[0].hostPort: Duplicate value: \"TCP//81\"",
        ],
    );
    pod(
        json!({"initContainers": [{"name": "c", "image": "i", "readinessProbe": {"exec": {"command": ["a"]}}}]}),
        &[
            "initContainers[0].name: Duplicate value: \"c\"",
            "initContainers[0].readinessProbe: Forbidden: may not be set for init containers without \
             restartPolicy=Always",
        ],
    );
}

#[test]
fn rules_of_a_container() {
    container(json!({"name": "", "image": ""}), &["name: Required value", "image: Required value"]);
    container(json!({"name": "a.b"}), &["name: Invalid value: \"a.b\": must not contain dots"]);
    container(
        json!({"ports": [{"name": "UP", "containerPort": 70_000, "protocol": "QUIC"}, {}]}),
        &[
            "ports[0].name: Invalid value: \"UP\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens \
             (-)",
            "ports[0].name: Invalid value: \"UP\": must contain at least one letter (a-z)",
            "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "ports[0].protocol: Unsupported value: \"QUIC\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "ports[1].containerPort: Required value",
        ],
    );
    container(
        json!({"env": [{"name": ""}, {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "valueFrom": {}}]}),
        &[
            "env[0].name: Required value",
            "env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "env[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, \
             `configMapKeyRef` or `secretKeyRef`",
        ],
    );
    container(
        json!({"envFrom": [{}]}),
        &["envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
    );
    container(
        json!({"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"},
            {"name": "nope", "mountPath": "/b", "subPath": "/x/.."}]}),
        &[
            "volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
            "volumeMounts[2].name: Invalid value: \"nope\": no volume has this name",
            "volumeMounts.subPath: Invalid value: \"/x/..\": must be a relative path",
            "volumeMounts.subPath: Invalid value: \"/x/..\": must not contain '..'",
        ],
    );
    container(
        json!({"imagePullPolicy": "Sometimes", "restartPolicy": "Always"}),
        &[
            "imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \
             \"Never\"",
            "restartPolicy: Forbidden: may not be set for non-init containers",
        ],
    );
    container(
        json!({"resources": {"requests": {"cpu": "2", "memory": "-1", "disk": 1, "x.io/gpu": 1}, "limits": {"cpu": "1500m"}}}),
        &[
            "resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for containers",
            "resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
            "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m",
            "resources.limits: Required value: Limit must be set for non overcommitable resources",
        ],
    );
}

#[test]
fn rules_of_probes_and_hooks() {
    container(json!({"livenessProbe": {}}), &["livenessProbe: Required value: must specify a handler type"]);
    container(
        json!({"livenessProbe": {"exec": {}, "grpc": {"port": 1}, "periodSeconds": -1, "successThreshold": 2}}),
        &[
            "livenessProbe.grpc: Forbidden: may not specify more than 1 handler type",
            "livenessProbe.exec.command: Required value",
            "livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ],
    );
    container(
        json!({"readinessProbe": {"tcpSocket": {"port": 0}, "terminationGracePeriodSeconds": 1}}),
        &[
            "readinessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
        ],
    );
    container(
        json!({"lifecycle": {"postStart": {}, "preStop": {"sleep": {"seconds": 31}}}}),
        &[
            "lifecycle.postStart: Required value: must specify a handler type",
            "lifecycle.preStop.sleep: Invalid value: 31: must be greater than 0 and less than \
             terminationGracePeriodSeconds (30). Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero \
             sleep.",
        ],
    );
}

#[test]
fn rules_of_volumes() {
    pod(
        json!({"volumes": [{"name": "a"}, {"name": "a"}, {"emptyDir": {}},
            {"name": "b", "emptyDir": {}, "secret": {"secretName": "s"}}, {"name": "c", "secret": {"defaultMode": 512}}]}),
        &[
            "volumes[1].name: Duplicate value: \"a\"",
            "volumes[2].name: Required value",
            "volumes[3].secret: Forbidden: may not specify more than 1 volume type",
            "volumes[4].secret.secretName: Required value",
            "volumes[4].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both \
             inclusive",
        ],
    );
}

#[test]
fn rules_of_scheduling() {
    pod(
        json!({"tolerations": [{"value": "x"}, {"key": "a", "operator": "Exists", "value": "x"},
            {"key": "a", "operator": "Near", "effect": "NoWay"}, {"key": "a", "tolerationSeconds": 1}]}),
        &[
            "tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \
             \"match all values and all keys\"",
            "tolerations[1].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
            "tolerations[2].operator: Unsupported value: \"Near\": supported values: \"Equal\", \"Exists\"",
            "tolerations[2].effect: Unsupported value: \"NoWay\": supported values: \"NoSchedule\", \
             \"PreferNoSchedule\", \"NoExecute\"",
            "tolerations[3].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ],
    );
    pod(
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 101,
                "preference": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": []}]}}]}}}),
        &[
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: \
             must have at least one node selector term",
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must \
             be in the range 1-100",
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].\
             values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ],
    );
    let constraint =
        json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1});
    let domains = "minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not \
                   ScheduleAnyway";
    pod(
        json!({"topologySpreadConstraints": [constraint, constraint, {}]}),
        &[
            &format!("topologySpreadConstraints[0].{domains}"),
            "topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, ScheduleAnyway}\"",
            &format!("topologySpreadConstraints[1].{domains}"),
            "topologySpreadConstraints[2].maxSkew: Invalid value: 0: must be greater than zero",
            "topologySpreadConstraints[2].topologyKey: Required value: can not be empty",
            "topologySpreadConstraints[2].whenUnsatisfiable: Unsupported value: \"\": supported values: \
             \"DoNotSchedule\", \"ScheduleAnyway\"",
        ],
    );
}

#[test]
fn labels_and_annotations_have_a_syntax_and_a_size() {
    let problems = |metadata: Value| {
        let rollout = json!({"selector": {"matchLabels": {"app": "demo"}}, "strategy": {"canary": {}},
            "template": {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
        check(&rollout).problems
    };
    let labels = problems(json!({"labels": {"app": "demo", "tier": "a b"}}));
    assert_eq!(
        (&*labels[0].path, labels[0].place()),
        ("spec.template.labels", "spec.template.metadata.labels[tier]")
    );
    assert_eq!(labels.len(), 1);
    let big = "x".repeat(256 * 1024);
    let annotations = problems(json!({"labels": {"app": "demo"}, "annotations": {"A": big}}));
    assert_eq!(
        annotations[0].to_string(),
        "spec.template.annotations: Too long: may not be more than 262144 bytes"
    );
    assert!(problems(json!({"labels": {"app": "demo"}, "annotations": {"A": ""}})).is_empty());
}
