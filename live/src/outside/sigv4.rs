//! AWS Signature Version 4: the headers that prove who asks.

use reqwest::Url;
use ring::{digest, hmac};
use tidegate_api::object::Text;
use tidegate_api::time::Stamp;
use tidegate_controller::question::Hidden;

use super::Request;
use super::aws::Credentials;

/// Headers of which the signature speaks, beside `host` and those it brings itself.
const SIGNED: [&str; 1] = ["content-type"];

/// The headers to add to a request.
pub(super) fn headers(
    request: &Request,
    keys: &Credentials,
    region: &str,
    service: &str,
    now: Stamp,
) -> Result<Vec<(Text, Hidden)>, String> {
    let url = Url::parse(&request.url).map_err(|why| why.to_string())?;
    let digits = |text: String| text.chars().filter(|c| !matches!(c, '-' | ':')).collect::<String>();
    let time = digits(now.to_string());
    let date = time.split('T').next().unwrap_or_default().to_owned();
    let mut signed: Vec<(String, String)> =
        vec![("host".into(), host(&url)), ("x-amz-date".into(), time.clone())];
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        if SIGNED.contains(&&*name) {
            signed.push((name, value.reveal().trim().to_owned()));
        }
    }
    if let Some(session) = &keys.session {
        signed.push(("x-amz-security-token".into(), session.reveal().to_string()));
    }
    signed.sort();
    let names = signed.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let body = request.body.as_deref().unwrap_or_default();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{}",
        request.method,
        path(&url),
        query(&url),
        hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref())
    );
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let start = format!("AWS4{}", keys.secret.reveal()).into_bytes();
    let key =
        [&date, region, service, "aws4_request"].iter().fold(start, |key, part| mac(&key, part.as_bytes()));
    let signature = hex(&mac(&key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.access
    );
    let mut added = vec![
        (Text::from("X-Amz-Date"), Hidden::new(time)),
        (Text::from("Authorization"), Hidden::new(authorization)),
    ];
    added.extend(keys.session.clone().map(|session| (Text::from("X-Amz-Security-Token"), session)));
    Ok(added)
}

/// As it is sent: without the port that goes without saying.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Each part of the path, encoded once more than it is sent.
fn path(url: &Url) -> String {
    let parts: Vec<String> = url.path().split('/').map(encoded).collect();
    let path = parts.join("/");
    if path.is_empty() { "/".to_owned() } else { path }
}

/// The query, encoded in one way and in order.
fn query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (encoded(&name), encoded(&value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    super::token::encoded(text)
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(method: &str, url: &str, body: Option<&str>, service: &str) -> String {
        let keys = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None);
        let mut request = Request {
            method: method.parse().expect("a method"),
            url: url.to_owned(),
            headers: Vec::new(),
            body: body.map(Text::from),
            limit: 0,
            follow: false,
        };
        if body.is_some() || service == "iam" {
            let kind = match service {
                "iam" => "application/x-www-form-urlencoded; charset=utf-8",
                _ => "application/x-www-form-urlencoded",
            };
            request.headers.push(("Content-Type".into(), Hidden::new(kind)));
        }
        let at = Stamp::parse("2015-08-30T12:36:00Z").expect("a time");
        let headers = headers(&request, &keys, "us-east-1", service, at).expect("a signature");
        headers[1].1.reveal().to_string()
    }

    /// The published examples and test suite.
    #[test]
    fn signatures_as_published() {
        let check = |method: &str, url: &str, body: Option<&str>, service: &str, expected: &str| {
            let header = signed(method, url, body, service);
            assert!(header.ends_with(&format!("Signature={expected}")), "{method} {url}: {header}");
        };
        let at = "https://example.amazonaws.com";
        check(
            "GET",
            &format!("{at}/"),
            None,
            "service",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        );
        check(
            "POST",
            &format!("{at}/"),
            None,
            "service",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        );
        check(
            "GET",
            &format!("{at}/?Param2=value2&Param1=value1"),
            None,
            "service",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        );
        check(
            "POST",
            &format!("{at}/"),
            Some("Param1=value1"),
            "service",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        );
        check(
            "GET",
            "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
            None,
            "iam",
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        );
        let header = signed("GET", &format!("{at}/"), None, "service");
        assert!(header.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, "));
    }

    #[test]
    fn a_session_is_part_of_what_is_signed() {
        let keys = Credentials::new("a", "b", Some("session"));
        let request = Request {
            method: reqwest::Method::GET,
            url: "http://localhost:4566/x y".into(),
            headers: Vec::new(),
            body: None,
            limit: 0,
            follow: false,
        };
        let added = headers(&request, &keys, "eu-west-1", "aps", Stamp(0)).expect("a signature");
        assert_eq!(&*added[2].0, "X-Amz-Security-Token");
        assert!(added[1].1.reveal().contains("SignedHeaders=host;x-amz-date;x-amz-security-token"));
    }
}
