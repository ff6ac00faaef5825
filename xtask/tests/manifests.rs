//! What users install: the same objects by every way, rights as those of the incumbent, and small enough to apply.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_api::yaml;

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Value>;

const BUNDLES: [(&str, &str); 2] = [("cluster", "install.yaml"), ("namespaced", "namespace-install.yaml")];
const CLUSTER_WIDE: [&str; 3] = ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"];

/// The longest annotation that an API server takes. `kubectl apply` keeps the whole object in one.
const ANNOTATION_LIMIT: usize = 256 * 1024;

/// The incumbent's role: groups, resources, verbs. The core group is `core`.
const RIGHTS: [(&str, &str, &str); 22] = [
    ("argoproj.io", "rollouts rollouts/status rollouts/finalizers", "get list watch update patch"),
    (
        "argoproj.io",
        "analysisruns analysisruns/finalizers experiments experiments/finalizers",
        "create get list watch update patch delete",
    ),
    ("argoproj.io", "analysistemplates clusteranalysistemplates", "get list watch"),
    ("apps", "replicasets", "create get list watch update patch delete"),
    ("core apps", "deployments podtemplates", "get list watch update"),
    ("core", "services", "get list watch patch create delete"),
    ("coordination.k8s.io", "leases", "create get update"),
    ("core", "secrets configmaps", "get list watch"),
    ("core", "pods", "list update watch"),
    ("core", "pods/eviction", "create"),
    ("core", "events", "create update patch"),
    ("networking.k8s.io extensions", "ingresses", "create get list watch update patch"),
    ("batch", "jobs", "create get list watch update patch delete"),
    ("networking.istio.io", "virtualservices destinationrules", "watch get update patch list"),
    ("split.smi-spec.io", "trafficsplits", "create watch get update patch"),
    (
        "getambassador.io x.getambassador.io",
        "mappings ambassadormappings",
        "create watch get update list delete",
    ),
    ("core", "endpoints", "get"),
    ("elbv2.k8s.aws eks.amazonaws.com", "targetgroupbindings", "list get"),
    ("appmesh.k8s.aws", "virtualservices", "watch get list"),
    ("appmesh.k8s.aws", "virtualnodes virtualrouters", "watch get list update patch"),
    ("traefik.containo.us traefik.io", "traefikservices", "watch get update"),
    ("apisix.apache.org", "apisixroutes", "watch get update"),
];

const VIEW: [(&str, &str, &str); 1] = [(
    "argoproj.io",
    "rollouts rollouts/scale experiments analysistemplates clusteranalysistemplates analysisruns",
    "get list watch",
)];

const EDIT: [(&str, &str, &str); 1] = [(
    "argoproj.io",
    "rollouts rollouts/scale rollouts/status experiments analysistemplates clusteranalysistemplates analysisruns",
    "create delete deletecollection get list patch update watch",
)];

#[test]
fn kustomize_makes_the_same_objects() {
    for (overlay, file) in BUNDLES {
        let folder = deploy().join("overlays").join(overlay);
        match Command::new("kubectl").arg("kustomize").arg(&folder).output() {
            Err(why) => eprintln!("skipped: kubectl kustomize {overlay}: {why}"),
            Ok(built) => {
                assert!(built.status.success(), "{overlay}: {}", String::from_utf8_lossy(&built.stderr));
                let built = String::from_utf8(built.stdout).expect("kustomize writes UTF-8");
                assert_same(file, &objects(overlay, &built), &bundle(file));
            }
        }
    }
}

#[test]
fn the_chart_makes_the_same_objects() {
    for (overlay, file) in BUNDLES {
        let mut want = bundle(file);
        want.retain(|(kind, _), _| kind != "CustomResourceDefinition");
        let mut made = chart(&json!({"clusterInstall": overlay == "cluster"}));
        for ((kind, name), object) in &mut made {
            let namespace = take(object, "/metadata", "namespace");
            let wanted = (!CLUSTER_WIDE.contains(&kind.as_str())).then(|| json!("argo-rollouts"));
            assert_eq!(namespace, wanted, "{kind} {name}");
        }
        assert_same(file, &made, &want);
    }
}

