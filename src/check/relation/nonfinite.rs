//! A NaN or an infinity reaches the results that depend on it and no others: each result that the reference leaves alone keeps its bits.
//! Padding is zeros, and zero times NaN is NaN, so a kernel may let a factor that meets padding spread there, where the reference skips
//! the product: those operands are spoilt only in shapes in which every product is inside.

use std::rc::Rc;

use super::{Kind, Outcome, Relation, STEP, conv2d, pool2d, uniform};
use crate::cases::evaluate;
use crate::check::{POISONS, Rig};
use crate::error::Result;
use crate::geometry::{Channels, Matmul as MatmulShape, Window};
use crate::gpu::Device;
use crate::ops::Op;
use crate::ops::avg_pool2d::AvgPool2dForward;
use crate::ops::bias::{BiasAdd, BiasGrad};
use crate::ops::conv2d::{Conv2dForward, Conv2dGradInput, Conv2dGradWeight};
use crate::ops::matmul::Matmul;
use crate::ops::max_pool2d::MaxPool2dForward;
use crate::ops::relu::{ReluBackward, ReluForward};
use crate::ops::sgd::Sgd;
use crate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;

pub fn relations() -> Vec<Relation> {
    let padded = conv2d(2, 3, 5, [7, 6], Window::square(3).stride(2).padding(1));
    let inside = conv2d(2, 3, 5, [7, 6], Window::square(3).stride(2));
    let pointwise = conv2d(2, 6, 5, [7, 6], Window::square(1));
    let pool = pool2d(6, [7, 6], Window::square(3).stride(2).padding(1));
    let channels = Channels { batch: 3, channels: 7, size: 10 };
    let ops: [(Rc<dyn Op>, &'static [&'static str]); 15] = [
        (Rc::new(ReluForward { length: 130 }), &["input"]),
        (Rc::new(ReluBackward { length: 130 }), &["activation", "grad_output"]),
        (Rc::new(Conv2dForward(padded)), &["input", "bias"]),
        (Rc::new(Conv2dForward(inside)), &["input", "weight", "bias"]),
        (Rc::new(Conv2dGradInput(padded)), &["grad_output"]),
        (Rc::new(Conv2dGradInput(pointwise)), &["weight", "grad_output"]),
        (Rc::new(Conv2dGradWeight(padded)), &["input"]),
        (Rc::new(Conv2dGradWeight(inside)), &["input", "grad_output"]),
        (Rc::new(Matmul(MatmulShape { m: 6, k: 9, n: 7, transpose_a: false, transpose_b: true })), &["a", "b"]),
        (Rc::new(BiasAdd(channels)), &["input", "bias"]),
        (Rc::new(BiasGrad(channels)), &["grad_output"]),
        (Rc::new(MaxPool2dForward { shape: pool, relu: false }), &["input"]),
        (Rc::new(AvgPool2dForward(pool)), &["input"]),
        (Rc::new(SoftmaxCrossEntropy { rows: 5, classes: 10, label_smoothing: 0.1 }), &["logits"]),
        (
            Rc::new(Sgd { length: 130, momentum: 0.9, weight_decay: 0.1, nesterov: true }),
            &["gradients", "parameters", "momentum_buffer"],
        ),
    ];
    let mut relations = Vec::new();
    for (op, spoilt) in ops {
        for &variant in op.variants() {
            let held = Rc::clone(&op);
            let run = move |device: &Device, variant: &str| run(device, &*held, variant, spoilt);
            relations.push(Relation::new(Kind::Nonfinite, "NaN and ±Inf stay in their lanes", &*op, variant, run));
        }
    }
    relations
}

fn run(device: &Device, op: &dyn Op, variant: &str, spoilt: &[&str]) -> Result<Outcome> {
    let clean = uniform(op, 7);
    let truth = evaluate(op, &STEP, &clean, |value| value);
    let rig = Rig::new(device, op, variant, &STEP)?;
    let before = rig.run(&clean, POISONS[0])?.operands;
    let operands = op.operands();
    let mut outcome = Outcome::default();
    for (place, operand) in operands.iter().enumerate().filter(|(_, operand)| spoilt.contains(&operand.name)) {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, operand.length / 2, operand.length - 1] {
                let mut inputs = clean.clone();
                inputs[place][index] = value.to_bits();
                let touched = evaluate(op, &STEP, &inputs, |value| value);
                let contents = rig.run(&inputs, POISONS[0])?;
                if let Some(touched) = contents.touched {
                    outcome.fail(touched);
                }
                for (at, result) in contents.operands.iter().enumerate() {
                    let alike = truth[at].iter().zip(&touched[at]).map(|(a, b)| a.to_bits() == b.to_bits());
                    let moved = alike
                        .enumerate()
                        .position(|(at_result, alike)| alike && result[at_result] != before[at][at_result]);
                    if let Some(moved) = moved {
                        outcome.error_of_bound = f64::INFINITY;
                        let (name, moving) = (operands[at].name, operand.name);
                        outcome.fail(format!("{name}[{moved}] was moved by {value} at {moving}[{index}]"));
                    }
                }
            }
        }
    }
    Ok(outcome)
}
