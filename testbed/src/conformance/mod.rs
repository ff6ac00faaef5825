//! The simulated API server and the real one are asked the same questions.
//!
//! A simulator is worth what its model of the world is worth. So what it claims about the API server is a list of
//! behaviours: one file an area under `conformance/`, each case a few requests. The same requests go to any world that
//! is [`Asked`]; the replies, whole but for what differs from run to run ([`normal`]), must equal those in
//! `conformance/expected`, which were recorded from the real server. So the simulated one is held to them even where no
//! real server can run.

pub mod case;
pub mod normal;
pub mod real;

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tidegate_sim::cluster::api::{Method, Reply, Request, Server};

use case::{Area, Ask, Case, Replies};
use normal::Normaliser;

/// A world that answers requests.
pub trait Asked {
    /// Answers one request.
    fn ask(&mut self, request: &Request) -> Result<Reply, String>;
    /// Lets the garbage collector do what it has to do; asks again until that is so.
    fn until(&mut self, request: &Request, end: End) -> Result<Reply, String>;
}

/// What the garbage collector is waited for to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The object is gone.
    Gone,
    /// The object has been asked to go.
    Going,
}

impl End {
    /// Whether it is so.
    pub fn is_met(self, reply: &Reply) -> bool {
        match self {
            End::Gone => reply.code == 404,
            End::Going => !reply.body["metadata"]["deletionTimestamp"].is_null(),
        }
    }
}

impl Asked for Server {
    fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        self.tick();
        Ok(Server::ask(self, request))
    }

    fn until(&mut self, request: &Request, _: End) -> Result<Reply, String> {
        self.collect_garbage();
        Ok(Server::ask(self, request))
    }
}

/// The areas, in the order of the documentation.
pub const AREAS: [&str; 15] = [
    "locking",
    "generation",
    "subresources",
    "merge_patch",
    "json_patch",
    "apply",
    "defaults",
    "validation",
    "names",
    "deletion",
    "owners",
    "lists_and_watches",
    "expiry",
    "selectors",
    "events",
];

/// Where the cases and the recorded replies are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Reads the cases of an area.
pub fn cases(area: &str) -> Result<Area, String> {
    let path = folder().join(format!("{area}.yaml"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Area::read(area, &text)
}

/// The replies recorded for an area, by case.
pub fn expected(area: &str) -> Result<Map<String, Value>, String> {
    let path = folder().join(format!("expected/{area}.json"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes the replies recorded for an area.
pub fn accept(area: &str, replies: &Map<String, Value>) -> Result<(), String> {
    let path = folder().join(format!("expected/{area}.json"));
    let text = serde_json::to_string_pretty(replies).map_err(|error| error.to_string())? + "\n";
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Plays a case in a namespace of its own; the normalised replies, one for each request.
pub fn play(case: &Case, namespace: &str, world: &mut dyn Asked) -> Result<Value, String> {
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let made = world.ask(&Request::new(Method::Post, "/api/v1/namespaces").with_body(place))?;
    if made.code != 201 {
        return Err(format!("the namespace was not made: {}", made.body));
    }
    let mut replies = Replies::default();
    let mut normaliser = Normaliser::new(namespace);
    for ask in &case.given {
        let reply = put(ask, namespace, &mut replies, world)?;
        if reply.code >= 300 {
            return Err(format!("what is given was refused: {}", reply.body));
        }
        normaliser.learn(&reply);
    }
    let mut told = Vec::new();
    for ask in &case.asks {
        let reply = put(ask, namespace, &mut replies, world)?;
        normaliser.learn(&reply);
        told.push((reply, ask.ownership));
    }
    Ok(told.iter().map(|(reply, ownership)| normaliser.tell(reply, *ownership)).collect())
}

fn put(ask: &Ask, namespace: &str, replies: &mut Replies, world: &mut dyn Asked) -> Result<Reply, String> {
    let request = ask.request(namespace, replies)?;
    let reply = match ask.end {
        Some(end) => world.until(&request, end)?,
        None => world.ask(&request)?,
    };
    if reply.code < 300 {
        replies.insert(ask.object.clone(), reply.body.clone());
    }
    Ok(reply)
}
