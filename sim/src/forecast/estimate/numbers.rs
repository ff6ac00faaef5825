//! Chance in numbers: draws of a binomial, and how sure an estimate is.
//!
//! Only sums, products, quotients and square roots are used: they are the same on every machine.

use std::cmp::Ordering;

use crate::dice::Dice;

/// 95 % of a normal distribution lie so many standard deviations around its middle.
const Z: f64 = 1.959_963_984_540_054;
/// What is less likely than this never comes.
const NEVER: f64 = 1e-18;

/// How many of so many requests go wrong: each count with its probability.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Binomial {
    /// The smallest count that is likely at all.
    first: i64,
    /// Probabilities from there on.
    shares: Vec<f64>,
    /// Their sums.
    sums: Vec<f64>,
}

impl Binomial {
    /// Of `requests`, each goes wrong with probability `rate`.
    pub fn new(requests: i64, rate: f64) -> Binomial {
        let requests = requests.max(0);
        if rate <= 0.0 || requests == 0 {
            return Binomial::certain(0);
        }
        if rate >= 1.0 {
            return Binomial::certain(requests);
        }
        // From the most likely count outwards, each probability follows from its neighbour.
        let mode = (((requests + 1) as f64 * rate).floor() as i64).clamp(0, requests);
        let odds = rate / (1.0 - rate);
        let (mut below, mut above) = (Vec::new(), vec![1.0]);
        let (mut count, mut share) = (mode, 1.0);
        while count > 0 && share > NEVER {
            share *= count as f64 / ((requests - count + 1) as f64 * odds);
            count -= 1;
            below.push(share);
        }
        let first = count;
        (count, share) = (mode, 1.0);
        while count < requests && share > NEVER {
            share *= (requests - count) as f64 * odds / (count + 1) as f64;
            count += 1;
            above.push(share);
        }
        below.reverse();
        below.append(&mut above);
        let all: f64 = below.iter().sum();
        let shares: Vec<f64> = below.into_iter().map(|share| share / all).collect();
        let mut sum = 0.0;
        let add = |share: &f64| {
            sum += share;
            sum
        };
        let sums = shares.iter().map(add).collect();
        Binomial { first, shares, sums }
    }

    fn certain(count: i64) -> Binomial {
        Binomial { first: count, shares: vec![1.0], sums: vec![1.0] }
    }

    /// Each count that is likely at all, with its probability.
    pub fn counts(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        (self.first..).zip(self.shares.iter().copied())
    }

    /// One count, drawn.
    pub fn draw(&self, dice: &mut Dice) -> i64 {
        if self.shares.len() == 1 {
            return self.first;
        }
        let even = (dice.number() >> 11) as f64 / (1_u64 << 53) as f64;
        let place = self.sums.partition_point(|sum| *sum <= even).min(self.shares.len() - 1);
        self.first.saturating_add(i64::try_from(place).unwrap_or(i64::MAX))
    }
}

/// A figure, and between which bounds it truly lies, in 95 of 100 such estimates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// A proportion with Wilson's interval, which is right also where nothing or everything was seen.
pub fn proportion(seen: usize, of: usize) -> Figure {
    if of == 0 {
        return Figure { value: f64::NAN, low: 0.0, high: 1.0 };
    }
    let (count, share) = (of as f64, seen as f64 / of as f64);
    let scale = 1.0 + Z * Z / count;
    let middle = (share + Z * Z / (2.0 * count)) / scale;
    let half = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt() / scale;
    Figure {
        value: share,
        low: if seen == 0 { 0.0 } else { middle - half },
        high: if seen == of { 1.0 } else { middle + half },
    }
}

/// The mean, by the normal law that means of many follow; nothing of nothing.
pub fn mean(values: &[f64]) -> Option<Figure> {
    let count = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let value = values.iter().sum::<f64>() / count;
    let spread = values.iter().map(|one| (one - value) * (one - value)).sum::<f64>() / (count - 1.0).max(1.0);
    let half = Z * (spread / count).sqrt();
    Some(Figure { value, low: value - half, high: value + half })
}

