//! What chance does to a training step.

use crate::augmentation::Augmentation;

/// What is drawn anew at every step or epoch, from a counter-based generator. Inference draws nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    pub seed: u64,
    pub augmentation: Augmentation,
}
