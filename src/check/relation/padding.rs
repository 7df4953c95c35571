//! Padding is zeros around the input.

use super::{Kind, Outcome, Relation, conv2d, result, uniform};
use crate::error::Result;
use crate::geometry::Window;
use crate::gpu::Device;
use crate::ops::Op;
use crate::ops::avg_pool2d::AvgPool2dForward;
use crate::ops::conv2d::{Conv2dForward, Conv2dGradWeight};

/// Planes of 6 × 7, with 1 row and 2 columns on each side.
const INPUT: [usize; 2] = [6, 7];
const PADDING: [usize; 2] = [1, 2];

pub fn relations() -> Vec<Relation> {
    let window = Window::square(3);
    let padded_window = Window { padding: PADDING.map(|size| size as u32), ..window };
    let [padded, explicit] =
        [([6, 7], padded_window), ([8, 11], window)].map(|(input, window)| conv2d(2, 3, 5, input, window));
    let mut relations = of(Conv2dForward(padded), Conv2dForward(explicit));
    relations.extend(of(Conv2dGradWeight(padded), Conv2dGradWeight(explicit)));
    // Pooling refuses padding beyond half of the window.
    let wide = Window { kernel_size: [3, 5], ..window };
    let wide_padded = Window { padding: padded_window.padding, ..wide };
    let [padded, explicit] =
        [([6, 7], wide_padded), ([8, 11], wide)].map(|(input, window)| super::pool2d(6, input, window));
    relations.extend(of(AvgPool2dForward(padded), AvgPool2dForward(explicit)));
    relations
}

/// The op with padding and the same over an input that has it already; the input is the first operand.
fn of<O: Op + Copy + 'static>(padded: O, explicit: O) -> Vec<Relation> {
    let variants = padded.variants().iter();
    let relation = |&variant| {
        let run = move |device: &Device, variant: &str| run(device, &padded, &explicit, variant);
        Relation::new(Kind::Metamorphic, "padding = explicit zeros", &padded, variant, run)
    };
    variants.map(relation).collect()
}

fn run(device: &Device, padded: &dyn Op, explicit: &dyn Op, variant: &str) -> Result<Outcome> {
    let inputs = uniform(padded, 3);
    let [height, width] = [INPUT[0] + 2 * PADDING[0], INPUT[1] + 2 * PADDING[1]];
    let mut wide = inputs.clone();
    wide[0] = vec![0; explicit.operands()[0].length];
    for (row, values) in inputs[0].chunks_exact(INPUT[1]).enumerate() {
        let start = (row / INPUT[0] * height + row % INPUT[0] + PADDING[0]) * width + PADDING[1];
        wide[0][start..start + INPUT[1]].copy_from_slice(values);
    }
    let [actual, expected] = [result(device, padded, variant, &inputs)?, result(device, explicit, variant, &wide)?];
    let mut outcome = Outcome::default();
    if let Some(operand) = padded.operands().last() {
        // A zero may have either sign: adding w · 0 changes nothing else.
        outcome.equal(operand, &actual, &expected, true);
    }
    Ok(outcome)
}
