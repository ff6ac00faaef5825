//! What a pod answers: HTTP at its own address, with its image as the body.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How pods serve. It takes a network in which the addresses of pods are ours: [`crate::own_network`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Serving {
    /// Where they listen.
    pub port: u16,
    /// So many requests a second one pod answers; beyond, it says 503. After a quiet second it has twice as many to give
    /// at once: this machine stalls, and what had to wait comes in a bunch.
    pub capacity: f64,
}

/// In which header an answer says from which address it comes.
pub(crate) const FROM: HeaderName = HeaderName::from_static("x-pod");

/// A pod that serves. Dropped, it is gone at once; see [`Server::end`].
#[derive(Debug)]
pub(super) struct Server {
    task: Option<JoinHandle<()>>,
    end: watch::Sender<bool>,
}

impl Server {
    /// Listens from now on.
    pub(super) fn start(address: Ipv4Addr, image: &str, serving: Serving) -> std::io::Result<Server> {
        let listener = TcpListener::bind(SocketAddr::from((address, serving.port)))?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (end, ended) = watch::channel(false);
        let pod = Arc::new(Pod {
            address: HeaderValue::from_str(&address.to_string()).expect("an address is plain text"),
            image: image.to_owned(),
            allowance: Mutex::new(Allowance::new(serving.capacity)),
        });
        Ok(Server { task: Some(tokio::spawn(listen(listener, pod, ended))), end })
    }

    /// Refuses from now on. What is being answered is answered.
    pub(super) fn end(mut self) {
        // Whoever still answers listens; if nobody does, there is nothing to end.
        let _ = self.end.send(true);
        self.task = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            let _ = self.end.send(true);
        }
    }
}

struct Pod {
    address: HeaderValue,
    image: String,
    allowance: Mutex<Allowance>,
}

async fn listen(listener: tokio::net::TcpListener, pod: Arc<Pod>, mut ended: watch::Receiver<bool>) {
    loop {
        let stream = tokio::select! {
            biased;
            _ = ended.changed() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, _)) = stream {
            tokio::spawn(converse(stream, pod.clone(), ended.clone()));
        }
    }
}

async fn converse(stream: tokio::net::TcpStream, pod: Arc<Pod>, mut ended: watch::Receiver<bool>) {
    let answer = service_fn(|_| {
        let response = pod.answer();
        async { Ok::<_, Infallible>(response) }
    });
    let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        // A client that goes away in the middle is no matter of the pod's.
        _ = connection.as_mut() => return,
        _ = ended.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

impl Pod {
    fn answer(&self) -> Response<Full<Bytes>> {
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut response = Response::new(Full::new(Bytes::from(self.image.clone())));
        response.headers_mut().insert(FROM, self.address.clone());
        if !allowance.take(Instant::now()) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            *response.body_mut() = Full::new(Bytes::from(format!("overload of {}", self.image)));
        }
        response
    }
}

/// What a pod may still answer.
struct Allowance {
    capacity: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(capacity: f64) -> Allowance {
        Allowance { capacity, left: capacity, at: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let earned = now.duration_since(self.at).as_secs_f64() * self.capacity;
        (self.left, self.at) = ((self.left + earned).min(self.capacity), now);
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_pod_answers_what_it_can() {
        let begin = Instant::now();
        let mut allowance = Allowance { capacity: 10.0, left: 10.0, at: begin };
        let mut answered =
            |at: u64| (0..30).filter(|_| allowance.take(begin + Duration::from_millis(at))).count();
        assert_eq!(answered(0), 10);
        assert_eq!(answered(500), 5);
        assert_eq!(answered(5000), 10);
    }
}
