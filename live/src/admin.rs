//! Probes and scrapes: small HTTP servers beside the controller (operations.md 1.4).
//!
//! They run on the controller's own thread and ask its loop between two turns. So nothing is copied for them, and a loop
//! that does not turn cannot look alive.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_api::time::Time;
use tidegate_controller::manager::Manager;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::driver::Question;
use crate::metrics::{Metrics, TEXT_FORMAT};

/// How long the loop may take to answer. A turn takes milliseconds; kubelet gives up after its own second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once to one server; more wait to be accepted. Bounds the memory (L15).
const CONNECTIONS: usize = 32;
/// A client that does not finish its request is given up.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// A pause after a connection could not be accepted, so that a lack of file descriptors is no busy loop.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What can be asked of the process.
#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    /// The way to the loop; nothing while there is none, because somebody else leads.
    questions: Rc<RefCell<Option<mpsc::UnboundedSender<Question>>>>,
}

/// Which paths a server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// `/healthz`, `/livez`, `/readyz`
    Health,
    /// `/metrics`
    Metrics,
    /// `/debug/pprof/`
    Profile,
}

/// A server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NoServer {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} for {what}: {why} ({flag} names another)")]
    Bind {
        /// What for.
        what: &'static str,
        /// Which flag says otherwise.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        why: std::io::Error,
    },
    /// An address that cannot be understood.
    #[error("--enable-pprof-address: `{0}` is no address; it looks like `:6060` or `127.0.0.1:6060`")]
    Address(String),
}

impl Admin {
    /// Nobody leads yet.
    pub fn new(metrics: Metrics) -> Admin {
        Admin { metrics, questions: Rc::default() }
    }

    /// The loop begins; it is to answer what comes out here.
    pub fn leads(&self) -> mpsc::UnboundedReceiver<Question> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.questions.borrow_mut() = Some(sender);
        receiver
    }

    /// Asks the loop. Nothing without a loop; an error when it does not answer in time.
    async fn ask<T: 'static>(
        &self,
        question: impl FnOnce(&Manager, Time) -> T + 'static,
    ) -> Option<Result<T, &'static str>> {
        let questions = self.questions.borrow().clone()?;
        let (sender, receiver) = oneshot::channel();
        let asked = questions.send(Box::new(move |manager, now| {
            // Whoever asked may have gone.
            let _ = sender.send(question(manager, now));
        }));
        if asked.is_err() {
            return Some(Err("the loop has ended"));
        }
        Some(match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err("the loop has ended"),
            Err(_) => Err("the loop has not turned for 5 s"),
        })
    }

    async fn answer(&self, role: Role, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let mut reply = match (role, path) {
            (Role::Health, "/healthz") => plain(StatusCode::OK, "ok"),
            (Role::Health, "/livez") => match self.ask(|_, _| ()).await {
                None | Some(Ok(())) => plain(StatusCode::OK, "ok"),
                Some(Err(why)) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
            },
            (Role::Health, "/readyz") => match self.ask(|manager, _| manager.is_everything_listed()).await {
                None => plain(StatusCode::OK, "ok: follows"),
                Some(Ok(true)) => plain(StatusCode::OK, "ok"),
                Some(Ok(false)) => plain(StatusCode::SERVICE_UNAVAILABLE, "not all objects are listed yet"),
                Some(Err(why)) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
            },
            (Role::Metrics, "/metrics") => self.scrape().await,
            (Role::Profile, path) if path.starts_with("/debug/pprof") => plain(
                StatusCode::NOT_IMPLEMENTED,
                "profiles in the format of pprof are not built in; use perf or another sampler on the process",
            ),
            _ => plain(StatusCode::NOT_FOUND, "404 page not found"),
        };
        if method == Method::HEAD {
            *reply.body_mut() = Full::default();
        }
        reply
    }

    async fn scrape(&self) -> Response<Full<Bytes>> {
        let metrics = self.metrics.clone();
        let text = match self.ask(move |manager, now| metrics.text(Some((manager, now)))).await {
            None => self.metrics.text(None),
            Some(Ok(text)) => text,
            Some(Err(why)) => return plain(StatusCode::SERVICE_UNAVAILABLE, why),
        };
        match text {
            Ok(text) => reply(StatusCode::OK, TEXT_FORMAT, Bytes::from(text)),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be told");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be told; see the log")
            }
        }
    }

    /// Answers on this socket, for ever.
    pub async fn serve(self, role: Role, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let connection = match listener.accept().await {
                Ok((connection, _)) => connection,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_REFUSAL).await;
                    continue;
                }
            };
            let admin = self.clone();
            tokio::task::spawn_local(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let admin = admin.clone();
                    async move {
                        Ok::<_, Infallible>(admin.answer(role, request.method(), request.uri().path()).await)
                    }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
                // A client that goes away in the middle is nothing to tell.
                let _ = server.serve_connection(TokioIo::new(connection), service).await;
                drop(place);
            });
        }
    }
}

/// A socket on all addresses of the machine.
pub async fn listen(
    what: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, NoServer> {
    let listener =
        TcpListener::bind(address).await.map_err(|why| NoServer::Bind { what, flag, address, why })?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "serves {what}");
    Ok(listener)
}

/// A port on all addresses of the machine.
pub fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// An address as `--enable-pprof-address` takes it: the host may be left out.
pub fn address(text: &str) -> Result<SocketAddr, NoServer> {
    let wrong = || NoServer::Address(text.to_owned());
    match text.strip_prefix(':') {
        Some(port) => Ok(everywhere(port.parse().map_err(|_| wrong())?)),
        None => text.replacen("localhost", "127.0.0.1", 1).parse().map_err(|_| wrong()),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    reply(status, PLAIN, Bytes::from_static(text.as_bytes()))
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}
