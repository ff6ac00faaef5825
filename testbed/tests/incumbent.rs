//! The kept stories with `tidegate controller` on a real server, held to the recordings of the incumbent.

use std::process::ExitCode;
use std::sync::Arc;

use tidegate_testbed::stories::{self, Folder};
use tidegate_testbed::{Cluster, Suite, TestResult, run_tests};

/// A busy machine lets one story or another go in other strides, each time another one; each is told. One that differs each
/// time has a line in `timing.allow`.
const MAY_DIFFER: usize = 3;

fn main() -> ExitCode {
    run_tests(Suite::default().test("stories_come_out_as_recorded", recorded))
}

async fn recorded(cluster: Arc<Cluster>) -> TestResult {
    let tally = stories::compare(&cluster, &Folder::of_the_repository()).await?;
    println!("{tally}");
    match tally.played() <= tally.equal_state() + MAY_DIFFER {
        true => Ok(()),
        false => Err("stories differ".into()),
    }
}
