//! Arguments: from a Rollout to its runs, and from a run into its metrics.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api::analysis::{Argument, Metric, RolloutArgument, SecretKey};
use tidegate_api::object::{Object, Strings, Text};

use super::expr::numbers;
use super::placeholders::fill_document;
use super::secrets::{Masks, SecretData};

/// What stands for a secret where none was read: in judging a run and in planning its measurements.
pub const PLACE_OF_A_SECRET: &str = "temp-for-secret";

/// Arguments with their values, by name.
pub type Values = BTreeMap<Text, Text>;

/// The values of a run's arguments without its secrets.
pub fn without_secrets(args: &[Argument]) -> Result<Values, String> {
    values(args, &mut |_| Ok(PLACE_OF_A_SECRET.into()))
}

/// The values of a run's arguments, with secrets. A secret wins over a plain value, as in the reference.
pub fn with_secrets(
    args: &[Argument],
    secrets: &BTreeMap<Text, Result<SecretData, Text>>,
) -> Result<(Values, Masks), String> {
    let mut masks = Masks::default();
    let mut read = |secret: &SecretKey| {
        let SecretKey { name, key } = secret;
        let data = match secrets.get(name) {
            Some(Ok(data)) => data,
            Some(Err(why)) => return Err(why.to_string()),
            None => return Err(format!("secrets \"{name}\" not found")),
        };
        let value = data.get(key).ok_or_else(|| format!("key '{key}' does not exist in secret '{name}'"))?;
        masks.add(value);
        Ok(value.clone())
    };
    let values = values(args, &mut read)?;
    Ok((values, masks))
}

/// The Secrets that a run's arguments name.
pub fn secrets_of(args: &[Argument]) -> impl Iterator<Item = SecretKey> {
    args.iter().filter_map(Argument::secret)
}

fn values(
    args: &[Argument],
    read: &mut dyn FnMut(&SecretKey) -> Result<Text, String>,
) -> Result<Values, String> {
    let mut values = Values::new();
    for arg in args {
        let value = match arg.secret() {
            Some(secret) => Some(read(&secret)?),
            None => arg.value.clone(),
        };
        let value = value.ok_or_else(|| format!("argument \"{}\" was not supplied", arg.name))?;
        values.insert(arg.name.clone(), value);
    }
    Ok(values)
}

/// A metric with its arguments filled in.
pub fn resolve(metric: &Value, values: &Values) -> Result<Metric, String> {
    let value_of = |tag: &str| Some(&**values.get(tag.strip_prefix("args.")?)?);
    Ok(Metric::read(&fill_document(metric, &value_of)?))
}

/// Hashes that stand in arguments of a Rollout.
#[derive(Clone, Copy, Debug)]
pub struct Hashes<'h> {
    /// Of the new version.
    pub latest: &'h str,
    /// Of the stable version; absent while there is none.
    pub stable: Option<&'h str>,
}

/// The arguments that a Rollout hands to its runs, each with a value.
pub fn of_rollout(
    args: &[RolloutArgument],
    rollout: &Object,
    hashes: Hashes<'_>,
) -> Result<Vec<Argument>, String> {
    let value_of = |arg: &RolloutArgument| match (arg.hash_of.as_deref(), &arg.field) {
        (Some("Latest"), _) => Ok(hashes.latest.to_owned()),
        (Some("Stable"), _) => {
            hashes.stable.map(str::to_owned).ok_or_else(|| "there is no stable ReplicaSet".to_owned())
        }
        (None, Some(path)) => field(rollout, path),
        _ => Ok(arg.value.to_string()),
    };
    args.iter().map(|arg| Ok(Argument::plain(arg.name.clone(), value_of(arg)?))).collect()
}

/// The value of a field of a Rollout: its metadata as Kubernetes hands them to pods, all else by its path.
pub fn field(rollout: &Object, path: &str) -> Result<String, String> {
    if path.starts_with("metadata") { metadata(rollout, path) } else { by_path(&rollout.to_value(), path) }
}

