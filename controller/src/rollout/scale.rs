//! How many pods each side gets: pure arithmetic in 64 bits.
//!
//! Without traffic routing the share of traffic *is* the share of pods, so a weight is approximated by pod counts
//! ([`approximate`]), and the two sides move towards it within what may surge and what may be missing ([`Basic::next`]).

use tidegate_api::spec::{Canary, IntOrPercent, Threshold};

/// The largest number of replicas that arithmetic is asked to carry; more than any cluster holds.
const MOST: i64 = 1 << 40;

/// How far the number of pods may stray from the wished one while versions change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Pods above the wished number.
    pub surge: i64,
    /// Pods that may be missing.
    pub unavailable: i64,
}

/// Pods of each side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Split {
    /// Of the canary.
    pub canary: i64,
    /// Of the stable set.
    pub stable: i64,
}

/// What is known of one ReplicaSet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// Wished pods.
    pub wished: i64,
    /// Available pods.
    pub available: i64,
}

/// Surge rounds up, missing pods round down; a text that is no number makes both 0, as in the reference.
fn resolve(surge: &IntOrPercent, unavailable: &IntOrPercent, n: i64) -> (i64, i64) {
    let value = |amount: &IntOrPercent, up: bool| match amount {
        IntOrPercent::Int(value) => Some(*value),
        IntOrPercent::Percent(percent) => Some(share(*percent, n, up)),
        IntOrPercent::Broken(_) => None,
    };
    match (value(surge, true), value(unavailable, false)) {
        (Some(surge), Some(unavailable)) => (surge.clamp(0, MOST), unavailable.clamp(0, MOST)),
        _ => (0, 0),
    }
}

fn share(percent: i64, n: i64, up: bool) -> i64 {
    let product = i128::from(percent) * i128::from(n.max(0));
    let rounded = if up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
    i64::try_from(rounded).unwrap_or(MOST)
}

impl Limits {
    /// Limits of a canary for `n` wished pods. Where both come out as 0 one pod may be missing, or nothing could move.
    pub fn of_canary(canary: &Canary, n: i64) -> Limits {
        let (surge, unavailable) = resolve(&canary.max_surge, &canary.max_unavailable, n);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Limits { surge, unavailable }
    }

    /// Limits of blue-green, used for restarts only.
    pub fn of_blue_green(max_unavailable: &IntOrPercent, n: i64) -> Limits {
        let (_, unavailable) = resolve(&IntOrPercent::Int(0), max_unavailable, n);
        Limits { surge: 0, unavailable: unavailable.min(n) }
    }

    /// How many of `n` pods may be missing: never more than there are.
    pub fn missing(&self, n: i64) -> i64 {
        self.unavailable.min(n).max(0)
    }
}

/// The numbers of pods that come nearest to `weight` parts of `of`, with a total of `n`, or one more where the surge
/// allows. A canary with any weight gets at least one pod, and a stable set with any weight keeps one.
pub fn approximate(n: i64, weight: i64, of: i64, surge: i64) -> Split {
    if n <= 0 {
        return Split { canary: 0, stable: 0 };
    }
    let (wide_n, wide_weight, wide_of) = (i128::from(n), i128::from(weight.max(0)), i128::from(of.max(1)));
    let narrow = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    let product = wide_n * wide_weight;
    let ceil = narrow((product + wide_of - 1) / wide_of);
    let floor = narrow(product / wide_of);
    // In the reference these are floating point numbers; whether 50 × 29 % is a tie depends on it.
    let ratio = weight as f64 / of.max(1) as f64;
    let tied = |total: i64| (total as f64 * ratio).fract() == 0.5;
    let zero_allowed = weight == of || weight == 0 || (n == 1 && surge == 0);
    let floor_fits = floor != 0 || zero_allowed;

    let mut options = Vec::with_capacity(4);
    if ceil < n || zero_allowed {
        options.push((ceil, n));
    }
    if !tied(n) && floor_fits {
        options.push((floor, n));
    }
    if surge > 0 {
        options.push((ceil, n + 1));
        if !tied(n + 1) && floor_fits {
            options.push((floor, n + 1));
        }
    }
    let distance =
        |&(canary, total): &(i64, i64)| (canary as f64 * of as f64 / total as f64 - weight as f64).abs();
    let mut best: Option<(i64, i64)> = None;
    for option in &options {
        if best.as_ref().is_none_or(|best| distance(option) < distance(best)) {
            best = Some(*option);
        }
    }
    match best {
        Some((canary, total)) => Split { canary, stable: total - canary },
        None => Split { canary: 0, stable: n },
    }
}