#[test]
fn what_the_user_of_the_chart_chooses_arrives() {
    let values = json!({"clusterInstall": false, "controller": {
        "replicas": 2, "extraArgs": ["--instance-id=blue", "--loglevel=debug"], "tolerations": [{"key": "a"}],
        "image": {"repository": "registry.example/tidegate", "tag": "9.9.9"},
    }});
    let made = chart(&values);
    let deployment = &made[&("Deployment".to_owned(), "argo-rollouts".to_owned())];
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(
        pod["containers"][0]["args"],
        json!(["--namespaced", "--instance-id=blue", "--loglevel=debug"])
    );
    assert_eq!(pod["containers"][0]["image"], "registry.example/tidegate:9.9.9");
    assert_eq!(pod["tolerations"], json!([{"key": "a"}]));
}

#[test]
fn the_definitions_of_the_chart_are_those_of_the_repository() {
    let names = |folder: &str| -> BTreeMap<String, String> {
        let files = fs::read_dir(deploy().join(folder)).expect("the folder is there");
        let files = files.map(|entry| entry.expect("it can be listed").path());
        files.filter(|path| path.extension().is_some()).map(|path| (file_name(&path), text(&path))).collect()
    };
    assert_eq!(names("crds").len(), 5);
    assert_eq!(names("crds"), names("chart/crds"));
}

#[test]
fn every_object_can_be_applied_from_the_client() {
    for (_, file) in BUNDLES {
        for ((kind, name), object) in bundle(file) {
            let size = object.to_string().len();
            assert!(size < ANNOTATION_LIMIT, "{kind} {name}: {size} bytes");
        }
    }
}

/// An API server drops an empty list or text, and every later apply would find a difference.
#[test]
fn nothing_is_said_emptily() {
    fn empty(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.is_empty() || items.iter().any(empty),
            Value::Object(fields) => {
                // A group without a name is the core one.
                fields.iter().any(|(key, value)| key != "apiGroups" && empty(value))
            }
            Value::String(text) => text.is_empty(),
            other => other.is_null(),
        }
    }
    for (_, file) in BUNDLES {
        for ((kind, name), object) in bundle(file) {
            assert!(kind == "CustomResourceDefinition" || !empty(&object), "{kind} {name}");
        }
    }
}

/// `kubectl apply -n NAMESPACE` refuses an object that names another namespace.
#[test]
fn no_object_names_its_namespace() {
    for (_, file) in BUNDLES {
        for ((kind, name), object) in bundle(file) {
            assert_eq!(object.pointer("/metadata/namespace"), None, "{kind} {name}");
        }
    }
}

/// Groups of routers' objects.
const OF_ROUTERS: [&str; 13] = [
    ".getambassador.io",
    ".apisix.apache.org",
    ".networking.istio.io",
    ".gateway.networking.k8s.io",
    ".policy.linkerd.io",
    ".elbv2.k8s.aws",
    ".eks.amazonaws.com",
    ".traefik.containo.us",
    ".traefik.io",
    "ingresses.extensions",
    "ingresses.networking.k8s.io",
    ".split.smi-spec.io",
    "endpointslices.discovery.k8s.io",
];

