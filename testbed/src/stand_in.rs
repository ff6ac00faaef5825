//! The stand-in for the kubelets: brings pods to life on a control plane without nodes.
//!
//! It invents one node, binds every pod that nobody has bound to it, and lets each live as its [`Life`] says: started
//! after so long, ready or never, crashed, ended with an exit code, gone after its termination. One task does it all: a
//! watch, a list of what is due, and a few writes at a time. What it does not do: pull, mount, probe, or evict.

mod serve;
mod status;
mod task;

use kube::Client;
use tidegate_sim::dice::Dice;
use tidegate_sim::world::PodModels;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::TestbedError;
pub(crate) use serve::FROM;
pub use serve::Serving;

#[cfg(doc)]
use tidegate_sim::cluster::life::Life;

/// The name of the invented node.
pub const NODE: &str = "stand-in";

/// Looks after pods until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    task: JoinHandle<()>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What a person wants of a pod.
#[derive(Debug)]
struct Order {
    pod: (String, String),
    ready: bool,
    done: oneshot::Sender<Result<(), String>>,
}

impl StandIn {
    /// Looks after the pods of one namespace, or of all. Two of them must not look after the same pods, and none belongs
    /// beside real kubelets. A scenario's models and seed make pods behave as they do in the simulator.
    pub async fn start(
        client: Client,
        namespace: Option<&str>,
        models: PodModels,
        seed: u64,
    ) -> Result<StandIn, TestbedError> {
        StandIn::begin(client, namespace, models, seed, None).await
    }

    /// As [`StandIn::start`]; its pods answer HTTP, each from when its start-up is over until it has been told to go and
    /// what it sleeps before its stop is over.
    pub async fn serve(
        client: Client,
        namespace: Option<&str>,
        models: PodModels,
        seed: u64,
        serving: Serving,
    ) -> Result<StandIn, TestbedError> {
        StandIn::begin(client, namespace, models, seed, Some(serving)).await
    }

    async fn begin(
        client: Client,
        namespace: Option<&str>,
        models: PodModels,
        seed: u64,
        serving: Option<Serving>,
    ) -> Result<StandIn, TestbedError> {
        task::invent_node(&client).await?;
        let (orders, taken) = mpsc::unbounded_channel();
        let dice = Dice::new(seed, "pods");
        let namespace = namespace.map(str::to_owned);
        let task = tokio::spawn(task::look_after(client, namespace, models, dice, taken, serving));
        Ok(StandIn { task, orders })
    }

    /// A person makes a running pod ready or not ready; from now on its model leaves the pod alone. Done when the API
    /// server has it.
    pub async fn set_ready(&self, namespace: &str, pod: &str, ready: bool) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let order = Order { pod: (namespace.to_owned(), pod.to_owned()), ready, done };
        self.orders.send(order).map_err(|_| "the stand-in has ended".to_owned())?;
        answer.await.unwrap_or_else(|_| Err("the pod went before it was done".into()))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}
