//! Values of the action annotations, byte for byte as the reference writes them: no spaces, a fixed order of keys.

use serde_json::Value;

/// One target group of a forward action.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub service: &'a str,
    pub port: &'a str,
    pub weight: i64,
}

/// `stickinessConfig`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stickiness {
    enabled: bool,
    seconds: i64,
}

impl Stickiness {
    pub fn read(config: &Value) -> Stickiness {
        Stickiness {
            enabled: config["enabled"].as_bool().unwrap_or(false),
            seconds: config["durationSeconds"].as_i64().unwrap_or(0),
        }
    }

    /// The seconds to write; nothing where sessions do not stick.
    pub fn check(self) -> Result<Option<i64>, &'static str> {
        match self.enabled {
            false => Ok(None),
            true if (1..=604_800).contains(&self.seconds) => Ok(Some(self.seconds)),
            true => {
                Err("TargetGroupStickinessConfig's duration must be between 1 and 604800 seconds (7 days)!")
            }
        }
    }
}

/// A forward action.
pub(super) fn forward(groups: &[Group<'_>], sticky_seconds: Option<i64>) -> String {
    let group = |group: &Group<'_>| {
        format!(
            r#"{{"ServiceName":{},"ServicePort":{},"Weight":{}}}"#,
            quoted(group.service),
            quoted(group.port),
            group.weight
        )
    };
    let groups: Vec<String> = groups.iter().map(group).collect();
    let sticky = sticky_seconds.map_or(String::new(), |seconds| {
        format!(r#","TargetGroupStickinessConfig":{{"Enabled":true,"DurationSeconds":{seconds}}}"#)
    });
    format!(r#"{{"Type":"forward","ForwardConfig":{{"TargetGroups":[{}]{sticky}}}}}"#, groups.join(","))
}

/// The conditions of a header route: values of one header are alternatives, different headers must all match.
pub(super) fn conditions(step: &Value) -> String {
    let mut by_header: Vec<(&str, Vec<&str>)> = Vec::new();
    for item in step["match"].as_array().into_iter().flatten() {
        let name = item["headerName"].as_str().unwrap_or_default();
        let value = item["headerValue"]["exact"].as_str().unwrap_or_default();
        match by_header.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => by_header.push((name, vec![value])),
        }
    }
    let condition = |(name, values): &(&str, Vec<&str>)| {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        format!(
            r#"{{"field":"http-header","httpHeaderConfig":{{"httpHeaderName":{},"values":[{}]}}}}"#,
            quoted(name),
            values.join(",")
        )
    };
    format!("[{}]", by_header.iter().map(condition).collect::<Vec<_>>().join(","))
}

/// Text as Go's encoder quotes it: what HTML would read as markup is escaped too.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = Value::from(text).to_string();
    for (c, escape) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        if quoted.contains(c) {
            quoted = quoted.replace(c, escape);
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn v49_a_weight_of_0_is_written() {
        let groups = [Group { service: "c", port: "80", weight: 0 }];
        assert_eq!(
            forward(&groups, None),
            r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"c","ServicePort":"80","Weight":0}]}}"#
        );
    }

    #[test]
    fn v50_v51_stickiness_is_bounded_and_written_only_when_enabled() {
        let read = |config| Stickiness::read(&config).check();
        assert!(read(json!({"enabled": true, "durationSeconds": 0})).is_err());
        assert!(read(json!({"enabled": true, "durationSeconds": 604_801})).is_err());
        assert_eq!(read(json!({"enabled": false, "durationSeconds": 0})), Ok(None));
        assert_eq!(read(Value::Null), Ok(None));
        let seconds = read(json!({"enabled": true, "durationSeconds": 604_800})).unwrap();
        assert!(
            forward(&[], seconds)
                .ends_with(r#"[],"TargetGroupStickinessConfig":{"Enabled":true,"DurationSeconds":604800}}}"#)
        );
    }

    #[test]
    fn v57_v58_values_of_one_header_are_alternatives() {
        let item = |name: &str, value: &str| json!({"headerName": name, "headerValue": {"exact": value}});
        assert_eq!(
            conditions(&json!({"match": [item("origin", "a"), item("origin", "b"), item("X", "<&>")]})),
            r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"origin","values":["a","b"]}},{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X","values":["\u003c\u0026\u003e"]}}]"#
        );
    }
}
