//! Pod templates by meaning: what the API server fills in, and whether two of them mean the same.

use serde_json::{Map, Value};

use super::canonical::{fits, integer, is_empty, is_omitted, quantity_text};
use super::image::default_pull_policy;
use super::table::{Field, Shape, Type, TypeId, table};
use crate::quantity::Quantity;
use crate::time::Stamp;

/// The template as the API server stores it inside a ReplicaSet: typed through the table, so unknown fields are
/// gone, with every default filled in.
pub fn default_pod_template(template: &Value) -> Value {
    Reading { by_value: false }.object(pod_template(), template)
}

/// Whether two pod templates mean the same, so that no update is due.
///
/// Both are read through the table and get their defaults; empty and absent lists and maps are equal, amounts
/// and times count by value. `spec.serviceAccount`, the old name of `serviceAccountName`, is ignored.
///
/// The caller has removed what the controller itself put into the live template.
pub fn same_template(live: &Value, desired: &Value) -> bool {
    meaning(live) == meaning(desired)
}

/// What makes pods of this template different from others.
fn meaning(template: &Value) -> Value {
    let mut template = Reading { by_value: true }.object(pod_template(), template);
    if let Some(Value::Object(spec)) = template.get_mut("spec") {
        spec.remove("serviceAccount");
        settle_pods(spec);
    }
    template
}

/// What the API server fills in only when it creates the pod, or did when it was older: said or unsaid, the pods
/// are the same, and a ReplicaSet may have been stored either way.
fn settle_pods(spec: &mut Map<String, Value>) {
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if host_network {
                open_ports_on_the_host(container);
            }
            request_what_is_limited(container);
        }
    }
}

fn open_ports_on_the_host(container: &mut Value) {
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let inner = port.get("containerPort").cloned().unwrap_or_default();
        if let Value::Object(port) = port
            && integer(&inner).is_some_and(|inner| inner != 0)
        {
            port.entry("hostPort").or_insert(inner);
        }
    }
}

