//! Who may write: leader election on a Lease, as a state machine that asks for requests and is told their outcome.
//!
//! Nobody compares clocks. A follower counts how long *it* has seen the same lease unrenewed; a leader counts from the
//! moment it *sent* the renewal that succeeded, which is before anybody can have seen it. So the leader's time is over
//! before a follower's patience is, whatever their clocks show, as long as both tick at the same rate. What the leader
//! may do until then is for a fence to enforce: no request whose time-out lies beyond [`Standing::Leading`]'s `until`.

use tidegate_api::object::Text;
use tidegate_api::time::{Span, Time};

/// Name of the Lease. The reference's, so that the two never run at the same time.
pub const LEASE_NAME: &str = "argo-rollouts-controller-lock";

/// How patient everybody is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How long a lease holds after its last renewal. `--leader-election-lease-duration`.
    pub duration: Span,
    /// A leader that could not renew for so long gives up. `--leader-election-renew-deadline`.
    pub renew_deadline: Span,
    /// How often it is tried. `--leader-election-retry-period`.
    pub retry: Span,
}

impl Default for Timing {
    /// As the reference: 15 s, 10 s, 2 s.
    fn default() -> Timing {
        Timing { duration: Span::seconds(15), renew_deadline: Span::seconds(10), retry: Span::seconds(2) }
    }
}

/// What stands in the Lease.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Who holds it; empty when it was given back.
    pub holder: Text,
    /// How long it holds, in seconds.
    pub seconds: i64,
    /// When the holder got it.
    pub acquired: Time,
    /// When the holder renewed it last, by the holder's clock.
    pub renewed: Time,
    /// How often it changed hands.
    pub transitions: i64,
}

/// A stored Lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// What stands in it.
    pub record: Record,
    /// Version, the precondition of the next write.
    pub version: Text,
}

/// What the elector wants to be done. One at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Read the Lease.
    Read,
    /// Make the Lease.
    Create(Record),
    /// Write the Lease, if it still has this version.
    Replace {
        /// The version.
        version: Text,
        /// What is to stand in it.
        record: Record,
    },
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The Lease as it is now.
    Is(Lease),
    /// There is none.
    Missing,
    /// Somebody else was faster.
    Conflict,
    /// It failed, or nobody knows.
    Unknown,
}

/// Where the elector stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Somebody else leads, or nobody yet.
    Following,
    /// We lead. Nothing of ours may be under way after `until`.
    Leading {
        /// The end of the lease as far as we know for certain.
        until: Time,
    },
    /// We have led and do no more. There is no way back: the process ends and begins anew.
    Ended,
}

/// One candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Elector {
    me: Text,
    timing: Timing,
    /// The Lease as seen last, and since when it has looked like this.
    seen: Option<(Lease, Time)>,
    standing: Standing,
    /// When the last successful renewal was sent.
    renewed_at: Time,
    /// The request under way, and when it was sent.
    asked: Option<(Request, Time)>,
    /// When to ask next.
    next: Time,
}

impl Elector {
    /// A candidate of this name, which nobody else may have.
    pub fn new(me: impl Into<Text>, timing: Timing) -> Elector {
        Elector {
            me: me.into(),
            timing,
            seen: None,
            standing: Standing::Following,
            renewed_at: Time(0),
            asked: None,
            next: Time(i64::MIN),
        }
    }

    /// Where it stands at this moment.
    pub fn standing(&self, now: Time) -> Standing {
        match self.standing {
            Standing::Leading { .. } if now.since(self.renewed_at) >= self.timing.renew_deadline => {
                Standing::Ended
            }
            standing => standing,
        }
    }

    /// When to call [`Elector::tick`] again.
    pub fn wake_at(&self) -> Time {
        match self.standing {
            Standing::Leading { .. } => self.next.min(self.renewed_at.plus(self.timing.renew_deadline)),
            _ => self.next,
        }
    }

    /// How long the request that [`Elector::tick`] asks for may take.
    pub fn patience(&self) -> Span {
        // A renewal that hangs must leave time for another before the deadline.
        Span::millis((self.timing.renew_deadline.0 / 2).max(1))
    }

