//! Portable random numbers: ChaCha8 streams keyed by seed, purpose and index, so that a number depends on what it is for and
//! never on what was drawn before it, or on the machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of numbers is for; streams of different purposes never overlap.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Initial parameters; the index is the parameter's place in the network.
    Initialise = 1,
    /// The order of the training images; the index is the epoch.
    Shuffle = 2,
    /// Drawn images; the index is the image.
    Draw = 3,
    /// Inputs of tests and self-tests.
    Test = 4,
    /// The images held out for testing; the index is the class.
    Split = 5,
    /// Which images a person is shown.
    Show = 6,
}

/// A seeded stream of numbers.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(((purpose as u64) << 56) | index);
        Self(generator)
    }

    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// What as many calls of `bits` as fill `bytes` return, lowest byte first.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..bound without bias (Lemire 2019, "Fast random integer generation in an interval").
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "an empty range has no numbers");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.bits()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// A permutation of 0..length (Fisher–Yates).
    pub fn permutation(&mut self, length: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..length).collect();
        for last in (1..length).rev() {
            order.swap(last as usize, self.below(last + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_distinct() {
        let draw = |seed, purpose, index| Random::new(seed, purpose, index).bits();
        assert_eq!(draw(0, Purpose::Shuffle, 1), draw(0, Purpose::Shuffle, 1));
        let all = [
            draw(0, Purpose::Shuffle, 1),
            draw(0, Purpose::Shuffle, 2),
            draw(1, Purpose::Shuffle, 1),
            draw(0, Purpose::Initialise, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = Random::new(7, Purpose::Shuffle, 0).permutation(1000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, &v)| i as u32 == v));
    }
}