/// The value that 95 of 100 do not exceed. Its bounds are values too: so many places up and down as chance moves it.
pub fn percentile_95(values: &mut [f64]) -> Option<Figure> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let count = values.len() as f64;
    let half = Z * (count * 0.95 * 0.05).sqrt();
    let at = |rank: f64| {
        let place = usize::try_from(rank.ceil() as i64 - 1).unwrap_or(0);
        values.get(place.min(values.len().saturating_sub(1))).copied()
    };
    let rank = count * 0.95;
    Some(Figure { value: at(rank)?, low: at(rank - half)?, high: at(rank + half)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binomial_is_that_of_the_book() {
        let three = Binomial::new(3, 0.5);
        assert_eq!(three.counts().collect::<Vec<_>>(), [(0, 0.125), (1, 0.375), (2, 0.375), (3, 0.125)]);
        // 0.98^100, and 100 * 0.02 * 0.98^99.
        let share =
            |count: i64| Binomial::new(100, 0.02).counts().find(|(one, _)| *one == count).map(|(_, p)| p);
        assert!((share(0).expect("likely") - 0.132_619_555_894_753).abs() < 1e-12);
        assert!((share(1).expect("likely") - 0.270_652_154_887_251).abs() < 1e-12);
        for (requests, rate) in [(0, 0.3), (7, 0.0), (7, 1.0), (1_000_000, 0.001), (50, 0.999_999)] {
            let binomial = Binomial::new(requests, rate);
            let (sum, mean) =
                binomial.counts().fold((0.0, 0.0), |(sum, mean), (k, p)| (sum + p, mean + k as f64 * p));
            assert!(
                (sum - 1.0).abs() < 1e-9 && (mean - requests as f64 * rate).abs() < 1e-3,
                "{requests} {rate}: {mean}"
            );
        }
    }

    #[test]
    fn draws_follow_their_probabilities() {
        let (binomial, mut dice) = (Binomial::new(20, 0.1), Dice::new(7, "draws"));
        let drawn: Vec<i64> = (0..20_000).map(|_| binomial.draw(&mut dice)).collect();
        for (count, share) in binomial.counts().filter(|(_, share)| *share > 0.001) {
            let seen = drawn.iter().filter(|one| **one == count).count();
            let Figure { low, high, .. } = proportion(seen, drawn.len());
            let slack = (high - low) / 2.0;
            assert!(low - slack < share && share < high + slack, "{count}: {seen} of 20000, {share}");
        }
    }

    #[test]
    fn the_interval_of_a_proportion_is_wilsons() {
        let close = |figure: Figure, low: f64, high: f64| {
            assert!((figure.low - low).abs() < 5e-5 && (figure.high - high).abs() < 5e-5, "{figure:?}");
        };
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        close(proportion(81, 263), 0.2553, 0.3662);
        close(proportion(15, 148), 0.0624, 0.1605);
        close(proportion(0, 20), 0.0, 0.1611);
        close(proportion(1, 29), 0.0061, 0.1718);
        close(proportion(20, 20), 0.8389, 1.0);
    }

    #[test]
    fn a_mean_and_a_percentile_have_bounds_around_them() {
        let mut values: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
        let figure = mean(&values).expect("values");
        assert_eq!((figure.value, figure.low.round(), figure.high.round()), (500.5, 483.0, 518.0));
        let Figure { value, low, high } = percentile_95(&mut values).expect("values");
        assert_eq!((value, low, high), (950.0, 937.0, 964.0));
        assert_eq!((mean(&[]), percentile_95(&mut [])), (None, None));
        assert_eq!(percentile_95(&mut [3.0]).map(|figure| figure.value), Some(3.0));
    }
}
