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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidegate_api::object::Kind;
    use tidegate_controller::manager::{Settings, WATCHED};
    use tidegate_controller::seams::{ApiCall, CallId, Clock, Cluster, Event};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Nowhere;
    impl Cluster for Nowhere {
        fn start(&mut self, _: CallId, _: ApiCall) {}
        fn watch(&mut self, _: Kind) {}
    }
    impl tidegate_controller::seams::Metrics for Nowhere {
        fn ask(&mut self, _: CallId, _: tidegate_controller::seams::Question) {}
    }
    impl Clock for Nowhere {
        fn now(&self) -> Time {
            Time(0)
        }
        fn wake_at(&mut self, _: Time) {}
    }

    fn on_one_thread(story: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, story);
    }

    fn admin() -> Admin {
        Admin::new(Metrics::new().unwrap())
    }

    /// Status line, headers in small letters, body.
    async fn get(address: SocketAddr, path: &str) -> (String, String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let (status, headers) = head.split_once("\r\n").unwrap();
        (status.to_owned(), headers.to_lowercase(), body.to_owned())
    }

    async fn serving(admin: &Admin, role: Role) -> SocketAddr {
        let listener = listen("tests", "--none", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(admin.clone().serve(role, listener));
        address
    }

    #[test]
    fn probes_are_answered_over_a_socket_as_the_reference_answers_them() {
        on_one_thread(async {
            let address = serving(&admin(), Role::Health).await;
            let (status, headers, body) = get(address, "/healthz").await;
            assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", "ok"));
            assert!(headers.contains("content-type: text/plain; charset=utf-8"), "{headers}");
            assert!(headers.contains("x-content-type-options: nosniff"), "{headers}");
            assert_eq!(get(address, "/metrics").await.0, "HTTP/1.1 404 Not Found");
            assert_eq!(get(address, "/").await.0, "HTTP/1.1 404 Not Found");
        });
    }

    #[test]
    fn metrics_are_answered_over_a_socket() {
        on_one_thread(async {
            let address = serving(&admin(), Role::Metrics).await;
            let (status, headers, body) = get(address, "/metrics").await;
            assert_eq!(status, "HTTP/1.1 200 OK");
            assert!(headers.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{headers}");
            assert!(body.contains("argo_rollouts_controller_info{version="), "{body}");
            assert_eq!(get(address, "/healthz").await.0, "HTTP/1.1 404 Not Found");
            let profiles = serving(&admin(), Role::Profile).await;
            assert_eq!(
                get(profiles, "/debug/pprof/profile?seconds=1").await.0,
                "HTTP/1.1 501 Not Implemented"
            );
        });
    }

    async fn status(admin: &Admin, path: &str) -> u16 {
        admin.answer(Role::Health, &Method::GET, path).await.status().as_u16()
    }

    #[test]
    fn ready_is_who_follows_or_has_listed_everything() {
        on_one_thread(async {
            let admin = admin();
            assert_eq!((status(&admin, "/readyz").await, status(&admin, "/livez").await), (200, 200));
            let mut questions = admin.leads();
            let turning = tokio::task::spawn_local(async move {
                let mut manager = Manager::new(Settings::default());
                let mut unlisted = WATCHED.iter();
                while let Some(question) = questions.recv().await {
                    question(&manager, Time(0));
                    // One more kind is listed after each question.
                    if let Some(kind) = unlisted.next() {
                        manager.handle(Event::Listed(kind.clone(), BTreeSet::new()), &mut Nowhere);
                    }
                }
            });
            for _ in WATCHED {
                assert_eq!(status(&admin, "/readyz").await, 503);
            }
            assert_eq!((status(&admin, "/readyz").await, status(&admin, "/livez").await), (200, 200));
            turning.abort();
        });
    }

    #[test]
    fn a_loop_that_does_not_turn_is_not_alive_but_still_healthy() {
        on_one_thread(async {
            let admin = admin();
            tokio::time::pause();
            let stuck = admin.leads();
            assert_eq!((status(&admin, "/livez").await, status(&admin, "/healthz").await), (503, 200));
            drop(stuck);
            assert_eq!(status(&admin, "/livez").await, 503);
        });
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_the_flag_that_names_another() {
        on_one_thread(async {
            let taken = listen("probes", "--healthzPort", "127.0.0.1:0".parse().unwrap()).await.unwrap();
            let again =
                listen("probes", "--healthzPort", taken.local_addr().unwrap()).await.unwrap_err().to_string();
            assert!(again.contains("for probes") && again.contains("--healthzPort"), "{again}");
        });
    }
}
