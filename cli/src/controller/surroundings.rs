//! What the process finds around itself. The only place of the program that asks the environment for it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// How variables begin that say where credentials and metrics are.
const PREFIXES: [&str; 4] = ["AWS_", "DD_", "ARGO_ROLLOUTS_", "ROLLOUT_"];

/// Flags under their deprecated names.
const DEPRECATED: [(&str, &str); 2] =
    [("metricsport", "metricsPort"), ("alb-verify-weight", "aws-verify-target-group")];

/// Environment, files of the pod, arguments.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The controller's own namespace.
    pub namespace: String,
    /// Name of the machine, which is the pod's.
    pub hostname: String,
    /// The arguments as they were given.
    pub arguments: Vec<String>,
    /// Variables whose names begin as those of AWS, of metric providers and of the reference do.
    pub variables: BTreeMap<String, String>,
}

impl Surroundings {
    /// Looks around.
    #[allow(clippy::disallowed_methods, reason = "configuration enters the program here")]
    pub fn read() -> Surroundings {
        let file = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Surroundings {
            namespace: own_namespace(variable("POD_NAMESPACE"), file(NAMESPACE_FILE)),
            hostname: file(HOSTNAME_FILE)
                .or_else(|| variable("HOSTNAME"))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "tidegate".to_owned()),
            variables: std::env::vars_os()
                .map(|(name, value)| {
                    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
                })
                .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
                .collect(),
            arguments: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        }
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The deprecated names that were used, each with the name to use.
    pub fn deprecated(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        DEPRECATED.into_iter().filter(|(old, _)| {
            let names = self.arguments.iter().filter_map(|word| word.strip_prefix("--"));
            names.map(|word| word.split_once('=').map_or(word, |(name, _)| name)).any(|name| name == *old)
        })
    }

    /// A name that no other process has: `<hostname>_<uuid>`.
    pub fn identity(&self) -> String {
        format!("{}_{}", self.hostname, uuid(chance(), chance()))
    }
}

/// The variable, even if it is empty; else the service account's; else the reference's.
fn own_namespace(variable: Option<String>, file: Option<String>) -> String {
    variable.or_else(|| file.filter(|text| !text.is_empty())).unwrap_or_else(|| "argo-rollouts".to_owned())
}

/// 64 bits from the seed of the standard library's hashers, which comes from the system.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A random UUID (version 4) of these bits.
fn uuid(high: u64, low: u64) -> String {
    let bits =
        (u128::from(high) << 64 | u128::from(low)) & !(0xf << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_the_variable_then_the_file_then_the_usual_one() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(own_namespace(text("a"), text("b")), "a");
        assert_eq!(own_namespace(text(""), text("b")), "");
        assert_eq!(own_namespace(None, text("b")), "b");
        assert_eq!(own_namespace(None, text("")), "argo-rollouts");
        assert_eq!(own_namespace(None, None), "argo-rollouts");
    }

    #[test]
    fn an_identity_is_a_host_and_a_uuid_and_differs() {
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let here = Surroundings { hostname: "pod-1".to_owned(), ..Surroundings::default() };
        assert!(here.identity().starts_with("pod-1_"));
        assert_ne!(here.identity(), here.identity());
    }

    #[test]
    fn deprecated_names_are_noticed_in_both_forms() {
        let with = |words: &[&str]| {
            let arguments = words.iter().map(|word| (*word).to_owned()).collect();
            Surroundings { arguments, ..Surroundings::default() }
                .deprecated()
                .map(|(old, _)| old)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            with(&["--metricsport", "1", "--alb-verify-weight=false"]),
            ["metricsport", "alb-verify-weight"]
        );
        assert_eq!(with(&["--metricsPort", "1"]), Vec::<&str>::new());
    }
}
