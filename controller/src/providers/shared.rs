//! What providers have in common: reading fields, encoding, printing numbers, and saying what came back.

use serde_json::Value as Json;
use tidegate_api::duration::GoDuration;
use tidegate_api::object::{Key, Kind, Text};
use tidegate_api::time::Span;

use super::{Ask, ProviderProblem};
use crate::analysis::secrets::SecretData;
use crate::question::{Asker, ClientCredentials, Hidden, Method, Question, Reply, Response, set_header};

/// So much of a reply is repeated in a message.
const EXCERPT: usize = 300;

impl Ask<'_> {
    /// What the metric says to a provider.
    pub(super) fn of(&self, provider: &str) -> &Json {
        &self.metric.provider[provider]
    }

    /// A question on behalf of this metric.
    pub(super) fn question(&self, method: Method, url: impl Into<Text>) -> Question {
        Question::new(Asker { key: self.run.clone(), part: self.metric.name.clone() }, method, url)
    }

    /// A Secret of the controller's own namespace.
    pub(super) fn operators_secret(&self, name: &str) -> Key {
        Key::new(Kind::Secret, self.surroundings.namespace.clone(), name)
    }

    /// What a Secret holds, or why it cannot be had.
    pub(super) fn secret(&self, key: &Key) -> Result<&SecretData, ProviderProblem> {
        match self.secrets.get(key) {
            Some(Ok(data)) => Ok(data),
            Some(Err(why)) => Err(why.to_string().into()),
            None => Err(format!("secrets \"{}\" was not read", key.name).into()),
        }
    }
}

/// A text field; empty when absent.
pub fn text<'j>(stanza: &'j Json, field: &str) -> &'j str {
    stanza[field].as_str().unwrap_or_default()
}

/// A list field.
pub fn entries<'j>(stanza: &'j Json, field: &str) -> impl Iterator<Item = &'j Json> {
    stanza[field].as_array().into_iter().flatten()
}

/// A whole number, also one that stands there as text.
pub fn number(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// `headers`, later ones in place of earlier ones.
pub fn headers(stanza: &Json) -> Vec<(Text, Hidden)> {
    let mut headers = Vec::new();
    for header in entries(stanza, "headers") {
        set_header(&mut headers, text(header, "key"), text(header, "value"));
    }
    headers
}

/// A span of time, written as the reference's language does.
pub fn span(text: &str) -> Result<Span, String> {
    let nanos = GoDuration::parse(text).map_err(|why| why.to_string())?.nanos();
    Ok(Span::millis(nanos / 1_000_000))
}

/// `authentication.oauth2`, if it is in use.
pub fn client_credentials(authentication: &Json) -> Result<Option<ClientCredentials>, ProviderProblem> {
    let stanza = &authentication["oauth2"];
    if text(stanza, "tokenUrl").is_empty() {
        return Ok(None);
    }
    if text(stanza, "clientId").is_empty() || text(stanza, "clientSecret").is_empty() {
        return Err("missing mandatory parameter in metric for OAuth2 setup".into());
    }
    Ok(Some(ClientCredentials {
        url: text(stanza, "tokenUrl").into(),
        id: text(stanza, "clientId").into(),
        secret: Hidden::new(text(stanza, "clientSecret")),
        scopes: entries(stanza, "scopes").filter_map(Json::as_str).map(Text::from).collect(),
        headers: Vec::new(),
    }))
}

/// Secrets that stand in `authentication` itself, also where nothing was an argument.
pub fn secrets_of(authentication: &Json) -> Vec<Text> {
    let fields = [&authentication["oauth2"]["clientSecret"], &authentication["basicAuth"]["password"]];
    fields.into_iter().filter_map(Json::as_str).map(Text::from).collect()
}

/// Whether an address names a scheme and a host.
pub fn is_url(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme && !host.is_empty() && !host.starts_with(':') && !host.contains([' ', '<', '>', '"'])
}

/// An address and a path below it.
pub fn below(address: &str, path: &str) -> String {
    let base = address.split(['?', '#']).next().unwrap_or_default();
    format!("{}{path}", base.trim_end_matches('/'))
}

/// A text as part of a query or a form.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Pairs as a query or a form.
pub fn form<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let pair = |(name, value): (&str, &str)| format!("{}={}", encoded(name), encoded(value));
    pairs.into_iter().map(pair).collect::<Vec<_>>().join("&")
}

