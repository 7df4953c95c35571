//! Softmax cross-entropy and the mean loss.

use super::bound::{Bound, DIVISION, FLUSH, U, gamma, of_magnitudes};
use super::pairwise::pairwise;
use super::{Block, Case, Style, Timed};
use crate::gpu::StepRow;
use crate::ops::MAX_TERMS;
use crate::ops::mean_loss::MeanLoss;
use crate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::random::{Purpose, Random};

const STEP: StepRow = StepRow { step: 1, epoch: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.0 };

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[
        Timed {
            op: "softmax_cross_entropy",
            defaults: &["rows=4,classes=10", "rows=128,classes=10"],
            build: |sizes| {
                let (rows, classes) = (sizes.get("rows")?, sizes.get("classes")?);
                let op = SoftmaxCrossEntropy { rows, classes, label_smoothing: 0.0 };
                Ok(softmax_of(op, rows, Style::Uniform, &mut Random::new(0, Purpose::Test, 1 << 32)))
            },
        },
        Timed {
            op: "mean_loss",
            defaults: &["rows=4", "rows=128"],
            build: |sizes| {
                let rows = sizes.get("rows")?;
                Ok(mean_of(MeanLoss { rows, slots: 1 }, rows, 0, Style::Uniform))
            },
        },
    ],
};

fn cases() -> Vec<Case> {
    let mut cases = softmax_cross_entropy();
    cases.extend(mean_loss());
    cases
}

fn softmax_cross_entropy() -> Vec<Case> {
    const ROWS: [u32; 6] = [1, 3, 4, 63, 64, 65];
    const CLASSES: [u32; 6] = [1, 2, 3, 10, 65, 100];
    let swept =
        pairwise([ROWS.len(), CLASSES.len(), 2, 3, 3]).into_iter().map(|[rows, classes, smoothing, count, style]| {
            let rows = ROWS[rows];
            (rows, CLASSES[classes], [0.0, 0.1][smoothing], [rows, rows.div_ceil(2), 1][count], style)
        });
    let special = [(4, 10, 0.0, 4, 0), (2, 2 * MAX_TERMS, 0.1, 2, 0), (2, 2 * MAX_TERMS, 0.0, 2, 2)];
    let case = |(index, (rows, classes, label_smoothing, count, style)): (usize, (u32, u32, f32, u32, usize))| {
        let op = SoftmaxCrossEntropy { rows, classes, label_smoothing };
        let mut random = Random::new(index as u64, Purpose::Test, 1 << 32);
        let case = softmax_of(op, count, Style::rounded(style), &mut random);
        // Every third case has logits of ±1e4 and a few in between: exp of a difference neither overflows nor cancels.
        if index % 3 == 2 {
            let logits = (0..rows * classes).map(|_| [1e4f32, -1e4, 0.0, 9.9e3][random.below(4) as usize].to_bits());
            case.given("logits", logits.collect())
        } else {
            case
        }
    };
    swept.chain(special).enumerate().map(case).collect()
}

/// Rows past the count are padding.
fn softmax_of(op: SoftmaxCrossEntropy, count: u32, style: Style, random: &mut Random) -> Case {
    let labels = (0..op.rows).map(|n| if n < count { random.below(op.classes) } else { u32::MAX }).collect();
    Case::new(op, style, softmax_bound(op)).step(StepRow { count, ..STEP }).given("labels", labels)
}

/// WGSL: exp is off by 3 + 2·|x| ULP, log by 3 ULP outside [0.5, 2] and by 2⁻²¹ inside; differences of logits are rounded once, which
/// moves exp(x) by |x| · u.
fn softmax_bound(op: SoftmaxCrossEntropy) -> Bound {
    Box::new(move |case, inputs, expected| {
        let (classes, count) = (op.classes as usize, f64::from(case.step.count));
        let smoothing = f64::from(op.label_smoothing);
        let spread = smoothing / classes as f64;
        let mut row_bounds = Vec::with_capacity(expected[2].len());
        let mut grad_bounds = Vec::with_capacity(expected[3].len());
        for (logits, &label) in inputs[0].chunks_exact(classes).zip(&inputs[1]) {
            let label = label as usize;
            if label >= classes {
                row_bounds.push(0.0);
                grad_bounds.extend(vec![0.0; classes]);
                continue;
            }
            let logits: Vec<f64> = logits.iter().map(|&bits| f32::from_bits(bits).into()).collect();
            let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let differences: Vec<f64> = logits.iter().map(|logit| (highest - logit).abs()).collect();
            // What a flush of the logits or of an exponential costs is below every rounding of a total of 1 or more.
            let relative = |difference: f64| (3.0 + 3.0 * difference) * U;
            let total: f64 = differences.iter().map(|difference| (-difference).exp()).sum();
            let of_exponentials: f64 =
                differences.iter().map(|&difference| (-difference).exp() * relative(difference) + FLUSH).sum();
            let of_total = of_exponentials / total + gamma(classes as u64);

            let log = total.ln();
            // Just above 2 the driver may see a total just below it.
            let of_log = if total < 2.001 { 4.0 * U } else { 3.0 * U * log };
            let below: f64 = differences.iter().sum();
            let kept = 1.0 - smoothing;
            // 1 − ε, the difference and their product; ε/K, the sum and their product; then two subtractions.
            row_bounds.push(
                of_total
                    + of_log
                    + gamma(3) * kept * differences[label]
                    + gamma(classes as u64 + 2 + DIVISION) * spread * below
                    + gamma(2) * (log + kept * differences[label] + spread * below)
                    + 4.0 * FLUSH,
            );
            grad_bounds.extend(differences.iter().enumerate().map(|(k, &difference)| {
                let probability = (-difference).exp() / total;
                let of_probability = probability * (relative(difference) + of_total + gamma(DIVISION)) + 2.0 * FLUSH;
                let target = spread + if k == label { kept } else { 0.0 };
                // ε/K, 1 − ε and their sum; then the subtraction and the division by the count.
                let of_target = gamma(DIVISION + 2) * target;
                (of_probability + of_target + gamma(1 + DIVISION) * (probability + target)) / count + FLUSH
            }));
        }
        vec![Vec::new(), Vec::new(), row_bounds, grad_bounds]
    })
}

fn mean_loss() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, rows) in [1u32, 4, 63, 64, 65, 1000].into_iter().enumerate() {
        for (slots, slot) in [(1, 0), (7, 0), (7, 3), (7, 6)] {
            for count in [rows, rows.div_ceil(3)] {
                cases.push(mean_of(MeanLoss { rows, slots }, count, slot, Style::rounded(index)));
            }
        }
    }
    cases
}

fn mean_of(op: MeanLoss, count: u32, slot: u32, style: Style) -> Case {
    Case::new(op, style, mean_bound()).step(StepRow { count, slot, ..STEP })
}

/// The strided rows of one of 64 invocations, the 64 partial sums, the division. The other slots stay as they are.
fn mean_bound() -> Bound {
    Box::new(|case, inputs, _| {
        let rows = inputs[0].len() as u64;
        let mut bounds = of_magnitudes(&*case.op, &case.step, inputs, rows.div_ceil(64) + 64 + DIVISION);
        for (slot, bound) in bounds[1].iter_mut().enumerate() {
            if slot != case.step.slot as usize {
                *bound = 0.0;
            }
        }
        bounds
    })
}