fn metadata(rollout: &Object, path: &str) -> Result<String, String> {
    let meta = &rollout.meta;
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let value = match map {
            "metadata.labels" => meta.labels.get(key),
            "metadata.annotations" => meta.annotations.get(key),
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(value.map_or(String::new(), |value| value.to_string()));
    }
    let lines = |map: &Strings| {
        let line = |(key, value): (&Text, &Text)| format!("{key}={}", Value::from(&**value));
        map.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    Ok(match path {
        "metadata.name" => meta.name.to_string(),
        "metadata.namespace" => meta.namespace.to_string(),
        "metadata.uid" => meta.uid.to_string(),
        "metadata.labels" => lines(&meta.labels),
        "metadata.annotations" => lines(&meta.annotations),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

fn by_path(document: &Value, path: &str) -> Result<String, String> {
    let invalid = || format!("invalid path {path} in rollout");
    let mut at = document;
    for piece in path.split(['.', '[', ']']).filter(|piece| !piece.is_empty()) {
        at = match at {
            Value::Array(items) => {
                let index: usize = piece.parse().map_err(|_| format!("invalid index '{piece}'"))?;
                items.get(index).ok_or_else(|| format!("index {index} out of range"))?
            }
            Value::Object(map) => map.get(piece).ok_or_else(invalid)?,
            _ => return Err(invalid()),
        };
    }
    match at {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) => Ok(numbers::general(number.as_f64().unwrap_or(f64::NAN))),
        Value::Null => Err(invalid()),
        _ => Err(format!("path {path} in rollout must terminate in a primitive value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arg(raw: Value) -> Argument {
        tidegate_api::analysis::AnalysisDocument::new(json!({"args": [raw]})).spec().args[0].clone()
    }

    /// Vectors A12 to A18.
    #[test]
    fn fields_of_a_rollout_become_arguments() {
        let rollout = Object::from_value(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "app", "b": "2"}},
            "spec": {"replicas": 1_000_000, "paused": true, "strategy": {"canary": {}}},
            "status": {"pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}]}}))
        .expect("a rollout");
        let check = |path: &str, expected: Result<&str, &str>| {
            let found = field(&rollout, path);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{path}");
        };
        check("spec.replicas", Ok("1e+06"));
        check("spec.paused", Ok("true"));
        check("metadata.labels['app']", Ok("app"));
        check("metadata.labels['none']", Ok(""));
        check("metadata.labels", Ok("app=\"app\"\nb=\"2\""));
        check("metadata.finalizers", Err("unsupported fieldPath: metadata.finalizers"));
        check("status.pauseConditions[0].reason", Ok("CanaryPauseStep"));
        check("status.pauseConditions[blah].reason", Err("invalid index 'blah'"));
        check("status.pauseConditions[-1].reason", Err("invalid index '-1'"));
        check("status.pauseConditions[12].reason", Err("index 12 out of range"));
        let container = "path status.pauseConditions[0] in rollout must terminate in a primitive value";
        check("status.pauseConditions[0]", Err(container));
        check("some.invalid[2].path", Err("invalid path some.invalid[2].path in rollout"));
        let args = [
            RolloutArgument { name: "a".into(), field: Some("nope".into()), ..Default::default() },
            RolloutArgument { name: "b".into(), field: Some("metadata.name".into()), ..Default::default() },
        ];
        let hashes = Hashes { latest: "new", stable: None };
        assert!(of_rollout(&args, &rollout, hashes).is_err(), "a later success does not hide it");
        let hash = |of: &str| {
            let arg = RolloutArgument { name: "h".into(), hash_of: Some(of.into()), ..Default::default() };
            of_rollout(&[arg], &rollout, hashes).map(|args| args[0].value.clone())
        };
        assert_eq!(hash("Latest"), Ok(Some("new".into())));
        assert!(hash("Stable").is_err());
        assert_eq!(hash("Other"), Ok(Some("".into())));
    }

    /// Vectors S22, S23, A21.
    #[test]
    fn a_run_needs_every_value() {
        let secret = arg(json!({"name": "s", "value": "plain",
            "valueFrom": {"secretKeyRef": {"name": "web-metric-secret", "key": "k"}}}));
        let missing = with_secrets(std::slice::from_ref(&secret), &BTreeMap::new());
        assert_eq!(missing, Err("secrets \"web-metric-secret\" not found".to_owned()));
        let empty = BTreeMap::from([("web-metric-secret".into(), Ok(SecretData::default()))]);
        let missing = with_secrets(std::slice::from_ref(&secret), &empty);
        assert_eq!(missing, Err("key 'k' does not exist in secret 'web-metric-secret'".to_owned()));
        let planned = without_secrets(&[secret]).expect("a place for the secret");
        assert_eq!(planned.get("s").map(|v| &**v), Some(PLACE_OF_A_SECRET));
        let unset = without_secrets(&[arg(json!({"name": "x"}))]);
        assert_eq!(unset, Err("argument \"x\" was not supplied".to_owned()));
    }

    #[test]
    fn arguments_reach_every_text_of_a_metric() {
        let values = Values::from([("n".into(), "m".into()), ("c".into(), "3".into())]);
        let raw = json!({"name": "{{args.n}}", "count": "{{ args.c }}", "provider": {"web": {"url": "http://{{args.n}}"}}});
        let metric = resolve(&raw, &values).expect("resolved");
        assert_eq!((&*metric.name, metric.count.map(|c| c.number)), ("m", Some(3)));
        assert_eq!(metric.provider["web"]["url"], "http://m");
        let unknown = resolve(&json!({"name": "{{args.metric-name}}"}), &values);
        assert_eq!(unknown, Err("failed to resolve {{args.metric-name}}".to_owned()));
    }
}
