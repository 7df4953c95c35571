//! Matrix products and biases: tiles are 4 × 4, workgroups 64 invocations, slices 4096 terms.

use super::bound::{exact, sums};
use super::pairwise::pairwise;
use super::{Case, Style};
use crate::geometry::{Channels, Matmul as Shape, product};
use crate::ops::MAX_TERMS;
use crate::ops::bias::{BiasAdd, BiasGrad};
use crate::ops::matmul::Matmul;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, shape) in products().into_iter().enumerate() {
        cases.push(Case::new(Matmul(shape), Style::rounded(index), sums(shape.k.into())));
        cases.push(Case::new(Matmul(shape), Style::Integers, exact()));
    }
    for (index, shape) in channels().into_iter().enumerate() {
        let style = Style::rounded(index);
        cases.push(Case::new(BiasAdd(shape), style, sums(1)));
        let terms = product(&[shape.batch, shape.size]) as u64;
        cases.push(Case::new(BiasGrad(shape), style, sums(terms)));
        cases.push(Case::new(BiasGrad(shape), Style::Integers, exact()));
    }
    // More slices than one pass may add. Three passes, each of at most MAX_TERMS additions: a bound from the number of terms alone,
    // 4096 · 4096 + 5, would say nothing.
    let huge = Channels { batch: 1, channels: 1, size: MAX_TERMS * MAX_TERMS + 5 };
    cases.push(Case::new(BiasGrad(huge), Style::Uniform, sums(2 * u64::from(MAX_TERMS) + 2)));
    cases
}

fn products() -> Vec<Shape> {
    const SIDES: [u32; 8] = [1, 3, 4, 5, 7, 63, 64, 65];
    const TERMS: [u32; 6] = [1, 2, 5, 17, 64, 65];
    let swept = pairwise([SIDES.len(), TERMS.len(), SIDES.len(), 2, 2]);
    let mut shapes: Vec<Shape> = swept
        .into_iter()
        .map(|[m, k, n, a, b]| Shape {
            m: SIDES[m],
            k: TERMS[k],
            n: SIDES[n],
            transpose_a: a == 1,
            transpose_b: b == 1,
        })
        .collect();
    // One slice, one more term, slices with a short last one.
    for (k, transpose_a, transpose_b) in
        [(4096, false, false), (4097, false, true), (8193, true, false), (12_289, true, true)]
    {
        shapes.push(Shape { m: 3, k, n: 5, transpose_a, transpose_b });
    }
    // The three products of each of the tutorial's linear layers, and of the wide network's first.
    for (inputs, outputs) in [(400, 120), (120, 84), (84, 10), (2500, 120)] {
        let batch = 4;
        shapes.push(Shape { m: batch, k: inputs, n: outputs, transpose_a: false, transpose_b: true });
        shapes.push(Shape { m: outputs, k: batch, n: inputs, transpose_a: true, transpose_b: false });
        shapes.push(Shape { m: batch, k: outputs, n: inputs, transpose_a: false, transpose_b: false });
    }
    shapes
}

fn channels() -> Vec<Channels> {
    const BATCHES: [u32; 5] = [1, 3, 4, 5, 65];
    const CHANNELS: [u32; 6] = [1, 3, 7, 63, 64, 65];
    const SIZES: [u32; 6] = [1, 2, 5, 63, 64, 65];
    let swept = pairwise([BATCHES.len(), CHANNELS.len(), SIZES.len()]);
    let mut shapes: Vec<Channels> = swept
        .into_iter()
        .map(|[batch, channels, size]| Channels {
            batch: BATCHES[batch],
            channels: CHANNELS[channels],
            size: SIZES[size],
        })
        .collect();
    // The tutorial's convolutions and its first linear layer, then slices that end inside an image.
    for (batch, channels, size) in [(4, 6, 784), (4, 16, 100), (4, 120, 1), (4097, 3, 1), (3, 5, 3001), (8, 2, 1024)] {
        shapes.push(Channels { batch, channels, size });
    }
    shapes
}
