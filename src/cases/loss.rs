//! Softmax cross-entropy and the mean loss.

use super::bound::{Bound, DIVISION, FLUSH, U, gamma, of_magnitudes};
use super::pairwise::pairwise;
use super::{Block, Case, Style, Timed};
use crate::gpu::StepRow;
use crate::ops::MAX_TERMS;
use crate::ops::mean_loss::MeanLoss;
use crate::ops::softmax_cross_entropy::{MeanCrossEntropy, SoftmaxCrossEntropy};
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
            op: "mean_cross_entropy",
            defaults: &["rows=4,classes=10", "rows=128,classes=10"],
            build: |sizes| {
                let (rows, classes) = (sizes.get("rows")?, sizes.get("classes")?);
                let loss = SoftmaxCrossEntropy { rows, classes, label_smoothing: 0.0 };
                let op = MeanCrossEntropy { loss, slots: 1 };
                if !op.fits() {
                    return Err(
                        sizes.refusal(format!("{rows} rows of {classes} classes are too many for one workgroup"))
                    );
                }
                Ok(cross_entropy(op, rows, 0, Style::Uniform, &mut Random::new(0, Purpose::Test, 1 << 32)))
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
    let mut cases = Vec::new();
    for (index, (rows, classes, label_smoothing, count, style)) in swept.chain(special).enumerate() {
        let loss = SoftmaxCrossEntropy { rows, classes, label_smoothing };
        let mut random = Random::new(index as u64, Purpose::Test, 1 << 32);
        let style = Style::rounded(style);
        let mut both = vec![softmax_of(loss, count, style, &mut random)];
        let mean = MeanCrossEntropy { loss, slots: 1 + index as u32 % 3 };
        if mean.fits() {
            both.push(cross_entropy(mean, count, index as u32 % mean.slots, style, &mut random));
        }
        for case in both {
            // Every third case has logits of ±1e4 and a few in between: exp of a difference neither overflows nor cancels.
            cases.push(if index % 3 == 2 {
                let logits =
                    (0..rows * classes).map(|_| [1e4f32, -1e4, 0.0, 9.9e3][random.below(4) as usize].to_bits());
                case.given("logits", logits.collect())
            } else {
                case
            });
        }
    }
    cases
}

/// Rows past the count are padding.
pub(super) fn labels(rows: u32, classes: u32, count: u32, random: &mut Random) -> Vec<u32> {
    (0..rows).map(|n| if n < count { random.below(classes) } else { u32::MAX }).collect()
}

fn softmax_of(op: SoftmaxCrossEntropy, count: u32, style: Style, random: &mut Random) -> Case {
    let bound: Bound = Box::new(move |case, inputs, _, _| {
        let LossBounds { rows, grads, .. } = of_inputs(op, case.step.count, inputs);
        vec![Vec::new(), Vec::new(), rows, grads]
    });
    let labels = labels(op.rows, op.classes, count, random);
    Case::new(op, style, bound).step(StepRow { count, ..STEP }).given("labels", labels)
}

fn cross_entropy(op: MeanCrossEntropy, count: u32, slot: u32, style: Style, random: &mut Random) -> Case {
    let bound: Bound = Box::new(move |case, inputs, _, _| {
        let LossBounds { rows, grads, magnitudes } = of_inputs(op.loss, case.step.count, inputs);
        let roundings = u64::from(op.loss.rows.div_ceil(64)) + 64 + DIVISION;
        let sum = |values: &[f64]| values.iter().sum::<f64>() / f64::from(case.step.count);
        let mut losses = vec![0.0; op.slots as usize];
        losses[case.step.slot as usize] =
            (1.0 + gamma(roundings)) * sum(&rows) + gamma(roundings) * sum(&magnitudes) + FLUSH;
        vec![Vec::new(), Vec::new(), grads, losses]
    });
    let labels = labels(op.loss.rows, op.loss.classes, count, random);
    Case::new(op, style, bound).step(StepRow { count, slot, ..STEP }).given("labels", labels)
}

