//! Delivers events: takes them from the book one by one and sends them, beside everything else.

use std::cell::RefCell;
use std::rc::Rc;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Error, Resource};
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
    let target = |namespace| {
        Request::new(DynamicObject::url_path(&convert::resource(&Kind::new("v1", "Event")), Some(namespace)))
    };
    let manager = Some(FIELD_MANAGER.to_owned());
    let request = match write {
        EventWrite::Create(event) => {
            let namespace = event["metadata"]["namespace"].as_str().unwrap_or("default");
            let params = PostParams { field_manager: manager, ..PostParams::default() };
            target(namespace).create(&params, event.to_string().into_bytes())
        }
        EventWrite::Count { namespace, name, patch } => {
            let params = PatchParams { field_manager: manager, ..PatchParams::default() };
            target(&namespace).patch(&name, &params, &Patch::Merge(patch))
        }
    };
    // Nobody reads what was stored.
    client.request_text(request.map_err(Error::BuildRequest)?).await.map(drop)
}
