//! The users: so many requests a second, whatever becomes of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::report::{Answer, Outcome, Report};
use crate::stand_in::FROM;

/// A user does not wait longer.
const PATIENCE: Duration = Duration::from_secs(5);

type Sender = SendRequest<Empty<Bytes>>;

/// A steady stream of requests, from when it is started until it is ended.
#[derive(Debug)]
pub struct Stream {
    begin: Instant,
    end: oneshot::Sender<()>,
    task: JoinHandle<Report>,
}

impl Stream {
    /// Sends `rate` requests a second to a host behind an address. Each is sent when its time has come, whether those
    /// before it have been answered or not: a service that is slow or down gets no less.
    pub fn start(address: SocketAddr, host: &str, rate: u32) -> Stream {
        let begin = Instant::now();
        let (end, ended) = oneshot::channel();
        let users = Arc::new(Users { address, host: host.to_owned(), idle: Mutex::default() });
        let task = tokio::spawn(run(users, begin, rate, ended));
        Stream { begin, end, task }
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Tells how long it has been going on, for as long as somebody wants to know.
    pub fn clock(&self) -> impl Fn() -> Duration + Send + use<> {
        let begin = self.begin;
        move || begin.elapsed()
    }

    /// Sends no more, waits for the last answers, and tells what came of all.
    pub async fn stop(self) -> Report {
        // It ends by itself only with its runtime.
        let _ = self.end.send(());
        self.task.await.unwrap_or_default()
    }
}

async fn run(users: Arc<Users>, begin: Instant, rate: u32, mut ended: oneshot::Receiver<()>) -> Report {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => break,
            _ = ticks.tick() => {
                let users = users.clone();
                under_way.spawn(async move { users.ask(begin).await });
            }
            Some(answer) = under_way.join_next() => answers.extend(answer.ok()),
        }
    }
    answers.extend(under_way.join_all().await);
    answers.sort_by_key(|answer: &Answer| answer.at);
    Report { answers }
}

struct Users {
    address: SocketAddr,
    host: String,
    /// Connections that wait for the next request.
    idle: Mutex<Vec<Sender>>,
}

impl Users {
    async fn ask(&self, begin: Instant) -> Answer {
        let at = Instant::now();
        let outcome = match timeout(PATIENCE, self.exchange()).await {
            Ok(Ok(Reply { status: 200, body, .. })) => Outcome::Served(body),
            Ok(Ok(Reply { status, body, .. })) => Outcome::Failed(format!("{status} {}", body.trim())),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Failed(format!("no answer within {PATIENCE:?}")),
        };
        Answer { at: at - begin, took: at.elapsed(), outcome }
    }

    async fn exchange(&self) -> Result<Reply, String> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut sender = match kept.filter(|kept| kept.is_ready()) {
            Some(sender) => sender,
            None => connect(self.address).await?,
        };
        let answer = exchange(&mut sender, &self.host, "/").await?;
        if sender.is_ready() || sender.ready().await.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        Ok(answer)
    }
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The address of the pod, if it was one that answered.
    pub(super) pod: Option<String>,
    body: String,
}

/// Asks once, on a connection of its own.
pub(super) async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Reply, String> {
    let ask = async { exchange(&mut connect(address).await?, host, path).await };
    timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

async fn connect(address: SocketAddr) -> Result<Sender, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with its sender; how, its last exchange has told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn exchange(sender: &mut Sender, host: &str, path: &str) -> Result<Reply, String> {
    let request = Request::get(path).header("host", host).body(Empty::new()).expect("names are well-formed");
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let pod = answer.headers().get(FROM).and_then(|pod| pod.to_str().ok()).map(str::to_owned);
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Reply { status, pod, body: String::from_utf8_lossy(&body).into_owned() })
}
