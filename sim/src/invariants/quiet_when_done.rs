//! L2: at rest nothing is written, also not by a controller that was started anew.

use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant.
#[derive(Default)]
pub struct QuietWhenDone {
    rests: bool,
}

impl Invariant for QuietWhenDone {
    fn name(&self) -> &'static str {
        "L2"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>) -> Result<(), Violation> {
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
        Ok(())
    }

    fn at_rest(&mut self, _world: &World) -> Result<(), Violation> {
        self.rests = true;
        Ok(())
    }
}
