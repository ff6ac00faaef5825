//! Carries the elector's requests to the Lease, and moves the fence with what comes of them.

use std::time::Duration;

use kube::api::{Api, DynamicObject, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use tidegate_api::object::{Kind, Text};
use tidegate_api::time::Time;
use tidegate_controller::lease::{Elector, Lease, Record, Reply, Request, Standing};

use crate::FIELD_MANAGER;
use crate::clock::WallClock;
use crate::convert;
use crate::fence::Fence;

/// A candidate on a real cluster.
pub struct Candidate {
    elector: Elector,
    api: Api<DynamicObject>,
    /// Where the Lease goes if its namespace does not exist.
    elsewhere: Option<Api<DynamicObject>>,
    name: String,
    clock: WallClock,
    fence: Fence,
}

impl Candidate {
    /// A candidate for the Lease of this name and namespace. The fence is closed until the election is won. Outside of a
    /// cluster the namespace is a guess; where it does not exist, the Lease is made in the other one instead.
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        elsewhere: &str,
        elector: Elector,
        clock: WallClock,
        fence: Fence,
    ) -> Candidate {
        fence.close();
        let resource = convert::resource(&Kind::new("coordination.k8s.io/v1", "Lease"));
        let api = Api::namespaced_with(client.clone(), namespace, &resource);
        let elsewhere = (elsewhere != namespace).then(|| Api::namespaced_with(client, elsewhere, &resource));
        Candidate { elector, api, elsewhere, name: name.to_owned(), clock, fence }
    }

    /// Ready once the election is won.
    pub async fn win(&mut self) {
        while !matches!(self.step().await, Standing::Leading { .. }) {}
    }

    /// Ready once the lease is lost; the fence is closed then.
    pub async fn lose(&mut self) {
        while self.step().await != Standing::Ended {}
        self.fence.close();
    }

    /// Gives the lease back, so that the next need not wait for it. For after the last write has ended.
    pub async fn give_back(&mut self) {
        self.fence.close();
        if let Some(request) = self.elector.give_back(self.clock.now()) {
            self.ask(request).await;
        }
    }

    async fn step(&mut self) -> Standing {
        tokio::time::sleep(self.clock.until(self.elector.wake_at())).await;
        let mut request = self.elector.tick(self.clock.now());
        while let Some(asked) = request {
            let reply = self.ask(asked).await;
            request = self.elector.answered(reply, self.clock.now());
        }
        let standing = self.elector.standing(self.clock.now());
        if let Standing::Leading { until } = standing {
            self.fence.hold_until(until);
        }
        standing
    }

    async fn ask(&mut self, request: Request) -> Reply {
        let is_new = matches!(request, Request::Create(_));
        let patience = Duration::from_millis(u64::try_from(self.elector.patience().0).unwrap_or(1000));
        match tokio::time::timeout(patience, self.send(request)).await {
            Ok(Ok(document)) => read(&document).map_or(Reply::Unknown, Reply::Is),
            Ok(Err(Error::Api(status))) if status.code == 404 => {
                if let Some(elsewhere) = self.elsewhere.take_if(|_| is_new) {
                    tracing::warn!(error = %status.message, "the lease goes into the namespace of the connection");
                    self.api = elsewhere;
                }
                Reply::Missing
            }
            Ok(Err(Error::Api(status))) if status.code == 409 => Reply::Conflict,
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = self.name, "the lease could not be read or written");
                Reply::Unknown
            }
            Err(_) => {
                tracing::warn!(lease = self.name, "no answer about the lease in time");
                Reply::Unknown
            }
        }
    }

    async fn send(&self, request: Request) -> Result<DynamicObject, Error> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let document = |record: &Record, version: Option<&str>| {
            serde_json::from_value(write(&self.name, record, version)).map_err(Error::SerdeError)
        };
        match request {
            Request::Read => self.api.get(&self.name).await,
            Request::Create(record) => self.api.create(&params, &document(&record, None)?).await,
            Request::Replace { version, record } => {
                self.api.replace(&self.name, &params, &document(&record, Some(&version))?).await
            }
        }
    }
}

fn write(name: &str, record: &Record, version: Option<&str>) -> Value {
    let mut document = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {
            "holderIdentity": &*record.holder,
            "leaseDurationSeconds": record.seconds,
            "acquireTime": micro(record.acquired),
            "renewTime": micro(record.renewed),
            "leaseTransitions": record.transitions,
        },
    });
    if let Some(version) = version {
        document["metadata"]["resourceVersion"] = Value::from(version);
    }
    document
}

