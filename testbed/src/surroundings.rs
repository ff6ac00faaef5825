//! What a controller on a real server finds around itself: controllers of routers, load balancers of AWS, and metric
//! providers, as a scenario says they behave.
//!
//! A world of the simulator is behind all of it. What the API server stores of routes is mirrored there; what the
//! controllers of routers report there is written here; and what is asked over HTTP, on a loopback port, is answered from
//! there. The controller is told of that port as of its operator's proxy, so that it asks the very addresses that stand in
//! the scenario.

mod http;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tidegate_api::object::{Body, Key, Kind, Object};
use tidegate_controller::question::{Question, Reply};
use tidegate_sim::metrics::series::Series;
use tidegate_sim::scenario::Fault;
use tidegate_sim::world::{Happened, Observer, RouterModel, World, Writer};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::TestbedError;
use crate::controller::Extras;
use crate::stage::sights::{Sight, Sights, resource};
use crate::stage::wall_clock;

/// What load balancers of AWS sign and are signed for.
const REGION: &str = "invented";

/// The surroundings of one controller. They end with this value.
#[derive(Debug)]
pub struct Surroundings {
    world: Shared,
    address: String,
    balancers: bool,
    tasks: Vec<JoinHandle<()>>,
}

/// The world behind it. Nobody holds it while waiting.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<World>>);

impl Surroundings {
    /// Surroundings of a controller in this namespace. `routes` are the kinds of objects that routers serve by, or whose
    /// state load balancers tell.
    pub async fn start(
        client: &Client,
        namespace: &str,
        routes: BTreeSet<Kind>,
        routers: RouterModel,
        series: &[Series],
    ) -> Result<Surroundings, TestbedError> {
        let balancers = routers.elb;
        let mut world = World::picture_of_routers(wall_clock(), routers, 0);
        series.iter().for_each(|series| world.script(series.clone()));
        let world = Shared(Arc::new(Mutex::new(world)));
        let (address, server) = http::serve(world.clone())?;
        let mut tasks = vec![server];
        if !routes.is_empty() {
            let sights = Sights::of(client, namespace, routes).await?;
            tasks.push(tokio::spawn(follow(client.clone(), sights, world.clone())));
        }
        Ok(Surroundings { world, address, balancers, tasks })
    }

    /// What the controller is to be told, so that it finds its way.
    pub fn extras(&self) -> Extras {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        // Not `HTTP_PROXY`: with that one the API server would be asked for through it, too.
        let mut extras =
            Extras { variables: vec![variable("ALL_PROXY", &self.address)], ..Extras::default() };
        if self.balancers {
            extras.arguments.push("--aws-verify-target-group".to_owned());
            extras.variables.extend([
                variable("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", &self.address),
                variable("AWS_REGION", REGION),
                variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                variable("AWS_SECRET_ACCESS_KEY", "example"),
            ]);
        }
        extras
    }

    /// Where it answers.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on a provider answers with these values.
    pub fn script(&self, series: Series) {
        self.world.now().script(series);
    }

    /// From now on this goes wrong around the controller.
    pub fn fault(&self, fault: &Fault) {
        fault.begin(&mut self.world.now());
    }
}

/// Whether a fault is one of the surroundings.
pub fn is_around(fault: &Fault) -> bool {
    match fault {
        Fault::RouterOutage(..) | Fault::ProxyStall(..) | Fault::Metric { .. } | Fault::Elb(..) => true,
        Fault::NextWrite(_)
        | Fault::Rate { .. }
        | Fault::WatchLag { .. }
        | Fault::WatchStall(..)
        | Fault::WatchBreak(..)
        | Fault::PutBack { .. } => false,
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    /// The world as of this moment. What is due is left to the task that follows the API server.
    fn now(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        world.set_now(wall_clock());
        world
    }

    /// What somebody around the controller answers, and how much later than at once.
    fn answer(&self, question: &Question, to_balancers: bool) -> (Reply, Duration) {
        let mut world = self.now();
        let (reply, after) = match to_balancers {
            true => world.ask_balancers(question),
            false => world.ask_provider(provider(&question.url), question),
        };
        (reply, Duration::from_millis(u64::try_from(after.0).unwrap_or(0)))
    }
}

/// Which provider is asked under such an address; scenarios for real servers know these two.
fn provider(url: &str) -> &'static str {
    if url.contains("/api/v1/query") { "prometheus" } else { "web" }
}

/// Mirrors routes, and writes what the controllers of routers report about them.
async fn follow(client: Client, mut sights: Sights, world: Shared) {
    loop {
        let (due, reports) = {
            let mut world = world.now();
            let (now, mut reports) = (world.now(), Reports::default());
            world.run_until(now, &mut reports);
            (world.next_at().map(|at| at.since(now)), reports)
        };
        for report in reports.0 {
            if let Err(error) = write(&client, &report).await {
                eprintln!("the stand-in for routers cannot report {}: {error}", report.meta.name);
            }
        }
        let due = due.map(|span| Duration::from_millis(u64::try_from(span.0).unwrap_or(0)));
        let due = due.map(|span| Instant::now() + span);
        tokio::select! {
            biased;
            sight = sights.next() => match sight {
                Some(sight) => mirror(&mut world.now(), sight),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

fn mirror(world: &mut World, sight: Sight) {
    let Ok(object) = Object::from_value(sight.object) else { return };
    match sight.gone {
        true => world.forget(&object.key()),
        false => world.mirror(object),
    }
}

/// What the controllers of routers wrote into the picture.
#[derive(Default)]
struct Reports(Vec<Arc<Object>>);

impl Observer for Reports {
    fn saw(&mut self, _: &World, what: &Happened<'_>) {
        if let Happened::Stored { by: Writer::Routers, after: Some(after), .. } = what {
            self.0.push(Arc::clone(after));
        }
    }
}

/// Reports the status of a route: through its subresource where the kind has one.
async fn write(client: &Client, report: &Object) -> Result<(), kube::Error> {
    let Body::Other(body) = &report.body else { return Ok(()) };
    let Key { kind, namespace, name } = report.key();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource(&kind));
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"status": body["status"]})));
    match api.patch_status(&name, &parameters, &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            match api.patch(&name, &parameters, &patch).await {
                // The route is gone; nothing is to be reported of it.
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                outcome => outcome.map(drop),
            }
        }
        outcome => outcome.map(drop),
    }
}
