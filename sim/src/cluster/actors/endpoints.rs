//! Who answers behind a Service: asked for when needed, never stored.

use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object};

use crate::world::World;

impl World {
    /// The pods that a Service sends requests to now: selected, ready, and not on their way out.
    pub fn endpoints<'a>(&'a self, service: &Key) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let service = self.store.get(service).and_then(|object| Some((object, object.service()?)));
        service.into_iter().flat_map(|(object, service)| {
            self.store.in_namespace(&Kind::Pod, &object.meta.namespace).filter(move |pod| {
                pod.pod().is_some_and(|body| body.ready)
                    && pod.meta.deleting.is_none()
                    && !service.selector.is_empty()
                    && service.selector.iter().all(|(key, value)| pod.meta.labels.get(key) == Some(value))
            })
        })
    }
}
