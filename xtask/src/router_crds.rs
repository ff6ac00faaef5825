//! `cargo xtask router-crds`: the CustomResourceDefinitions of routers, from the Go modules of their projects.
//!
//! What these files say is a contract of others, so it is copied and never edited: `testbed/crds/generated` holds the
//! schemas without their prose. Those of projects that ship none in a module are written by hand beside it. Needed only
//! when a version below changes: tests read the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_api::yaml;
use tidegate_api::yaml_out::to_yaml;

/// A file with definitions in a Go module.
struct Origin {
    module: &'static str,
    licence: &'static str,
    /// Below the folder of the module.
    folder: &'static str,
    files: &'static [&'static str],
    /// Of these files, the definitions with these names.
    names: &'static [&'static str],
}

const ORIGINS: [Origin; 4] = [
    Origin {
        module: "github.com/traefik/traefik/v3@v3.6.12",
        licence: "MIT",
        folder: "docs/content/reference/dynamic-configuration",
        files: &["kubernetes-crd-definition-v1.yml"],
        names: &[
            "ingressroutes.traefik.io",
            "ingressroutetcps.traefik.io",
            "ingressrouteudps.traefik.io",
            "middlewares.traefik.io",
            "middlewaretcps.traefik.io",
            "serverstransports.traefik.io",
            "serverstransporttcps.traefik.io",
            "tlsoptions.traefik.io",
            "tlsstores.traefik.io",
            "traefikservices.traefik.io",
        ],
    },
    Origin {
        module: "sigs.k8s.io/gateway-api@v1.4.0",
        licence: "Apache-2.0",
        folder: "config/crd/standard",
        files: &[
            "gateway.networking.k8s.io_backendtlspolicies.yaml",
            "gateway.networking.k8s.io_gatewayclasses.yaml",
            "gateway.networking.k8s.io_gateways.yaml",
            "gateway.networking.k8s.io_grpcroutes.yaml",
            "gateway.networking.k8s.io_httproutes.yaml",
            "gateway.networking.k8s.io_referencegrants.yaml",
        ],
        names: &[
            "backendtlspolicies.gateway.networking.k8s.io",
            "gatewayclasses.gateway.networking.k8s.io",
            "gateways.gateway.networking.k8s.io",
            "grpcroutes.gateway.networking.k8s.io",
            "httproutes.gateway.networking.k8s.io",
            "referencegrants.gateway.networking.k8s.io",
        ],
    },
    Origin {
        module: "sigs.k8s.io/gateway-api@v1.4.0",
        licence: "Apache-2.0",
        folder: "config/crd/experimental",
        files: &["gateway.networking.k8s.io_tcproutes.yaml", "gateway.networking.k8s.io_tlsroutes.yaml"],
        names: &["tcproutes.gateway.networking.k8s.io", "tlsroutes.gateway.networking.k8s.io"],
    },
    Origin {
        module: "istio.io/api@v1.27.3",
        licence: "Apache-2.0",
        folder: "kubernetes",
        files: &["customresourcedefinitions.gen.yaml"],
        names: &["destinationrules.networking.istio.io", "virtualservices.networking.istio.io"],
    },
];

/// Writes the files.
pub fn run() -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/crds/generated");
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for origin in &ORIGINS {
        let found = origin.definitions()?;
        for name in origin.names {
            let crd = found.iter().find(|crd| crd["metadata"]["name"] == *name);
            let crd = crd.ok_or_else(|| format!("{} has no {name}", origin.module))?;
            let text = format!(
                "# Written by `cargo xtask router-crds` from {}, licence {}; without descriptions.\n{}",
                origin.module,
                origin.licence,
                to_yaml(crd)
            );
            fs::write(folder.join(format!("{name}.yaml")), text).map_err(|why| format!("{name}: {why}"))?;
            println!("{name}");
        }
    }
    Ok(())
}

impl Origin {
    fn definitions(&self) -> Result<Vec<Value>, String> {
        let folder = self.downloaded()?.join(self.folder);
        let mut found = Vec::new();
        for file in self.files {
            let text = fs::read_to_string(folder.join(file)).map_err(|why| format!("{file}: {why}"))?;
            let documents = yaml::read(file, &text).map_err(|why| why.to_string())?;
            found.extend(documents.into_iter().map(|document| without_prose(document.value)));
        }
        Ok(found)
    }

    fn downloaded(&self) -> Result<PathBuf, String> {
        let output = Command::new("go")
            .args(["mod", "download", "-json", self.module])
            // Outside every module: whatever is required here decides nothing.
            .envs([("GOWORK", "off"), ("GOFLAGS", "")])
            .output()
            .map_err(|why| format!("go: {why}"))?;
        let told: Value = serde_json::from_slice(&output.stdout).map_err(|why| format!("go: {why}"))?;
        told["Dir"].as_str().map(PathBuf::from).ok_or_else(|| format!("{}: {}", self.module, told["Error"]))
    }
}

/// A definition without what is only there to be read: four fifths of its length. A *property* of that name is a
/// schema, not a text, and stays.
fn without_prose(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "description" || !value.is_string());
            fields.values_mut().for_each(|value| *value = without_prose(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_prose(item.take())),
        _ => {}
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prose_goes_and_properties_stay() {
        let schema = json!({"description": "a", "properties": {"description": {"type": "string", "description": "b"}}});
        assert_eq!(without_prose(schema), json!({"properties": {"description": {"type": "string"}}}));
    }
}
