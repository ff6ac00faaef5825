//! Held to the incumbent: recordings of what Argo Rollouts 1.10 did on a real API server, and our plays beside them.
//!
//! A *story* ([`story`]) is a handful of objects and a script. While it is played, every version of every object the
//! API server stores is a [`Sighting`]; [`Play`] gathers them and answers the script's waits. Afterwards [`tracks`]
//! boils them down: one track an independent thing (the phase of a rollout, the wished replicas of one revision) and
//! the distinct values it took, with everything that differs from play to play replaced by lasting names. A
//! [`Recording`] holds the incumbent's tracks, [`differences`] lays ours beside it, and a [`Tally`] says it to people.
//!
//! Nothing here knows the simulator: objects come as JSON values, so that recordings of any API server would do.

mod allowed;
mod driver;
mod names;
mod play;
mod read;
mod record;
mod recording;
mod states;
pub mod story;
mod tally;
mod tracks;
mod wait;
mod writes;

pub use allowed::{AllowError, Departure, Pattern, allowances};
pub use driver::play;
pub use names::{Names, Place};
pub use play::Play;
pub use record::Record;
pub use recording::{Difference, Recording, RecordingError, differences, is_about_events};
pub use story::{Step, Story, StoryError, Wait};
pub use tally::{Outcome, Tally};
pub use tracks::{Sighting, tracks};
