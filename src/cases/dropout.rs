//! Dropout: four elements an invocation, 64 invocations to a workgroup.

use super::bound::{Bound, FLUSH, gamma};
use super::pairwise::pairwise;
use super::{Block, Case, Style, Timed};
use crate::gpu::StepRow;
use crate::ops::dropout::Dropout;

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[Timed {
        op: "dropout",
        // Before the tutorial's first linear layer at batch 4, and the wide network's at batch 32.
        defaults: &["length=1600", "length=80000"],
        build: |sizes| {
            let op = Dropout { length: sizes.get("length")?, p: 0.5, layer: 0, seed: 0 };
            Ok(dropout(op, Style::Uniform, 1))
        },
    }],
};

fn cases() -> Vec<Case> {
    const LENGTHS: [u32; 10] = [1, 3, 4, 5, 255, 256, 257, 1022, 1600, 18_816];
    const PROBABILITIES: [f32; 5] = [0.0, 0.1, 0.5, 0.999, 1.0 - f32::EPSILON];
    // One word of the seed each, and both.
    const SEEDS: [u64; 4] = [0, 5, 5 << 32, 3 << 32 | 1];
    const STEPS: [u32; 3] = [1, 2, u32::MAX];
    const STYLES: [Style; 4] = [Style::Uniform, Style::Sparse, Style::Outliers, Style::Integers];
    let levels = [LENGTHS.len(), PROBABILITIES.len(), SEEDS.len(), STEPS.len(), STYLES.len(), 3];
    let rows = pairwise(levels).into_iter();
    rows.map(|[length, p, seed, step, style, layer]| {
        let op = Dropout { length: LENGTHS[length], p: PROBABILITIES[p], layer: layer as u32, seed: SEEDS[seed] };
        dropout(op, STYLES[style], STEPS[step])
    })
    .collect()
}

fn dropout(op: Dropout, style: Style, step: u32) -> Case {
    let step = StepRow { step, epoch: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.0 };
    Case::new(op, style, scaled(op.p)).step(step)
}

/// 1 / (1 − p) is rounded on the host, then a product. What is dropped is 0 exactly.
fn scaled(p: f32) -> Bound {
    let scale = 1.0 / (1.0 - f64::from(p));
    Box::new(move |_, _, expected, _| {
        let bound = |&value: &f64| if value == 0.0 { 0.0 } else { gamma(2) * value.abs() + FLUSH * scale };
        vec![Vec::new(), expected[1].iter().map(bound).collect()]
    })
}
