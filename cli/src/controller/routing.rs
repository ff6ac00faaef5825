//! Flags about traffic routing: which versions and classes the operator's routers have.

use clap::{ArgAction, Args};
use tidegate_api::duration::GoDuration;
use tidegate_api::time::Span;
use tidegate_controller::routers::Settings;

use super::surroundings::Surroundings;
use crate::connection::go_bool;

/// Flags about traffic routing.
#[derive(Args, Debug)]
#[command(next_help_heading = "Traffic routing")]
pub struct Routing {
    /// How long a change of a route or a Service is given to reach the data plane, where nothing says that it did
    #[arg(long, default_value = "1s", value_name = "DURATION")]
    traffic_propagation: String,
    /// Version of networking.istio.io for VirtualServices and DestinationRules
    #[arg(long, default_value = "v1alpha3", value_name = "VERSION")]
    istio_api_version: String,
    /// Group and version of Ambassador's Mappings, or the version alone
    #[arg(long, default_value = "getambassador.io/v2", value_name = "VERSION")]
    ambassador_api_version: String,
    /// Version of split.smi-spec.io: v1alpha1, v1alpha2 or v1alpha3
    #[arg(long, default_value = "v1alpha1", value_name = "VERSION")]
    traffic_split_api_version: String,
    /// API group of TraefikServices
    #[arg(long, default_value = "traefik.io", value_name = "GROUP")]
    traefik_api_group: String,
    /// Version of TraefikServices: what stands after the last slash
    #[arg(long, default_value = "traefik.io/v1alpha1", value_name = "VERSION")]
    traefik_api_version: String,
    /// Class of Ingresses that the AWS load balancer controller serves; may be repeated
    #[arg(long, default_value = "alb", value_name = "CLASS")]
    alb_ingress_classes: Vec<String>,
    /// Class of Ingresses that ingress-nginx serves; may be repeated
    #[arg(long, default_value = "nginx", value_name = "CLASS")]
    nginx_ingress_classes: Vec<String>,
    /// Ask AWS whether weights and target groups are in force; `--alb-verify-weight` is its deprecated name
    #[arg(long, alias = "alb-verify-weight", action = ArgAction::Set, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, hide_possible_values = true)]
    aws_verify_target_group: bool,
    /// Group and version of TargetGroupBindings
    #[arg(long, default_value = "elbv2.k8s.aws/v1beta1", value_name = "VERSION")]
    aws_target_group_binding_api_version: String,
    /// Tag by which a target group names the Service behind it
    #[arg(long, default_value = "ingress.k8s.aws/resource", value_name = "TAG")]
    alb_tag_key_resource_id: String,
}

impl Routing {
    /// The settings that these flags ask for.
    pub fn settings(&self, surroundings: &Surroundings) -> Result<Settings, String> {
        let wait = GoDuration::parse(&self.traffic_propagation).ok().map(|wait| wait.nanos() / 1_000_000);
        let wait = wait.filter(|wait| *wait >= 0).ok_or_else(|| {
            format!("--traffic-propagation: `{}` is no duration such as 1s", self.traffic_propagation)
        })?;
        if !["v1alpha1", "v1alpha2", "v1alpha3"].contains(&&*self.traffic_split_api_version) {
            return Err(format!(
                "--traffic-split-api-version: `{}` is none of v1alpha1, v1alpha2, v1alpha3",
                self.traffic_split_api_version
            ));
        }
        let texts = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        Ok(Settings {
            istio_version: self.istio_api_version.as_str().into(),
            ambassador_version: self.ambassador_api_version.as_str().into(),
            split_version: self.traffic_split_api_version.as_str().into(),
            traefik_group: self.traefik_api_group.as_str().into(),
            traefik_version: self.traefik_api_version.as_str().into(),
            alb_classes: texts(&self.alb_ingress_classes),
            nginx_classes: texts(&self.nginx_ingress_classes),
            verify_target_groups: self.aws_verify_target_group,
            verify_interval: interval(surroundings.variable("ROLLOUT_VERIFY_RETRY_INTERVAL").as_deref()),
            target_group_binding_version: self.aws_target_group_binding_api_version.as_str().into(),
            alb_resource_tag: self.alb_tag_key_resource_id.as_str().into(),
            propagation: Span::millis(wait),
        })
    }
}

/// After how long AWS is asked again where an answer failed or was not the expected one: seconds, 10 where the environment
/// says nothing that can be read.
// ARGO: the reference takes the variable only where it cannot be read.
fn interval(seconds: Option<&str>) -> Span {
    let seconds = seconds.and_then(|seconds| seconds.trim().parse().ok()).filter(|seconds| *seconds > 0);
    Span::seconds(seconds.unwrap_or(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_verifications_comes_from_the_environment() {
        assert_eq!(interval(Some("3")), Span::seconds(3));
        for unreadable in [None, Some(""), Some("soon"), Some("0"), Some("-1")] {
            assert_eq!(interval(unreadable), Span::seconds(10), "{unreadable:?}");
        }
    }
}
