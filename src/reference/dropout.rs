//! Dropout: in training, elements are set to 0 at random and the others made larger, so that the mean stays.

use super::philox::{Purpose, key, philox};

/// Which elements of a layer's activations are kept in a step. Nothing is stored: whoever asks again, as backward does, is told the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// The probability that an element is dropped, at least 0 and below 1.
    pub p: f32,
    pub seed: u64,
    /// Which layer of the network it is.
    pub layer: u32,
    /// Counts from 1 over the whole run.
    pub step: u32,
}

impl Mask {
    /// Whether element `i` of the batch's activations is kept.
    pub fn keeps(&self, i: usize) -> bool {
        let counter = [(i / 4) as u32, self.layer, self.step, Purpose::Dropout as u32];
        philox(counter, key(self.seed))[i % 4] >= threshold(self.p)
    }
}

/// p · 2³²: an element whose random word is below it is dropped.
pub fn threshold(p: f32) -> u32 {
    (f64::from(p) * f64::from(1 << 16) * f64::from(1 << 16)) as u32
}

/// output = input / (1 − p) where `keeps`, else 0. Its own backward: the same of the gradient of the output is that of the input,
/// overwritten.
///
/// Source: PyTorch `torch.nn.functional.dropout` in training.
pub fn apply(p: f64, keeps: impl Fn(usize) -> bool, input: &[f64], output: &mut [f64]) {
    debug_assert_eq!(input.len(), output.len());
    for (i, (output, &input)) in output.iter_mut().zip(input).enumerate() {
        *output = if keeps(i) { input / (1.0 - p) } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_elements_are_scaled_and_nan_is_dropped_like_any_other() {
        let mut output = [f64::NAN; 4];
        apply(0.75, |i| i % 2 == 0, &[1.0, 2.0, -3.0, f64::NAN], &mut output);
        assert_eq!(output, [4.0, 0.0, -12.0, 0.0]);
    }

    #[test]
    fn the_share_that_is_dropped_is_p_and_differs_with_every_key() {
        const ELEMENTS: usize = 40_000;
        for p in [0.0, 1e-3, 0.3, 0.5, 0.999] {
            let mask = Mask { p, seed: 1, layer: 2, step: 3 };
            let dropped = (0..ELEMENTS).filter(|&i| !mask.keeps(i)).count() as f64;
            let expected = f64::from(p) * ELEMENTS as f64;
            // Within five standard deviations of a binomial count.
            let allowed = 5.0 * (expected * (1.0 - f64::from(p))).sqrt();
            assert!((dropped - expected).abs() <= allowed, "{p}: {dropped}, expected {expected} ± {allowed:.0}");
        }
        let mask = Mask { p: 0.5, seed: 1, layer: 2, step: 3 };
        let others = [
            Mask { seed: 2, ..mask },
            Mask { seed: 1 << 32 | 1, ..mask },
            Mask { layer: 3, ..mask },
            Mask { step: 4, ..mask },
        ];
        for other in others {
            let alike = (0..ELEMENTS).filter(|&i| mask.keeps(i) == other.keeps(i)).count() as f64;
            // Half of them by chance.
            assert!((alike - 20_000.0).abs() < 500.0, "{other:?}: {alike} alike");
        }
    }
}
