//! Carries questions to the outside world: over HTTP, within limits, and only where they may lead.
//!
//! What an address is may be chosen by somebody who has no rights in the cluster but to write an analysis, and what comes
//! back is shown to them. So addresses that only this machine can reach are refused, after names were resolved and again at
//! each redirect, unless the operator allows them ([`addresses::Allowed`]). A proxy of the operator's environment resolves
//! names by itself, and is trusted to refuse by itself.

pub mod addresses;
pub mod aws;
pub mod sigv4;
mod token;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use tidegate_api::object::Text;
use tidegate_controller::question::{
    ChosenBy, Hidden, Method, Question, REGION, Reply, Response, Tls, place, set_header,
};
use tokio::sync::Semaphore;

use crate::clock::WallClock;
use addresses::{Allowed, Guard};
use aws::{Aws, AwsSettings};
use token::Tokens;

/// Questions under way at the same time; the others wait, and their time does not run meanwhile.
const LANES: usize = 256;
/// A connection is there after this time, or never.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Connections that nobody uses are closed after this time.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// No question is sent on more often.
const MOST_REDIRECTS: usize = 10;

/// How questions are carried.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where questions may lead beside everywhere else.
    pub allowed: Allowed,
    /// Where credentials for AWS come from.
    pub aws: AwsSettings,
}

/// Carries questions. Cheap to clone.
#[derive(Clone)]
pub struct Carrier(Rc<Inner>);

struct Inner {
    settings: Settings,
    clock: WallClock,
    lanes: Semaphore,
    clients: RefCell<BTreeMap<Way, Client>>,
    tokens: Tokens,
    aws: Aws,
}

/// What a connection is used for: those of different ways are never mixed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Way {
    insecure: bool,
    no_proxy: bool,
    guarded: bool,
}

impl Way {
    /// To an address of the operator or of a well-known service.
    pub(crate) const TRUSTED: Way = Way { insecure: false, no_proxy: false, guarded: false };
    /// To this machine's own surroundings.
    pub(crate) const INNER: Way = Way { insecure: false, no_proxy: true, guarded: false };

    fn of(question: &Question) -> Way {
        let Tls { insecure, no_proxy } = question.tls;
        Way { insecure, no_proxy, guarded: question.chosen_by == ChosenBy::Author }
    }
}

/// One request, and its redirects.
pub(crate) struct Request {
    pub method: reqwest::Method,
    pub url: String,
    pub headers: Vec<(Text, Hidden)>,
    pub body: Option<Text>,
    pub limit: u64,
    pub follow: bool,
}

impl Carrier {
    /// A carrier. Connections come when they are needed.
    pub fn new(settings: Settings, clock: WallClock) -> Carrier {
        // Whoever came first has chosen the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let aws = Aws::new(settings.aws.clone());
        Carrier(Rc::new(Inner {
            settings,
            clock,
            lanes: Semaphore::new(LANES),
            clients: RefCell::default(),
            tokens: Tokens::default(),
            aws,
        }))
    }

    /// Carries one question.
    pub async fn carry(&self, question: Question) -> Reply {
        let Ok(_lane) = self.0.lanes.acquire().await else { return Reply::Lost };
        let limit = Duration::from_millis(u64::try_from(question.timeout.0).unwrap_or(0));
        let outcome = match tokio::time::timeout(limit, self.travel(&question)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no reply within {limit:?}")),
        };
        let asker = &question.asker;
        let (namespace, name, part) = (&*asker.key.namespace, &*asker.key.name, &*asker.part);
        match outcome {
            Ok(response) => {
                let status = response.status;
                tracing::debug!(namespace, name, metric = part, status, "asked {question}");
                Reply::Answered(response)
            }
            Err(why) => {
                let why = question.hide(&format!("{question}: {why}"));
                tracing::info!(namespace, name, metric = part, "{why}");
                Reply::Failed(why.into())
            }
        }
    }

    async fn travel(&self, question: &Question) -> Result<Response, String> {
        let has_own = question.header("authorization").is_some();
        let way = Way::of(question);
        if let Some(token) = question.token.as_ref().filter(|_| !has_own && question.signature.is_none()) {
            let (bearer, is_fresh) = self.0.tokens.get(self, token, way).await?;
            let response = self.fetch(with_bearer(question, &bearer), way).await?;
            if response.status != 401 || is_fresh {
                return Ok(response);
            }
            // A token that was kept may have been withdrawn.
            self.0.tokens.forget(token);
            let (bearer, _) = self.0.tokens.get(self, token, way).await?;
            return self.fetch(with_bearer(question, &bearer), way).await;
        }
        let mut request = request_of(question);
        if let Some(signature) = &question.signature {
            let region = self.0.aws.region(self, signature).await?;
            request.url = self.0.aws.address(&request.url.replace(REGION, &region));
            request.follow = false;
            let keys = self.0.aws.credentials(self, signature, &region).await?;
            let now = self.0.clock.now().stamp();
            let added = sigv4::headers(&request, &keys, &region, &signature.service, now)?;
            for (name, value) in added {
                if !(has_own && name.eq_ignore_ascii_case("authorization")) {
                    set_header(&mut request.headers, &name, value.reveal().clone());
                }
            }
        }
        self.fetch(request, way).await
    }

