//! One HTTP server for everything that is asked outside: as a proxy, and in place of AWS.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_api::object::{Key, Kind};
use tidegate_controller::question::{Asker, Hidden, Method as Asked, Question, Reply};
use tokio::task::{JoinHandle, JoinSet};

use super::{REGION, Shared};
use crate::TestbedError;

/// Answers until the task is aborted; also says where.
pub(super) fn serve(world: Shared) -> Result<(String, JoinHandle<()>), TestbedError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(TestbedError::io("listen"))?;
    let address = listener.local_addr().map_err(TestbedError::io("find the port"))?;
    listener.set_nonblocking(true).map_err(TestbedError::io("listen"))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(TestbedError::io("listen"))?;
    Ok((format!("http://{address}"), tokio::spawn(listen(listener, world))))
}

async fn listen(listener: tokio::net::TcpListener, world: Shared) {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = conversations.join_next(), if !conversations.is_empty() => {}
            Ok((stream, _)) = listener.accept() => {
                let world = world.clone();
                conversations.spawn(async move {
                    let answer = service_fn(|request| answer(request, world.clone()));
                    // One that ends without an answer is meant to.
                    let mut connection = http1::Builder::new();
                    let _ = connection.keep_alive(false).serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        }
    }
}

/// What is answered; an error ends the connection without an answer.
async fn answer(request: Request<Incoming>, world: Shared) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let signed = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Whom the proxy is asked for has a host; AWS is this server itself.
    let form = String::from_utf8_lossy(&body).into_owned();
    let to_balancers =
        head.method == Method::POST && form.starts_with("Action=") || form.contains("&Action=");
    if to_balancers && !is_signed(signed) {
        return Ok(response(StatusCode::FORBIDDEN, "the request is not signed".into()));
    }
    let method = match head.method {
        Method::POST => Asked::Post,
        Method::PUT => Asked::Put,
        _ => Asked::Get,
    };
    let asker = Asker { key: Key::new(Kind::AnalysisRun, "", ""), part: "".into() };
    let mut question = Question::new(asker, method, head.uri.to_string());
    question.body = (!form.is_empty()).then(|| Hidden::new(form));
    let (reply, after) = world.answer(&question, to_balancers);
    if after > Duration::ZERO {
        tokio::time::sleep(after).await;
    }
    match reply {
        Reply::Answered(answer) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(response(status, Bytes::copy_from_slice(&answer.body)))
        }
        Reply::Failed(why) => Err(io::Error::other(why.to_string())),
        Reply::Lost => Err(io::Error::other("nobody answers")),
    }
}

/// Whether it is signed as AWS demands, for this service.
fn is_signed(authorization: &str) -> bool {
    authorization.starts_with("AWS4-HMAC-SHA256 Credential=")
        && authorization.contains(&format!("/{REGION}/elasticloadbalancing/aws4_request"))
        && authorization.contains("Signature=")
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
