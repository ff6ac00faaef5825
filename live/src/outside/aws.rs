//! Credentials for AWS: from the environment, a service account's token, a container's or a machine's surroundings.
//!
//! The order of AWS's own libraries. Files with profiles are not read: a controller in a pod has none.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tidegate_api::object::Text;
use tidegate_api::time::{Span, Stamp, Time};
use tidegate_controller::question::{Hidden, Response, SigV4};
use tidegate_controller::xml::Element;

use super::token::encoded;
use super::{Carrier, Request, Way, sigv4};

/// Credentials are renewed so long before their end.
const MARGIN: Span = Span::seconds(300);
/// A reply of these services is no larger.
const LIMIT: u64 = 1 << 20;
/// How the controller names its sessions.
const SESSION: &str = "tidegate";

/// Where credentials come from, under the names that AWS's libraries read from the environment.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    pub keys: Option<Credentials>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<Text>,
    /// `AWS_ROLE_ARN`: the role of the service account.
    pub role: Option<Text>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`
    pub identity_file: Option<Text>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`, or what `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` means.
    pub container: Option<Text>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`
    pub container_token: Option<Hidden>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`
    pub container_token_file: Option<Text>,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`; nothing when `AWS_EC2_METADATA_DISABLED` is true.
    pub metadata: Option<Text>,
    /// `AWS_ENDPOINT_URL`: in place of every service of AWS.
    pub endpoint: Option<Text>,
    /// `AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2`: in place of the interface of load balancers, before the other one.
    pub balancers: Option<Text>,
}

impl AwsSettings {
    /// Reads what variables say.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> AwsSettings {
        let text = |name: &str| variable(name).filter(|text| !text.is_empty()).map(Text::from);
        let keys = text("AWS_ACCESS_KEY_ID").zip(text("AWS_SECRET_ACCESS_KEY"));
        let session = text("AWS_SESSION_TOKEN");
        let keys = keys.map(|(access, secret)| Credentials::new(access, secret, session.as_deref()));
        let relative = text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let relative = relative.map(|path| Text::from(format!("http://169.254.170.2{path}")));
        let is_off = text("AWS_EC2_METADATA_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let metadata =
            text("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".into());
        AwsSettings {
            keys,
            region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
            role: text("AWS_ROLE_ARN"),
            identity_file: text("AWS_WEB_IDENTITY_TOKEN_FILE"),
            container: relative.or_else(|| text("AWS_CONTAINER_CREDENTIALS_FULL_URI")),
            container_token: text("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Hidden::new),
            container_token_file: text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            metadata: (!is_off).then_some(metadata),
            endpoint: text("AWS_ENDPOINT_URL"),
            balancers: text("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2"),
        }
    }
}

/// Who signs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The name of the key.
    pub access: Text,
    /// The key.
    pub secret: Hidden,
    /// The session it belongs to.
    pub session: Option<Hidden>,
    /// When they end.
    pub until: Option<Time>,
}

impl Credentials {
    /// Credentials without an end.
    pub fn new(access: impl Into<Text>, secret: impl Into<Text>, session: Option<&str>) -> Credentials {
        let session = session.map(Hidden::new);
        Credentials { access: access.into(), secret: Hidden::new(secret), session, until: None }
    }
}

/// Credentials as they are needed.
pub(super) struct Aws {
    settings: AwsSettings,
    /// By the role that was taken on; the controller's own without one.
    kept: RefCell<BTreeMap<Option<Text>, Credentials>>,
    region: RefCell<Option<Text>>,
}

impl Aws {
    pub fn new(settings: AwsSettings) -> Aws {
        Aws { settings, kept: RefCell::default(), region: RefCell::default() }
    }

    /// The address of a service in reality: of another partition, or what the operator put in its place.
    pub fn address(&self, url: &str) -> String {
        let of_balancers = url.starts_with("https://elasticloadbalancing.");
        let own = self.settings.balancers.as_ref().filter(|_| of_balancers);
        if let Some(endpoint) = own.or(self.settings.endpoint.as_ref())
            && let Some((_, path)) = url.split_once(".amazonaws.com")
        {
            return format!("{}{path}", endpoint.trim_end_matches('/'));
        }
        if url.contains(".cn-") && url.contains(".amazonaws.com/") {
            return url.replace(".amazonaws.com/", ".amazonaws.com.cn/");
        }
        url.to_owned()
    }

    /// The region a request is signed for.
    pub async fn region(&self, carrier: &Carrier, signature: &SigV4) -> Result<Text, String> {
        if let Some(region) = signature.region.as_ref().or(self.settings.region.as_ref()) {
            return Ok(region.clone());
        }
        let known = self.region.borrow().clone();
        if let Some(region) = known {
            return Ok(region);
        }
        let why = "no region: set AWS_REGION";
        let region =
            self.of_machine(carrier, "placement/region").await.map_err(|error| format!("{why} ({error})"))?;
        let region = Text::from(region.text().trim());
        *self.region.borrow_mut() = Some(region.clone());
        Ok(region)
    }

    /// The credentials of a request.
    pub async fn credentials(
        &self,
        carrier: &Carrier,
        signature: &SigV4,
        region: &str,
    ) -> Result<Credentials, String> {
        if signature.profile.is_some() {
            return Err("sigv4.profile: files with profiles are not read; name a role, or none".to_owned());
        }
        let soon = carrier.clock().now().plus(MARGIN);
        let fresh = |keys: &&Credentials| keys.until.is_none_or(|until| until > soon);
        let kept = self.kept.borrow().get(&signature.role).filter(fresh).cloned();
        if let Some(keys) = kept {
            return Ok(keys);
        }
        let own = self.kept.borrow().get(&None).filter(fresh).cloned();
        let own = match own {
            Some(own) => own,
            None => self.own(carrier, region).await?,
        };
        self.keep(None, &own);
        let Some(role) = &signature.role else { return Ok(own) };
        let keys = self.taken_on(carrier, role, &own, region).await?;
        self.keep(Some(role.clone()), &keys);
        Ok(keys)
    }

    fn keep(&self, role: Option<Text>, keys: &Credentials) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() > 64 {
            kept.clear();
        }
        kept.insert(role, keys.clone());
    }

    /// The controller's own, from the first place that has some.
    async fn own(&self, carrier: &Carrier, region: &str) -> Result<Credentials, String> {
        let settings = &self.settings;
        if let Some(keys) = &settings.keys {
            return Ok(keys.clone());
        }
        if let (Some(role), Some(file)) = (&settings.role, &settings.identity_file) {
            return self.by_identity(carrier, role, file, region).await;
        }
        if let Some(url) = &settings.container {
            return self.of_container(carrier, url).await;
        }
        let role = self.of_machine(carrier, "iam/security-credentials/").await;
        let role = role.map_err(|why| format!("no credentials for AWS: {why}"))?.text();
        let role = role.lines().next().unwrap_or_default().trim().to_owned();
        let keys = self.of_machine(carrier, &format!("iam/security-credentials/{role}")).await?;
        of_json(&keys)
    }

    async fn by_identity(
        &self,
        carrier: &Carrier,
        role: &str,
        file: &str,
        region: &str,
    ) -> Result<Credentials, String> {
        let token = std::fs::read_to_string(file).map_err(|why| format!("{file}: {why}"))?;
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={SESSION}&WebIdentityToken={}",
            encoded(role),
            encoded(token.trim())
        );
        let reply = carrier.fetch(self.to_sts(region, form), Way::TRUSTED).await?;
        of_xml(&reply, "AssumeRoleWithWebIdentity")
    }

    async fn taken_on(
        &self,
        carrier: &Carrier,
        role: &str,
        own: &Credentials,
        region: &str,
    ) -> Result<Credentials, String> {
        let form = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName={SESSION}",
            encoded(role)
        );
        let mut request = self.to_sts(region, form);
        let now = carrier.clock().now().stamp();
        let added = sigv4::headers(&request, own, region, "sts", now)?;
        request.headers.extend(added);
        let reply = carrier.fetch(request, Way::TRUSTED).await?;
        of_xml(&reply, "AssumeRole")
    }

    fn to_sts(&self, region: &str, form: String) -> Request {
        let headers = vec![("Content-Type".into(), Hidden::new("application/x-www-form-urlencoded"))];
        Request {
            method: reqwest::Method::POST,
            url: self.address(&format!("https://sts.{region}.amazonaws.com/")),
            headers,
            body: Some(form.into()),
            limit: LIMIT,
            follow: false,
        }
    }

    async fn of_container(&self, carrier: &Carrier, url: &str) -> Result<Credentials, String> {
        let token = match &self.settings.container_token_file {
            Some(file) => {
                let text = std::fs::read_to_string(&**file).map_err(|why| format!("{file}: {why}"))?;
                Some(Hidden::new(text.trim()))
            }
            None => self.settings.container_token.clone(),
        };
        let headers = token.map(|token| ("Authorization".into(), token)).into_iter().collect();
        let reply = carrier.fetch(get(url, headers), Way::INNER).await?;
        of_json(&reply)
    }

    /// What a machine knows about itself, asked with a session as version 2 of that service demands.
    async fn of_machine(&self, carrier: &Carrier, path: &str) -> Result<Response, String> {
        let metadata =
            self.settings.metadata.as_ref().ok_or("the metadata of the machine are not to be asked")?;
        let metadata = metadata.trim_end_matches('/');
        let lasts = vec![("X-aws-ec2-metadata-token-ttl-seconds".into(), Hidden::new("300"))];
        let session = Request {
            method: reqwest::Method::PUT,
            body: Some("".into()),
            ..get(&format!("{metadata}/latest/api/token"), lasts)
        };
        let limit = std::time::Duration::from_secs(2);
        let asked = async {
            let session = carrier.fetch(session, Way::INNER).await?;
            let headers = vec![("X-aws-ec2-metadata-token".into(), Hidden::new(session.text()))];
            let url = format!("{metadata}/latest/meta-data/{path}");
            carrier.fetch(get(&url, headers), Way::INNER).await
        };
        let reply = tokio::time::timeout(limit, asked).await;
        let reply =
            reply.map_err(|_| format!("the metadata of the machine did not answer within {limit:?}"))??;
        match reply.status {
            200 => Ok(reply),
            status => Err(format!("the metadata of the machine answered {status}")),
        }
    }
}

fn get(url: &str, headers: Vec<(Text, Hidden)>) -> Request {
    Request {
        method: reqwest::Method::GET,
        url: url.to_owned(),
        headers,
        body: None,
        limit: LIMIT,
        follow: false,
    }
}

fn of_json(reply: &Response) -> Result<Credentials, String> {
    if reply.status != 200 {
        return Err(format!("credentials were refused with {}", reply.status));
    }
    let document: serde_json::Value =
        serde_json::from_slice(&reply.body).map_err(|why| format!("credentials cannot be read: {why}"))?;
    let text = |name: &str| document[name].as_str().filter(|text| !text.is_empty());
    let (Some(access), Some(secret)) = (text("AccessKeyId"), text("SecretAccessKey")) else {
        return Err("there is no key among the credentials".to_owned());
    };
    let until = text("Expiration").and_then(Stamp::parse).map(Stamp::time);
    Ok(Credentials { until, ..Credentials::new(access, secret, text("Token")) })
}

fn of_xml(reply: &Response, action: &str) -> Result<Credentials, String> {
    let document =
        Element::parse(&reply.text()).map_err(|why| format!("{action} answered {}: {why}", reply.status))?;
    if reply.status != 200 {
        let (code, message) = (document.text_at(&["Error", "Code"]), document.text_at(&["Error", "Message"]));
        return Err(format!("{action} answered {}: {code}: {message}", reply.status));
    }
    let result = format!("{action}Result");
    let text = |name: &str| document.text_at(&[&result, "Credentials", name]);
    let (access, secret, session) = (text("AccessKeyId"), text("SecretAccessKey"), text("SessionToken"));
    if access.is_empty() || secret.is_empty() {
        return Err(format!("{action} answered without a key"));
    }
    let until = Stamp::parse(text("Expiration")).map(Stamp::time);
    Ok(Credentials {
        until,
        ..Credentials::new(access, secret, Some(session).filter(|text| !text.is_empty()))
    })
}
