//! The real API server, asked through a client that neither adds nor hides anything.

use std::time::Duration;

use kube::client::Body;
use serde_json::Value;
use tidegate_sim::cluster::api::{Method, Reply, Request};
use tokio::runtime::Runtime;

use super::{Asked, End};

/// A client and the runtime its connections belong to.
pub struct Real {
    /// Whatever the client needs to run.
    pub runtime: Runtime,
    /// With the rights of an administrator.
    pub client: kube::Client,
}

/// The collector learns of new kinds by asking every half a minute.
const PATIENCE: Duration = Duration::from_secs(75);
const POLL: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(30);

impl Asked for Real {
    fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        let answer = answer(&self.client, request);
        self.runtime
            .block_on(async { tokio::time::timeout(LIMIT, answer).await })
            .map_err(|_| "no answer".to_owned())?
    }

    fn until(&mut self, request: &Request, end: End) -> Result<Reply, String> {
        let client = &self.client;
        let met = async {
            loop {
                let reply = answer(client, request).await?;
                if end.is_met(&reply) {
                    return Ok(reply);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, met).await })
            .map_err(|_| format!("{}: not {end:?}", request.path))?
    }
}

async fn answer(client: &kube::Client, request: &Request) -> Result<Reply, String> {
    let method = match request.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    };
    let body = request.body.as_ref().map(Value::to_string).unwrap_or_default();
    let sent = http::Request::builder()
        .method(method)
        .uri(request.target())
        .header("content-type", &request.content_type)
        .header("accept", "application/json")
        .header("user-agent", "tester/1.0")
        .body(Body::from(body.into_bytes()))
        .map_err(|error| error.to_string())?;
    let response = client.send(sent).await.map_err(|error| error.to_string())?;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes);
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| Value::from(text));
    if request.is_watch() && code == 200 {
        let events = text.lines().filter(|line| !line.is_empty()).map(read).collect();
        return Ok(Reply { code, body: Value::Null, events, is_watch: true });
    }
    Ok(Reply { code, body: read(&text), events: Vec::new(), is_watch: false })
}
