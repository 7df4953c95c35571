//! ReLU, the non-finite test and SGD: one element or four an invocation, 64 to a workgroup, 65,535 workgroups to a row of the grid.

use super::bound::{Bound, FLUSH, exact, of_magnitudes};
use super::{Block, Case, Style, Timed};
use crate::gpu::{MAX_WORKGROUPS, StepRow};
use crate::ops::nonfinite::{FINITE, Nonfinite};
use crate::ops::relu::{ReluBackward, ReluForward};
use crate::ops::sgd::{GuardedSgd, Sgd};

/// Around a workgroup of single elements and of fours; the last is the tutorial network's parameters.
const LENGTHS: [u32; 13] = [1, 2, 4, 63, 64, 65, 127, 252, 257, 260, 1000, 1028, 62_006];

/// The tutorial's first activations at batch 4, and the wide network's at batch 32. The flat parameters of both networks below have gaps.
const TIMED_RELU: &[&str] = &["length=18816", "length=1254400"];

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[
        Timed {
            op: "relu_forward",
            defaults: TIMED_RELU,
            build: |sizes| Ok(relu_forward(sizes.get("length")?, Style::Uniform)),
        },
        Timed {
            op: "relu_backward",
            defaults: TIMED_RELU,
            build: |sizes| Ok(relu_backward(sizes.get("length")?, Style::Uniform)),
        },
        Timed {
            op: "nonfinite",
            defaults: &["length=62400"],
            build: |sizes| Ok(nonfinite_of(sizes.get("length")?, &[], [FINITE; 2])),
        },
        Timed {
            op: "guarded_sgd",
            defaults: &["length=62400", "length=440384"],
            build: |sizes| {
                let sgd = Sgd { length: sizes.get("length")?, momentum: 0.9, weight_decay: 5e-4, nesterov: false };
                Ok(guarded_sgd_of(sgd, Style::Uniform, SGD_STEP, &[], [FINITE; 2]))
            },
        },
        Timed {
            op: "sgd",
            defaults: &["length=62400", "length=440384"],
            build: |sizes| {
                let sgd = Sgd { length: sizes.get("length")?, momentum: 0.9, weight_decay: 5e-4, nesterov: false };
                Ok(sgd_of(sgd, Style::Uniform, SGD_STEP, [FINITE; 2]))
            },
        },
    ],
};

fn cases() -> Vec<Case> {
    let mut cases = relu();
    cases.extend(nonfinite());
    cases.extend(sgd());
    cases.extend(guarded_sgd());
    cases
}

fn relu() -> Vec<Case> {
    let tutorial = [4 * 6 * 28 * 28, 4 * 16 * 10 * 10, 4 * 120];
    let mut cases = Vec::new();
    for length in LENGTHS.into_iter().chain(tutorial) {
        for style in [Style::Uniform, Style::Sparse, Style::Outliers, Style::Integers] {
            cases.extend([relu_forward(length, style), relu_backward(length, style)]);
        }
    }
    // One workgroup more than a row of the grid holds, then one invocation.
    let folded = MAX_WORKGROUPS as u32 * 64 + 65;
    cases.push(relu_forward(folded, Style::Uniform));
    cases
}

fn relu_forward(length: u32, style: Style) -> Case {
    Case::new(ReluForward { length }, style, exact())
}

fn relu_backward(length: u32, style: Style) -> Case {
    Case::new(ReluBackward { length }, style, masked())
}

/// The gradient is passed on or not, unrounded; where the activation is subnormal a driver that flushes it blocks the gradient.
fn masked() -> Bound {
    Box::new(|_, inputs, _, _| {
        let pairs = inputs[0].iter().zip(&inputs[1]).map(|(&activation, &grad)| {
            let [activation, grad] = [activation, grad].map(|bits| f64::from(f32::from_bits(bits)));
            let subnormal = |value: f64| value != 0.0 && value.abs() < FLUSH;
            if subnormal(activation) {
                grad.abs()
            } else if subnormal(grad) {
                FLUSH
            } else {
                0.0
            }
        });
        vec![Vec::new(), Vec::new(), pairs.collect()]
    })
}

const NAN: u32 = 0x7fc0_0000;
const SIGNALLING: u32 = 0xff80_0001;
const INFINITY: u32 = 0x7f80_0000;
const NEGATIVE_INFINITY: u32 = 0xff80_0000;

fn nonfinite() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut push = |length, flagged: &[_], status| cases.push(nonfinite_of(length, flagged, status));
    for length in LENGTHS {
        let (middle, last) = (length / 2, length - 1);
        push(length, &[], [FINITE; 2]);
        push(length, &[(0, NAN)], [FINITE; 2]);
        push(length, &[(middle, INFINITY)], [FINITE; 2]);
        push(length, &[(last, NEGATIVE_INFINITY)], [FINITE; 2]);
        // The first one counts, even when another workgroup finds a later one.
        push(length, &[(last, NAN), (middle, SIGNALLING)], [FINITE; 2]);
        // Also where one invocation of a workgroup of fours finds both.
        push(length, &[(0, NAN), (last.min(256), NAN)], [FINITE; 2]);
        // A status that is already flagged stays.
        push(length, &[(middle, NAN)], [3, 17]);
        push(length, &[], [3, 17]);
    }
    cases
}

