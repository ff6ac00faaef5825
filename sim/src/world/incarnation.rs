//! The controller inside the world: its seams, its watches, its calls on their way, its death and return.

use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::{Span, Time};
use tidegate_controller::manager::{Manager, WATCHED, WATCHED_ON_DEMAND};
use tidegate_controller::plan::{Guard, Verb};
use tidegate_controller::seams::{
    Answer, ApiCall, ApiError, CallId, Clock, Cluster, Event, Metrics, Question, Reply,
};

use super::config::Strike;
use super::observe::{Happened, Observer, Writer, digest, text};
use super::{Due, Recorded, World};
use crate::cluster::store::{Part, outdated};

/// One life of the controller.
#[derive(Clone, Debug)]
pub struct Incarnation {
    /// The real manager.
    pub manager: Manager,
    /// Counts the lives, from 1.
    pub number: u32,
    pub(super) alarm: Option<(Time, u64)>,
    /// One for each of [`kinds`], then those of routers in the order in which they were asked for.
    streams: Vec<Stream>,
}

/// All kinds that are known to be watched some day.
fn kinds() -> impl Iterator<Item = &'static Kind> {
    WATCHED.iter().chain(WATCHED_ON_DEMAND)
}

/// The watch of one kind: keeps its own order, and knows nothing of the others.
#[derive(Clone, Debug)]
struct Stream {
    kind: Kind,
    /// Set once the controller has asked for it.
    begun: bool,
    /// Set once the list was taken: what is stored from then on is shown.
    open: bool,
    /// Deliveries of an earlier connection are void.
    connection: u32,
    /// Nothing is shown before this: the last delivery, or the end of a stall.
    not_before: Time,
}

impl Stream {
    fn of(kind: &Kind) -> Stream {
        Stream {
            kind: kind.clone(),
            begun: WATCHED.contains(kind),
            open: false,
            connection: 0,
            not_before: Time::default(),
        }
    }
}

impl Incarnation {
    fn stream_of(&self, kind: &Kind) -> Option<usize> {
        self.streams.iter().position(|stream| kind.covers(&stream.kind))
    }
}

/// What a watch is about to show.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Changed(Arc<Object>),
    Gone(Arc<Object>),
    All(Vec<Arc<Object>>),
    Unserved,
}

/// How many calls the controller has started so far, over all its lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallCounts {
    /// Reads and writes.
    pub calls: u64,
    /// Writes.
    pub writes: u64,
    /// Writes of a Rollout's status.
    pub status_writes: u64,
}

/// The seams while one event is handled: what is asked for is noted and done afterwards.
struct Doors {
    now: Time,
    alarm: Option<Time>,
    calls: Vec<(CallId, ApiCall)>,
    watches: Vec<Kind>,
    questions: Vec<(CallId, Question)>,
}

impl Cluster for Doors {
    fn start(&mut self, id: CallId, call: ApiCall) {
        self.calls.push((id, call));
    }

    fn watch(&mut self, kind: Kind) {
        self.watches.push(kind);
    }
}

impl Metrics for Doors {
    fn ask(&mut self, id: CallId, question: Question) {
        self.questions.push((id, question));
    }
}

impl Clock for Doors {
    fn now(&self) -> Time {
        self.now
    }

    fn wake_at(&mut self, at: Time) {
        self.alarm = Some(self.alarm.map_or(at, |known| known.min(at)));
    }
}

impl World {
    /// The controller, while it lives.
    pub fn controller(&self) -> Option<&Incarnation> {
        self.controller.as_ref()
    }

    /// How many calls the controller has started so far.
    pub fn call_counts(&self) -> CallCounts {
        self.counts
    }

    /// Kills the controller. What has reached the API server stays done; what is on its way arrives or is lost.
    pub fn crash(&mut self, watch: &mut dyn Observer) {
        if self.controller.take().is_some() {
            self.chain.link(self.now, 1, 0);
            watch.saw(self, &Happened::Crashed);
        }
    }

