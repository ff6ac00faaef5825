//! Whether a sequence that was never shown in the simulator is the same story in other strides.

use serde_json::Value;
use tidegate_sim::reference::Difference;

/// Whether a sequence is one that the simulator merely did not happen to show.
pub(super) fn is_another_stride(difference: &Difference) -> bool {
    if difference.expected.len() < 2 {
        return false;
    }
    if difference.track.ends_with("/desired") {
        return goes_the_same_way(difference);
    }
    difference.track.contains("/condition/") && goes_round_as_often_as_it_likes(difference)
}

/// How many pods become ready at the same moment decides in how many strides a size goes from one turning point to the
/// next, and how far it gets before a person's command turns it. So where the simulator itself shows several ways, another
/// way is as good if it has the same ends, turns as often, each time between sizes at which the simulator was seen to
/// turn, and if every size that is common to all shown ways is passed through.
fn goes_the_same_way(difference: &Difference) -> bool {
    let sizes = |sequence: &[Value]| sequence.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
    let shown: Option<Vec<Vec<i64>>> = difference.expected.iter().map(|sequence| sizes(sequence)).collect();
    let (Some(shown), Some(got)) = (shown, sizes(&difference.got)) else { return false };
    let is_common = |size: &i64| shown.iter().all(|sequence| sequence.contains(size));
    let common = |sequence: &[i64]| sequence.iter().copied().filter(is_common).collect::<Vec<_>>();
    let turns = turning_points(&got);
    let alike: Vec<Vec<i64>> = shown
        .iter()
        .map(|sequence| turning_points(sequence))
        .filter(|points| {
            points.len() == turns.len() && points.first() == turns.first() && points.last() == turns.last()
        })
        .collect();
    let is_within = |(at, point): (usize, &i64)| {
        let seen = alike.iter().map(|points| points[at]);
        seen.clone().min().is_some_and(|least| least <= *point)
            && seen.max().is_some_and(|most| *point <= most)
    };
    turns.iter().enumerate().all(is_within) && shown.iter().any(|sequence| common(sequence) == common(&got))
}

/// A condition that goes to and fro while pods come one after the other does so more or less often.
fn goes_round_as_often_as_it_likes(difference: &Difference) -> bool {
    let got = without_rounds(&difference.got);
    difference.expected.iter().any(|sequence| without_rounds(sequence) == got)
}

/// The sequence with each pair that is repeated at once told once.
fn without_rounds(sequence: &[Value]) -> Vec<&Value> {
    let mut told: Vec<&Value> = Vec::new();
    for value in sequence {
        told.push(value);
        if let [.., a, b, c, d] = told[..]
            && a == c
            && b == d
        {
            told.truncate(told.len() - 2);
        }
    }
    told
}

fn turning_points(sizes: &[i64]) -> Vec<i64> {
    let mut turning: Vec<i64> = Vec::new();
    for size in sizes {
        if let [.., before, last] = turning[..]
            && (last - before).signum() == (size - last).signum()
        {
            turning.pop();
        }
        turning.push(*size);
    }
    turning
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(shown: &[&[i64]], got: &[i64], expected: bool) {
        let values = |sizes: &[i64]| sizes.iter().map(|size| json!(size)).collect::<Vec<_>>();
        let difference = Difference {
            track: "rs/rev1/desired".to_owned(),
            racy: true,
            expected: shown.iter().map(|sizes| values(sizes)).collect(),
            got: values(got),
        };
        assert_eq!(is_another_stride(&difference), expected, "{got:?}");
    }

    #[test]
    fn another_stride_turns_at_the_same_points() {
        let down_and_up: [&[i64]; 2] = [&[0, 8, 6, 4, 2, 6, 8], &[0, 8, 6, 5, 6, 8]];
        check(&down_and_up, &[0, 8, 6, 3, 2, 6, 7, 8], true);
        check(&down_and_up, &[0, 8, 6, 1, 6, 8], false);
        // Turned elsewhere, but between where it was seen to turn.
        check(&[&[0, 4, 8, 4, 0], &[0, 4, 0]], &[0, 4, 5, 1, 0], true);
        check(&[&[0, 4, 8, 4, 0], &[0, 4, 0]], &[0, 4, 9, 1, 0], false);
        check(&down_and_up, &[0, 8, 6, 5, 6, 7, 8], true);
        // Six pods are common to all ways: nobody goes past that size.
        check(&down_and_up, &[0, 8, 4, 2, 6, 8], false);
        // Where there is but one way, that is the way.
        check(&[&[0, 1, 2, 5]], &[0, 1, 5], false);
    }

    #[test]
    fn a_condition_may_go_to_and_fro_once_more() {
        let values = |words: &str| words.chars().map(|word| json!(word.to_string())).collect::<Vec<_>>();
        let difference = |got: &str| Difference {
            track: "rollout/web/condition/Progressing".to_owned(),
            racy: true,
            expected: vec![values("NUPUPUPUP"), values("NUPUPUP")],
            got: values(got),
        };
        assert!(is_another_stride(&difference("NUPUP")));
        assert!(!is_another_stride(&difference("NUPUPU")));
        assert!(!is_another_stride(&difference("NUPAPUP")));
    }

    #[test]
    fn turning_points_are_ends_and_reversals() {
        assert_eq!(turning_points(&[0, 8, 6, 4, 6, 7, 8]), [0, 8, 4, 8]);
        assert_eq!(turning_points(&[3]), [3]);
        assert_eq!(turning_points(&[]), Vec::<i64>::new());
    }
}
