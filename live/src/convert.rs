//! Where the API server serves which kind.

use kube::api::ApiResource;
use tidegate_api::object::Kind;

/// Where the API serves a kind.
pub fn resource(kind: &Kind) -> ApiResource {
    let api_version = kind.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let plural = kind.plural().map_or_else(|| plural_of(kind.name()), str::to_owned);
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.name().to_owned(),
        plural,
    }
}

/// The plural of a kind that is not known by heart, as Kubernetes guesses it.
fn plural_of(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if lower.ends_with(['s', 'x']) || lower.ends_with("ch") => format!("{lower}es"),
        _ => format!("{lower}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_guessed_as_kubernetes_guesses_them() {
        for (kind, plural) in
            [("Ingress", "ingresses"), ("NetworkPolicy", "networkpolicies"), ("Gateway", "gateways")]
        {
            assert_eq!(resource(&Kind::new("x.io/v1", kind)).plural, plural);
        }
        assert_eq!(resource(&Kind::Rollout).plural, "rollouts");
    }
}
