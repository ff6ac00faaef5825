//! Delivers events: takes them from the book one by one and sends them, beside everything else.

use std::cell::RefCell;
use std::rc::Rc;

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use tidegate_api::object::Kind;
use tidegate_controller::plan::Notice;
use tokio::sync::Notify;

use crate::FIELD_MANAGER;
use crate::calls::Caller;
use crate::clock::WallClock;
use crate::convert;
use crate::driver::Recorder;
use crate::events::{EventBook, EventWrite};
use crate::telemetry;

/// Takes notices without waiting; [`Mailbox::deliver`] sends them.
#[derive(Clone)]
pub struct Mailbox {
    book: Rc<RefCell<EventBook>>,
    news: Rc<Notify>,
    clock: WallClock,
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new(clock: WallClock) -> Mailbox {
        Mailbox { book: Rc::default(), news: Rc::new(Notify::new()), clock }
    }

    /// Sends what comes in, for ever. An event that cannot be sent is given up: it tells about the past.
    pub async fn deliver(self, caller: Caller) {
        loop {
            let write = self.book.borrow_mut().next(self.clock.now());
            let Some(write) = write else {
                self.news.notified().await;
                continue;
            };
            // Within the fence and the rate as every other request, but waiting for no lane: events are the least.
            caller.bucket.take().await;
            let Some(limit) = caller.fence.allows(self.clock.now()) else { continue };
            match tokio::time::timeout(limit, send(&caller.client, write)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an event could not be recorded"),
                Err(_) => tracing::warn!("an event could not be recorded in time"),
            }
        }
    }
}

impl Recorder for Mailbox {
    fn record(&mut self, notice: Notice) {
        telemetry::tell(&notice);
        self.book.borrow_mut().add(notice, self.clock.now());
        self.news.notify_one();
    }
}

async fn send(client: &Client, write: EventWrite) -> Result<(), Error> {
    let resource = convert::resource(&Kind::new("v1", "Event"));
    match write {
        EventWrite::Create(event) => {
            let namespace = event["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
            let document: DynamicObject = serde_json::from_value(event).map_err(Error::SerdeError)?;
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            api.create(&params, &document).await.map(drop)
        }
        EventWrite::Count { namespace, name, patch } => {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            api.patch(&name, &params, &Patch::Merge(patch)).await.map(drop)
        }
    }
}
