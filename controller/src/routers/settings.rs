//! How the operator set routers up: API versions and classes, by flag.

use tidegate_api::object::Text;
use tidegate_api::time::Span;

/// Flags of the controller that routers depend on. The defaults are those of the reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `--istio-api-version`: version of `networking.istio.io`.
    pub istio_version: Text,
    /// `--ambassador-api-version`: group and version of Mapping, or the version alone.
    pub ambassador_version: Text,
    /// `--traffic-split-api-version`: version of `split.smi-spec.io`.
    pub split_version: Text,
    /// `--traefik-api-group`.
    pub traefik_group: Text,
    /// `--traefik-api-version`: the version is what stands after the last slash.
    pub traefik_version: Text,
    /// `--alb-ingress-classes`.
    pub alb_classes: Vec<Text>,
    /// `--nginx-ingress-classes`.
    pub nginx_classes: Vec<Text>,
    /// `--aws-verify-target-group`.
    pub verify_target_groups: bool,
    /// How long after a verification that failed, or did not find what is expected, the next one begins.
    pub verify_interval: Span,
    /// `--aws-target-group-binding-api-version`.
    pub target_group_binding_version: Text,
    /// `--alb-tag-key-resource-id`.
    pub alb_resource_tag: Text,
    /// How long a change of a route or a Service is given to reach the data plane where nothing says that it did.
    pub propagation: Span,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            istio_version: "v1alpha3".into(),
            ambassador_version: "getambassador.io/v2".into(),
            split_version: "v1alpha1".into(),
            traefik_group: "traefik.io".into(),
            traefik_version: "traefik.io/v1alpha1".into(),
            alb_classes: vec!["alb".into()],
            nginx_classes: vec!["nginx".into()],
            verify_target_groups: false,
            verify_interval: Span::seconds(10),
            target_group_binding_version: "elbv2.k8s.aws/v1beta1".into(),
            alb_resource_tag: "ingress.k8s.aws/resource".into(),
            propagation: Span::seconds(1),
        }
    }
}
