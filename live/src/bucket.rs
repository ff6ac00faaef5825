//! How fast requests may start: a bucket of tokens, as `--qps` and `--burst` say it.

use std::cell::RefCell;
use std::rc::Rc;

use tidegate_api::time::{Span, Time};

use crate::clock::WallClock;

/// Tokens that fill at a rate. Requests take them in the order they came.
#[derive(Clone, Debug)]
pub struct Bucket {
    state: Rc<RefCell<State>>,
    clock: WallClock,
}

/// The arithmetic, without a clock: in the manner of GCRA, it keeps the time at which the bucket would be full again.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Microseconds that one request costs; 0 means no limit.
    cost: i64,
    /// Microseconds a burst may run ahead.
    ahead: i64,
    /// Microseconds since the epoch at which the bucket is full again.
    full_at: i64,
    /// No request before this time (the server asked for quiet).
    quiet_until: Time,
}

impl Bucket {
    /// So many requests a second in the long run, so many at once. A rate of 0 or less means no limit, as in the
    /// reference's client library.
    pub fn new(qps: f64, burst: u32, clock: WallClock) -> Bucket {
        Bucket { state: Rc::new(RefCell::new(State::new(qps, burst))), clock }
    }

    /// Waits for a token.
    pub async fn take(&self) {
        let wait = self.state.borrow_mut().take(self.clock.now());
        if wait > Span::ZERO {
            tokio::time::sleep(std::time::Duration::from_millis(u64::try_from(wait.0).unwrap_or(0))).await;
        }
    }

    /// The server said that it has too much to do: nobody starts a request for so long.
    pub fn be_quiet_for(&self, span: Span) {
        let mut state = self.state.borrow_mut();
        state.quiet_until = state.quiet_until.max(self.clock.now().plus(span));
    }
}

impl State {
    fn new(qps: f64, burst: u32) -> State {
        let cost = if qps > 0.0 { (1_000_000.0 / qps).clamp(1.0, 1e12) as i64 } else { 0 };
        let ahead = cost.saturating_mul(i64::from(burst.max(1)));
        State { cost, ahead, full_at: 0, quiet_until: Time(0) }
    }

    /// Takes a token; says how long to wait for it.
    fn take(&mut self, now: Time) -> Span {
        let micros = now.0.saturating_mul(1000);
        self.full_at = self.full_at.max(micros).saturating_add(self.cost);
        let wait = self.full_at.saturating_sub(micros).saturating_sub(self.ahead).max(0);
        let quiet = self.quiet_until.since(now);
        Span::millis(wait.saturating_add(999) / 1000).max(quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut state = State::new(100.0, 3);
        let waits: Vec<i64> = (0..6).map(|_| state.take(Time(1_000)).0).collect();
        assert_eq!(waits, [0, 0, 0, 10, 20, 30]);
        assert_eq!(state.take(Time(2_000)).0, 0, "full again after a second");
    }

    #[test]
    fn without_a_rate_there_is_no_limit_and_quiet_is_kept() {
        let mut state = State::new(0.0, 1);
        assert!((0..1000).all(|_| state.take(Time(0)).0 == 0));
        state.quiet_until = Time(500);
        assert_eq!(state.take(Time(100)).0, 400);
    }
}