    /// Starts the controller, unless it lives: it knows nothing, and lists every kind it watches.
    pub fn restart(&mut self, watch: &mut dyn Observer) {
        if self.controller.is_some() {
            return;
        }
        self.incarnations += 1;
        self.controller = Some(Incarnation {
            manager: Manager::new(self.config.settings.clone()),
            number: self.incarnations,
            alarm: None,
            streams: kinds().map(Stream::of).collect(),
        });
        // Chance is drawn for every kind alike, watched or not: a kind more must not change the fate of all others.
        for stream in 0..kinds().count() {
            let latency = self.dice.calls.within(self.config.call_latency);
            self.push(Span::millis(latency), Due::List { to: self.incarnations, stream, connection: 0 });
        }
        self.chain.link(self.now, 2, 0);
        watch.saw(self, &Happened::Restarted);
    }

    /// The controller begins to watch a kind, with a list; unless it does already.
    fn begin_watch(&mut self, kind: &Kind) {
        let Some(controller) = &mut self.controller else { return };
        let stream = controller.stream_of(kind).unwrap_or_else(|| {
            controller.streams.push(Stream::of(kind));
            controller.streams.len() - 1
        });
        let line = &mut controller.streams[stream];
        if std::mem::replace(&mut line.begun, true) {
            return;
        }
        line.connection += 1;
        let (to, connection) = (controller.number, line.connection);
        let latency = self.dice.calls.within(self.config.call_latency);
        self.push(Span::millis(latency), Due::List { to, stream, connection });
    }

    /// Starts the controller so much later, unless it lives then.
    pub fn restart_later(&mut self, after: Span) {
        self.push(after, Due::Restart);
    }

    /// Breaks the watch of a kind: what it has not shown yet is never shown; so much later it lists anew.
    pub fn break_watch(&mut self, kind: &Kind, relist_after: Span) {
        let Some(controller) = &mut self.controller else { return };
        let Some(stream) = controller.stream_of(kind) else { return };
        let broken = &mut controller.streams[stream];
        if !broken.begun {
            return;
        }
        broken.open = false;
        broken.connection += 1;
        let (to, connection) = (controller.number, broken.connection);
        self.push(relist_after, Due::List { to, stream, connection });
    }

    /// Lets the controller list a kind anew that is watched, in a while: it has become known, or is so no longer.
    pub(super) fn relist(&mut self, kind: &str) {
        let Some(controller) = &mut self.controller else { return };
        let named = |stream: &Stream| stream.begun && stream.kind.name() == kind;
        let Some(stream) = controller.streams.iter().position(named) else { return };
        let kind = kind_of(controller, stream);
        self.break_watch(&kind, Span::seconds(1));
    }

    /// Holds the watch of a kind back: nothing is shown before this time.
    pub fn stall_watch(&mut self, kind: &Kind, until: Time) {
        let Some(controller) = &mut self.controller else { return };
        let Some(stream) = controller.stream_of(kind) else { return };
        let stalled = &mut controller.streams[stream].not_before;
        *stalled = until.max(*stalled);
    }

    /// Sends a change on its way to the controller.
    pub(super) fn show(&mut self, kind: &Kind, news: News) {
        let Some(controller) = &self.controller else { return };
        let Some(stream) = controller.stream_of(kind) else { return };
        if controller.streams[stream].open {
            self.deliver_later(stream, news);
        }
    }

    fn deliver_later(&mut self, stream: usize, news: News) {
        let lag = Span::millis(self.dice.watch.within(self.lag_of(stream)));
        let Some(controller) = &mut self.controller else { return };
        let line = &mut controller.streams[stream];
        let at = self.now.plus(lag).max(line.not_before);
        line.not_before = at;
        let due = Due::Deliver { to: controller.number, stream, connection: line.connection, news };
        self.push_at(at, due);
    }

    fn lag_of(&self, stream: usize) -> (i64, i64) {
        let config = &self.config;
        let kind = self.controller.as_ref().and_then(|controller| controller.streams.get(stream));
        let special = kind.and_then(|stream| {
            config.watch_lag_of.iter().find(|(kind, _)| kind.covers(&stream.kind)).map(|(_, lag)| *lag)
        });
        special.unwrap_or(config.watch_lag)
    }

