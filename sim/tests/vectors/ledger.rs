//! The list of all vectors: each is checked here, checked by a unit test elsewhere, or waits.

use std::collections::BTreeSet;

/// Families and how many vectors each has.
const FAMILIES: &[(&str, usize)] = &[
    ("H", 11),
    ("S", 10),
    ("W", 9),
    ("B", 43),
    ("T", 20),
    ("A", 17),
    ("R", 11),
    ("K", 8),
    ("P", 21),
    ("U", 9),
    ("G", 19),
    ("E", 10),
    ("X", 25),
    ("C", 6),
    ("AX", 32),
];

/// Vectors of pure functions stand beside the function: their numbers, the file, the name of the test.
const ELSEWHERE: &[(&str, &[usize], &str, &str)] = &[
    ("H", &[1, 3], CANONICAL, "templates_hash_as_in_the_reference"),
    ("H", &[2, 5], CANONICAL, "the_collision_count_changes_the_hash_even_when_zero"),
    ("H", &[4, 10], CANONICAL, "amounts_hash_by_their_canonical_form"),
    ("H", &[6, 7, 8], CANONICAL, "steps_hash_as_in_the_reference"),
    ("S", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], SCALE, "surge_rounds_up_and_unavailable_rounds_down"),
    ("W", &[1, 2, 3, 4, 5, 6, 7, 8, 9], SCALE, "weights_become_the_nearest_numbers_of_pods"),
    (
        "B",
        &[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
            27, 28, 29, 30, 31, 32, 33, 34,
        ],
        SCALE,
        "both_sides_move_within_the_limits",
    ),
    ("B", &[43], SCALE, "unavailable_pods_are_not_kept"),
    ("R", &[1, 2, 3, 4, 5, 6, 7], SCALE, "a_threshold_says_when_it_is_enough"),
];

const SCALE: &str = include_str!("../../../controller/src/rollout/scale.rs");
const CANONICAL: &str = include_str!("../../../api/src/schema/canonical.rs");

const ROUTING: &str = "needs traffic routing";
const ANALYSIS: &str = "needs analyses played to their end";
const EXPERIMENTS: &str = "needs experiments";
const JOBS: &str = "needs Jobs in the invented cluster";
const PLUGINS: &str = "needs step plugins";

/// What cannot be checked yet, and what it waits for.
const WAITING: &[(&str, &[usize], &str)] = &[
    ("T", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], ROUTING),
    ("A", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], ROUTING),
    ("K", &[7, 8], ANALYSIS),
    ("X", &[15, 16, 17, 18], PLUGINS),
    ("X", &[25], ROUTING),
    ("C", &[2], ANALYSIS),
    ("AX", &[13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26], EXPERIMENTS),
    ("AX", &[29, 30, 31], JOBS),
    ("AX", &[32], ANALYSIS),
];

/// Every vector is in exactly one of the lists, and the tests elsewhere exist.
pub fn check() {
    let known: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|(family, count)| (1..=*count).map(move |n| format!("{family}{n}")))
        .collect();
    let mut listed: Vec<String> = crate::all().map(|vector| vector.id.to_owned()).collect();
    listed.retain(|id| {
        let whole = id.split('/').next().unwrap_or(id);
        assert!(known.contains(whole), "{id} is no vector");
        whole == id
    });
    for (family, numbers, text, test) in ELSEWHERE {
        assert!(text.contains(&format!("fn {test}()")), "there is no test {test}");
        listed.extend(numbers.iter().map(|n| format!("{family}{n}")));
    }
    for (family, numbers, why) in WAITING {
        assert!(why.starts_with("needs "));
        listed.extend(numbers.iter().map(|n| format!("{family}{n}")));
    }
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    let twice: Vec<&String> =
        once.iter().filter(|id| listed.iter().filter(|l| l == id).count() > 1).collect();
    assert!(twice.is_empty(), "in two lists: {twice:?}");
    let forgotten: Vec<&String> = known.difference(&once).collect();
    assert!(forgotten.is_empty(), "neither checked nor waiting: {forgotten:?}");
    let unknown: Vec<&String> = once.difference(&known).collect();
    assert!(unknown.is_empty(), "no vectors: {unknown:?}");
}
