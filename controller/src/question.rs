//! One question to the outside, and what came back: what travels through the door [`crate::seams::Metrics`].
//!
//! A question is complete: whoever carries it needs to know nothing about who asks. A reply is uninterpreted: what it means
//! is for the asker to say. Both print without secrets.

use std::fmt;
use std::sync::Arc;

use tidegate_api::object::{Key, Text};
use tidegate_api::time::Span;

use crate::analysis::secrets::Masks;

/// Replies are read up to so many bytes, unless a question says otherwise.
pub const LARGEST_REPLY: u64 = 8 << 20;

/// In a URL: stands for the region of the account whose credentials sign the request.
pub const REGION: &str = "{region}";

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hidden(Text);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<Text>) -> Hidden {
        Hidden(text.into())
    }

    /// The text: to be sent, never to be shown.
    pub fn reveal(&self) -> &Text {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("*****")
    }
}

/// One HTTP request, and how it is to be carried. `Debug` and `Display` show no secret.
#[derive(Clone, PartialEq)]
pub struct Question {
    /// On whose behalf, for logs.
    pub asker: Asker,
    /// The method.
    pub method: Method,
    /// The address with its query; may hold [`REGION`] when the request is signed.
    pub url: Text,
    /// Headers, sent as they are and after everything that is added: they win over credentials.
    pub headers: Vec<(Text, Hidden)>,
    /// The body.
    pub body: Option<Hidden>,
    /// Everything must be over after this time: resolving, connecting, redirects, tokens, reading.
    pub timeout: Span,
    /// How far the server is trusted.
    pub tls: Tls,
    /// Who chose the address: decides where it may lead.
    pub chosen_by: ChosenBy,
    /// How the request is signed.
    pub signature: Option<SigV4>,
    /// The token that goes with it.
    pub token: Option<ClientCredentials>,
    /// A reply that is larger is a failure.
    pub limit: u64,
    /// What must not be shown of anything that is said about this question.
    pub masks: Masks,
}

/// On whose behalf a question is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The object: an AnalysisRun, or a Rollout whose load balancer is looked at.
    pub key: Key,
    /// What of it: the name of a metric, or of a router.
    pub part: Text,
}

/// A method of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
}

/// How far a server is trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// Accept any certificate.
    pub insecure: bool,
    /// Ask no proxy, whatever the operator's environment says.
    pub no_proxy: bool,
}

/// Who chose an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChosenBy {
    /// Somebody who may write analyses: loopback, link-local and metadata addresses are refused, unless the operator allows them.
    Author,
    /// The operator, or nobody: the address of a well-known service.
    Operator,
}

/// AWS Signature Version 4.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SigV4 {
    /// The service that is asked: `aps`, `monitoring`, `elasticloadbalancing`.
    pub service: Text,
    /// The region; without one, that of the controller's surroundings.
    pub region: Option<Text>,
    /// The profile of the controller's configuration files.
    pub profile: Option<Text>,
    /// A role to take on first.
    pub role: Option<Text>,
}

/// OAuth2 client credentials.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientCredentials {
    /// Where tokens come from. Held to the same rules as the question's own address.
    pub url: Text,
    /// Who asks.
    pub id: Text,
    /// What proves it.
    pub secret: Hidden,
    /// What for.
    pub scopes: Vec<Text>,
    /// Headers of the request for the token.
    pub headers: Vec<(Text, Hidden)>,
}

/// What came back.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// A server answered.
    Answered(Response),
    /// No server answered, and why: in words, without secrets.
    Failed(Text),
    /// The answer was lost with the process that waited for it, or by a fault. To be asked again.
    Lost,
}

/// What a server answered.
#[derive(Clone, PartialEq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers, names in small letters.
    pub headers: Vec<(Text, Text)>,
    /// The body.
    pub body: Arc<[u8]>,
}

impl Question {
    /// A question without body and credentials, with the usual limits.
    pub fn new(asker: Asker, method: Method, url: impl Into<Text>) -> Question {
        Question {
            asker,
            method,
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout: Span::seconds(30),
            tls: Tls::default(),
            chosen_by: ChosenBy::Author,
            signature: None,
            token: None,
            limit: LARGEST_REPLY,
            masks: Masks::default(),
        }
    }

    /// Sets a header in place of any of the same name.
    pub fn set_header(&mut self, name: &str, value: impl Into<Text>) {
        set_header(&mut self.headers, name, value);
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&Hidden> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// A text about this question without its secrets.
    pub fn hide(&self, text: &str) -> String {
        self.masks.hide(text)
    }
}

/// Sets a header in place of any of the same name.
pub fn set_header(headers: &mut Vec<(Text, Hidden)>, name: &str, value: impl Into<Text>) {
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    headers.push((name.into(), Hidden::new(value)));
}

impl Method {
    /// As it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }
}

/// Method and address, without the query, the user and any secret: for messages.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.name(), self.hide(&place(&self.url)))
    }
}

/// An address without what is not to be shown: query, fragment, user and password.
pub fn place(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("asker", &self.asker)
            .field("what", &self.to_string())
            .field("headers", &self.headers)
            .field("body", &self.body)
            .field("timeout", &self.timeout)
            .field("tls", &self.tls)
            .field("chosen_by", &self.chosen_by)
            .field("signature", &self.signature)
            .field("token", &self.token.as_ref().map(|token| place(&token.url)))
            .field("limit", &self.limit)
            .finish()
    }
}

impl Response {
    /// An answer with this status and body.
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Response {
        Response { status, headers: Vec::new(), body: body.as_ref().into() }
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&Text> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {} bytes)", self.status, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_api::object::Kind;

    use super::*;

    #[test]
    fn a_question_prints_without_its_secrets() {
        let asker = Asker { key: Key::new(Kind::AnalysisRun, "shop", "web-1"), part: "errors".into() };
        let mut question = Question::new(asker, Method::Post, "https://me:pw@host:9/tok-en/a?key=hunter2");
        question.masks.add(&"tok-en".into());
        question.set_header("Authorization", "Basic bWU6cHc=");
        question.set_header("authorization", "Bearer hunter2");
        question.body = Some(Hidden::new("hunter2"));
        question.token = Some(ClientCredentials { secret: Hidden::new("hunter2"), ..Default::default() });
        assert_eq!(question.to_string(), "POST https://host:9/*****/a");
        assert_eq!(question.headers.len(), 1);
        assert_eq!(question.header("AUTHORIZATION").map(|h| &**h.reveal()), Some("Bearer hunter2"));
        let printed = format!("{question:?}");
        for secret in ["hunter2", "pw", "tok-en", "bWU6"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        assert_eq!(
            format!("{:?}", Reply::Answered(Response::new(200, "hunter2"))),
            "Answered(Response(200, 7 bytes))"
        );
    }
}
