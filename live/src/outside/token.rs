//! OAuth2 client credentials: fetched when they are needed, kept as long as the server says.

use std::cell::RefCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_api::object::Text;
use tidegate_api::time::{Span, Time};
use tidegate_controller::question::{ClientCredentials, Hidden, Response, place, set_header};

use super::{Carrier, Request, Way};

/// A reply of a token server is no larger.
const LIMIT: u64 = 1 << 20;
/// A token is not used any more so long before its end.
const MARGIN: Span = Span::seconds(10);
/// So many tokens are kept; then all are forgotten.
const MOST: usize = 256;

type Whose = (Text, Text, Hidden, Vec<Text>);

/// Tokens by whose they are.
#[derive(Default)]
pub(super) struct Tokens(RefCell<BTreeMap<Whose, (Hidden, Time)>>);

fn whose(of: &ClientCredentials) -> Whose {
    (of.url.clone(), of.id.clone(), of.secret.clone(), of.scopes.clone())
}

impl Tokens {
    /// A token, and whether it was fetched just now.
    pub async fn get(
        &self,
        carrier: &Carrier,
        of: &ClientCredentials,
        way: Way,
    ) -> Result<(Hidden, bool), String> {
        let now = carrier.clock().now();
        let kept =
            self.0.borrow().get(&whose(of)).filter(|(_, until)| *until > now).map(|(token, _)| token.clone());
        if let Some(token) = kept {
            return Ok((token, false));
        }
        let (token, lasts) = fetch(carrier, of, way).await?;
        if let Some(lasts) = lasts {
            let mut tokens = self.0.borrow_mut();
            if tokens.len() >= MOST {
                tokens.clear();
            }
            tokens.insert(whose(of), (token.clone(), now.plus(Span(lasts.0.saturating_sub(MARGIN.0)))));
        }
        Ok((token, true))
    }

    /// Forgets a token.
    pub fn forget(&self, of: &ClientCredentials) {
        self.0.borrow_mut().remove(&whose(of));
    }
}

/// Asks with the secret as a password first; servers that do not take that find it in the form.
async fn fetch(
    carrier: &Carrier,
    of: &ClientCredentials,
    way: Way,
) -> Result<(Hidden, Option<Span>), String> {
    let mut form = "grant_type=client_credentials".to_owned();
    if !of.scopes.is_empty() {
        form += &format!("&scope={}", encoded(&of.scopes.join(" ")));
    }
    let id = (encoded(&of.id), encoded(of.secret.reveal()));
    let mut headers = of.headers.clone();
    set_header(&mut headers, "Content-Type", "application/x-www-form-urlencoded");
    let mut with_password = headers.clone();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        let password = STANDARD.encode(format!("{}:{}", id.0, id.1));
        set_header(&mut with_password, "Authorization", format!("Basic {password}"));
    }
    let ask = |headers, body: String| {
        let request = Request {
            method: reqwest::Method::POST,
            url: of.url.to_string(),
            headers,
            body: Some(body.into()),
            limit: LIMIT,
            follow: true,
        };
        carrier.fetch(request, way)
    };
    let failed = |why: String| format!("oauth2: cannot fetch token: {why} (POST {})", place(&of.url));
    let mut response = ask(with_password, form.clone()).await.map_err(failed)?;
    if !(200..300).contains(&response.status) {
        let form = format!("{form}&client_id={}&client_secret={}", id.0, id.1);
        response = ask(headers, form).await.map_err(failed)?;
    }
    read(&response).map_err(|why| failed(why).replace(&**of.secret.reveal(), "*****"))
}

fn read(response: &Response) -> Result<(Hidden, Option<Span>), String> {
    let body = response.text();
    if !(200..300).contains(&response.status) {
        let body: String = body.chars().take(200).collect();
        return Err(format!("{}: {}", response.status, body.trim()));
    }
    let document: serde_json::Value =
        serde_json::from_str(&body).map_err(|why| format!("cannot parse json: {why}"))?;
    let token = document["access_token"].as_str().filter(|token| !token.is_empty());
    let token = token.ok_or("server response missing access_token")?;
    let lasts = &document["expires_in"];
    let seconds = lasts.as_i64().or_else(|| lasts.as_str()?.parse().ok());
    Ok((Hidden::new(token), seconds.map(Span::seconds)))
}

/// A text in a form.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (byte as char).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