    /// The time of this instant.
    pub(crate) fn clock(&self) -> WallClock {
        self.0.clock
    }

    /// One exchange, with as many redirects as may be.
    pub(crate) async fn fetch(&self, mut request: Request, way: Way) -> Result<Response, String> {
        let client = self.client(way)?;
        for _ in 0..=MOST_REDIRECTS {
            let url = Url::parse(&request.url).map_err(|why| format!("{}: {why}", place(&request.url)))?;
            self.0.settings.allowed.judge(&url, way.guarded)?;
            let mut sent = client.request(request.method.clone(), url.clone());
            for (name, value) in &request.headers {
                let value = reqwest::header::HeaderValue::from_str(value.reveal());
                let mut value =
                    value.map_err(|_| format!("header {name} has a value that cannot be sent"))?;
                value.set_sensitive(true);
                let name = reqwest::header::HeaderName::from_bytes(name.as_bytes());
                sent = sent
                    .header(name.map_err(|_| "a header has a name that cannot be sent".to_owned())?, value);
            }
            if let Some(body) = &request.body {
                sent = sent.body(body.to_string());
            }
            let mut response = sent.send().await.map_err(|error| in_words(&error))?;
            match next_place(&response, &url).filter(|_| request.follow) {
                Some(next) => redirect(&mut request, response.status().as_u16(), &url, &next),
                None => return read(&mut response, request.limit).await,
            }
        }
        Err(format!("stopped after {MOST_REDIRECTS} redirects"))
    }

    fn client(&self, way: Way) -> Result<Client, String> {
        if let Some(client) = self.0.clients.borrow().get(&way) {
            return Ok(client.clone());
        }
        let guard = Guard { allowed: self.0.settings.allowed.clone(), is_on: way.guarded };
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .pool_idle_timeout(IDLE_LIMIT)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(guard)
            .tls_danger_accept_invalid_certs(way.insecure);
        if way.no_proxy {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| in_words(&error))?;
        self.0.clients.borrow_mut().insert(way, client.clone());
        Ok(client)
    }
}

fn request_of(question: &Question) -> Request {
    let method = match question.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
    };
    Request {
        method,
        url: question.url.to_string(),
        headers: question.headers.clone(),
        body: question.body.as_ref().map(|body| body.reveal().clone()),
        limit: question.limit,
        follow: true,
    }
}

fn with_bearer(question: &Question, token: &Hidden) -> Request {
    let mut request = request_of(question);
    set_header(&mut request.headers, "Authorization", format!("Bearer {}", token.reveal()));
    request
}

/// Where a response sends on to.
fn next_place(response: &reqwest::Response, from: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    from.join(response.headers().get("location")?.to_str().ok()?).ok()
}

/// The request as it goes on. What was meant for one server is not told to another.
fn redirect(request: &mut Request, status: u16, from: &Url, to: &Url) {
    if !matches!(status, 307 | 308) && request.method != reqwest::Method::GET {
        request.method = reqwest::Method::GET;
        request.body = None;
    }
    if from.origin() != to.origin() {
        let is_harmless =
            |name: &str| ["accept", "content-type"].iter().any(|one| name.eq_ignore_ascii_case(one));
        request.headers.retain(|(name, _)| is_harmless(name));
    }
    request.url = to.to_string();
}

async fn read(response: &mut reqwest::Response, limit: u64) -> Result<Response, String> {
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| {
            (Text::from(name.as_str()), Text::from(String::from_utf8_lossy(value.as_bytes())))
        })
        .collect();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| in_words(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > limit {
            return Err(format!("the reply is larger than {limit} bytes"));
        }
    }
    Ok(Response { status, headers, body: body.into() })
}

/// An error with its causes, without the address, which may hold secrets.
fn in_words(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Most causes repeat what they were caused by.
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    if parts.is_empty() { "the request cannot be sent".to_owned() } else { parts.join(": ") }
}

#[cfg(test)]
mod tests;
