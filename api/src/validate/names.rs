//! The syntax of names, labels and keys, and what Kubernetes says of text that breaks it.

const LABEL_CHARS: &str = "[-A-Za-z0-9_.]";

/// What is wrong with the key of a label, annotation or resource: `[prefix/]name`.
pub(super) fn qualified_name(text: &str) -> Vec<String> {
    let format = format!("([A-Za-z0-9]{LABEL_CHARS}*)?[A-Za-z0-9]");
    let shape = explain(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
         character",
        &format,
        &["MyName", "my.name", "123-abc"],
    );
    let mut wrong = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            match prefix {
                "" => wrong.push("prefix part must be non-empty".to_owned()),
                _ => wrong.extend(dns_subdomain(prefix).into_iter().map(|w| format!("prefix part {w}"))),
            }
            name
        }
        _ => {
            let prefix = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {shape}{prefix}")];
        }
    };
    match name.len() {
        0 => wrong.push("name part must be non-empty".to_owned()),
        1..=63 => {}
        _ => wrong.push("name part must be no more than 63 characters".to_owned()),
    }
    if !is_wrapped(name, is_label_char) {
        wrong.push(format!("name part {shape}"));
    }
    wrong
}

/// What is wrong with the value of a label.
pub(super) fn label_value(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63);
    if !text.is_empty() && !is_wrapped(text, is_label_char) {
        wrong.push(explain(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character",
            &format!("(([A-Za-z0-9]{LABEL_CHARS}*)?[A-Za-z0-9])?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// What is wrong with a name such as that of a container.
pub(super) fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63);
    if is_dns_label(text) {
        return wrong;
    }
    if text.split('.').all(is_dns_label) {
        wrong.push("must not contain dots".to_owned());
    } else {
        wrong.push(explain(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
             and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "123-abc"],
        ));
    }
    wrong
}

/// What is wrong with a name such as that of most objects.
pub(super) fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253);
    if !text.split('.').all(is_dns_label) {
        wrong.push(explain(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    wrong
}

/// What is wrong with the name of a port.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 15);
    let of_port = |c: char| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.is_empty() || !text.chars().all(of_port) {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.contains(|c: char| c.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// What is wrong with the number of a port.
pub(super) fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

/// What is wrong with the name of an environment variable.
pub(super) fn env_name(text: &str) -> Vec<String> {
    let of_name = |c: char| matches!(c, '-' | '.' | '_') || c.is_ascii_alphanumeric();
    let mut wrong = Vec::new();
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(of_name) {
        wrong.push(explain(
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and \
             must not start with a digit",
            "[-._a-zA-Z][-._a-zA-Z0-9]*",
            &["my.env-name", "MY_ENV.NAME", "MyEnvName1"],
        ));
    }
    wrong.extend(climbs(text));
    wrong
}

/// What is wrong with a key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253);
    if text.is_empty() || !text.chars().all(is_label_char) {
        wrong.push(explain(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    wrong.extend(climbs(text));
    wrong
}

/// What is wrong with the name of an HTTP header.
pub(super) fn header_name(text: &str) -> Vec<String> {
    let is_header = |c: char| c == '-' || c.is_ascii_alphanumeric();
    if !text.is_empty() && text.chars().all(is_header) {
        return Vec::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![explain(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// Whether a number is a valid id of a user or group.
pub(super) fn numeric_id(id: i64) -> Vec<String> {
    let range = "must be between 0 and 2147483647, inclusive";
    if (0..=i64::from(i32::MAX)).contains(&id) { Vec::new() } else { vec![range.to_owned()] }
}

fn climbs(text: &str) -> Option<String> {
    match text {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if text.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

fn too_long(text: &str, limit: usize) -> Vec<String> {
    if text.len() > limit { vec![format!("must be no more than {limit} characters")] } else { Vec::new() }
}

fn is_label_char(c: char) -> bool {
    matches!(c, '-' | '_' | '.') || c.is_ascii_alphanumeric()
}

/// Whether text is of such characters and begins and ends with a letter or digit.
fn is_wrapped(text: &str, allowed: fn(char) -> bool) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(allowed)
}

fn is_dns_label(text: &str) -> bool {
    is_wrapped(text, |c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())
}

fn explain(message: &str, format: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{format}')", examples.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_in_the_words_of_kubernetes() {
        assert_eq!(
            dns_label("Web"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(
            port_name("8-"),
            ["must contain at least one letter (a-z)", "must not begin or end with a hyphen"]
        );
        for good in ["app", "app.kubernetes.io/name", "A_b.c-1"] {
            assert_eq!(qualified_name(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "-a", "a b", "Bad_Prefix/x"] {
            assert_ne!(qualified_name(bad), Vec::<String>::new(), "{bad}");
        }
        assert_eq!(label_value(""), Vec::<String>::new());
        assert_eq!(label_value("a b").len(), 1);
        assert_eq!(env_name("..A"), ["must not start with '..'"]);
        assert_eq!(env_name("1A").len(), 1);
    }
}
