//! L2: at rest nothing is written, also not by a controller that was started anew.

use super::view::Views;
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// Writes within one second that nobody else's write asked for. More than any plan of a few passes has.
const MOST: u32 = 60;

/// The invariant.
#[derive(Default)]
pub struct QuietWhenDone {
    rests: bool,
    /// The second, and the writes of the controller in it since anybody else wrote.
    since: (i64, u32),
}

impl Invariant for QuietWhenDone {
    fn name(&self) -> &'static str {
        "L2"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        if matches!(what, Happened::Turned) {
            self.rests = false;
        }
        let Happened::Stored { by, after, before, .. } = what else { return Ok(()) };
        if *by == Writer::Controller && self.rests {
            let object = after.or(*before).map(|object| object.key());
            return Err(Violation::new(
                self.name(),
                world,
                format!("{object:?} is written though nothing happened"),
            ));
        }
        self.rests = false;
        let second = world.now().stamp().0;
        let count = if *by != Writer::Controller || self.since.0 != second { 0 } else { self.since.1 + 1 };
        self.since = (second, count);
        if count > MOST {
            return Err(Violation::new(
                self.name(),
                world,
                "the controller writes for ever, and nobody else does",
            ));
        }
        Ok(())
    }

    fn at_rest(&mut self, _world: &World) -> Result<(), Violation> {
        self.rests = true;
        Ok(())
    }
}