#[test]
fn the_rights_are_those_of_the_incumbent() {
    let names = "ServiceAccount/argo-rollouts ConfigMap/argo-rollouts-config Service/argo-rollouts-metrics \
                 Secret/argo-rollouts-notification-secret Deployment/argo-rollouts \
                 ClusterRole/argo-rollouts-aggregate-to-view ClusterRole/argo-rollouts-aggregate-to-edit \
                 ClusterRole/argo-rollouts-aggregate-to-admin";
    for ((_, file), role) in BUNDLES.into_iter().zip(["ClusterRole", "Role"]) {
        let mut bundle = bundle(file);
        bundle.retain(|(kind, _), _| kind != "CustomResourceDefinition");
        let own = format!("{role}/argo-rollouts {role}Binding/argo-rollouts");
        let wanted: BTreeSet<String> = names.split(' ').chain(own.split(' ')).map(str::to_owned).collect();
        let found: BTreeSet<String> = bundle.keys().map(|(kind, name)| format!("{kind}/{name}")).collect();
        assert_eq!(found, wanted, "{file}");
        let rules = |kind: &str, name: &str| granted(&bundle[&(kind.to_owned(), name.to_owned())]);
        // What routers need that the incumbent has no right to, and nothing about anything else.
        let (ours, theirs) = (rules(role, "argo-rollouts"), listed(&RIGHTS));
        let missing: Vec<_> = theirs.difference(&ours).collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
        let is_of_routers = |right: &&String| OF_ROUTERS.iter().any(|group| right.ends_with(group));
        let foreign: Vec<_> = ours.difference(&theirs).filter(|right| !is_of_routers(right)).collect();
        assert!(foreign.is_empty(), "{file}: {foreign:?}");
        assert_eq!(rules("ClusterRole", "argo-rollouts-aggregate-to-view"), listed(&VIEW), "{file}");
        assert_eq!(rules("ClusterRole", "argo-rollouts-aggregate-to-edit"), listed(&EDIT), "{file}");
        assert_eq!(rules("ClusterRole", "argo-rollouts-aggregate-to-admin"), listed(&EDIT), "{file}");
        let binding = &bundle[&(format!("{role}Binding"), "argo-rollouts".to_owned())];
        assert_eq!(binding["roleRef"]["kind"], role, "{file}");
    }
}

/// An update that changes the selector of a Deployment is refused, and there is no way round but to delete it.
#[test]
fn the_selector_is_the_incumbents() {
    let label = json!({"app.kubernetes.io/name": "argo-rollouts"});
    for (_, file) in BUNDLES {
        let bundle = bundle(file);
        let deployment = &bundle[&("Deployment".to_owned(), "argo-rollouts".to_owned())];
        assert_eq!(deployment["spec"]["selector"], json!({"matchLabels": label}));
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], label);
        let service = &bundle[&("Service".to_owned(), "argo-rollouts-metrics".to_owned())];
        assert_eq!(service["spec"]["selector"], label);
    }
}

#[test]
fn the_image_is_built_by_the_tested_script_with_the_pinned_compiler() {
    let dockerfile = text(&deploy().join("image/Dockerfile"));
    let toolchain = text(&deploy().join("../rust-toolchain.toml"));
    let version = toolchain.split('"').nth(1).expect("the toolchain file names a channel");
    for line in [
        &format!("ARG RUST_VERSION={version}"),
        "RUN deploy/image/build-static",
        "FROM scratch",
        "USER 999",
        "WORKDIR /home/argo-rollouts",
        "ENTRYPOINT [\"/bin/tidegate\", \"controller\"]",
    ] {
        assert!(dockerfile.lines().any(|found| found == line), "no line `{line}`");
    }
    assert!(!dockerfile.contains("cargo "), "cargo is called by the script alone");
}

/// What a role grants, one right a line.
fn granted(role: &Value) -> BTreeSet<String> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().expect("a rule has lists");
        let texts = list.iter().map(|text| text.as_str().expect("of texts"));
        texts.map(|text| if text.is_empty() { "core".to_owned() } else { text.to_owned() }).collect()
    };
    let rules = role["rules"].as_array().expect("a role has rules");
    rules
        .iter()
        .flat_map(|rule| rights(&texts(rule, "apiGroups"), &texts(rule, "resources"), &texts(rule, "verbs")))
        .collect()
}

fn listed(rules: &[(&str, &str, &str)]) -> BTreeSet<String> {
    let words = |list: &str| -> Vec<String> { list.split_whitespace().map(str::to_owned).collect() };
    rules
        .iter()
        .flat_map(|(groups, kinds, verbs)| rights(&words(groups), &words(kinds), &words(verbs)))
        .collect()
}

fn rights(groups: &[String], kinds: &[String], verbs: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for group in groups {
        for kind in kinds {
            all.extend(verbs.iter().map(|verb| format!("{verb} {kind}.{group}")));
        }
    }
    all
}

/// What Helm would print, for the few forms of its language that the chart uses; any other fails.
fn chart(chosen: &Value) -> Objects {
    let folder = deploy().join("chart");
    let mut values = document(&folder.join("values.yaml"));
    merge(&mut values, chosen);
    let chart = document(&folder.join("Chart.yaml"));
    let scope = json!({
        "Values": values,
        "Chart": {"AppVersion": chart["appVersion"]},
        "Release": {"Namespace": "argo-rollouts"},
    });
    let mut made = Objects::new();
    for entry in fs::read_dir(folder.join("templates")).expect("the chart has templates") {
        let path = entry.expect("it can be listed").path();
        made.extend(objects(&file_name(&path), &rendered(&text(&path), &scope)));
    }
    made
}

