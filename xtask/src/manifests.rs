//! `cargo xtask manifests`: what users apply, from the objects in deploy/base.
//!
//! Three ways to install must say the same: one file, kustomize, Helm. So there is one source, one object a file, and
//! the kustomizations that put them together. The bundles and the templates of the chart are written from it; a person
//! never edits them. Of kustomize just what ours need is understood here, and anything else is refused; a test asks the
//! real one whether it reads the same.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_api::yaml;
use tidegate_api::yaml_out::to_yaml;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const IMAGE: &str = "ghcr.io/tidegate/tidegate";
const HEADER: &str = "# Written by `cargo xtask manifests`.\n";
const CLUSTER_WIDE: [&str; 3] = ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"];

/// What the chart lets its user choose: kind, place, and the expression that stands there. An expression that ends in
/// `toJson` is the whole value.
const CHOICES: [(&str, &str, &str); 9] = [
    ("ClusterRoleBinding", "/subjects/0/namespace", "{{ .Release.Namespace }}"),
    ("Deployment", "/spec/replicas", "{{ .Values.controller.replicas | toJson }}"),
    (
        "Deployment",
        "/spec/template/spec/containers/0/image",
        "{{ .Values.controller.image.repository }}:{{ .Values.controller.image.tag | default .Chart.AppVersion }}",
    ),
    (
        "Deployment",
        "/spec/template/spec/containers/0/imagePullPolicy",
        "{{ .Values.controller.image.pullPolicy }}",
    ),
    (
        "Deployment",
        "/spec/template/spec/containers/0/resources",
        "{{ .Values.controller.resources | toJson }}",
    ),
    ("Deployment", "/spec/template/spec/nodeSelector", "{{ .Values.controller.nodeSelector | toJson }}"),
    ("Deployment", "/spec/template/spec/tolerations", "{{ .Values.controller.tolerations | toJson }}"),
    ("Deployment", "/spec/template/spec/affinity", "{{ .Values.controller.affinity | toJson }}"),
    ("Deployment", "/spec/template/spec/priorityClassName", "{{ .Values.controller.priorityClassName }}"),
];

/// The choices that stand for nothing until they are made.
const OPTIONAL: [&str; 5] = [
    ".Values.controller.extraArgs",
    ".Values.controller.nodeSelector",
    ".Values.controller.tolerations",
    ".Values.controller.affinity",
    ".Values.controller.priorityClassName",
];

/// Writes the files, or says which are not current.
pub fn run(check: bool) -> Result<(), String> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let stale = stale(&deploy)?;
    if check {
        let names: Vec<&str> = stale.iter().map(|(name, _)| name.as_str()).collect();
        return if names.is_empty() {
            Ok(())
        } else {
            Err(format!("not current, run `cargo xtask manifests`: {}", names.join(", ")))
        };
    }
    for (name, text) in stale {
        let path = deploy.join(&name);
        let folder = path.parent().unwrap_or(&deploy);
        fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        fs::write(&path, text).map_err(|why| format!("{name}: {why}"))?;
        println!("{name}");
    }
    Ok(())
}

/// The files that are missing or differ, with what should be in them. A template that nothing makes is one to remove.
fn stale(deploy: &Path) -> Result<Vec<(String, String)>, String> {
    let mut files = vec![("base/deployment.yaml".to_owned(), stamped(&deploy.join("base/deployment.yaml"))?)];
    let cluster = build(&deploy.join("overlays/cluster"))?;
    let namespaced = build(&deploy.join("overlays/namespaced"))?;
    files.push(("install.yaml".to_owned(), bundle(&cluster)));
    files.push(("namespace-install.yaml".to_owned(), bundle(&namespaced)));
    files.push(("chart/Chart.yaml".to_owned(), chart()));
    let templates = templates(&cluster, &namespaced)?;
    for entry in fs::read_dir(deploy.join("chart/templates")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !templates.iter().any(|(made, _)| *made == name) {
            return Err(format!("chart/templates/{name}: nothing in the base makes it, remove it"));
        }
    }
    files.extend(templates.into_iter().map(|(name, text)| (format!("chart/templates/{name}"), text)));
    files.retain(|(name, text)| fs::read_to_string(deploy.join(name)).ok().as_deref() != Some(text));
    Ok(files)
}

/// One object of a bundle.
#[derive(Clone)]
struct Part {
    /// The file it comes from, without its folder.
    file: String,
    /// As it stands in the file, comments included; printed anew where a patch has changed it.
    text: String,
    object: Value,
}

impl Part {
    fn is(&self, field: &str, value: &str) -> bool {
        self.object.pointer(field).and_then(Value::as_str) == Some(value)
    }
}

