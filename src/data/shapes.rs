//! The built-in data set: ten shapes, drawn by this program, for machines without a network.
//!
//! A shape has a random place, size, turn, stretch and colour, on a darker, textured background with clutter, under noise; so
//! no pixel by itself tells the class. On 50,000 images a linear classifier stays near 21 % of the test images, where the
//! tutorial network reaches 81 to 87 % in two epochs (PyTorch, SGD 0.001, momentum 0.9, batch 4).
//! Every machine draws the same bytes: only IEEE f32 arithmetic, `libm` for sines, and `Random` streams keyed by image.

mod canvas;
mod figure;
mod scene;

use rayon::prelude::*;

use self::figure::Figure;
use super::{Dataset, ImageShape, Split};
use crate::random::{Purpose, Random};

const SIDE: u32 = 32;
const SHAPE: ImageShape = ImageShape { channels: 3, height: SIDE, width: SIDE };

/// Streams of `Purpose::Draw`: training image i has index i; the others are set apart by high bits.
const TEST: u64 = 1 << 48;
const LABELS: u64 = 1 << 49;

/// Draws the data set. Image i depends on the seed and i alone, never on how many are drawn; each run of ten images, from a
/// multiple of ten on, holds each class once.
pub fn shapes(seed: u64, train: u32, test: u32) -> Dataset {
    Dataset {
        name: "shapes".into(),
        source: format!("drawn from seed {seed}"),
        classes: Figure::ALL.iter().map(|figure| figure.name().into()).collect(),
        shape: SHAPE,
        train: draw(seed, 0, train),
        test: draw(seed, TEST, test),
    }
}

fn draw(seed: u64, split: u64, count: u32) -> Split {
    let labels = labels(seed, split, count);
    let mut pixels = vec![0; count as usize * SHAPE.len()];
    pixels.par_chunks_exact_mut(SHAPE.len()).zip(&labels).enumerate().for_each(|(i, (pixels, &label))| {
        let mut random = Random::new(seed, Purpose::Draw, split | i as u64);
        scene::draw(Figure::ALL[usize::from(label)], &mut random).write(pixels);
    });
    Split::new(labels, pixels)
}

/// A fresh order of the classes for every ten images: random, yet balanced for any count.
fn labels(seed: u64, split: u64, count: u32) -> Vec<u8> {
    let classes = Figure::ALL.len() as u32;
    (0..count.div_ceil(classes))
        .flat_map(|ten| Random::new(seed, Purpose::Draw, LABELS | split | u64::from(ten)).permutation(classes))
        .map(|class| class as u8)
        .take(count as usize)
        .collect()
}
