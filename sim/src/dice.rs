//! Chance, drawn from one seed with a stream of its own for each concern.
//!
//! A draw added to one model must not change what all others draw: seeds that once showed a bug keep showing it. So
//! each concern rolls its own dice, seeded from the run's seed and the concern's name.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A stream of chance for one concern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dice {
    rng: ChaCha8Rng,
    draws: u64,
}

impl Dice {
    /// The stream of this concern under this seed.
    pub fn new(seed: u64, concern: &str) -> Dice {
        let mut state = mix(seed, 0x7469_6465_6761_7465);
        for byte in concern.bytes() {
            state = mix(state, u64::from(byte));
        }
        let mut key = [0; 32];
        for chunk in key.chunks_exact_mut(8) {
            state = mix(state, 1);
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        Dice { rng: ChaCha8Rng::from_seed(key), draws: 0 }
    }

    /// How often these dice were rolled: the first difference between two runs shows here.
    pub fn draws(&self) -> u64 {
        self.draws
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.draws += 1;
        self.rng.next_u64()
    }

    /// A number between two others, both included; the first one when they are not in order.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        if high <= low {
            return low;
        }
        let width = i128::from(high) - i128::from(low) + 1;
        let offset = (i128::from(self.number()) * width) >> 64;
        i64::try_from(i128::from(low) + offset).expect("lies between two 64-bit numbers")
    }

    /// A number of a range given as a pair, both ends included.
    pub fn within(&mut self, range: (i64, i64)) -> i64 {
        self.between(range.0, range.1)
    }

    /// True so many times in a thousand. Draws nothing when it can only be one of the two.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        match per_mille {
            0 => false,
            1000.. => true,
            _ => self.between(0, 999) < i64::from(per_mille),
        }
    }

    /// One of these; nothing of nothing.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let last = i64::try_from(from.len()).unwrap_or(i64::MAX) - 1;
        let index = if last <= 0 { 0 } else { self.between(0, last) };
        from.get(usize::try_from(index).unwrap_or(0))
    }
}

/// Stirs a number into another one (the finaliser of splitmix64): fixed for ever, unlike the hasher of the standard
/// library.
pub fn mix(state: u64, with: u64) -> u64 {
    let mut z = state.rotate_left(23) ^ with.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_do_not_share_a_stream() {
        let numbers = |seed, concern| {
            let mut dice = Dice::new(seed, concern);
            [dice.number(), dice.number()]
        };
        assert_eq!(numbers(1, "pods"), numbers(1, "pods"));
        assert_ne!(numbers(1, "pods"), numbers(1, "watch"));
        assert_ne!(numbers(1, "pods"), numbers(2, "pods"));
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_its_ends() {
        let mut dice = Dice::new(3, "test");
        let drawn: Vec<i64> = (0..200).map(|_| dice.between(-2, 2)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-2), Some(&2)));
        assert_eq!(dice.draws(), 200);
        assert_eq!((dice.between(5, 5), dice.between(5, 1)), (5, 5));
        assert_eq!(dice.draws(), 200, "what is certain costs no draw");
        let _ = dice.between(i64::MIN, i64::MAX);
        assert!(!dice.chance(0) && dice.chance(1000));
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