/// Finite values but for `flagged` places and bits, at step 5.
fn nonfinite_of(length: u32, flagged: &[(u32, u32)], status: [u32; 2]) -> Case {
    let mut values = Style::Outliers.bits(length as usize, u64::from(length), 0);
    // The largest finite value and its neighbours by bits stay unflagged.
    values[0] = f32::MAX.to_bits();
    values[length as usize / 2] = f32::MIN.to_bits();
    for &(index, bits) in flagged {
        values[index as usize] = bits;
    }
    let step = StepRow { step: 5, epoch: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.0 };
    let case = Case::new(Nonfinite { length }, Style::Outliers, exact()).step(step);
    case.given("values", values).given("status", status.to_vec())
}

const SGD_STEP: StepRow = StepRow { step: 5, epoch: 1, order_offset: 0, count: 4, slot: 0, learning_rate: 0.001 };

fn sgd() -> Vec<Case> {
    let large = StepRow { learning_rate: 0.5, ..SGD_STEP };
    let settings = [(0.0, 0.0, false), (0.9, 0.0, false), (0.9, 5e-4, false), (0.9, 5e-4, true), (0.0, 0.1, false)];
    let mut cases = Vec::new();
    let mut index = 0;
    for length in LENGTHS {
        for (momentum, weight_decay, nesterov) in settings {
            let sgd = Sgd { length, momentum, weight_decay, nesterov };
            // Not flagged, or only after this step.
            for (step, status) in [(SGD_STEP, [FINITE; 2]), (large, [6, 0])] {
                cases.push(sgd_of(sgd, Style::rounded(index), step, status));
                index += 1;
            }
            // Flagged at this step or before it: nothing moves.
            for status in [[5, 0], [4, 1], [1, 0]] {
                cases.push(sgd_of(sgd, Style::Uniform, large, status));
            }
        }
    }
    cases
}

fn guarded_sgd() -> Vec<Case> {
    let settings = [(0.9, 0.0, false), (0.9, 5e-4, true), (0.0, 0.1, false)];
    let mut cases = Vec::new();
    for (index, length) in LENGTHS.into_iter().enumerate() {
        let (momentum, weight_decay, nesterov) = settings[index % settings.len()];
        let sgd = Sgd { length, momentum, weight_decay, nesterov };
        let (middle, last) = (length / 2, length - 1);
        let mut push = |nonfinite: &[_], status| {
            cases.push(guarded_sgd_of(sgd, Style::rounded(index), SGD_STEP, nonfinite, status));
        };
        push(&[], [FINITE; 2]);
        push(&[(0, NAN)], [FINITE; 2]);
        // The first one counts, even when another workgroup finds a later one; the others move.
        push(&[(last, NEGATIVE_INFINITY), (middle, SIGNALLING)], [FINITE; 2]);
        // Also where one invocation of a workgroup of fours finds both.
        push(&[(0, NAN), (last.min(256), NAN)], [FINITE; 2]);
        // Flagged before: nothing moves, and the flag stays.
        push(&[(middle, INFINITY)], [4, 1]);
        // A finite gradient whose parameter would not be.
        let large = StepRow { learning_rate: 4.0, ..SGD_STEP };
        cases.push(guarded_sgd_of(sgd, Style::rounded(index), large, &[(middle, f32::MAX.to_bits())], [FINITE; 2]));
    }
    cases
}

/// At step 5, with gradients of these bits in some places.
fn guarded_sgd_of(sgd: Sgd, style: Style, step: StepRow, nonfinite: &[(u32, u32)], status: [u32; 2]) -> Case {
    let mut gradients = style.bits(sgd.length as usize, u64::from(sgd.length), 0);
    for &(index, bits) in nonfinite {
        gradients[index as usize] = bits;
    }
    let bound = if status[0] > step.step { updated() } else { exact() };
    let case = Case::new(GuardedSgd(sgd), style, bound).step(step);
    case.given("gradients", gradients).given("status", status.to_vec())
}

fn sgd_of(sgd: Sgd, style: Style, step: StepRow, status: [u32; 2]) -> Case {
    // FINITE is later than every step.
    let bound = if status[0] > step.step { updated() } else { exact() };
    Case::new(sgd, style, bound).step(step).given("status", status.to_vec())
}

/// Weight decay is a product and a sum, and so is momentum: the momentum buffer is rounded four times. Nesterov adds two, the rate and
/// the subtraction two more.
fn updated() -> Bound {
    Box::new(|case, inputs, _, _| {
        let mut bounds = of_magnitudes(&*case.op, &case.step, inputs, 8);
        bounds[3] = of_magnitudes(&*case.op, &case.step, inputs, 4).swap_remove(3);
        bounds
    })
}
