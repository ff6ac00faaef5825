//! The routers' controllers: they take accepted objects over to the proxies, each in its own time, and report.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Body, Key, Kind, Object};
use tidegate_api::time::{Span, Time};

use crate::cluster::store::{Change, Part};
use crate::dataplane::{ALL, alb, elb, gateway};
use crate::world::{Due, Happened, Observer, World, Writer};

impl World {
    /// Switches the data plane on, as soon as somebody needs one.
    fn look_for_routers(&mut self, object: &Object) {
        let is_needed = match &object.body {
            Body::Rollout(body) => {
                body.spec.spec().canary().is_some_and(|canary| canary.traffic_routing.is_some())
            }
            Body::Other(_) => crate::dataplane::proxy_of(object).is_some(),
            _ => false,
        };
        if is_needed {
            self.switch_data_plane_on();
        }
    }

    /// From now on proxies follow the API server, late.
    pub(crate) fn switch_data_plane_on(&mut self) {
        if std::mem::replace(&mut self.plane.on, true) {
            return;
        }
        let services: Vec<Key> = self.store.of_kind(&Kind::Service).map(|service| service.key()).collect();
        for service in services {
            self.count_endpoints(&service);
        }
    }

    /// A change was accepted: tells those of the data plane whom it concerns.
    pub(crate) fn wake_data_plane(&mut self, by: Writer, key: &Key, change: &Change) {
        if let Some(object) = &change.after
            && !self.plane.on
        {
            self.look_for_routers(&object.clone());
        }
        if !self.plane.on {
            return;
        }
        match key.kind {
            Kind::Pod => self.pod_changed(key, change),
            Kind::Service => self.service_changed(key, change),
            Kind::Other { .. } => self.route_changed(by, key, change),
            _ => {}
        }
    }

    pub(crate) fn route_changed(&mut self, by: Writer, key: &Key, change: &Change) {
        let proxies = self.config.routers.proxies.max(1);
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let Some((number, not_before)) = self.plane.accept(key, (by, self.now, proxies), before, after)
        else {
            return;
        };
        for (proxy, earliest) in not_before.into_iter().enumerate() {
            let lag = Span::millis(self.dice.routers.within(self.lag_of_router(key)));
            let at = self.now.plus(lag).max(earliest);
            if let Some(line) = Arc::make_mut(&mut self.plane.lines).get_mut(key)
                && let Some(not_before) = line.not_before.get_mut(proxy)
            {
                *not_before = at;
            }
            self.push_at(at, Due::Apply { key: key.clone(), proxy, number });
        }
    }

    fn lag_of_router(&self, key: &Key) -> (i64, i64) {
        let routers = &self.config.routers;
        let name = self.plane.lines.get(key).map(|line| line.proxy);
        name.and_then(|name| routers.propagation_of.get(name)).copied().unwrap_or(routers.propagation)
    }

    /// A proxy takes a version over, unless its controller is away.
    pub(crate) fn apply(&mut self, key: &Key, proxy: usize, number: u64, watch: &mut dyn Observer) {
        let Some(kind) = self.plane.lines.get(key).map(|line| line.proxy) else { return };
        let stalled = self.plane.stalled.get(kind).filter(|_| proxy == 0);
        let away = self.plane.outages.get(kind).into_iter().chain(stalled).max().copied();
        if let Some(until) = away.filter(|until| *until > self.now) {
            let lag = Span::millis(self.dice.routers.within(self.lag_of_router(key)));
            self.push_at(until.plus(lag), Due::Apply { key: key.clone(), proxy, number });
            return;
        }
        let reached = self.plane.take_over(key, proxy, number);
        self.link_applied(key, number);
        self.wake_scalers();
        self.counted(&Happened::Applied(key));
        watch.saw(self, &Happened::Applied(key));
        match reached {
            Some(route) if gateway::owns(&route) => self.report(key, gateway::report(&route), watch),
            Some(route) if self.config.routers.elb && alb::owns(&route) => {
                let balancer = json!({"loadBalancer": {"ingress": [{"hostname": elb::host(&route)}]}});
                self.report(key, balancer, watch);
            }
            _ => {}
        }
    }

    /// The controller of a gateway says in a route's status that it serves by this version; that of AWS, where its load
    /// balancer is reached.
    fn report(&mut self, key: &Key, report: Value, watch: &mut dyn Observer) {
        let outcome = self.store.update(key, None, Part::Status, |object| {
            if let Body::Other(document) = &mut object.body
                && document["status"] != report
                && let Value::Object(fields) = Arc::make_mut(document)
            {
                fields.insert("status".to_owned(), report);
            }
            Ok(())
        });
        let _ = self.settle(Writer::Routers, None, key, outcome, watch);
    }

    /// The proxies of a router take nothing over until then.
    pub fn router_outage(&mut self, router: &str, until: Time) {
        if let Some(proxy) = ALL.iter().find(|proxy| proxy.name == router) {
            self.plane.outages.insert(proxy.name, until);
        }
    }

    /// One of several proxies of a router takes nothing over until then.
    pub fn stall_proxy(&mut self, router: &str, until: Time) {
        if let Some(proxy) = ALL.iter().find(|proxy| proxy.name == router) {
            self.plane.stalled.insert(proxy.name, until);
        }
    }

    /// Somebody puts an object back as it is now, so many times, each time that the controller has changed it.
    pub fn put_back(&mut self, key: &Key, times: u32, after: crate::world::Millis) {
        if let Some(object) = self.store.get(key).cloned() {
            self.kept.insert(key.clone(), Kept { object, times, after, asked: false });
        }
    }

    /// The controller wrote something that somebody keeps as it was.
    pub(crate) fn wake_keeper(&mut self, by: Writer, key: &Key) {
        if by != Writer::Controller {
            return;
        }
        let Some(kept) = self.kept.get_mut(key).filter(|kept| kept.times > 0 && !kept.asked) else { return };
        kept.asked = true;
        let after = kept.after;
        let after = Span::millis(self.dice.routers.within(after));
        self.push(after, Due::PutBack(key.clone()));
    }

    pub(crate) fn put_back_now(&mut self, key: &Key, watch: &mut dyn Observer) {
        let Some(kept) = self.kept.get_mut(key) else { return };
        (kept.times, kept.asked) = (kept.times.saturating_sub(1), false);
        let wanted = kept.object.clone();
        let outcome = self.store.update(key, None, Part::Main, |object| {
            object.body = wanted.body.clone();
            object.meta.annotations = wanted.meta.annotations.clone();
            object.meta.labels = wanted.meta.labels.clone();
            Ok(())
        });
        let _ = self.settle(Writer::User, None, key, outcome, watch);
    }
}

/// An object that somebody puts back as it was.
#[derive(Clone, Debug)]
pub struct Kept {
    object: Arc<Object>,
    times: u32,
    after: crate::world::Millis,
    asked: bool,
}