    pub(super) fn list(&mut self, to: u32, stream: usize, connection: u32) {
        let Some(controller) = &mut self.controller else { return };
        let line = &mut controller.streams[stream];
        if controller.number != to || line.connection != connection {
            return;
        }
        if !line.begun {
            self.dice.watch.within(self.lag_of(stream));
            return;
        }
        let kind = line.kind.clone();
        if !self.serves(&kind) {
            self.deliver_later(stream, News::Unserved);
            if let Some(from) = self.config.routers.unserved.get(kind.name()).copied().flatten() {
                self.push_at(from.plus(Span::seconds(1)), Due::List { to, stream, connection });
            }
            return;
        }
        let Some(controller) = &mut self.controller else { return };
        controller.streams[stream].open = true;
        let all = self.store.of_kind(&kind).cloned().collect();
        self.deliver_later(stream, News::All(all));
    }

    pub(super) fn deliver(
        &mut self,
        (to, stream, connection): (u32, usize, u32),
        news: News,
        watch: &mut dyn Observer,
    ) {
        let Some(controller) = &self.controller else { return };
        if controller.number != to || controller.streams[stream].connection != connection {
            return;
        }
        match news {
            News::Changed(object) => {
                self.chain.link(self.now, 3, digest(&object));
                self.tell(Event::Seen(object.clone()), watch);
                watch.saw(self, &Happened::Delivered { object: &object, gone: false });
            }
            News::Gone(object) => {
                self.chain.link(self.now, 4, digest(&object));
                self.tell(Event::Gone(object.clone()), watch);
                watch.saw(self, &Happened::Delivered { object: &object, gone: true });
            }
            News::Unserved => {
                let kind = kind_of(controller, stream);
                self.chain.link(self.now, 10, text(kind.name()));
                self.tell(Event::Unserved(kind.clone()), watch);
                watch.saw(self, &Happened::Listed(&kind));
            }
            News::All(objects) => {
                let kind = &kind_of(controller, stream);
                self.chain.link(self.now, 5, text(kind.name()));
                let keys = objects.iter().map(|object| object.key()).collect();
                for object in objects {
                    self.tell(Event::Seen(object), watch);
                }
                self.tell(Event::Listed(kind.clone(), keys), watch);
                watch.saw(self, &Happened::Listed(kind));
            }
        }
    }

    pub(super) fn ring(&mut self, watch: &mut dyn Observer) {
        if let Some(controller) = &mut self.controller {
            controller.alarm = None;
        }
        self.chain.link(self.now, 6, 0);
        self.tell(Event::Woken, watch);
        watch.saw(self, &Happened::Alarm);
    }

    /// Lets the manager handle one event, then does what it asked for.
    fn tell(&mut self, event: Event, watch: &mut dyn Observer) {
        let Some(controller) = &mut self.controller else { return };
        let calls = std::mem::take(&mut self.started);
        let mut doors =
            Doors { now: self.now, alarm: None, calls, watches: Vec::new(), questions: Vec::new() };
        controller.manager.handle(event, &mut doors);
        // After each event the manager says when it must be woken next. What it said before is void: an alarm that
        // nobody waits for any more would keep the world from coming to rest.
        let alarm = doors.alarm.map(|at| at.max(self.now));
        if alarm != controller.alarm.map(|(at, _)| at) {
            self.sequence += 1;
            controller.alarm = alarm.map(|at| (at, self.sequence));
        }
        let from = controller.number;
        for kind in &doors.watches {
            self.begin_watch(kind);
        }
        for (id, call) in doors.calls.drain(..) {
            self.start_call(from, id, call, watch);
        }
        self.started = doors.calls;
        for (id, question) in doors.questions {
            self.carry(from, id, &question, watch);
        }
    }

