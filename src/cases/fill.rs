//! Inputs that bite.

use crate::random::{Purpose, Random};

/// What the f32 operands of a case are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Uniform in [−1, 1).
    Uniform,
    /// The same among zeros of both signs and subnormals.
    Sparse,
    /// The same with one in sixteen 10,000 times as large.
    Outliers,
    /// −8 to 8: ties, and sums of products that f32 holds exactly, so that one wrong term shows whatever the length.
    Integers,
}

/// Longer operands repeat a block of this length, a prime: drawing is slow, repeating is not.
const BLOCK: usize = 1_048_573;

impl Style {
    /// The styles whose sums are rounded, in turn.
    pub(super) fn rounded(index: usize) -> Self {
        [Self::Uniform, Self::Sparse, Self::Outliers][index % 3]
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Sparse => "sparse",
            Self::Outliers => "outliers",
            Self::Integers => "integers",
        }
    }

    pub(super) fn bits(self, length: usize, seed: u64, place: u64) -> Vec<u32> {
        let mut random = Random::new(seed, Purpose::Test, place);
        let block: Vec<u32> = (0..length.min(BLOCK)).map(|_| self.value(&mut random).to_bits()).collect();
        block.iter().copied().cycle().take(length).collect()
    }

    fn value(self, random: &mut Random) -> f32 {
        let value = random.range(-1.0, 1.0);
        match self {
            Self::Uniform => value,
            Self::Sparse => match random.below(8) {
                0 | 1 => 0.0,
                2 => -0.0,
                3 => value * f32::MIN_POSITIVE,
                _ => value,
            },
            Self::Outliers => value * if random.below(16) == 0 { 1e4 } else { 1.0 },
            // Truncated towards zero, which leaves both signs of it.
            Self::Integers => (value * 9.0).trunc(),
        }
    }
}