fn rendered(template: &str, scope: &Value) -> String {
    let (mut out, mut shown) = (String::new(), vec![true]);
    for line in template.lines() {
        let word = line.trim_start();
        if let Some(path) = word.strip_prefix("{{- if ").and_then(|rest| rest.strip_suffix(" }}")) {
            let empty = [json!(false), json!(""), json!([]), json!({})];
            shown.push(!empty.contains(&evaluated(path, scope)));
        } else if word == "{{- else }}" {
            let last = shown.last_mut().expect("an else stands in an if");
            *last = !*last;
        } else if word == "{{- end }}" {
            shown.pop();
        } else if shown.iter().all(|&shown| shown) {
            let mut rest = line;
            while let Some((before, from)) = rest.split_once("{{ ") {
                let (expression, after) = from.split_once(" }}").expect("an expression ends on its line");
                let value = evaluated(expression, scope);
                out += before;
                out += value.as_str().unwrap_or_else(|| panic!("{expression}: not a text: {value}"));
                rest = after;
            }
            out += rest;
            out.push('\n');
        }
    }
    assert_eq!(shown, [true], "each if ends");
    out
}

fn evaluated(expression: &str, scope: &Value) -> Value {
    if let Some((value, filter)) = expression.rsplit_once(" | ") {
        let value = evaluated(value, scope);
        return match filter.split_once(' ') {
            None if filter == "toJson" => json!(value.to_string()),
            Some(("default", other)) if value == json!("") => evaluated(other, scope),
            Some(("default", _)) => value,
            _ => panic!("{filter}: not understood"),
        };
    }
    if let Some(rest) = expression.strip_prefix("prepend (") {
        let (list, item) = rest.rsplit_once(") ").expect("prepend takes a list and an item");
        let mut list = evaluated(list, scope);
        let item = serde_json::from_str(item).expect("the item is a text");
        list.as_array_mut().expect("prepend takes a list").insert(0, item);
        return list;
    }
    let path = expression.replace('.', "/");
    scope.pointer(&path).unwrap_or_else(|| panic!("{expression}: no such value")).clone()
}

fn merge(values: &mut Value, chosen: &Value) {
    match (values, chosen) {
        (Value::Object(values), Value::Object(chosen)) => {
            for (key, chosen) in chosen {
                merge(values.entry(key).or_insert(Value::Null), chosen);
            }
        }
        (values, chosen) => *values = chosen.clone(),
    }
}

/// Object by object, because a comparison of megabytes at once tells nobody what differs.
fn assert_same(what: &str, left: &Objects, right: &Objects) {
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right), "{what}");
    for (key, object) in left {
        if key.0 == "CustomResourceDefinition" {
            assert!(*object == right[key], "{what}: {key:?} differs");
        } else {
            assert_eq!(*object, right[key], "{what}: {key:?}");
        }
    }
}

fn take(object: &mut Value, parent: &str, field: &str) -> Option<Value> {
    object.pointer_mut(parent)?.as_object_mut()?.remove(field)
}

fn bundle(file: &str) -> Objects {
    objects(file, &text(&deploy().join(file)))
}

fn objects(name: &str, text: &str) -> Objects {
    let documents = yaml::read(name, text).unwrap_or_else(|why| panic!("{why}"));
    let mut objects = Objects::new();
    for document in documents {
        let field = |path: &str| document.value.pointer(path).and_then(Value::as_str).expect(path).to_owned();
        let key = (field("/kind"), field("/metadata/name"));
        assert!(!objects.contains_key(&key), "{name}: {key:?} is there twice");
        objects.insert(key, document.value);
    }
    objects
}

fn document(path: &Path) -> Value {
    let mut documents = yaml::read(&file_name(path), &text(path)).unwrap_or_else(|why| panic!("{why}"));
    documents.pop().expect("there is a document").value
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}
