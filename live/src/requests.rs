//! Counts every request to the API server, watches and leases included: `controller_clientset_k8s_request_total`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use prometheus::IntCounterVec;
use tower::{Layer, Service};

/// What stands where a name would be without use, or without bound.
const NO_NAME: &str = "N/A";

/// Kinds whose names come and go with every update. Counted without them, or the count of series would grow for as
/// long as the process runs (L15). The reference names pods, and leaves out the names of events and ReplicaSets only.
const NAMELESS: &[&str] = &["events", "replicasets", "pods"];

/// Puts a counter around a client.
#[derive(Clone)]
pub struct Counted(pub IntCounterVec);

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;
    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, counter: self.0.clone() }
    }
}

/// A client that counts.
#[derive(Clone)]
pub struct Counting<S> {
    inner: S,
    counter: IntCounterVec,
}

impl<S, I, O> Service<Request<I>> for Counting<S>
where
    S: Service<Request<I>, Response = Response<O>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<I>) -> Self::Future {
        let labels = Labels::of(request.method(), request.uri().path(), request.uri().query());
        let counter = self.counter.clone();
        let reply = self.inner.call(request);
        Box::pin(async move {
            let reply = reply.await;
            // As the reference: 0 when there was no reply.
            let code = reply.as_ref().map_or(0, |reply| reply.status().as_u16()).to_string();
            let Labels { kind, namespace, name, verb } = &labels;
            counter.with_label_values(&[kind, namespace, name, *verb, &*code]).inc();
            reply
        })
    }
}

#[derive(PartialEq, Eq, Debug)]
struct Labels {
    kind: String,
    namespace: String,
    name: String,
    verb: &'static str,
}

impl Labels {
    /// Reads off a path what is asked of which object.
    fn of(method: &Method, path: &str, query: Option<&str>) -> Labels {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).skip_while(|part| {
            // A server may live below a path of its own.
            !matches!(*part, "api" | "apis")
        });
        let versions = if parts.next() == Some("apis") { 2 } else { 1 };
        let parts: Vec<&str> = parts.skip(versions).collect();
        let (namespace, rest) = match &parts[..] {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let name = rest.get(1).copied();
        let verb = match *method {
            Method::POST => "Create",
            Method::PUT => "Update",
            Method::PATCH => "Patch",
            Method::DELETE => "Delete",
            Method::GET if name.is_some() => "Get",
            Method::GET if query.is_some_and(|query| query.split('&').any(|part| part == "watch=true")) => {
                "Watch"
            }
            Method::GET => "List",
            _ => "Unknown",
        };
        let Some(kind) = rest.first().filter(|_| verb != "Unknown") else {
            let unknown = || "Unknown".to_owned();
            return Labels { kind: unknown(), namespace: unknown(), name: unknown(), verb };
        };
        let name = name.filter(|_| !NAMELESS.contains(kind)).unwrap_or(NO_NAME);
        Labels { kind: (*kind).to_owned(), namespace: namespace.to_owned(), name: name.to_owned(), verb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_kind_namespace_name_and_verb() {
        let crd = "/apis/argoproj.io/v1alpha1";
        for (method, path, query, want) in [
            (Method::GET, format!("{crd}/rollouts"), None, "rollouts||N/A|List"),
            (Method::GET, format!("{crd}/rollouts"), Some("a=b&watch=true&c=d"), "rollouts||N/A|Watch"),
            (Method::GET, format!("{crd}/namespaces/n/rollouts"), Some("limit=5"), "rollouts|n|N/A|List"),
            (Method::GET, format!("{crd}/namespaces/n/rollouts/web"), None, "rollouts|n|web|Get"),
            (Method::PATCH, format!("{crd}/namespaces/n/rollouts/web/status"), None, "rollouts|n|web|Patch"),
            (Method::POST, "/apis/apps/v1/namespaces/n/replicasets".into(), None, "replicasets|n|N/A|Create"),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/n/replicasets/web-1".into(),
                None,
                "replicasets|n|N/A|Patch",
            ),
            (Method::POST, "/api/v1/namespaces/n/events".into(), None, "events|n|N/A|Create"),
            (Method::POST, "/api/v1/namespaces/n/pods/web-1-x/eviction".into(), None, "pods|n|N/A|Create"),
            (Method::PATCH, "/api/v1/namespaces/n/services/web".into(), None, "services|n|web|Patch"),
            (
                Method::PUT,
                "/prefix/apis/apps/v1/namespaces/n/deployments/d".into(),
                None,
                "deployments|n|d|Update",
            ),
            (Method::DELETE, "/api/v1/namespaces/n".into(), None, "namespaces||n|Delete"),
            (Method::HEAD, "/api/v1/pods".into(), None, "Unknown|Unknown|Unknown|Unknown"),
            (Method::GET, "/version".into(), None, "Unknown|Unknown|Unknown|List"),
        ] {
            let Labels { kind, namespace, name, verb } = Labels::of(&method, &path, query);
            assert_eq!([&*kind, &*namespace, &*name, verb].join("|"), want, "{method} {path}");
        }
    }
}
