//! Matrix products, biases and whole linear layers: tiles are 4 × 4, 32 × 4, or squares of 32 to 128, workgroups 64 invocations or more, slices
//! 512 to 4096 terms.

use super::bound::{products, sums};
use super::pairwise::pairwise;
use super::{Block, Case, Sizes, Style, Timed};
use crate::error::Result;
use crate::geometry::{Channels, Linear, Matmul as Shape, product};
use crate::ops::MAX_TERMS;
use crate::ops::bias::{BiasAdd, BiasGrad};
use crate::ops::linear::{self, LinearForward, LinearGradInput, LinearGradWeight};
use crate::ops::matmul::Matmul;

/// The tutorial's first linear layer at two batches, and the wide network's.
const LAYERS: &[&str] = &[
    "batch=4,in_features=400,out_features=120",
    "batch=128,in_features=400,out_features=120",
    "batch=4,in_features=2500,out_features=120",
];

const CHANNELS: &[&str] = &["batch=4,channels=6,size=784", "batch=32,channels=50,size=784"];

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[
        Timed {
            op: "matmul",
            defaults: &["m=4,k=400,n=120,transpose_b=1", "m=256,k=256,n=256", "m=512,k=512,n=512"],
            build: |sizes| {
                let (m, k, n) = (sizes.get("m")?, sizes.get("k")?, sizes.get("n")?);
                let (transpose_a, transpose_b) = (sizes.flag("transpose_a")?, sizes.flag("transpose_b")?);
                Ok(matmul(Shape { m, k, n, transpose_a, transpose_b }, Style::Uniform))
            },
        },
        Timed {
            op: "linear_forward",
            defaults: LAYERS,
            build: |sizes| Ok(linear_forward(layer(sizes)?, true, Style::Uniform)),
        },
        Timed {
            op: "linear_grad_input",
            defaults: LAYERS,
            build: |sizes| Ok(linear_grad_input(layer(sizes)?, false, Style::Uniform)),
        },
        Timed {
            op: "linear_grad_input_relu",
            defaults: LAYERS,
            build: |sizes| Ok(linear_grad_input(layer(sizes)?, true, Style::Uniform)),
        },
        Timed {
            op: "linear_grad_weight",
            defaults: LAYERS,
            build: |sizes| Ok(linear_grad_weight(layer(sizes)?, Style::Uniform)),
        },
        Timed { op: "bias_add", defaults: CHANNELS, build: |sizes| Ok(bias_add(sized(sizes)?, Style::Uniform)) },
        Timed { op: "bias_grad", defaults: CHANNELS, build: |sizes| Ok(bias_grad(sized(sizes)?, Style::Uniform)) },
    ],
};

fn sized(sizes: &Sizes<'_>) -> Result<Channels> {
    Ok(Channels { batch: sizes.get("batch")?, channels: sizes.get("channels")?, size: sizes.get("size")? })
}

fn layer(sizes: &Sizes<'_>) -> Result<Linear> {
    let (batch, in_features) = (sizes.get("batch")?, sizes.get("in_features")?);
    let shape = Linear { batch, in_features, out_features: sizes.get("out_features")? };
    if linear::fits(&shape) {
        return Ok(shape);
    }
    Err(sizes.refusal(format!("each size is at most {MAX_TERMS}: a larger layer is a matmul and a bias_add")))
}

fn linear_forward(shape: Linear, relu: bool, style: Style) -> Case {
    Case::new(LinearForward { shape, relu }, style, products(style, u64::from(shape.in_features) + 1))
}

/// Where a subnormal activation is flushed, a gradient is blocked.
fn linear_grad_input(shape: Linear, relu: bool, style: Style) -> Case {
    Case::new(LinearGradInput { shape, relu }, style, products(style, shape.out_features.into()))
}

fn linear_grad_weight(shape: Linear, style: Style) -> Case {
    Case::new(LinearGradWeight(shape), style, products(style, shape.batch.into()))
}

fn matmul(shape: Shape, style: Style) -> Case {
    Case::new(Matmul(shape), style, products(style, shape.k.into()))
}

fn bias_add(shape: Channels, style: Style) -> Case {
    Case::new(BiasAdd(shape), style, sums(1))
}

