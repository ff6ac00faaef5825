//! The loop: events in, calls out.
//!
//! It owns nothing that matters: the manager is all the memory there is, and the cluster is the truth behind it. Killed
//! at any moment, the next process begins with empty hands and goes on.

use tidegate_api::object::{Key, Kind};
use tidegate_api::time::{Span, Time};
use tidegate_controller::manager::{Manager, Settings, WATCHED};
use tidegate_controller::plan::{Notice, Verb};
use tidegate_controller::seams::{Answer, ApiCall, ApiError, CallId, Clock, Cluster, Event, Metrics};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::calls::Caller;
use crate::telemetry::Names;
use crate::watches::{self, Scope};

/// Longest time that a write under way is waited for when the process is asked to end.
const FAREWELL: std::time::Duration = std::time::Duration::from_millis(800);

/// Where notices go. Never waits and never fails: telling people must not hold up a pass.
pub trait Recorder {
    /// Tells people.
    fn record(&mut self, notice: Notice);
}

/// What one turn of the loop is told about, for metrics and logs.
pub trait Witness {
    /// A call was started.
    fn called(&mut self, _call: &ApiCall) {}
    /// The manager is about to take an event; it still knows what it knew before.
    fn sees(&mut self, _event: &Event, _manager: &Manager, _now: Time) {}
    /// A pass over this key began, so long after it was due.
    fn began(&mut self, _key: &Key, _waited: Span) {}
    /// The pass over this key is over.
    fn ended(&mut self, _key: &Key, _failed: bool) {}
    /// The manager took an event.
    fn turned(&mut self, _manager: &Manager, _now: Time) {}
}

/// Something to be read off the manager between two turns: for scrapes and probes, so that nothing is copied ahead.
pub type Question = Box<dyn FnOnce(&Manager, Time)>;

/// Runs a manager on a cluster until `stop` is ready; then lets the calls under way end and says how many did not.
pub async fn run(
    caller: Caller,
    scope: Scope,
    settings: Settings,
    recorder: &mut dyn Recorder,
    witness: &mut dyn Witness,
    questions: UnboundedReceiver<Question>,
    stop: impl Future<Output = ()>,
) -> usize {
    let (sender, inbox) = unbounded_channel();
    let (calls, asking, watching) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let mut state = Loop { caller, scope, watching, calls, asking, sender, alarm: None, recorder, witness };
    for kind in WATCHED {
        state.watch(kind.clone());
    }
    state.turn(Manager::new(settings), inbox, questions, stop).await;
    state.watching.abort_all();
    state.asking.abort_all();
    state.say_goodbye().await
}

struct Loop<'a> {
    caller: Caller,
    scope: Scope,
    watching: JoinSet<()>,
    calls: JoinSet<()>,
    /// Questions under way. Nobody waits for them at the end: they change nothing.
    asking: JoinSet<()>,
    sender: UnboundedSender<Event>,
    alarm: Option<Time>,
    recorder: &'a mut dyn Recorder,
    witness: &'a mut dyn Witness,
}

impl Loop<'_> {
    async fn turn(
        &mut self,
        mut manager: Manager,
        mut inbox: UnboundedReceiver<Event>,
        mut questions: UnboundedReceiver<Question>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let alarm = self.alarm.map(|at| self.caller.clock.until(at));
            let event = tokio::select! {
                biased;
                () = &mut stop => return,
                Some(question) = questions.recv() => {
                    question(&manager, self.now());
                    continue;
                }
                Some(event) = inbox.recv() => event,
                () = sleep_for(alarm) => Event::Woken,
            };
            while self.calls.try_join_next().is_some() {}
            while self.asking.try_join_next().is_some() {}
            self.alarm = None;
            self.witness.sees(&event, &manager, self.caller.clock.now());
            manager.handle(event, self);
            self.witness.turned(&manager, self.caller.clock.now());
        }
    }

    /// Waits for the writes under way, so that no write is cut in half; one that takes longer is left to its fate.
    async fn say_goodbye(&mut self) -> usize {
        let _ =
            tokio::time::timeout(FAREWELL, async { while self.calls.join_next().await.is_some() {} }).await;
        self.calls.len()
    }
}

fn name_of(call: &ApiCall) -> Option<(Key, &'static str)> {
    match call {
        ApiCall::Get(key) => Some((key.clone(), "get")),
        ApiCall::Write { key, verb, .. } => {
            let verb = match verb {
                Verb::Create(_) => "create",
                Verb::Edit(_) => "edit",
                Verb::Delete => "delete",
                Verb::Evict => "evict",
            };
            Some((key.clone(), verb))
        }
        ApiCall::Record(_) => None,
    }
}

/// People who look for the reason of a standstill find it here. A conflict is everyday: the next pass sees the change.
fn warn_if_not_done(key: &Key, verb: &str, answer: &Answer) {
    let names = Names::of(key);
    let (rollout, service, object, namespace) =
        (names.rollout, names.service, names.object(), names.namespace);
    match answer {
        Answer::Done(_) => {}
        Answer::Refused(ApiError::NotFound(_)) if verb == "get" => {}
        Answer::Refused(why @ (ApiError::Conflict(_) | ApiError::NotFound(_))) => {
            tracing::info!(rollout, service, object, namespace, verb, reason = %why, "refused; a new pass looks again");
        }
        Answer::Refused(why) => {
            tracing::warn!(rollout, service, object, namespace, verb, reason = %why, "refused");
        }
        Answer::Lost => {
            tracing::warn!(
                rollout,
                service,
                object,
                namespace,
                verb,
                "no answer that can be trusted; it may be done"
            );
        }
    }
}