/// What kustomize makes of a folder.
fn build(folder: &Path) -> Result<Vec<Part>, String> {
    let file = ["kustomization.yaml", "Kustomization"].map(|name| folder.join(name));
    let file = file.iter().find(|file| file.exists()).ok_or_else(|| format!("{}: none", folder.display()))?;
    let kustomization = read(file)?.1;
    let wrong = |what: &str| format!("{}: {what}", file.display());
    for key in kustomization.as_object().into_iter().flat_map(|map| map.keys()) {
        if !["apiVersion", "kind", "resources", "patches"].contains(&key.as_str()) {
            return Err(wrong(&format!("`{key}` is not understood here")));
        }
    }
    let mut parts = Vec::new();
    for resource in items(&kustomization["resources"]) {
        let path = folder.join(resource.as_str().ok_or_else(|| wrong("a resource is a path"))?);
        if path.is_dir() {
            parts.extend(build(&path)?);
        } else {
            let (text, object) = read(&path)?;
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
            parts.push(Part { file: file.unwrap_or_default(), text, object });
        }
    }
    for patch in items(&kustomization["patches"]) {
        let aim =
            |field: &str| patch["target"][field].as_str().ok_or_else(|| wrong("a target has kind and name"));
        let (kind, name) = (aim("kind")?, aim("name")?);
        let part = parts.iter_mut().find(|part| part.is("/kind", kind) && part.is("/metadata/name", name));
        let part = part.ok_or_else(|| wrong(&format!("no {kind} {name}")))?;
        let operations = patch["patch"].as_str().ok_or_else(|| wrong("a patch is a text"))?;
        for operation in items(&one("patch", operations)?) {
            apply(&mut part.object, operation).map_err(|why| wrong(&why))?;
        }
        part.text = to_yaml(&part.object);
    }
    Ok(parts)
}

/// One operation of a JSON patch.
fn apply(object: &mut Value, operation: &Value) -> Result<(), String> {
    let text = |field: &str| operation[field].as_str().ok_or_else(|| format!("an operation has `{field}`"));
    let (op, path) = (text("op")?, text("path")?);
    let (parent, key) = path.rsplit_once('/').ok_or_else(|| format!("{path}: not a path"))?;
    let value = operation.get("value").cloned();
    let done = match (op, object.pointer_mut(parent), value) {
        ("add", Some(Value::Object(map)), Some(value)) => {
            map.insert(key.to_owned(), value);
            true
        }
        ("replace", Some(Value::Object(map)), Some(value)) => map.insert(key.to_owned(), value).is_some(),
        ("remove", Some(Value::Object(map)), None) => map.remove(key).is_some(),
        _ => false,
    };
    if done { Ok(()) } else { Err(format!("{op} {path}: not understood, or nothing is there")) }
}

fn bundle(parts: &[Part]) -> String {
    let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
    format!("{HEADER}{}", texts.join("---\n"))
}

/// The chart's templates: an object that both scopes have alike stands there once, any other once for each. The
/// definitions are not among them, because Helm would delete them, and with them all rollouts, when the chart goes.
fn templates(cluster: &[Part], namespaced: &[Part]) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    for wide in cluster.iter().filter(|part| !part.is("/kind", "CustomResourceDefinition")) {
        let narrow = namespaced.iter().find(|part| part.file == wide.file);
        let narrow = narrow.ok_or_else(|| format!("{}: missing in the namespaced overlay", wide.file))?;
        let (wide, narrow, file) = (template(wide)?, template(narrow)?, wide.file.clone());
        let text = if wide == narrow {
            format!("{HEADER}{wide}")
        } else {
            format!(
                "{HEADER}{{{{- if .Values.clusterInstall }}}}\n{wide}{{{{- else }}}}\n{narrow}{{{{- end }}}}\n"
            )
        };
        files.push((file, text));
    }
    Ok(files)
}

/// An object with expressions where the chart's user has a choice.
fn template(part: &Part) -> Result<String, String> {
    let mut object = part.object.clone();
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if !CLUSTER_WIDE.contains(&kind.as_str()) {
        object["metadata"]["namespace"] = json!("{{ .Release.Namespace }}");
    }
    if kind == "Deployment" {
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        let mut extra = ".Values.controller.extraArgs".to_owned();
        // What the scope asks for comes first, so that the user's own flags win.
        for own in items(&container["args"]).iter().rev() {
            extra = format!("prepend ({extra}) {own}");
        }
        container["args"] = json!(format!("{{{{ {extra} | toJson }}}}"));
    }
    for (_, path, expression) in CHOICES.iter().filter(|choice| choice.0 == kind) {
        apply(&mut object, &json!({"op": "add", "path": path, "value": expression}))?;
    }
    Ok(to_yaml(&object).lines().map(|line| optional(&unquoted(line))).collect())
}

/// The line without the quotes around an expression that prints JSON itself.
fn unquoted(line: &str) -> String {
    let bare = line.find("\"{{").filter(|_| line.ends_with("| toJson }}\""));
    let bare = bare.and_then(|at| Some((at, serde_json::from_str::<String>(&line[at..]).ok()?)));
    bare.map_or_else(|| line.to_owned(), |(at, expression)| format!("{}{expression}", &line[..at]))
}

