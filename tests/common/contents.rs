//! What is in a split, wherever its pixels are, so that two can be compared.

use shadegrad::data::Split;

/// The labels, and the pixels of each image.
pub fn contents(split: &Split) -> (&[u8], Vec<Vec<u8>>) {
    (&split.labels, split.images().collect::<Result<_, _>>().unwrap())
}