/// The situation of a canary without traffic routing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Basic {
    /// Wished pods.
    pub n: i64,
    /// Wished share of the canary, in hundredths.
    pub weight: i64,
    /// Limits.
    pub limits: Limits,
    /// The ReplicaSet of the current template.
    pub canary: Option<Count>,
    /// The stable ReplicaSet, if it is another one.
    pub stable: Option<Count>,
    /// Wished pods of all other ReplicaSets.
    pub older: i64,
}

impl Basic {
    /// Where both sides should be in the end.
    pub fn goal(&self) -> Split {
        match self.stable {
            Some(_) => approximate(self.n, self.weight, 100, self.limits.surge),
            None => Split { canary: self.n, stable: 0 },
        }
    }

    /// Where both sides should be next. One of the two moves at a time; the stable set goes first.
    pub fn next(&self) -> Split {
        let goal = self.goal();
        let canary = self.canary.map_or(0, |count| count.wished);
        let stable = self.stable.map_or(0, |count| count.wished);
        let most = self.n + self.limits.surge;
        let least = self.n - self.limits.missing(self.n);
        let mut next = Split { canary, stable };

        let mut room = most - (self.older + canary + stable);
        if self.stable.is_some() && stable < goal.stable && room > 0 {
            next.stable = goal.stable.min(stable + room);
            room -= next.stable - stable;
        }
        if self.canary.is_some() && canary < goal.canary && room > 0 {
            next.canary = goal.canary.min(canary + room);
        }
        // Older ReplicaSets must be gone before one of the two shrinks.
        if self.older > 0 {
            if room <= 0 && next.stable < goal.stable && self.is_stuck(least) {
                let idle = self.canary.map_or(0, |count| (count.wished - count.available).max(0));
                next.canary = canary.min(goal.canary.max(canary - idle));
            }
            return next;
        }
        let increasing = self.canary.is_none() || goal.canary >= canary;
        let budget = keepable(self.canary, !increasing) + keepable(self.stable, increasing);
        if budget <= least {
            return next;
        }
        let spare = budget - least;
        if !increasing {
            if canary > goal.canary {
                next.canary = goal.canary.max(canary - spare);
            }
            (next.canary, next.stable) =
                limit(self.canary, self.stable, next.canary, next.stable, most, least);
        } else if self.stable.is_some() {
            if stable > goal.stable {
                next.stable = goal.stable.max(stable - spare);
            }
            (next.stable, next.canary) =
                limit(self.stable, self.canary, next.stable, next.canary, most, least);
        }
        next
    }

    /// Whether older ReplicaSets have to stay because too few pods are available without them.
    // ARGO: in the reference an aborted update whose pods never came then keeps their places for ever, and the stable
    // set gets none. Pods that serve nobody may always go.
    fn is_stuck(&self, least: i64) -> bool {
        let available = |count: Option<Count>| count.map_or(0, |count| count.available);
        self.older + available(self.canary) + available(self.stable) <= least
    }
}

/// Pods of a ReplicaSet that count as kept. Pods that are not available do not, except on the side that grows.
fn keepable(count: Option<Count>, ignore_availability: bool) -> i64 {
    match count {
        None => 0,
        Some(count) if count.wished < count.available || ignore_availability => count.wished,
        Some(count) => count.available,
    }
}

/// Keeps the sum under the ceiling without losing available pods that are needed: the other side gives first, and
/// where that would cost too much the side that drains gives more.
fn limit(drain: Option<Count>, other: Option<Count>, d: i64, o: i64, most: i64, least: i64) -> (i64, i64) {
    let (mut d, mut o) = (d, o);
    let mut over = (o + d - most).max(0);
    let mut have = drain.map_or(0, |count| count.available.min(d));
    if let Some(other) = other {
        o -= over;
        have += other.available.min(o);
        let lost = (other.available - o).max(0);
        let need = (least - have).max(0);
        o += lost.min(need);
        over = (o + d - most).max(0);
        d -= over;
    }
    (d, o)
}

