//! What time it is: the wall clock as it was at the start, moved on by a clock that nobody sets.
//!
//! Pauses and delays are kept in the cluster as wall-clock times. A jump of the machine's clock (NTP, a suspended
//! machine, a person) would end a pause of an hour at once or stretch it for a day, so the wall clock is read once.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidegate_api::time::{Span, Time};

/// The clock of this process.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    start: Time,
    since: Instant,
}

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the clock that the seam stands for"
)]
impl WallClock {
    /// Reads the wall clock, for the only time.
    pub fn start() -> WallClock {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Time(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX));
        WallClock { start, since: Instant::now() }
    }

    /// The time of this instant.
    pub fn now(&self) -> Time {
        let elapsed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start.plus(Span::millis(elapsed))
    }

    /// How long it is until then; nothing when then is past.
    pub fn until(&self, then: Time) -> std::time::Duration {
        let span = then.since(self.now()).0.max(0);
        std::time::Duration::from_millis(u64::try_from(span).unwrap_or(0))
    }
}

/// Measures how long something takes, finer than [`WallClock`] does. For metrics; nothing is decided on it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

#[allow(clippy::disallowed_methods, reason = "this is the clock that the seam stands for")]
impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// The wall clock for log lines, RFC 3339 with milliseconds. Lines follow the machine's clock, jumps and all, because
/// they are read beside those of others.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "logs only")]
pub fn stamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// CPU time of this process so far, in the hundredths of a second in which Linux tells it; nothing elsewhere.
pub fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold blanks and brackets; all that follows it does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (user, system) = (fields.nth(11)?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some((user.saturating_add(system)) as f64 / 100.0)
}
