//! The verbs against a cluster: what a person asks of Rollouts that run there, in the words of the reference's kubectl
//! plugin, so that habits, scripts and pipelines go on working.
//!
//! What a verb writes is decided in `tidegate_controller::commands`, for scripts in the simulator as well; what is shown
//! is made by functions from objects to text; what is left here speaks with the cluster, behind one trait.

mod change;
mod create;
mod get;
mod list;
mod pods;
mod status;
mod terminate;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use tidegate_api::object::{Key, Kind};
use tidegate_api::time::Stamp;
use tidegate_live::remote::{Change, Refused, Remote, Waited, Watching};

use crate::Exit;
use crate::connection::Connection;
use crate::input;

/// What can be asked of a cluster.
#[derive(Subcommand)]
pub enum Verb {
    /// Shows a Rollout or an Experiment with everything that belongs to it.
    Get(On<get::Get>),
    /// Lists Rollouts or Experiments.
    List(On<list::List>),
    /// Tells the status of a Rollout, and waits until it is healthy or degraded.
    Status(On<status::Status>),
    /// Goes on past the pause or step under way.
    Promote(On<change::Promote>),
    /// Aborts the update under way.
    Abort(On<change::Abort>),
    /// Tries an aborted Rollout, or an Experiment, again.
    Retry(On<change::Retry>),
    /// Goes back to an earlier revision.
    Undo(On<change::Undo>),
    /// Restarts the pods.
    Restart(On<change::Restart>),
    /// Pauses.
    Pause(On<change::Pause>),
    /// Resumes what a person has paused.
    Resume(On<change::Resume>),
    /// Changes a Rollout.
    Set(On<change::Set>),
    /// Ends an AnalysisRun or an Experiment early.
    Terminate(On<terminate::Terminate>),
    /// Makes objects from files, or an AnalysisRun from a template.
    Create(On<create::Create>),
}

/// A verb, and on which cluster.
#[derive(Args)]
pub struct On<V: Args> {
    #[command(flatten)]
    verb: V,
    #[command(flatten)]
    connection: Connection,
}

impl Verb {
    /// Does it. As with the reference, every failure is 1.
    pub fn run(&self) -> Exit {
        match self {
            Verb::Get(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::List(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Status(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Promote(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Abort(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Retry(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Undo(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Restart(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Pause(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Resume(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Set(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Terminate(on) => on.run(|verb, desk| verb.run(desk)),
            Verb::Create(on) => on.run(|verb, desk| verb.run(desk)),
        }
    }
}

/// Names of the verbs, for the exit code of wrong use.
pub const VERBS: [&str; 13] = [
    "get",
    "list",
    "status",
    "promote",
    "abort",
    "retry",
    "undo",
    "restart",
    "pause",
    "resume",
    "set",
    "terminate",
    "create",
];

impl<V: Args> On<V> {
    fn run(&self, act: impl FnOnce(&V, &mut Desk<'_>) -> Result<(), Failure>) -> Exit {
        let remote = match Remote::connect(&self.connection.options()) {
            Ok(remote) => remote,
            Err(error) => {
                eprintln!("Error: {error}");
                return Exit::Failed;
            }
        };
        let mut out = std::io::stdout();
        let color = input::color(out.is_terminal());
        let done = act(&self.verb, &mut Desk { cluster: &remote, out: &mut out, color });
        match done.and_then(|()| Ok(out.flush()?)) {
            Ok(()) => Exit::AsExpected,
            Err(Failure::NobodyReads) => Exit::AsExpected,
            Err(Failure::Because(why)) => {
                eprintln!("Error: {why}");
                Exit::Failed
            }
        }
    }
}

/// What a verb works with.
pub struct Desk<'a> {
    /// The cluster.
    pub cluster: &'a dyn Cluster,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Whether colours may be used.
    pub color: bool,
}

impl Desk<'_> {
    /// The key of an object in the namespace of the connection.
    pub fn key(&self, kind: Kind, name: &str) -> Key {
        Key::new(kind, self.cluster.namespace(), name)
    }
}

/// Why a verb failed.
#[derive(Debug)]
pub enum Failure {
    /// A sentence for people.
    Because(String),
    /// Standard output was closed: whoever reads has seen enough.
    NobodyReads,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        Failure::Because(refused.to_string())
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure::Because(why)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::Because(format!("cannot write to standard output: {error}")),
        }
    }
}

/// The cluster, as verbs see it. A second one for tests keeps its objects in memory.
pub trait Cluster {
    /// The namespace of the connection.
    fn namespace(&self) -> &str;
    /// What time it is.
    fn now(&self) -> Stamp;
    /// One object.
    fn get(&self, key: &Key) -> Result<Value, Refused>;
    /// Objects of a kind, in one namespace or in all, which a label selector picks.
    fn list(&self, kind: &Kind, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>, Refused>;
    /// Changes an object.
    fn patch(&self, key: &Key, change: &Change) -> Result<Value, Refused>;
    /// Writes an object back whole.
    fn replace(&self, key: &Key, document: &Value) -> Result<Value, Refused>;
    /// Makes an object.
    fn create(&self, key: &Key, document: &Value) -> Result<Value, Refused>;
    /// Watches kinds in one namespace, or in all.
    fn watch(&self, kinds: &[Kind], namespace: Option<&str>) -> Box<dyn Watch + '_>;
}

/// Objects that are kept up to date.
pub trait Watch {
    /// The objects as far as they are known.
    fn objects(&self) -> Vec<Value>;
    /// Whether all kinds have been listed.
    fn is_complete(&self) -> bool;
    /// Waits for the next change, for at most so long.
    fn wait(&mut self, limit: Duration) -> Result<Waited, Refused>;
}

/// Changes that come together are shown together, but what never ceases must not hide everything.
const BURST: usize = 100;

/// Waits for a change, and on until nothing has come for a while.
fn settle(watch: &mut dyn Watch, limit: Duration, pause: Duration) -> Result<Waited, Refused> {
    let mut waited = watch.wait(limit)?;
    for _ in 0..BURST {
        if waited != Waited::Changed {
            break;
        }
        waited = watch.wait(pause)?;
    }
    Ok(waited)
}

impl Cluster for Remote {
    fn namespace(&self) -> &str {
        Remote::namespace(self)
    }
    fn now(&self) -> Stamp {
        Remote::now(self).stamp()
    }
    fn get(&self, key: &Key) -> Result<Value, Refused> {
        Remote::get(self, key)
    }
    fn list(&self, kind: &Kind, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>, Refused> {
        Remote::list(self, kind, namespace, labels)
    }
    fn patch(&self, key: &Key, change: &Change) -> Result<Value, Refused> {
        Remote::patch(self, key, change)
    }
    fn replace(&self, key: &Key, document: &Value) -> Result<Value, Refused> {
        Remote::replace(self, key, document)
    }
    fn create(&self, key: &Key, document: &Value) -> Result<Value, Refused> {
        Remote::create(self, key, document)
    }
    fn watch(&self, kinds: &[Kind], namespace: Option<&str>) -> Box<dyn Watch + '_> {
        Box::new(Remote::watch(self, kinds, namespace))
    }
}

impl Watch for Watching<'_> {
    fn objects(&self) -> Vec<Value> {
        Watching::objects(self)
    }
    fn is_complete(&self) -> bool {
        Watching::is_complete(self)
    }
    fn wait(&mut self, limit: Duration) -> Result<Waited, Refused> {
        Watching::wait(self, limit)
    }
}
