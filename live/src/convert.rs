//! Where the API server serves which kind.

use kube::api::ApiResource;
use tidegate_api::object::Kind;

/// Where the API serves a kind.
pub fn resource(kind: &Kind) -> ApiResource {
    let api_version = kind.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.name().to_owned(),
        plural: kind.plural_or_guess().into_owned(),
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