    /// What to ask now, if anything.
    pub fn tick(&mut self, now: Time) -> Option<Request> {
        self.standing = self.standing(now);
        if self.standing == Standing::Ended || self.asked.is_some() || now < self.next {
            return None;
        }
        let request = match (&self.seen, self.standing) {
            (Some((lease, _)), Standing::Leading { .. }) if lease.record.holder == self.me => {
                let record = Record { renewed: now, ..lease.record.clone() };
                Request::Replace { version: lease.version.clone(), record }
            }
            _ => Request::Read,
        };
        self.asked = Some((request.clone(), now));
        Some(request)
    }

    /// Takes the outcome of the request under way. Says what to ask at once, if anything.
    pub fn answered(&mut self, reply: Reply, now: Time) -> Option<Request> {
        let (request, sent) = self.asked.take()?;
        self.standing = self.standing(now);
        self.next = now.plus(self.timing.retry);
        if self.standing == Standing::Ended {
            return None;
        }
        match (request, reply) {
            (Request::Read, Reply::Missing) => self.ask(Request::Create(self.first_record(now, 0)), now),
            (Request::Read, Reply::Is(lease)) => {
                self.see(lease.clone(), now);
                self.try_to_take(lease, now)
            }
            (Request::Create(_) | Request::Replace { .. }, Reply::Is(lease)) => {
                // Counted from when it was sent: nobody can have seen it earlier.
                self.renewed_at = sent;
                self.standing = Standing::Leading { until: sent.plus(self.timing.duration) };
                self.next = sent.plus(self.timing.retry).max(now);
                self.see(lease, now);
                None
            }
            // What stands there now must be read before anything else is written.
            (_, Reply::Missing | Reply::Conflict | Reply::Unknown) => {
                let led = matches!(self.standing, Standing::Leading { .. });
                self.forget_version();
                if led {
                    self.next = now.plus(Span::millis(self.timing.retry.0 / 4))
                };
                None
            }
        }
    }

    /// What to write when the process ends, so that the next need not wait; nothing when the lease is not ours.
    pub fn give_back(&mut self, now: Time) -> Option<Request> {
        let leads = matches!(self.standing(now), Standing::Leading { .. });
        self.standing = Standing::Ended;
        let (lease, _) = self.seen.as_ref().filter(|_| leads && self.asked.is_none())?;
        let record = Record { holder: Text::default(), seconds: 1, renewed: now, ..lease.record.clone() };
        Some(Request::Replace { version: lease.version.clone(), record })
    }

    fn ask(&mut self, request: Request, now: Time) -> Option<Request> {
        self.asked = Some((request.clone(), now));
        Some(request)
    }

    fn see(&mut self, lease: Lease, now: Time) {
        if self.seen.as_ref().is_none_or(|(known, _)| *known != lease) {
            self.seen = Some((lease, now));
        }
    }

    /// The next request is a read; how long the known lease has looked as it does is not forgotten.
    fn forget_version(&mut self) {
        if let Standing::Leading { .. } = self.standing
            && let Some((lease, _)) = &mut self.seen
        {
            lease.version = Text::default();
            lease.record.holder = Text::default();
        }
    }

    fn try_to_take(&mut self, lease: Lease, now: Time) -> Option<Request> {
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        let record = &lease.record;
        if record.holder == self.me {
            // Ours, read after a write of unknown outcome: renew it.
            let record = Record { renewed: now, ..record.clone() };
            return self.ask(Request::Replace { version: lease.version, record }, now);
        }
        if let Standing::Leading { .. } = self.standing {
            self.standing = Standing::Ended;
            return None;
        }
        let patience = Span::seconds(record.seconds.max(1)).max(self.timing.duration);
        let is_free = record.holder.is_empty();
        if !is_free && now.since(since) < patience {
            return None;
        }
        let record = self.first_record(now, record.transitions.saturating_add(1));
        self.ask(Request::Replace { version: lease.version, record }, now)
    }