fn read(document: &DynamicObject) -> Option<Lease> {
    let spec = &document.data["spec"];
    let time = |field: &str| {
        let at: Option<jiff::Timestamp> = spec[field].as_str().and_then(|text| text.parse().ok());
        Time(at.map_or(0, jiff::Timestamp::as_millisecond))
    };
    let record = Record {
        holder: spec["holderIdentity"].as_str().unwrap_or("").into(),
        seconds: spec["leaseDurationSeconds"].as_i64().unwrap_or(0),
        acquired: time("acquireTime"),
        renewed: time("renewTime"),
        transitions: spec["leaseTransitions"].as_i64().unwrap_or(0),
    };
    let version = document.metadata.resource_version.as_deref()?;
    Some(Lease { record, version: Text::from(version) })
}

/// A time as a Lease keeps it: with six digits behind the second, no fewer.
fn micro(time: Time) -> String {
    let at = jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use super::*;
    use crate::bucket::Bucket;
    use crate::calls::Caller;
    use futures::future::BoxFuture;
    use kube::client::Body;
    use tidegate_api::object::Key;
    use tidegate_api::time::Span;
    use tidegate_controller::lease::Timing;
    use tidegate_controller::seams::ApiCall;

    #[test]
    fn a_lease_comes_back_as_it_was_written() {
        let record = Record {
            holder: "a_1".into(),
            seconds: 15,
            acquired: Time(1_767_225_600_123),
            renewed: Time(1_767_225_601_000),
            transitions: 3,
        };
        let document = write("lock", &record, Some("7"));
        assert_eq!(document["spec"]["renewTime"], "2026-01-01T00:00:01.000000Z");
        let document: DynamicObject = serde_json::from_value(document).expect("a document");
        assert_eq!(read(&document), Some(Lease { record, version: "7".into() }));
    }

    /// An API server with one namespace, `here`, that knows no object but the Lease. Nobody hears from it about anything
    /// else.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<Vec<String>>>);

    impl tower::Service<http::Request<Body>> for Server {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let asked = format!("{} {}", request.method(), request.uri().path());
            self.0.lock().expect("no test panics with it").push(asked.clone());
            if !asked.contains("/leases") {
                return Box::pin(std::future::pending());
            }
            Box::pin(async move {
                let made = asked.starts_with("POST") && asked.contains("/namespaces/here/");
                let reply = if made {
                    let sent = request.into_body().collect_bytes().await.unwrap_or_default();
                    let mut lease: Value = serde_json::from_slice(&sent).unwrap_or_default();
                    lease["metadata"]["resourceVersion"] = Value::from("1");
                    lease
                } else {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                        "reason": "NotFound", "message": "not found"})
                };
                let code = if made { 201 } else { 404 };
                let reply =
                    http::Response::builder().status(code).body(Body::from(reply.to_string().into_bytes()));
                Ok(reply.expect("a response"))
            })
        }
    }

    fn candidate(client: Client, namespace: &str) -> Candidate {
        let timing =
            Timing { duration: Span::seconds(3), renew_deadline: Span::seconds(2), retry: Span::millis(1) };
        let elector = Elector::new("me", timing);
        Candidate::new(client, (namespace, "lock"), "here", elector, WallClock::start(), Fence::closed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_is_not_there_gives_way_to_that_of_the_connection() {
        let server = Server::default();
        let mut candidate = candidate(Client::new(server.clone(), "here"), "argo-rollouts");
        candidate.win().await;
        let asked = server.0.lock().expect("no test panics with it").clone();
        let path = |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        assert_eq!(
            asked,
            [
                format!("GET {}/lock", path("argo-rollouts")),
                format!("POST {}", path("argo-rollouts")),
                format!("GET {}/lock", path("here")),
                format!("POST {}", path("here")),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_does_not_queue_behind_calls_that_are_stuck() {
        let client = Client::new(Server::default(), "here");
        let clock = WallClock::start();
        let (bucket, fence) = (Bucket::new(1.0, 1, clock), Fence::open());
        let caller = Caller {
            client: client.clone(),
            bucket,
            fence,
            clock,
            carrier: crate::outside::Carrier::new(crate::outside::Settings::default(), clock),
        };
        let stuck = (0..50).map(|number| {
            caller.carry_out(ApiCall::Get(Key::new(Kind::Rollout, "here", format!("r{number}"))))
        });
        let stuck = futures::future::join_all(stuck);
        let mut candidate = candidate(client, "here");
        tokio::select! {
            biased;
            _ = stuck => panic!("nobody answers these"),
            () = candidate.win() => {}
        }
    }
}
