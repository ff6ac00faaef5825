//! Who answers behind a Service: pods that it selects, that are ready, and that are not on their way out.
//!
//! Where nobody looks at a data plane the answer is worked out when it is asked for. Else proxies know it a little
//! later, and until then send requests to pods that are no longer there.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Strings, Text};
use tidegate_api::time::Span;

use crate::cluster::store::Change;
use crate::world::{Due, Happened, Observer, World};

impl World {
    /// The pods that a Service sends requests to now: selected, ready, and not on their way out.
    pub fn endpoints<'a>(&'a self, service: &Key) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let service = self.store.get(service).and_then(|object| Some((object, object.service()?)));
        service.into_iter().flat_map(|(object, service)| {
            self.store.in_namespace(&Kind::Pod, &object.meta.namespace).filter(move |pod| {
                pod.pod().is_some_and(|body| body.ready)
                    && pod.meta.deleting.is_none()
                    && selects(&service.selector, &pod.meta.labels)
            })
        })
    }

    /// The pods that proxies send the requests for a Service to, by name.
    pub fn known_endpoints(&self, service: &Key) -> Arc<BTreeSet<Text>> {
        match self.plane.on {
            true => self.plane.behind.get(service).map(|behind| behind.pods.clone()).unwrap_or_default(),
            false => Arc::new(self.endpoints(service).map(|pod| pod.meta.name.clone()).collect()),
        }
    }

    /// A pod changed: the endpoints of the Services that select it, or did, are counted again.
    pub(crate) fn pod_changed(&mut self, key: &Key, change: &Change) {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let serves = |pod: Option<&Object>| {
            pod.is_some_and(|pod| pod.meta.deleting.is_none() && pod.pod().is_some_and(|body| body.ready))
        };
        let labels = |pod: Option<&Object>| pod.map(|pod| pod.meta.labels.clone()).unwrap_or_default();
        let (old, new) = (labels(before), labels(after));
        if serves(before) == serves(after) && (old == new || !serves(after)) {
            return;
        }
        let concerned: Vec<Key> = self
            .store
            .in_namespace(&Kind::Service, &key.namespace)
            .filter(|service| {
                let selector = service.service().map(|body| &body.selector);
                selector.is_some_and(|selector| selects(selector, &old) || selects(selector, &new))
            })
            .map(|service| service.key())
            .collect();
        // Of a pod that is taken away from one moment to the next nothing is said about its end: it took no request
        // along. One that ends in its own time may end before everybody knows.
        let at_once = after.is_none() && before.is_some_and(|pod| pod.meta.deleting.is_none());
        for service in concerned {
            if at_once
                && let Some(behind) = Arc::make_mut(&mut self.plane.behind).get_mut(&service)
                && behind.pods.contains(&key.name)
            {
                Arc::make_mut(&mut behind.pods).remove(&key.name);
            }
            self.count_endpoints_later(&service);
        }
    }

    /// A Service changed.
    pub(crate) fn service_changed(&mut self, key: &Key, change: &Change) {
        let Some(service) = change.after.as_ref().and_then(|after| after.service()) else {
            Arc::make_mut(&mut self.plane.behind).remove(key);
            return;
        };
        let before = change.before.as_ref().and_then(|before| before.service());
        if before.is_some_and(|before| before.selector == service.selector) {
            return;
        }
        let (selector, now) = (service.selector.clone(), self.now);
        self.plane.note_selector(key, &selector, now);
        self.count_endpoints_later(key);
    }

    fn count_endpoints_later(&mut self, service: &Key) {
        let behind = Arc::make_mut(&mut self.plane.behind).entry(service.clone()).or_default();
        if std::mem::replace(&mut behind.asked, true) {
            return;
        }
        let lag = self.dice.endpoints.within(self.config.routers.endpoints);
        self.push(Span::millis(lag), Due::Endpoints(service.clone()));
    }

    /// Proxies learn who is behind a Service now.
    pub(crate) fn count_endpoints(&mut self, service: &Key) {
        let Some(selector) =
            self.store.get(service).and_then(|found| found.service()).map(|s| s.selector.clone())
        else {
            return;
        };
        let pods = Arc::new(self.endpoints(service).map(|pod| pod.meta.name.clone()).collect());
        let behind = crate::dataplane::applied::Behind { pods, selector, outdated: None, asked: false };
        Arc::make_mut(&mut self.plane.behind).insert(service.clone(), behind);
    }

    pub(crate) fn endpoints_due(&mut self, service: &Key, watch: &mut dyn Observer) {
        let before = self.plane.behind.get(service).cloned();
        self.count_endpoints(service);
        let after = self.plane.behind.get(service);
        let told = |behind: Option<&crate::dataplane::applied::Behind>| {
            behind.map(|behind| (behind.pods.clone(), behind.selector.clone()))
        };
        if told(before.as_ref()) != told(after) {
            self.link_applied(service, 0);
            self.wake_scalers();
            self.counted(&Happened::Applied(service));
            watch.saw(self, &Happened::Applied(service));
        }
    }
}

fn selects(selector: &Strings, labels: &Strings) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