async fn sleep_for(wait: Option<std::time::Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

impl Cluster for Loop<'_> {
    fn start(&mut self, id: CallId, call: ApiCall) {
        self.witness.called(&call);
        if let ApiCall::Record(notice) = call {
            return self.recorder.record(notice);
        }
        let (caller, sender) = (self.caller.clone(), self.sender.clone());
        self.calls.spawn_local(async move {
            let what = name_of(&call);
            let answer = caller.carry_out(call).await;
            if let Some((key, verb)) = what {
                warn_if_not_done(&key, verb, &answer);
            }
            // Nobody listens when the process ends; that is fine.
            let _ = sender.send(Event::Answered(id, answer));
        });
    }

    fn watch(&mut self, kind: Kind) {
        let client = self.caller.client.clone();
        self.watching.spawn_local(watches::watch(client, self.scope.clone(), kind, self.sender.clone()));
    }

    fn began(&mut self, key: &Key, due: Time) {
        let waited = self.now().since(due);
        self.witness.began(key, waited);
    }

    fn ended(&mut self, key: &Key, failed: bool) {
        self.witness.ended(key, failed);
    }
}

impl Metrics for Loop<'_> {
    fn ask(&mut self, id: CallId, question: tidegate_controller::seams::Question) {
        let (carrier, sender) = (self.caller.carrier.clone(), self.sender.clone());
        self.asking.spawn_local(async move {
            let reply = carrier.carry(question).await;
            let _ = sender.send(Event::Replied(id, reply));
        });
    }
}

impl Clock for Loop<'_> {
    fn now(&self) -> Time {
        self.caller.clock.now()
    }

    fn wake_at(&mut self, at: Time) {
        self.alarm = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use super::*;
    use crate::bucket::Bucket;
    use crate::clock::WallClock;
    use crate::fence::Fence;
    use futures::future::BoxFuture;
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::sync::Notify;

    /// An API server that knows one Rollout and takes its time with writes.
    #[derive(Clone, Default)]
    struct Server {
        takes: Duration,
        begun: Arc<Notify>,
        writes: Arc<AtomicU32>,
        done: Arc<AtomicU32>,
    }

    impl tower::Service<http::Request<Body>> for Server {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let server = self.clone();
            let answer = |value: Value| http::Response::new(Body::from(value.to_string().into_bytes()));
            let (path, query) =
                (request.uri().path().to_owned(), request.uri().query().unwrap_or("").to_owned());
            Box::pin(async move {
                if request.method() != http::Method::GET {
                    server.writes.fetch_add(1, Ordering::Relaxed);
                    server.begun.notify_one();
                    tokio::time::sleep(server.takes).await;
                    server.done.fetch_add(1, Ordering::Relaxed);
                    let sent = request.into_body().collect_bytes().await.unwrap_or_default();
                    let mut stored: Value = serde_json::from_slice(&sent).unwrap_or_default();
                    stored["metadata"]["name"] = json!("web");
                    stored["metadata"]["resourceVersion"] = json!("8");
                    return Ok(answer(stored));
                }
                if query.contains("watch=") {
                    std::future::pending::<()>().await;
                }
                let rollout = json!({"metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 1,
                        "resourceVersion": "7"},
                    "spec": {"replicas": 1, "strategy": {"canary": {}}, "selector": {"matchLabels": {"a": "b"}},
                        "template": {"metadata": {"labels": {"a": "b"}},
                            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
                let items = if path.ends_with("/rollouts") { vec![rollout] } else { Vec::new() };
                let kind = path.rsplit('/').next().unwrap_or_default();
                let version = path.trim_start_matches("/apis/").trim_start_matches("/api/");
                let version = version.trim_end_matches(kind).trim_end_matches('/');
                Ok(answer(
                    json!({"apiVersion": version, "kind": "List", "metadata": {"resourceVersion": "7"},
                    "items": items}),
                ))
            })
        }
    }

    struct Nobody;
    impl Recorder for Nobody {
        fn record(&mut self, _: Notice) {}
    }
    impl Witness for Nobody {}

    /// Runs until the first write has begun; says how many calls were not waited for.
    async fn asked_to_end_during_a_write(server: &Server) -> usize {
        let clock = WallClock::start();
        let client = Client::new(server.clone(), "n");
        let caller = Caller {
            client,
            bucket: Bucket::new(0.0, 1, clock),
            fence: Fence::open(),
            clock,
            carrier: crate::outside::Carrier::new(crate::outside::Settings::default(), clock),
        };
        let (_sender, questions) = unbounded_channel();
        let settings = Settings { passes_at_once: Some(10), ..Settings::default() };
        let stop = server.begun.notified();
        let all = async {
            run(caller, Scope::default(), settings, &mut Nobody, &mut Nobody, questions, stop).await
        };
        tokio::task::LocalSet::new().run_until(all).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_under_way_ends_and_no_other_begins() {
        let server = Server { takes: Duration::from_millis(700), ..Server::default() };
        assert_eq!(asked_to_end_during_a_write(&server).await, 0);
        assert_eq!((server.writes.load(Ordering::Relaxed), server.done.load(Ordering::Relaxed)), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_stuck_is_left_to_its_fate() {
        let server = Server { takes: Duration::from_secs(9), ..Server::default() };
        let begin = tokio::time::Instant::now();
        assert_eq!(asked_to_end_during_a_write(&server).await, 1);
        assert_eq!(begin.elapsed().as_millis() / 100, 8, "the process is to end within a second");
    }
}