    fn first_record(&self, now: Time, transitions: i64) -> Record {
        let seconds = self.timing.duration.0.saturating_add(999) / 1000;
        Record { holder: self.me.clone(), seconds, acquired: now, renewed: now, transitions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        Lease {
            record: Record { holder: holder.into(), seconds: 15, ..Record::default() },
            version: version.into(),
        }
    }

    fn at(seconds: i64) -> Time {
        Time(seconds * 1000)
    }

    #[test]
    fn the_first_comer_makes_the_lease_and_leads_from_when_it_asked() {
        let mut elector = Elector::new("a", Timing::default());
        assert_eq!(elector.tick(at(0)), Some(Request::Read));
        let Some(Request::Create(record)) = elector.answered(Reply::Missing, at(1)) else {
            panic!("makes it")
        };
        assert_eq!((&*record.holder, record.seconds), ("a", 15));
        assert_eq!(elector.answered(Reply::Is(lease("a", "1")), at(3)), None);
        assert_eq!(elector.standing(at(3)), Standing::Leading { until: at(16) });
    }

    #[test]
    fn a_lease_is_taken_only_after_it_was_seen_unrenewed_for_its_whole_time() {
        let mut elector = Elector::new("b", Timing::default());
        for (now, version) in [(100, "1"), (102, "2"), (110, "2"), (116, "2")] {
            assert_eq!(elector.tick(at(now)), Some(Request::Read));
            assert_eq!(elector.answered(Reply::Is(lease("a", version)), at(now)), None, "at {now}");
        }
        assert_eq!(elector.tick(at(118)), Some(Request::Read));
        let asked = elector.answered(Reply::Is(lease("a", "2")), at(118));
        assert!(matches!(asked, Some(Request::Replace { record, .. }) if record.transitions == 1));
        assert_eq!(elector.answered(Reply::Conflict, at(118)), None);
        assert_eq!(elector.standing(at(118)), Standing::Following);
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let mut elector = Elector::new("b", Timing::default());
        assert_eq!(elector.tick(at(0)), Some(Request::Read));
        assert!(elector.answered(Reply::Is(lease("", "9")), at(0)).is_some());
    }

    #[test]
    fn a_leader_that_cannot_renew_ends_before_its_lease_does() {
        let mut elector = Elector::new("a", Timing::default());
        elector.tick(at(0));
        elector.answered(Reply::Missing, at(0));
        elector.answered(Reply::Is(lease("a", "1")), at(0));
        assert!(matches!(elector.tick(at(2)), Some(Request::Replace { .. })));
        assert_eq!(elector.answered(Reply::Unknown, at(4)), None);
        assert_eq!(elector.tick(at(5)), Some(Request::Read), "what stands there is read first");
        assert_eq!(elector.answered(Reply::Unknown, at(9)), None);
        assert_eq!(elector.wake_at(), at(9).plus(Span::millis(500)));
        assert_eq!(elector.standing(at(10)), Standing::Ended);
        assert_eq!(elector.tick(at(11)), None);
    }

    #[test]
    fn a_leader_that_reads_another_name_ends() {
        let mut elector = Elector::new("a", Timing::default());
        elector.tick(at(0));
        elector.answered(Reply::Missing, at(0));
        elector.answered(Reply::Is(lease("a", "1")), at(0));
        elector.tick(at(2));
        elector.answered(Reply::Conflict, at(2));
        assert_eq!(elector.tick(at(3)), Some(Request::Read));
        assert_eq!(elector.answered(Reply::Is(lease("b", "2")), at(3)), None);
        assert_eq!(elector.standing(at(3)), Standing::Ended);
    }

    #[test]
    fn a_leader_gives_the_lease_back_when_it_goes() {
        let mut elector = Elector::new("a", Timing::default());
        elector.tick(at(0));
        elector.answered(Reply::Missing, at(0));
        elector.answered(Reply::Is(lease("a", "1")), at(0));
        let Some(Request::Replace { version, record }) = elector.give_back(at(1)) else {
            panic!("gives back")
        };
        assert_eq!((&*version, &*record.holder, record.seconds), ("1", "", 1));
        assert_eq!(elector.standing(at(1)), Standing::Ended);
    }
}
