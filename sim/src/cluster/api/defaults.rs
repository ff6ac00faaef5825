//! What the server fills in before it stores an object, and what it shows of one that it has stored.

use serde_json::{Value, json};
use tidegate_api::object::Kind;
use tidegate_api::schema;

/// Fills in what a client may leave out.
pub fn fill(kind: &Kind, object: &mut Value, address: u64) {
    match kind.name() {
        "ReplicaSet" => workload(object),
        "Deployment" => {
            workload(object);
            let spec = &mut object["spec"];
            put(spec, "revisionHistoryLimit", json!(10));
            put(spec, "progressDeadlineSeconds", json!(600));
            put(spec, "strategy", json!({}));
            put(&mut spec["strategy"], "type", json!("RollingUpdate"));
            if spec["strategy"]["type"] == "RollingUpdate" {
                put(&mut spec["strategy"], "rollingUpdate", json!({}));
                put(&mut spec["strategy"]["rollingUpdate"], "maxSurge", json!("25%"));
                put(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", json!("25%"));
            }
        }
        "Pod" => pod(object),
        "Service" => service(object, address),
        "HorizontalPodAutoscaler" => autoscaler(object),
        "Secret" => secret(object),
        "Event" => {
            put(object, "source", json!({}));
            put(object, "reportingComponent", json!(""));
            put(object, "reportingInstance", json!(""));
        }
        "Namespace" => {
            put(object, "spec", json!({"finalizers": ["kubernetes"]}));
            put(object, "status", json!({"phase": "Active"}));
        }
        _ => {}
    }
    if let Some(map) = object.as_object_mut() {
        // A group of fields that holds nothing is not there.
        map.retain(|name, value| {
            name == "spec"
                || name == "status"
                || !value.as_object().is_some_and(|map| map.is_empty())
                || name == "source"
        });
    }
}

fn put(object: &mut Value, field: &str, value: Value) {
    if !object.is_object() {
        *object = json!({});
    }
    if object[field].is_null() {
        object[field] = value;
    }
}

fn workload(object: &mut Value) {
    put(&mut object["spec"], "replicas", json!(1));
    let template = &object["spec"]["template"];
    if template.is_object() {
        object["spec"]["template"] = schema::default_pod_template(template);
    }
}

fn pod(object: &mut Value) {
    let full = schema::default_pod_template(&json!({"spec": object["spec"]}));
    object["spec"] = full["spec"].clone();
    let spec = &mut object["spec"];
    put(spec, "enableServiceLinks", json!(true));
    put(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    put(spec, "priority", json!(0));
    let tolerates = |key: &str| json!({"effect": "NoExecute", "key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "tolerationSeconds": 300});
    put(spec, "tolerations", json!([tolerates("not-ready"), tolerates("unreachable")]));
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        let limits = container["resources"]["limits"].clone();
        for (name, amount) in limits.as_object().into_iter().flatten() {
            put(&mut container["resources"], "requests", json!({}));
            put(&mut container["resources"]["requests"], name, amount.clone());
        }
    }
    let class = quality(spec);
    if object["status"].is_null() {
        object["status"] = json!({"phase": "Pending", "qosClass": class});
    }
}

fn quality(spec: &Value) -> &'static str {
    let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    let resources = |container: &Value, field: &str| {
        container["resources"][field].as_object().cloned().unwrap_or_default()
    };
    if containers.iter().all(|c| resources(c, "limits").is_empty() && resources(c, "requests").is_empty()) {
        return "BestEffort";
    }
    let guaranteed = |container: &Value| {
        let limits = resources(container, "limits");
        ["cpu", "memory"].iter().all(|name| limits.contains_key(*name))
            && limits == resources(container, "requests")
    };
    if containers.iter().all(guaranteed) { "Guaranteed" } else { "Burstable" }
}

fn service(object: &mut Value, address: u64) {
    let spec = &mut object["spec"];
    for (field, value) in [
        ("internalTrafficPolicy", json!("Cluster")),
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
        ("sessionAffinity", json!("None")),
        ("type", json!("ClusterIP")),
        ("clusterIP", json!(format!("10.96.{}.{}", 1 + address / 250 % 250, 1 + address % 250))),
    ] {
        put(spec, field, value);
    }
    let address = spec["clusterIP"].clone();
    put(spec, "clusterIPs", json!([address]));
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        put(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        put(port, "targetPort", number);
    }
    put(object, "status", json!({"loadBalancer": {}}));
}

fn autoscaler(object: &mut Value) {
    let spec = &mut object["spec"];
    put(spec, "minReplicas", json!(1));
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    }
}

fn secret(object: &mut Value) {
    put(object, "type", json!("Opaque"));
    let texts = object.as_object_mut().and_then(|map| map.remove("stringData"));
    for (name, text) in texts.as_ref().and_then(Value::as_object).into_iter().flatten() {
        put(object, "data", json!({}));
        object["data"][name] = base64(text.as_str().unwrap_or_default().as_bytes()).into();
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// What a stored object shows beside what was stored.
pub fn show(kind: &Kind, object: &mut Value) {
    match kind.name() {
        "Deployment" if object["status"].is_null() => object["status"] = json!({}),
        "HorizontalPodAutoscaler" if object["status"].is_null() => {
            object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
        }
        "Event" => {
            for field in ["eventTime", "firstTimestamp", "lastTimestamp"] {
                if object.get(field).is_none() {
                    object[field] = Value::Null;
                }
            }
        }
        _ => {}
    }
}
