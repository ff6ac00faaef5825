//! Releases under real requests: Traefik before pods that really answer, and nobody may notice.
//!
//! Everything runs in a network of its own. By default a few stories are played; `cargo xtask requests` plays all.

#[path = "real_requests/bed.rs"]
mod bed;
#[path = "real_requests/stories.rs"]
mod stories;

use std::process::ExitCode;

use tidegate_testbed::requests::{self, Case};
use tidegate_testbed::{Suite, controller, programs, run_tests_apart};

fn main() -> ExitCode {
    let mut suite = Suite::default()
        .test("pods_answer_until_they_are_told_and_a_while_longer", bed::life)
        .test("a_split_by_hand_through_a_traefik_service", bed::traefik_service)
        .test("a_split_by_hand_through_an_http_route", bed::http_route)
        .test("an_empty_service_takes_a_traefik_service_away", bed::empty_service)
        .test("what_goes_wrong_is_counted", bed::failures);
    for case in Case::all() {
        let play = move |cluster| stories::play(cluster, case);
        suite = match case.is_played_each_time() {
            true => suite.test(&case.name(), play),
            false => suite.rare(&case.name(), play),
        };
    }
    run_tests_apart(suite, |settings| {
        if let Err(missing) = programs::Programs::get(settings)? {
            return Ok(Err(missing));
        }
        controller::program()?;
        Ok(requests::build()?.map(drop))
    })
}