fn request_what_is_limited(container: &mut Value) {
    let Some(Value::Object(resources)) = container.get_mut("resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    if let Value::Object(requests) = resources.entry("requests").or_insert_with(|| Value::Object(Map::new()))
    {
        for (resource, amount) in limits {
            requests.entry(resource).or_insert(amount);
        }
    }
}

fn pod_template() -> TypeId {
    table().find("PodTemplateSpec").expect("the table has it")
}

/// Reads values through the table and fills in defaults.
struct Reading {
    /// Amounts become texts that are equal when the amounts are; empty lists and maps vanish everywhere.
    by_value: bool,
}

impl Reading {
    fn object(&self, id: TypeId, value: &Value) -> Value {
        let of = table().at(id);
        let given = value.as_object();
        let mut out = Map::new();
        for field in &of.fields {
            let value = given.and_then(|map| map.get(field.name)).unwrap_or(&Value::Null);
            if let Some(value) = self.field(field, value) {
                out.insert(field.name.to_owned(), value);
            }
        }
        fill_by_content(of, &mut out);
        Value::Object(out)
    }

    fn field(&self, field: &Field, value: &Value) -> Option<Value> {
        let unsaid = !fits(&field.shape, value) || !field.pointer && is_empty(&field.shape, value);
        if unsaid && let Some(filled) = &field.filled {
            return Some(filled.clone());
        }
        let nothing =
            matches!(field.shape, Shape::List(_) | Shape::Map(_) | Shape::Time | Shape::Raw) || field.pointer;
        let vanishes =
            !fits(&field.shape, value) && nothing || self.by_value && is_empty_list(&field.shape, value);
        if vanishes || is_omitted(field, value) {
            return None;
        }
        Some(self.value(&field.shape, value))
    }

    fn value(&self, shape: &Shape, value: &Value) -> Value {
        match shape {
            Shape::Bool => Value::Bool(value.as_bool().unwrap_or(false)),
            Shape::Text => Value::from(value.as_str().unwrap_or("")),
            Shape::Int32 | Shape::Int64 => Value::from(integer(value).unwrap_or(0)),
            Shape::IntOrString => match value {
                Value::String(_) => value.clone(),
                _ => Value::from(integer(value).unwrap_or(0)),
            },
            Shape::Quantity => self.quantity(value, false),
            Shape::Time => value
                .as_str()
                .and_then(Stamp::parse)
                .map_or(Value::Null, |stamp| Value::from(stamp.to_string())),
            Shape::Raw => value.clone(),
            Shape::Struct(id) => self.object(*id, value),
            Shape::List(item) => Value::Array(
                value.as_array().into_iter().flatten().map(|value| self.value(item, value)).collect(),
            ),
            Shape::Map(item) => {
                let entry = |value| match **item {
                    Shape::Quantity => self.quantity(value, true),
                    _ => self.value(item, value),
                };
                let entries = value.as_object().into_iter().flatten();
                Value::Object(entries.map(|(key, value)| (key.clone(), entry(value))).collect())
            }
        }
    }

    /// An amount; those of a list of resources are stored in thousandths.
    fn quantity(&self, value: &Value, rounded: bool) -> Value {
        let text = quantity_text(value);
        let Ok(amount) = Quantity::parse(&text) else { return Value::from(text) };
        let amount = if rounded { amount.in_thousandths() } else { amount };
        Value::from(if self.by_value { amount.value_text() } else { amount.to_string() })
    }
}

fn is_empty_list(shape: &Shape, value: &Value) -> bool {
    matches!(shape, Shape::List(_) | Shape::Map(_)) && is_empty(shape, value)
}

/// The defaults that depend on the rest of the object.
fn fill_by_content(of: &Type, out: &mut Map<String, Value>) {
    match of.name {
        "Container" | "EphemeralContainer" => {
            let image = out.get("image").and_then(Value::as_str).unwrap_or("");
            let policy = default_pull_policy(image);
            out.entry("imagePullPolicy").or_insert_with(|| Value::from(policy));
        }
        "Volume" if out.keys().all(|key| key == "name") => {
            out.insert("emptyDir".to_owned(), Value::Object(Map::new()));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(spec: Value) -> Value {
        json!({"spec": spec})
    }

    fn container(container: Value) -> Value {
        pod(json!({"containers": [container]}))
    }

    /// The container is stored as `want` over what every container gets.
    fn check_container(given: Value, want: Value) {
        let stored = default_pod_template(&container(given));
        let mut expected = json!({"name": "", "imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"});
        for (key, value) in want.as_object().unwrap() {
            expected[key] = value.clone();
        }
        assert_eq!(stored["spec"]["containers"][0], expected);
    }

    fn check_volume(given: Value, want: Value) {
        let mut given = given;
        given["name"] = json!("v");
        let mut want = want;
        want["name"] = json!("v");
        let template = pod(json!({"volumes": [given]}));
        let stored = default_pod_template(&template);
        assert_eq!(stored["spec"]["volumes"][0], want);
        assert!(same_template(&stored, &template));
    }

    #[test]
    fn a_pod_gets_its_policies() {
        let stored = default_pod_template(&json!({"bogus": 1}));
        let want = json!({"metadata": {}, "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "schedulerName": "default-scheduler"}});
        assert_eq!(stored, want);
        let kept =
            default_pod_template(&pod(json!({"terminationGracePeriodSeconds": 0, "restartPolicy": ""})));
        assert_eq!(kept["spec"]["terminationGracePeriodSeconds"], json!(0));
        assert_eq!(kept["spec"]["restartPolicy"], json!("Always"));
    }

    #[test]
    fn a_container_gets_its_defaults() {
        check_container(json!({"image": "a:1"}), json!({"image": "a:1"}));
        check_container(json!({"image": "a"}), json!({"image": "a", "imagePullPolicy": "Always"}));
        check_container(
            json!({"imagePullPolicy": "Never", "image": "a"}),
            json!({"imagePullPolicy": "Never", "image": "a"}),
        );
        check_container(
            json!({"ports": [{"containerPort": 80}]}),
            json!({"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
        );
        check_container(
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                           {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                           {"name": "C", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}]}),
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                           {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
                           {"name": "C", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k", "optional": false}}}]}),
        );
        check_container(
            json!({"resources": {"limits": {"cpu": "0.0001", "memory": "1024Mi"}}}),
            json!({"resources": {"limits": {"cpu": "1m", "memory": "1Gi"}}}),
        );
        check_container(
            json!({"lifecycle": {"preStop": {"httpGet": {"port": 80}}}}),
            json!({"lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}}}}),
        );
    }

    #[test]
    fn probes_get_their_times() {
        check_container(
            json!({"livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"grpc": {"port": 1}},
                   "startupProbe": {"periodSeconds": 7, "exec": {}}}),
            json!({"livenessProbe": {"httpGet": {"port": "http", "path": "/", "scheme": "HTTP"},
                       "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                   "readinessProbe": {"grpc": {"port": 1, "service": ""},
                       "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                   "startupProbe": {"exec": {},
                       "timeoutSeconds": 1, "periodSeconds": 7, "successThreshold": 1, "failureThreshold": 3}}),
        );
    }

    #[test]
    fn volumes_get_their_modes() {
        check_volume(json!({}), json!({"emptyDir": {}}));
        check_volume(
            json!({"secret": {"secretName": "s"}}),
            json!({"secret": {"secretName": "s", "defaultMode": 420}}),
        );
        check_volume(
            json!({"configMap": {"name": "c"}}),
            json!({"configMap": {"name": "c", "defaultMode": 420}}),
        );
        check_volume(
            json!({"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "f"}}]}}),
            json!({"downwardAPI": {"defaultMode": 420,
                                   "items": [{"path": "p", "fieldRef": {"fieldPath": "f", "apiVersion": "v1"}}]}}),
        );
        check_volume(
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
            json!({"projected": {"defaultMode": 420,
                                 "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}}),
        );
        check_volume(json!({"hostPath": {"path": "/"}}), json!({"hostPath": {"path": "/", "type": ""}}));
        check_volume(
            json!({"iscsi": {"targetPortal": "t", "iqn": "q", "lun": 0}}),
            json!({"iscsi": {"targetPortal": "t", "iqn": "q", "lun": 0, "iscsiInterface": "default"}}),
        );
        check_volume(
            json!({"rbd": {"image": "i", "monitors": ["m"]}}),
            json!({"rbd": {"image": "i", "monitors": ["m"], "pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}}),
        );
        check_volume(
            json!({"azureDisk": {"diskName": "d", "diskURI": "u"}}),
            json!({"azureDisk": {"diskName": "d", "diskURI": "u", "cachingMode": "ReadWrite", "fsType": "ext4",
                                 "readOnly": false, "kind": "Shared"}}),
        );
        check_volume(
            json!({"scaleIO": {"gateway": "g", "system": "s"}}),
            json!({"scaleIO": {"gateway": "g", "system": "s", "storageMode": "ThinProvisioned", "fsType": "xfs"}}),
        );
        check_volume(
            json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "0.5Gi"}}}}}}),
            json!({"ephemeral": {"volumeClaimTemplate": {"metadata": {}, "spec": {"volumeMode": "Filesystem",
                "resources": {"requests": {"storage": "512Mi"}}}}}}),
        );
    }

    fn check_same(live: Value, desired: Value) {
        assert!(same_template(&live, &desired));
        assert!(same_template(&desired, &live));
    }

    fn check_different(live: Value, desired: Value) {
        assert!(!same_template(&live, &desired));
    }

    #[test]
    fn defaults_make_no_difference() {
        let desired = container(json!({"name": "a", "image": "a", "ports": [{"containerPort": 1}]}));
        check_same(default_pod_template(&desired), desired.clone());
        check_different(container(json!({"name": "a", "image": "a:2"})), desired);
        let wishes = json!({"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}}});
        let stored = json!({"name": "a", "resources": {"limits": {"cpu": 1, "memory": "1024Mi"},
                                                       "requests": {"cpu": "500m", "memory": "1073741824"}}});
        check_same(container(stored), container(wishes));
    }

    #[test]
    fn host_ports_are_implied_by_the_host_network() {
        let given =
            |host: bool, port: Value| pod(json!({"hostNetwork": host, "containers": [{"ports": [port]}]}));
        let (bare, full) = (json!({"containerPort": 80}), json!({"containerPort": 80, "hostPort": 80}));
        check_same(given(true, full.clone()), given(true, bare.clone()));
        check_different(given(false, full), given(false, bare));
    }

    #[test]
    fn nothing_is_as_good_as_empty() {
        check_same(
            json!({"metadata": {"labels": {}, "creationTimestamp": null}, "spec": {"containers": [], "volumes": null}}),
            json!({"spec": {"affinity": null, "nodeSelector": {}}}),
        );
        check_different(pod(json!({"affinity": {}})), pod(json!({})));
        check_different(pod(json!({"hostUsers": false})), pod(json!({})));
        check_same(
            pod(json!({"hostPID": false, "serviceAccount": "a"})),
            pod(json!({"serviceAccount": "b"})),
        );
    }

    #[test]
    fn order_matters_in_lists_alone() {
        let env = |names: [&str; 2]| container(json!({"env": [{"name": names[0]}, {"name": names[1]}]}));
        check_different(env(["a", "b"]), env(["b", "a"]));
        check_different(container(json!({"name": "a"})), container(json!({"name": "b"})));
    }

    proptest! {
        #[test]
        fn any_value_can_be_stored_and_is_itself(value in crate::schema::testing::any_value()) {
            let stored = default_pod_template(&value);
            prop_assert!(same_template(&stored, &value));
            prop_assert_eq!(default_pod_template(&stored), stored);
        }
    }
}