    pub(super) fn start_call(&mut self, from: u32, id: CallId, call: ApiCall, watch: &mut dyn Observer) {
        if let ApiCall::Record(notice) = call {
            self.chain.link(self.now, 7, text(&notice.message));
            let recorded = Arc::new(Recorded { at: self.now, notice });
            Arc::make_mut(&mut self.recorded).push(recorded.clone());
            watch.saw(self, &Happened::Recorded(&recorded.notice));
            return;
        }
        let strike = self.strike_for(&call);
        let mut latency = self.dice.calls.within(self.config.call_latency);
        if let Some(Strike::Slow(more)) = &strike {
            latency = latency.saturating_add(more.0);
        }
        if let Some(leak) = self.config.interventions.leak {
            latency = latency.saturating_add(leak.delay());
        }
        watch.saw(self, &Happened::Started(id, &call));
        self.push(Span::millis(latency), Due::Arrive { from, id, call: Box::new(call), strike });
    }

    /// What will happen to this call; counts it.
    fn strike_for(&mut self, call: &ApiCall) -> Option<Strike> {
        self.counts.calls += 1;
        let ApiCall::Write { key, verb, .. } = call else { return None };
        self.counts.writes += 1;
        let of_status = key.kind == Kind::Rollout
            && matches!(verb, Verb::Edit(edits) if edits.iter().any(|edit| edit.is_of_status()));
        self.counts.status_writes += u64::from(of_status);
        if !self.config.interventions.on_next.is_empty()
            && let Some(next) = self.next_strike(key, of_status)
        {
            return Some(next);
        }
        let rates = self.config.interventions.rates;
        if !rates.are_on(self.now) {
            return None;
        }
        let mut drawn = self.dice.faults.between(0, 999);
        let mut falls_under = |rate: u32| {
            drawn -= i64::from(rate);
            drawn < 0
        };
        if falls_under(rates.conflict) {
            return Some(Strike::Conflict);
        }
        if falls_under(rates.lost_reply) {
            let applied = self.dice.faults.chance(500);
            return Some(if applied { Strike::LostReply } else { Strike::LostRequest });
        }
        if falls_under(rates.crash_before) {
            return Some(Strike::CrashBefore);
        }
        if falls_under(rates.crash_after) {
            return Some(Strike::CrashAfter);
        }
        falls_under(rates.refuse).then(|| match self.dice.faults.chance(500) {
            true => Strike::TooMany,
            false => Strike::Unavailable,
        })
    }

    /// What was to happen to the next such write.
    fn next_strike(&mut self, key: &Key, of_status: bool) -> Option<Strike> {
        let waiting = &mut self.config_mut().interventions.on_next;
        let mut found = None;
        for (at, next) in waiting.iter_mut().enumerate() {
            let is_meant = next.kind.as_ref().is_none_or(|kind| kind.covers(&key.kind));
            if !is_meant || (next.of_status && !of_status) {
                continue;
            }
            match next.skip.checked_sub(1) {
                Some(less) => next.skip = less,
                None => found = found.or(Some(at)),
            }
        }
        found.map(|at| waiting.remove(at).strike)
    }

    pub(super) fn arrive(
        &mut self,
        (from, id): (u32, CallId),
        call: ApiCall,
        strike: Option<Strike>,
        watch: &mut dyn Observer,
    ) {
        let is_dead = self.controller.as_ref().is_none_or(|controller| controller.number != from);
        if is_dead {
            // On its way when the controller died: the connection may or may not have carried it.
            if self.dice.crashes.chance(500) {
                let _ = self.carry_out(id, &call, watch);
            }
            return;
        }
        let answer = match strike {
            None | Some(Strike::Slow(_)) => self.carry_out(id, &call, watch),
            Some(Strike::CrashBefore) => return self.die(watch),
            Some(Strike::CrashAfter) => {
                let _ = self.carry_out(id, &call, watch);
                return self.die(watch);
            }
            Some(Strike::LostReply) => {
                let _ = self.carry_out(id, &call, watch);
                Answer::Lost
            }
            Some(Strike::LostRequest) => Answer::Lost,
            Some(Strike::Conflict) => self.refuse(id, &call, outdated, watch),
            Some(Strike::TooMany) => self.refuse(id, &call, too_many, watch),
            Some(Strike::Unavailable) => self.refuse(id, &call, unavailable, watch),
        };
        let latency = self.dice.calls.within(self.config.call_latency);
        self.push(Span::millis(latency), Due::Reply { to: from, id, answer });
    }

