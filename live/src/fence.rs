//! What stands between a controller that lost its lease and the cluster.
//!
//! A request that is under way when the lease ends may still be carried out after another controller has begun. So a
//! request gets only as much time as the lease certainly lasts, and one that would not get enough does not start (S27).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tidegate_api::time::{Span, Time};

/// Longest time a single request may take. As simulation pitfall 10 asks: 10 to 30 s, and under the lease's 15 s.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Least time that is worth starting a request for.
const WORTH_STARTING: Span = Span::millis(500);

/// Until when this process may write. Shared by the elector that moves it and the calls that ask it.
#[derive(Clone, Debug)]
pub struct Fence(Rc<Cell<Option<Time>>>);

impl Fence {
    /// A fence that never closes: a process that takes part in no election.
    pub fn open() -> Fence {
        Fence(Rc::new(Cell::new(Some(Time(i64::MAX)))))
    }

    /// A fence that is closed until an election is won.
    pub fn closed() -> Fence {
        Fence(Rc::new(Cell::new(None)))
    }

    /// Writes may be under way until then.
    pub fn hold_until(&self, then: Time) {
        self.0.set(Some(then));
    }

    /// Nothing may start any more.
    pub fn close(&self) {
        self.0.set(None);
    }

    /// How long a request that starts now may take; nothing when none may start.
    pub fn allows(&self, now: Time) -> Option<Duration> {
        let left = self.0.get()?.since(now);
        if left < WORTH_STARTING {
            return None;
        }
        Some(REQUEST_LIMIT.min(Duration::from_millis(u64::try_from(left.0).unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_outlives_the_lease() {
        let fence = Fence::closed();
        assert_eq!(fence.allows(Time(0)), None);
        fence.hold_until(Time(15_000));
        assert_eq!(fence.allows(Time(0)), Some(REQUEST_LIMIT));
        assert_eq!(fence.allows(Time(9_000)), Some(Duration::from_secs(6)));
        assert_eq!(fence.allows(Time(14_600)), None);
        assert_eq!(fence.allows(Time(20_000)), None);
        fence.close();
        assert_eq!(fence.allows(Time(0)), None);
        assert_eq!(Fence::open().allows(Time(0)), Some(REQUEST_LIMIT));
    }
}