/// Beyond what two passes can add there are three, each of at most MAX_TERMS additions: a bound from the number of terms alone would say
/// nothing.
fn bias_grad(shape: Channels, style: Style) -> Case {
    let (terms, most) = (product(&[shape.batch, shape.size]) as u64, u64::from(MAX_TERMS));
    let roundings = if terms > most * most { 2 * most + 2 } else { terms };
    Case::new(BiasGrad(shape), style, products(style, roundings))
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, shape) in matrices().into_iter().enumerate() {
        cases.extend([matmul(shape, Style::rounded(index)), matmul(shape, Style::Integers)]);
    }
    for (index, shape) in channels().into_iter().enumerate() {
        let style = Style::rounded(index);
        cases.extend([bias_add(shape, style), bias_grad(shape, style), bias_grad(shape, Style::Integers)]);
    }
    for (index, shape) in layers().into_iter().enumerate() {
        // The other half of the pairs is in the next shape.
        let relu = index % 2 == 0;
        for style in [[Style::Uniform, Style::Outliers][index / 2 % 2], Style::Integers] {
            cases.push(linear_forward(shape, relu, style));
            cases.push(linear_grad_input(shape, relu, style));
            cases.push(linear_grad_weight(shape, style));
        }
    }
    // More slices than one pass may add.
    let huge = Channels { batch: 1, channels: 1, size: MAX_TERMS * MAX_TERMS + 5 };
    cases.push(bias_grad(huge, Style::Uniform));
    cases
}

fn matrices() -> Vec<Shape> {
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
    // Tiles of 32 × 4 in workgroups of 128 columns, each transposed in its own way; the last one in two slices.
    for (index, (m, k, n)) in
        [(20, 4, 4), (32, 8, 128), (36, 12, 132), (64, 64, 64), (60, 20, 100), (40, 4100, 8)].into_iter().enumerate()
    {
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            // Rows that are no multiple of 4, where they are not stored along them.
            let m = if transpose_a { m } else { m - index as u32 % 3 };
            shapes.push(Shape { m, k, n, transpose_a, transpose_b });
        }
    }
    // Tiles in workgroup memory, which are of 32, 64 and 128: whole ones and more than one each way, slabs of 8 terms and a rest, slices.
    for (m, k, n, transpose_a, transpose_b) in [
        (32, 16, 32, false, false),
        (75, 27, 50, false, true),
        (75, 27, 50, true, false),
        (75, 1027, 70, true, true),
        (200, 21, 700, false, false),
        (200, 21, 700, true, true),
        (130, 4100, 135, false, true),
    ] {
        shapes.push(Shape { m, k, n, transpose_a, transpose_b });
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

fn layers() -> Vec<Linear> {
    const BATCHES: [u32; 8] = [1, 2, 3, 4, 5, 7, 8, 9];
    const FEATURES: [u32; 9] = [1, 3, 4, 8, 12, 31, 32, 33, 36];
    let swept = pairwise([BATCHES.len(), FEATURES.len(), FEATURES.len()]);
    let mut shapes: Vec<Linear> = swept
        .into_iter()
        .map(|[batch, inputs, outputs]| Linear {
            batch: BATCHES[batch],
            in_features: FEATURES[inputs],
            out_features: FEATURES[outputs],
        })
        .collect();
    // Around a workgroup of fours, the tutorial's layers, the wide network's first, the longest sums, and so many rows and outputs that each lane
    // of a subgroup holds two: the last tile ends among the first of a lane's, and among the second.
    for (batch, in_features, out_features) in [
        (3, 124, 5),
        (3, 128, 5),
        (3, 132, 9),
        (4, 400, 120),
        (4, 120, 84),
        (4, 84, 10),
        (2, 2500, 120),
        (1, MAX_TERMS, 3),
        (1, 8, MAX_TERMS),
        (MAX_TERMS, 4, 2),
        (501, 8, 5),
        (509, 12, 9),
        (3, 12, 501),
        (5, 8, 509),
        // Tiles of 32 rows on subgroups: one that is filled, then one that ends in its upper half and in its lower, among the lanes and the places.
        (32, 400, 120),
        (20, 36, 44),
        (68, 132, 28),
        // Tiles in workgroup memory: of 32 with edges of every kind, then of 64 and of 128 for each of the three products.
        (16, 31, 17),
        (33, 36, 35),
        (40, 12, 2050),
        (40, 2052, 20),
        (20, 2047, 40),
        (65, 8, MAX_TERMS),
        (65, MAX_TERMS, 8),
        (9, MAX_TERMS - 1, 70),
    ] {
        for _ in 0..2 {
            shapes.push(Linear { batch, in_features, out_features });
        }
    }
    shapes
}