    fn refuse(
        &self,
        id: CallId,
        call: &ApiCall,
        error: impl Fn(&Key) -> ApiError,
        watch: &mut dyn Observer,
    ) -> Answer {
        // Only writes are struck.
        let ApiCall::Write { key, .. } = call else { return Answer::Lost };
        let error = error(key);
        let what = Happened::Refused { by: Writer::Controller, key, error: &error, call: Some(id) };
        watch.saw(self, &what);
        Answer::Refused(error)
    }

    fn die(&mut self, watch: &mut dyn Observer) {
        self.crash(watch);
        self.restart_later(self.config.interventions.restart_after);
    }

    pub(super) fn reply(&mut self, to: u32, id: CallId, answer: Answer, watch: &mut dyn Observer) {
        if self.controller.as_ref().is_none_or(|controller| controller.number != to) {
            return;
        }
        let outcome = match &answer {
            Answer::Done(object) => object.as_ref().map_or(0, |object| object.meta.resource_version),
            Answer::Refused(error) => text(&error.to_string()),
            Answer::Lost => 1,
        };
        self.chain.link(self.now, 8, outcome);
        self.tell(Event::Answered(id, answer.clone()), watch);
        watch.saw(self, &Happened::Answered(id, &answer));
    }

    pub(super) fn replied(&mut self, to: u32, id: CallId, reply: Reply, watch: &mut dyn Observer) {
        if self.controller.as_ref().is_none_or(|controller| controller.number != to) {
            return;
        }
        let outcome = match &reply {
            Reply::Answered(response) => text(&response.text()),
            Reply::Failed(why) => text(why),
            Reply::Lost => 1,
        };
        self.chain.link(self.now, 9, outcome);
        self.tell(Event::Replied(id, reply), watch);
    }

    fn carry_out(&mut self, id: CallId, call: &ApiCall, watch: &mut dyn Observer) -> Answer {
        if let ApiCall::Get(key) | ApiCall::Write { key, .. } = call
            && !self.serves(&key.kind)
        {
            return Answer::Refused(unknown(key));
        }
        let outcome = match call {
            ApiCall::Record(_) => return Answer::Done(None),
            ApiCall::Get(key) => {
                return match self.store.get(key) {
                    Some(object) => Answer::Done(Some(object.clone())),
                    None => Answer::Refused(crate::cluster::store::not_found(key)),
                };
            }
            ApiCall::Write { key, guard, verb } => {
                let outcome = match verb {
                    Verb::Create(object) => self.store.create((**object).clone(), self.now),
                    Verb::Edit(edits) => {
                        let part = match edits.iter().all(|edit| edit.is_of_status()) {
                            true => Part::Status,
                            false => Part::Main,
                        };
                        self.store.edit(key, Some(guard), part, edits)
                    }
                    Verb::Delete => self.delete_now(key, Some(guard)),
                    Verb::Evict => {
                        let guard = Some(guard).filter(|guard| **guard != Guard::Absent);
                        self.evict_now(key, guard)
                    }
                };
                self.settle(Writer::Controller, Some(id), key, outcome, watch)
            }
        };
        match outcome {
            Ok(object) => Answer::Done(object),
            Err(error) => Answer::Refused(error),
        }
    }
}

fn kind_of(controller: &Incarnation, stream: usize) -> Kind {
    controller.streams[stream].kind.clone()
}

/// What an API server answers that does not serve a kind.
fn unknown(_: &Key) -> ApiError {
    ApiError::NotFound("the server could not find the requested resource".into())
}

fn too_many(_: &Key) -> ApiError {
    ApiError::TooMany("the server has received too many requests and has asked us to try again later".into())
}

fn unavailable(_: &Key) -> ApiError {
    ApiError::Unavailable("the server is currently unable to handle the request".into())
}
