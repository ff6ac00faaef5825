//! Requests to the load balancer API (ELBv2), and what is read from its replies.

use std::fmt::Write as _;

use super::xml::Element;

/// Where requests go unless the operator says otherwise. `{region}` is for whoever carries them.
pub const ENDPOINT: &str = "https://elasticloadbalancing.{region}.amazonaws.com/";
/// The name of the service in signatures.
pub const SERVICE: &str = "elasticloadbalancing";
/// So many pages of one list are read at most.
pub(super) const MOST_PAGES: usize = 1000;

/// One request: `POST` with a form as body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What is asked: `DescribeRules`.
    pub action: &'static str,
    /// Parameters beside `Action` and `Version`, in order.
    pub parameters: Vec<(String, String)>,
}

impl Request {
    pub(super) fn new(action: &'static str, parameters: &[(&str, &str)]) -> Request {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Request { action, parameters: parameters.iter().map(owned).collect() }
    }

    /// The same, for the page behind this marker.
    pub(super) fn at(mut self, marker: &Option<String>) -> Request {
        self.parameters.extend(marker.iter().map(|marker| ("Marker".to_owned(), marker.clone())));
        self
    }

    /// The body, of type `application/x-www-form-urlencoded`.
    pub fn body(&self) -> String {
        let mut body = format!("Action={}&Version=2015-12-01", self.action);
        for (name, value) in &self.parameters {
            body.push('&');
            encode(&mut body, name);
            body.push('=');
            encode(&mut body, value);
        }
        body
    }
}

fn encode(body: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                body.push(char::from(byte))
            }
            _ => drop(write!(body, "%{byte:02X}")),
        }
    }
}

/// What came back of a request, as it was carried.
#[derive(Clone, Copy, Debug)]
pub enum Carried<'a> {
    /// A server answered with this status and body.
    Answered(u16, &'a str),
    /// No server answered, and why.
    Failed(&'a str),
}

/// Why a reply cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub message: String,
    pub is_throttled: bool,
}

/// The result in a reply: the element `ACTIONResult`, or the whole where a stand-in leaves that out.
pub(super) fn result(action: &str, carried: Carried<'_>) -> Result<Element, Refusal> {
    let (status, body) = match carried {
        Carried::Answered(status, body) => (status, body),
        Carried::Failed(why) => {
            return Err(Refusal { message: format!("{action}: {why}"), is_throttled: false });
        }
    };
    let tree = Element::read(body);
    if status == 200
        && let Some(tree) = tree
    {
        let found = tree.find(&format!("{action}Result")).or(tree.find(&format!("{action}Response")));
        return Ok(found.cloned().unwrap_or(tree));
    }
    let error = tree.as_ref().and_then(|tree| tree.find("Error"));
    let (code, message) = error.map_or(("", ""), |error| (error.text_of("Code"), error.text_of("Message")));
    let is_throttled =
        [429, 503].contains(&status) || code.contains("Throttl") || code.contains("LimitExceeded");
    let message = match (status, code) {
        (200, "") => format!("{action}: the reply is neither XML nor JSON"),
        (_, "") => format!("{action}: status {status}"),
        _ => format!("{action}: {code}: {message} (status {status})"),
    };
    Err(Refusal { message, is_throttled })
}

/// The marker of the next page.
pub(super) fn next_marker(result: &Element) -> Option<String> {
    Some(result.text_of("NextMarker").to_owned()).filter(|marker| !marker.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_form() {
        let request = Request::new("DescribeRules", &[("ListenerArn", "arn:aws/ü")]);
        let request = request.at(&Some("m=1".to_owned()));
        assert_eq!(
            request.body(),
            "Action=DescribeRules&Version=2015-12-01&ListenerArn=arn%3Aaws%2F%C3%BC&Marker=m%3D1"
        );
    }

    #[test]
    fn refusals_say_what_the_api_said() {
        let throttled = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>\
            </Error></ErrorResponse>";
        let refusal = result("DescribeTags", Carried::Answered(400, throttled)).unwrap_err();
        assert!(refusal.is_throttled);
        assert_eq!(refusal.message, "DescribeTags: Throttling: Rate exceeded (status 400)");
        let plain = result("DescribeTags", Carried::Answered(200, "<html>")).unwrap_err();
        assert_eq!(plain.message, "DescribeTags: the reply is neither XML nor JSON");
        let gone = result("DescribeTags", Carried::Failed("no route")).unwrap_err();
        assert_eq!((&*gone.message, gone.is_throttled), ("DescribeTags: no route", false));
        assert!(result("DescribeTags", Carried::Answered(503, "busy")).unwrap_err().is_throttled);
    }
}
