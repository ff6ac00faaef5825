//! Which cluster, as whom, and how patiently.

use std::path::PathBuf;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::calls::CONNECT_LIMIT;
use crate::requests::Counted;

/// A connection over which nothing comes for so long is given up. Watches are ended by the server before that.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// What a user may say about the connection: the override flags that every Kubernetes client has.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Path of a kubeconfig; else `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Name of the context in the kubeconfig.
    pub context: Option<String>,
    /// Name of the cluster in the kubeconfig.
    pub cluster: Option<String>,
    /// Name of the user in the kubeconfig.
    pub user: Option<String>,
    /// Namespace, in place of the context's.
    pub namespace: Option<String>,
    /// Address of the API server.
    pub server: Option<String>,
    /// Name to verify the server's certificate against.
    pub tls_server_name: Option<String>,
    /// Do not verify the server's certificate.
    pub insecure: bool,
    /// File of the certificate authority.
    pub certificate_authority: Option<PathBuf>,
    /// File of the client certificate.
    pub client_certificate: Option<PathBuf>,
    /// File of the client key.
    pub client_key: Option<PathBuf>,
    /// Bearer token.
    pub token: Option<String>,
    /// User name for basic authentication.
    pub username: Option<String>,
    /// Password for basic authentication.
    pub password: Option<String>,
    /// User to act as.
    pub act_as: Option<String>,
    /// Identity of the user to act as.
    pub act_as_uid: Option<String>,
    /// Groups to act as.
    pub act_as_groups: Vec<String>,
    /// More about the user to act as, each `key=value`.
    pub act_as_extra: Vec<String>,
    /// Proxy for all requests.
    pub proxy_url: Option<String>,
    /// Longest time of one request, where it is shorter than ours.
    pub request_timeout: Option<Duration>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    /// Neither a kubeconfig nor a service account.
    #[error("no cluster to talk to: {0}")]
    Nowhere(String),
    /// A value that makes no sense.
    #[error("{flag}: {why}")]
    Value {
        /// Which flag.
        flag: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The client could not be set up.
    #[error("cannot set up the connection: {0}")]
    Client(#[from] kube::Error),
}

/// A client and the namespace it would use by default.
pub async fn connect(options: &ClientOptions) -> Result<(Client, String), NoClient> {
    let config = config(options).await?;
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config)?, namespace))
}

/// The same, with every request counted.
pub async fn connect_counted(
    options: &ClientOptions,
    counted: &Counted,
) -> Result<(Client, String), NoClient> {
    let config = config(options).await?;
    let namespace = config.default_namespace.clone();
    Ok((ClientBuilder::try_from(config)?.with_layer(counted).build(), namespace))
}

async fn config(options: &ClientOptions) -> Result<Config, NoClient> {
    let chosen = KubeConfigOptions {
        context: options.context.clone(),
        cluster: options.cluster.clone(),
        user: options.user.clone(),
    };
    let nowhere = |error: &dyn std::fmt::Display| NoClient::Nowhere(error.to_string());
    let mut config = match (&options.kubeconfig, &options.server) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path).map_err(|error| nowhere(&error))?;
            Config::from_custom_kubeconfig(file, &chosen).await.map_err(|error| nowhere(&error))?
        }
        (None, server) => match Config::from_kubeconfig(&chosen).await {
            Ok(config) => config,
            Err(no_file) => match (Config::incluster(), server) {
                (Ok(config), _) => config,
                (Err(_), Some(server)) => Config::new(parse(server, "--server")?),
                (Err(no_pod), None) => {
                    return Err(NoClient::Nowhere(format!("{no_file}; {no_pod}")));
                }
            },
        },
    };
    override_with(&mut config, options)?;
    config.connect_timeout = Some(CONNECT_LIMIT);
    config.read_timeout =
        Some(options.request_timeout.map_or(SILENCE_LIMIT, |limit| limit.min(SILENCE_LIMIT)));
    config.write_timeout = Some(SILENCE_LIMIT);
    config.reset_reader_on_write = true;
    // A write that may have been done is looked at again by a new pass, never simply sent twice.
    config.default_retry = false;
    Ok(config)
}

fn override_with(config: &mut Config, options: &ClientOptions) -> Result<(), NoClient> {
    if let Some(namespace) = &options.namespace {
        config.default_namespace.clone_from(namespace);
    }
    if let Some(server) = &options.server {
        config.cluster_url = parse(server, "--server")?;
    }
    if let Some(proxy) = &options.proxy_url {
        config.proxy_url = Some(parse(proxy, "--proxy-url")?);
    }
    if let Some(name) = &options.tls_server_name {
        config.tls_server_name = Some(name.clone());
    }
    if options.insecure {
        config.accept_invalid_certs = true;
    }
    if let Some(file) = &options.certificate_authority {
        config.root_cert = None;
        config.root_cert_file = Some(file.clone());
    }
    let auth = &mut config.auth_info;
    let text = |path: &PathBuf| path.display().to_string();
    if let Some(file) = &options.client_certificate {
        auth.client_certificate_data = None;
        auth.client_certificate = Some(text(file));
    }
    if let Some(file) = &options.client_key {
        auth.client_key_data = None;
        auth.client_key = Some(text(file));
    }
    if let Some(token) = &options.token {
        auth.token_file = None;
        auth.token = Some(token.clone().into());
    }
    if let Some(name) = &options.username {
        auth.username = Some(name.clone());
    }
    if let Some(password) = &options.password {
        auth.password = Some(password.clone().into());
    }
    if let Some(user) = &options.act_as {
        auth.impersonate = Some(user.clone());
    }
    if let Some(uid) = &options.act_as_uid {
        auth.impersonate_uid = Some(uid.clone());
    }
    for extra in &options.act_as_extra {
        config.headers.push(extra_header(extra)?);
    }
    let auth = &mut config.auth_info;
    if !options.act_as_groups.is_empty() {
        auth.impersonate_groups = Some(options.act_as_groups.clone());
    }
    Ok(())
}

/// `scopes=view` as the header that says so to the server.
fn extra_header(extra: &str) -> Result<(http::HeaderName, http::HeaderValue), NoClient> {
    let wrong = |why: &str| NoClient::Value { flag: "--as-user-extra", why: format!("`{extra}`: {why}") };
    let (key, value) = extra.split_once('=').ok_or_else(|| wrong("is not key=value"))?;
    let mut name = String::from("impersonate-extra-");
    for byte in key.to_ascii_lowercase().bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name += &format!("%{byte:02x}");
        }
    }
    let name = name.parse().map_err(|_| wrong("the key cannot be sent"))?;
    Ok((name, value.parse().map_err(|_| wrong("the value cannot be sent"))?))
}

fn parse(text: &str, flag: &'static str) -> Result<http::Uri, NoClient> {
    text.parse().map_err(|error| NoClient::Value { flag, why: format!("`{text}`: {error}") })
}
