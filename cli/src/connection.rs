//! Which cluster, and as whom: the override flags that every Kubernetes client has.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use tidegate_api::duration::GoDuration;
use tidegate_live::client::ClientOptions;

/// A flag that may stand alone or say `=true` or `=false`, in any of the words that Go takes for them.
pub fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// A time-out as the standard flag takes it: a duration, or a number of seconds; 0 for none.
fn request_timeout(text: &str) -> Result<Duration, String> {
    let nanos = match text.parse::<i64>() {
        Ok(seconds) => seconds.saturating_mul(1_000_000_000),
        Err(_) => GoDuration::parse(text).map_err(|error| error.to_string())?.nanos(),
    };
    let nanos = u64::try_from(nanos).map_err(|_| "is negative".to_owned())?;
    Ok(Duration::from_nanos(nanos))
}

/// Which cluster, and as whom.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Path of a kubeconfig; else KUBECONFIG, else ~/.kube/config, else the service account of the pod
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,
    /// Cluster in the kubeconfig
    #[arg(long, global = true)]
    cluster: Option<String>,
    /// User in the kubeconfig
    #[arg(long, global = true)]
    user: Option<String>,
    /// Namespace, in place of the context's
    #[arg(long, short, global = true)]
    namespace: Option<String>,
    /// Address of the API server
    #[arg(long, short, value_name = "URL", global = true)]
    server: Option<String>,
    /// Name that the server's certificate must show
    #[arg(long, value_name = "NAME", global = true)]
    tls_server_name: Option<String>,
    /// Do not verify the server's certificate
    #[arg(long, global = true, action = ArgAction::Set, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, hide_default_value = true, hide_possible_values = true)]
    insecure_skip_tls_verify: bool,
    /// File with the certificate authority
    #[arg(long, value_name = "FILE", global = true)]
    certificate_authority: Option<PathBuf>,
    /// File with the client certificate
    #[arg(long, value_name = "FILE", global = true)]
    client_certificate: Option<PathBuf>,
    /// File with the client key
    #[arg(long, value_name = "FILE", global = true)]
    client_key: Option<PathBuf>,
    /// Bearer token
    #[arg(long, global = true)]
    token: Option<String>,
    /// User name for basic authentication
    #[arg(long, value_name = "NAME", global = true)]
    username: Option<String>,
    /// Password for basic authentication
    #[arg(long, global = true)]
    password: Option<String>,
    /// User to act as
    #[arg(long = "as", value_name = "USER", global = true)]
    act_as: Option<String>,
    /// UID to act as
    #[arg(long = "as-uid", value_name = "UID", global = true)]
    act_as_uid: Option<String>,
    /// Group to act as; may be repeated
    #[arg(long = "as-group", value_name = "GROUP", global = true)]
    act_as_groups: Vec<String>,
    /// More about the user to act as; may be repeated
    #[arg(long = "as-user-extra", value_name = "KEY=VALUE", global = true)]
    act_as_extra: Vec<String>,
    /// Proxy for all requests
    #[arg(long, value_name = "URL", global = true)]
    proxy_url: Option<String>,
    /// Accepted; replies are never asked for compressed
    #[arg(long, global = true, action = ArgAction::Set, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, hide_default_value = true, hide_possible_values = true)]
    disable_compression: bool,
    /// Longest time of one request, where it is shorter than ours (10 s); a duration or seconds, 0 for ours
    #[arg(long, value_name = "DURATION", default_value = "0", global = true, value_parser = request_timeout)]
    request_timeout: Duration,
}

impl Connection {
    /// As the client wants it.
    pub fn options(&self) -> ClientOptions {
        // Nothing to switch off.
        let _ = self.disable_compression;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let file = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        ClientOptions {
            kubeconfig: file(&self.kubeconfig),
            context: given(&self.context),
            cluster: given(&self.cluster),
            user: given(&self.user),
            namespace: given(&self.namespace),
            server: given(&self.server),
            tls_server_name: given(&self.tls_server_name),
            insecure: self.insecure_skip_tls_verify,
            certificate_authority: file(&self.certificate_authority),
            client_certificate: file(&self.client_certificate),
            client_key: file(&self.client_key),
            token: given(&self.token),
            username: given(&self.username),
            password: given(&self.password),
            act_as: given(&self.act_as),
            act_as_uid: given(&self.act_as_uid),
            act_as_groups: self.act_as_groups.clone(),
            act_as_extra: self.act_as_extra.clone(),
            proxy_url: given(&self.proxy_url),
            request_timeout: Some(self.request_timeout).filter(|limit| !limit.is_zero()),
        }
    }
}