/// Whether so many available pods are enough for `desired` ones. One predicate for steps, promotion and capacity.
pub fn is_enough(threshold: Option<Threshold>, count: Option<Count>, desired: i64) -> bool {
    let Some(count) = count else { return false };
    match threshold {
        Some(Threshold::Percent(percent)) if percent >= 0 => {
            desired == 0 || i128::from(count.available) * 100 >= i128::from(percent) * i128::from(desired)
        }
        Some(Threshold::Pods(pods)) if pods >= 0 => count.available >= pods,
        _ => count.wished == desired && count.available == desired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_api::spec::IntOrPercent::{Broken, Int, Percent};

    fn canary(surge: IntOrPercent, unavailable: IntOrPercent) -> Canary {
        Canary { max_surge: surge, max_unavailable: unavailable, ..Canary::default() }
    }

    /// Five pods, three may be missing, none may surge: two of an older revision serve, three new ones never came.
    #[test]
    fn pods_that_never_came_make_room_for_the_stable_ones_while_older_ones_serve() {
        let count = |wished, available| Some(Count { wished, available });
        let limits = Limits { surge: 0, unavailable: 3 };
        let stuck = Basic { n: 5, weight: 0, limits, canary: count(3, 0), stable: count(0, 0), older: 2 };
        assert_eq!(stuck.next(), Split { canary: 0, stable: 0 });
        let freed = Basic { canary: count(0, 0), ..stuck };
        assert_eq!(freed.next(), Split { canary: 0, stable: 3 });
        let older_can_go = Basic { limits: Limits { surge: 0, unavailable: 4 }, ..stuck };
        assert_eq!(older_can_go.next(), Split { canary: 3, stable: 0 }, "they go first, as in the reference");
    }

    /// Vectors S1 to S10.
    #[test]
    fn surge_rounds_up_and_unavailable_rounds_down() {
        let check = |surge: IntOrPercent, unavailable: IntOrPercent, n: i64, want: (i64, i64)| {
            let got = Limits::of_canary(&canary(surge.clone(), unavailable.clone()), n);
            assert_eq!((got.surge, got.unavailable), want, "{surge:?} {unavailable:?} of {n}");
        };
        check(Percent(0), Percent(0), 0, (0, 1));
        check(Percent(39), Percent(39), 10, (4, 3));
        assert_eq!(resolve(&Broken("oops".into()), &Percent(39), 10), (0, 0));
        assert_eq!(resolve(&Percent(55), &Broken("urg".into()), 10), (0, 0));
        check(Int(0), Percent(39), 10, (0, 3));
        check(Percent(39), Int(0), 10, (4, 0));
        check(Int(0), Int(0), 10, (0, 1));
        for (unavailable, n, want) in [
            (Int(5), 10, 5),
            (Int(10), 10, 10),
            (Int(10), 5, 5),
            (Int(10), 0, 0),
            (Percent(50), 10, 5),
            (Percent(100), 5, 5),
        ] {
            assert_eq!(Limits::of_canary(&canary(Int(1), unavailable), n).missing(n), want);
        }
        assert_eq!(Limits::of_blue_green(&Percent(25), 1).unavailable, 0);
    }

    /// Vectors W1 to W9.
    #[test]
    fn weights_become_the_nearest_numbers_of_pods() {
        let check = |rows: &[(i64, i64, i64, i64, i64)]| {
            for &(n, weight, surge, canary, stable) in rows {
                assert_eq!(
                    approximate(n, weight, 100, surge),
                    Split { canary, stable },
                    "{n} {weight} {surge}"
                );
            }
        };
        check(&[(0, 0, 0, 0, 0), (0, 50, 0, 0, 0), (0, 100, 0, 0, 0), (0, 50, 1, 0, 0)]);
        check(&[
            (1, 0, 0, 0, 1),
            (1, 1, 0, 0, 1),
            (1, 49, 0, 0, 1),
            (1, 50, 0, 1, 0),
            (1, 99, 0, 1, 0),
            (1, 100, 0, 1, 0),
        ]);
        check(&[
            (1, 0, 1, 0, 1),
            (1, 1, 1, 1, 1),
            (1, 49, 1, 1, 1),
            (1, 50, 1, 1, 1),
            (1, 99, 1, 1, 1),
            (1, 100, 1, 1, 0),
        ]);
        check(&[(2, 0, 0, 0, 2), (2, 1, 0, 1, 1), (2, 50, 0, 1, 1), (2, 99, 0, 1, 1), (2, 100, 0, 2, 0)]);
        check(&[(2, 0, 1, 0, 2), (2, 1, 1, 1, 2), (2, 50, 1, 1, 1), (2, 99, 1, 2, 1), (2, 100, 1, 2, 0)]);
        check(&[
            (3, 10, 0, 1, 2),
            (3, 25, 0, 1, 2),
            (3, 33, 0, 1, 2),
            (3, 34, 0, 1, 2),
            (3, 49, 0, 1, 2),
            (3, 50, 0, 2, 1),
        ]);
        check(&[
            (3, 10, 1, 1, 3),
            (3, 25, 1, 1, 3),
            (3, 33, 1, 1, 2),
            (3, 34, 1, 1, 2),
            (3, 49, 1, 2, 2),
            (3, 50, 1, 2, 2),
        ]);
        check(&[
            (10, 1, 0, 1, 9),
            (10, 14, 0, 1, 9),
            (10, 15, 0, 2, 8),
            (10, 16, 0, 2, 8),
            (10, 99, 0, 9, 1),
        ]);
        check(&[
            (10, 0, 1, 0, 10),
            (10, 1, 1, 1, 10),
            (10, 18, 1, 2, 9),
            (10, 19, 1, 2, 9),
            (10, 20, 1, 2, 8),
        ]);
        check(&[
            (10, 23, 1, 2, 8),
            (10, 24, 1, 3, 8),
            (10, 25, 1, 3, 8),
            (10, 99, 1, 10, 1),
            (10, 100, 1, 10, 0),
        ]);
    }

    fn count(text: &str) -> Option<Count> {
        let (wished, available) = text.split_once('/')?;
        Some(Count { wished: wished.parse().ok()?, available: available.parse().ok()? })
    }

    #[expect(clippy::type_complexity, reason = "a table of vectors")]
    /// Vectors B1 to B34: N, weight, surge, unavailable, stable, canary, older → canary, stable.
    #[test]
    fn both_sides_move_within_the_limits() {
        let rows: &[(i64, i64, IntOrPercent, IntOrPercent, &str, &str, i64, i64, i64)] = &[
            (10, 100, Int(3), Int(0), "7/8", "6/3", 0, 6, 7),
            (10, 20, Int(2), Int(0), "10/10", "0/0", 0, 2, 10),
            (10, 20, Percent(20), Int(0), "10/10", "0/0", 0, 2, 10),
            (10, 20, Percent(20), Int(0), "10/10", "2/2", 0, 2, 8),
            (10, 30, Int(2), Int(0), "10/10", "0/0", 0, 2, 10),
            (10, 20, Int(0), Int(2), "10/10", "0/0", 0, 0, 8),
            (10, 20, Int(0), Percent(20), "10/10", "0/0", 0, 0, 8),
            (10, 30, Int(0), Int(2), "10/10", "0/0", 0, 0, 8),
            (10, 50, Int(2), Int(1), "10/10", "0/0", 0, 2, 9),
            (10, 0, Int(1), Int(1), "10/10", "1/1", 0, 0, 10),
            (10, 100, Int(1), Int(1), "1/1", "10/10", 0, 10, 0),
            (1, 20, Int(1), Int(0), "1/1", "0/0", 0, 1, 1),
            (1, 90, Int(1), Int(0), "1/1", "0/0", 0, 1, 1),
            (1, 49, Int(0), Int(1), "1/1", "0/0", 0, 0, 1),
            (1, 51, Int(0), Int(1), "1/1", "0/0", 0, 0, 0),
            (1, 51, Int(0), Int(1), "0/0", "0/0", 0, 1, 0),
            (10, 30, Int(1), Int(0), "1/1", "0/0", 3, 1, 7),
            (10, 30, Int(0), Int(3), "8/5", "4/4", 0, 3, 7),
            (10, 100, Int(1), Int(0), "10/2", "10/8", 0, 9, 2),
            (10, 30, Int(0), Int(1), "8/6", "4/2", 3, 4, 8),
            (10, 5, Int(0), Int(1), "10/10", "0/0", 0, 0, 9),
            (10, 5, Int(0), Int(1), "9/9", "0/0", 0, 1, 9),
            (10, 10, Percent(0), Percent(0), "10/10", "0/0", 0, 0, 9),
            (4, 100, Int(1), Int(0), "4/1", "0/0", 0, 1, 4),
            (3, 99, Int(0), Int(2), "3/3", "0/0", 0, 0, 1),
            (3, 99, Int(0), Int(2), "1/1", "0/0", 0, 2, 1),
            (4, 100, Int(1), Int(0), "4/1", "1/1", 0, 1, 3),
            (4, 0, Int(1), Int(0), "0/0", "4/4", 0, 4, 1),
            (4, 0, Int(1), Int(0), "1/0", "4/4", 0, 4, 1),
            (4, 0, Int(1), Int(0), "1/1", "4/4", 0, 3, 1),
            (4, 100, Int(4), Int(4), "4/4", "0/0", 0, 4, 0),
            (4, 100, Int(3), Int(0), "4/4", "0/0", 0, 3, 4),
            (10, 10, Int(0), Int(1), "-", "10/0", 0, 10, 0),
            (10, 10, Int(0), Int(1), "-", "9/9", 0, 10, 0),
            // B37 and B38
            (10, 100, Int(3), Int(0), "9/9", "4/4", 0, 4, 6),
            (10, 20, Int(1), Int(0), "5/5", "0/0", 0, 2, 8),
        ];
        for (row, (n, weight, surge, unavailable, stable, new, older, want_canary, want_stable)) in
            rows.iter().enumerate()
        {
            let limits = Limits::of_canary(&canary(surge.clone(), unavailable.clone()), *n);
            let basic = Basic {
                n: *n,
                weight: *weight,
                limits,
                canary: count(new),
                stable: count(stable),
                older: *older,
            };
            let got = basic.next();
            assert_eq!((got.canary, got.stable), (*want_canary, *want_stable), "B{}", row + 1);
        }
    }

    /// Vector B43.
    #[test]
    fn unavailable_pods_are_not_kept() {
        assert_eq!(keepable(None, false), 0);
        assert_eq!(keepable(count("3/5"), false), 3);
        assert_eq!(keepable(count("3/2"), true), 3);
        assert_eq!(keepable(count("3/2"), false), 2);
    }

    /// Vectors R1 to R7.
    #[test]
    fn a_threshold_says_when_it_is_enough() {
        let check = |threshold, counted: &str, desired, want| {
            assert_eq!(
                is_enough(threshold, count(counted), desired),
                want,
                "{threshold:?} {counted} of {desired}"
            );
        };
        check(Some(Threshold::Percent(90)), "10/9", 10, true);
        check(Some(Threshold::Percent(90)), "10/8", 10, false);
        check(Some(Threshold::Pods(9)), "10/9", 10, true);
        check(Some(Threshold::Pods(8)), "10/7", 10, false);
        check(Some(Threshold::Pods(-100)), "10/10", 10, true);
        check(None, "5/10", 10, false);
        check(None, "-", 10, false);
        check(Some(Threshold::Percent(100)), "10/100", 10, true);
        check(Some(Threshold::Percent(90)), "0/0", 0, true);
    }

    proptest! {
        #[test]
        fn any_input_in_range_gives_a_sane_result(
            n in 0_i64..=1_000_000, weight in 0_i64..=100, surge in 0_i64..=2_000_000, unavailable in 0_i64..=2_000_000,
            canary in 0_i64..=1_000_000, stable in 0_i64..=1_000_000, ready in 0_i64..=100, older in 0_i64..=1000,
        ) {
            let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
            let limits = Limits { surge, unavailable };
            let side = |wished: i64| Some(Count { wished, available: wished * ready / 100 });
            let basic = Basic { n, weight, limits, canary: side(canary), stable: side(stable), older };
            let goal = basic.goal();
            prop_assert!(goal.canary >= 0 && goal.stable >= 0);
            prop_assert!(goal.canary + goal.stable == n || goal.canary + goal.stable == n + 1);
            let next = basic.next();
            prop_assert!(next.canary >= 0 && next.stable >= 0);
            // What grows stays under the ceiling.
            if next.canary + next.stable > canary + stable {
                prop_assert!(older + next.canary + next.stable <= n + surge);
            }
            // A side that shrinks leaves enough available pods, if there were enough.
            let available = |side: Option<Count>, wished: i64| side.map_or(0, |c| c.available.min(wished));
            let before = available(basic.canary, canary) + available(basic.stable, stable);
            let after = available(basic.canary, next.canary) + available(basic.stable, next.stable);
            let least = n - limits.missing(n);
            prop_assert!(after >= least.min(before), "{basic:?} -> {next:?}");
        }

        #[test]
        fn a_share_is_the_whole_number_next_to_the_exact_one(percent in 0_i64..=300, n in 0_i64..=1_000_000) {
            let (down, up) = (share(percent, n, false), share(percent, n, true));
            prop_assert!(down * 100 <= percent * n && percent * n <= up * 100 && up - down <= 1);
        }

        #[test]
        fn extreme_numbers_do_not_overflow(n in 0_i64..=i64::from(i32::MAX), weight in 0_i64..=100_000_000, surge in 0_i64..=i64::from(i32::MAX)) {
            let split = approximate(n, weight, 100_000_000, surge);
            prop_assert!(split.canary >= 0 && split.stable >= 0);
        }
    }
}