/// The line under a condition where it prints what is usually empty. An API server drops empty fields, and whoever
/// compares what is applied with what is there would see a difference for ever.
fn optional(line: &str) -> String {
    let Some(value) = OPTIONAL.iter().find(|value| line.contains(&format!("{{{{ {value} "))) else {
        return format!("{line}\n");
    };
    let field = line.trim_start_matches([' ', '-']);
    let indent = " ".repeat(line.len() - field.len());
    // The first field of an item leaves the dash behind, for the next one.
    let is_item = line.trim_start().starts_with('-');
    let dash = if is_item { format!("{}-\n", &indent[2..]) } else { String::new() };
    format!("{dash}{indent}{{{{- if {value} }}}}\n{indent}{field}\n{indent}{{{{- end }}}}\n")
}

fn chart() -> String {
    format!(
        "{HEADER}apiVersion: v2\nname: tidegate\ndescription: Progressive delivery for Kubernetes, compatible with Argo \
         Rollouts\ntype: application\nversion: {VERSION}\nappVersion: \"{VERSION}\"\nkubeVersion: \">=1.25.0-0\"\n"
    )
}

/// The deployment's file with the version that Cargo.toml names.
fn stamped(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let stamp = |line: &str| match line.split_once(IMAGE) {
        Some((before, _)) => format!("{before}{IMAGE}:{VERSION}\n"),
        None => format!("{line}\n"),
    };
    Ok(text.lines().map(stamp).collect())
}

/// The text and the one object of a file.
fn read(path: &PathBuf) -> Result<(String, Value), String> {
    let text = fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let object = one(&path.display().to_string(), &text)?;
    Ok((text, object))
}

fn one(name: &str, text: &str) -> Result<Value, String> {
    let documents = yaml::read(name, text).map_err(|why| why.to_string())?;
    let [document] = documents.try_into().map_err(|_| format!("{name}: one document is wanted"))?;
    Ok(document.value)
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_current() {
        assert_eq!(run(true), Ok(()));
    }

    #[test]
    fn patches_change_what_is_there_and_nothing_else() {
        let check = |operation: Value, want: Result<Value, String>| {
            let mut object = json!({"kind": "A", "args": [], "deep": {"x": 1}});
            assert_eq!(apply(&mut object, &operation).map(|()| object), want);
        };
        let missing = |what: &str| Err(format!("{what}: not understood, or nothing is there"));
        check(
            json!({"op": "replace", "path": "/kind", "value": "B"}),
            Ok(json!({"kind": "B", "args": [], "deep": {"x": 1}})),
        );
        check(
            json!({"op": "add", "path": "/deep/y", "value": 2}),
            Ok(json!({"kind": "A", "args": [], "deep": {"x": 1, "y": 2}})),
        );
        check(json!({"op": "add", "path": "/args/-", "value": 1}), missing("add /args/-"));
        check(json!({"op": "remove", "path": "/deep/x"}), Ok(json!({"kind": "A", "args": [], "deep": {}})));
        check(json!({"op": "replace", "path": "/kinds", "value": "B"}), missing("replace /kinds"));
        check(json!({"op": "remove", "path": "/deep/y"}), missing("remove /deep/y"));
        check(json!({"op": "move", "path": "/deep/x"}), missing("move /deep/x"));
    }

    #[test]
    fn a_choice_not_made_leaves_no_empty_field() {
        let check = |line: &str, want: &str| assert_eq!(optional(line), want);
        check(
            "  a: {{ .Values.controller.resources | toJson }}",
            "  a: {{ .Values.controller.resources | toJson }}\n",
        );
        check(
            "  a: {{ .Values.controller.affinity | toJson }}",
            "  {{- if .Values.controller.affinity }}\n  a: {{ .Values.controller.affinity | toJson }}\n  {{- end }}\n",
        );
        check(
            "  - a: {{ .Values.controller.extraArgs | toJson }}",
            "  -\n    {{- if .Values.controller.extraArgs }}\n    a: {{ .Values.controller.extraArgs | toJson }}\n    {{- end }}\n",
        );
        let always = "- a: {{ prepend (.Values.controller.extraArgs) \"x\" | toJson }}";
        check(always, &format!("{always}\n"));
    }

    #[test]
    fn only_expressions_that_print_json_lose_their_quotes() {
        assert_eq!(unquoted("a: \"{{ x }}\""), "a: \"{{ x }}\"");
        assert_eq!(unquoted("a: \"{{ x | toJson }}\""), "a: {{ x | toJson }}");
        assert_eq!(
            unquoted("- a: \"{{ prepend (x) \\\"y\\\" | toJson }}\""),
            "- a: {{ prepend (x) \"y\" | toJson }}"
        );
    }
}