/// How far the losses of the rows and the gradients may be off, and what the losses are made of.
pub(super) struct LossBounds {
    pub rows: Vec<f64>,
    pub grads: Vec<f64>,
    pub magnitudes: Vec<f64>,
}

/// Of logits that are what they are.
fn of_inputs(op: SoftmaxCrossEntropy, count: u32, inputs: &[Vec<u32>]) -> LossBounds {
    let logits: Vec<f64> = inputs[0].iter().map(|&bits| f32::from_bits(bits).into()).collect();
    loss_bounds(op, count, &logits, &inputs[1], &vec![0.0; logits.len()])
}

/// WGSL: exp is off by 3 + 2·|x| ULP, log by 3 ULP outside [0.5, 2] and by 2⁻²¹ inside; differences of logits are rounded once, which
/// moves exp(x) by |x| · u.
///
/// Each logit may be off by its `error`. A row whose largest error is E has its loss moved by 2E at most, because the weights of its logits
/// add up to 1 on both sides, and each probability by a factor of e^2E.
pub(super) fn loss_bounds(
    op: SoftmaxCrossEntropy,
    count: u32,
    logits: &[f64],
    labels: &[u32],
    errors: &[f64],
) -> LossBounds {
    let (classes, count) = (op.classes as usize, f64::from(count));
    let smoothing = f64::from(op.label_smoothing);
    let spread = smoothing / classes as f64;
    let mut bounds = LossBounds { rows: Vec::new(), grads: Vec::new(), magnitudes: Vec::new() };
    let rows = logits.chunks_exact(classes).zip(errors.chunks_exact(classes));
    for ((logits, errors), &label) in rows.zip(labels) {
        let label = label as usize;
        if label >= classes {
            bounds.rows.push(0.0);
            bounds.grads.extend(vec![0.0; classes]);
            continue;
        }
        let moved = 2.0 * errors.iter().copied().fold(0.0, f64::max);
        let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let differences: Vec<f64> = logits.iter().map(|logit| (highest - logit).abs()).collect();
        // What a flush of the logits or of an exponential costs is below every rounding of a total of 1 or more.
        let relative = |difference: f64| (3.0 + 3.0 * (difference + moved)) * U;
        let total: f64 = differences.iter().map(|difference| (-difference).exp()).sum();
        let of_exponentials: f64 =
            differences.iter().map(|&difference| (-difference).exp() * relative(difference) + FLUSH).sum();
        let of_total = moved.exp() * of_exponentials / total + gamma(classes as u64);

        let log = total.ln() + moved;
        // Just above 2 the driver may see a total just below it.
        let of_log = if total < 2.001 { 4.0 * U } else { 3.0 * U * log };
        let difference = differences[label] + moved;
        let below = differences.iter().sum::<f64>() + classes as f64 * moved;
        let kept = 1.0 - smoothing;
        bounds.magnitudes.push(log + kept * difference + spread * below);
        // 1 − ε, the difference and their product; ε/K, the sum and their product; then two subtractions.
        bounds.rows.push(
            moved
                + of_total
                + of_log
                + gamma(3) * kept * difference
                + gamma(classes as u64 + 2 + DIVISION) * spread * below
                + gamma(2) * (log + kept * difference + spread * below)
                + 4.0 * FLUSH,
        );
        bounds.grads.extend(differences.iter().enumerate().map(|(k, &difference)| {
            let exact = (-difference).exp() / total;
            let probability = (exact * moved.exp()).min(1.0);
            let of_probability =
                probability - exact + probability * (relative(difference) + of_total + gamma(DIVISION)) + 2.0 * FLUSH;
            let target = spread + if k == label { kept } else { 0.0 };
            // ε/K, 1 − ε and their sum; then the subtraction and the division by the count.
            let of_target = gamma(DIVISION + 2) * target;
            (of_probability + of_target + gamma(1 + DIVISION) * (probability + target)) / count + FLUSH
        }));
    }
    bounds
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
    Box::new(|case, inputs, _, _| {
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