/// The answer of a server; what stood in its way else.
pub fn answer<'r>(question: &Question, reply: &'r Reply) -> Result<&'r Response, ProviderProblem> {
    match reply {
        Reply::Answered(response) => Ok(response),
        Reply::Failed(why) => Err(why.to_string().into()),
        Reply::Lost => Err(format!("{question}: the reply was lost").into()),
    }
}

/// A problem, with what was asked, where, and what came back.
pub fn problem(what: &str, question: &Question, response: &Response) -> ProviderProblem {
    let back = excerpt(&response.text());
    let status = response.status;
    match back.is_empty() {
        true => format!("{what} ({question} answered {status} and nothing else)").into(),
        false => format!("{what} ({question} answered {status}: {back})").into(),
    }
}

/// The beginning of a text, on one line.
pub fn excerpt(text: &str) -> String {
    let text = text.trim();
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(EXCERPT) {
        None => line(text),
        Some((at, _)) => format!("{}… ({} bytes)", line(&text[..at]), text.len()),
    }
}

/// A JSON reply.
pub fn json(response: &Response) -> Result<Json, String> {
    serde_json::from_slice(&response.body).map_err(|why| why.to_string())
}

/// A number that a reply holds as a number or as text.
pub fn float(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The shortest digits, never with an exponent.
pub fn plain(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format!("{number}")
}

/// Numbers in brackets, with commas and without spaces.
pub fn plain_list(numbers: &[f64]) -> String {
    format!("[{}]", numbers.iter().map(|number| plain(*number)).collect::<Vec<_>>().join(","))
}

/// A document as the reference prints JSON: compact, keys sorted, numbers as floats, HTML escaped.
pub fn json_text(json: &Json) -> String {
    let mut out = String::new();
    write_json(json, &mut out);
    out
}

fn write_json(json: &Json, out: &mut String) {
    let separate = |out: &mut String, first: &mut bool| {
        if !std::mem::take(first) {
            out.push(',');
        }
    };
    let mut first = true;
    match json {
        Json::Number(number) => out.push_str(&json_number(number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => out.push_str(&quoted(text)),
        Json::Array(items) => {
            out.push('[');
            for item in items {
                separate(out, &mut first);
                write_json(item, out);
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (key, value) in map {
                separate(out, &mut first);
                out.push_str(&quoted(key));
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
        Json::Null | Json::Bool(_) => out.push_str(&json.to_string()),
    }
}

fn quoted(text: &str) -> String {
    let escaped = Json::from(text).to_string();
    [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")]
        .into_iter()
        .fold(escaped, |text, (from, to)| text.replace(from, to))
}

/// A number in JSON: with an exponent below 1e-6 and from 1e21 on.
pub fn json_number(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_print_as_each_service_prints_them() {
        for (number, as_plain, as_json) in [
            (10.0, "10", "10"),
            (1e21, "1000000000000000000000", "1e+21"),
            (123_456_789.0, "123456789", "123456789"),
            (0.000_000_1, "0.0000001", "1e-7"),
            (1.1, "1.1", "1.1"),
            (0.000_333_288_188_224_653_3, "0.0003332881882246533", "0.0003332881882246533"),
        ] {
            assert_eq!((&*plain(number), &*json_number(number)), (as_plain, as_json));
        }
        assert_eq!(plain_list(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]), "[NaN,+Inf,-Inf]");
        let document = json!({"b": "<a&b>", "a": [1, null, true, 1.50, 12345678901234567890_u64]});
        assert_eq!(
            json_text(&document),
            r#"{"a":[1,null,true,1.5,12345678901234567000],"b":"\u003ca\u0026b\u003e"}"#
        );
    }

    #[test]
    fn addresses_and_parts_of_them() {
        for (address, holds) in [
            ("http://prometheus:9090", true),
            ("https://u:p@host/x", true),
            (":invalid", false),
            ("http://", false),
            ("http:///path", false),
            ("prometheus:9090", false),
            ("", false),
        ] {
            assert_eq!(is_url(address), holds, "{address}");
        }
        assert_eq!(below("http://h/x/?a=b", "/api"), "http://h/x/api");
        assert_eq!(form([("q", "a b&c/é"), ("t", "1.5")]), "q=a+b%26c%2F%C3%A9&t=1.5");
        assert_eq!(excerpt(&"x ".repeat(1000)).len(), 299 + "… (1999 bytes)".len());
    }
}
