//! A batch is its images one by one; the gradient of a weight is the sum over them.

use std::rc::Rc;

use super::{Kind, Outcome, Relation, STEP, contents, conv2d, integers, pool2d, result, uniform};
use crate::error::Result;
use crate::geometry::{Matmul as MatmulShape, Window};
use crate::gpu::{Device, StepRow};
use crate::ops::avg_pool2d::{AvgPool2dBackward, AvgPool2dForward};
use crate::ops::conv2d::{Conv2dForward, Conv2dGradInput, Conv2dGradWeight};
use crate::ops::matmul::Matmul;
use crate::ops::max_pool2d::MaxPool2dForward;
use crate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::ops::{Access, Op};

const IMAGES: u32 = 5;

/// The loss divides by the count, which is that of the batch in both.
const COUNTED: StepRow = StepRow { count: IMAGES, ..STEP };

/// The same op for one image and for all of them.
struct Pair {
    one: Rc<dyn Op>,
    many: Rc<dyn Op>,
    /// Operands that have a part for each image; the results always have.
    divided: &'static [&'static str],
}

pub fn relations() -> Vec<Relation> {
    let [one, many] = [1, IMAGES].map(|batch| conv2d(batch, 3, 6, [9, 7], Window::square(3).padding(1)));
    let [row, rows] = [1, IMAGES].map(|m| MatmulShape { m, k: 37, n: 10, transpose_a: false, transpose_b: true });
    let [plane, planes] = [3, 3 * IMAGES].map(|planes| pool2d(planes, [9, 7], Window::square(3).stride(2).padding(1)));
    let [loss, losses] =
        [1, IMAGES].map(|rows| Rc::new(SoftmaxCrossEntropy { rows, classes: 10, label_smoothing: 0.1 }));
    let pairs = [
        Pair { one: Rc::new(Conv2dForward(one)), many: Rc::new(Conv2dForward(many)), divided: &["input"] },
        Pair { one: Rc::new(Conv2dGradInput(one)), many: Rc::new(Conv2dGradInput(many)), divided: &["grad_output"] },
        Pair { one: Rc::new(Matmul(row)), many: Rc::new(Matmul(rows)), divided: &["a"] },
        Pair {
            one: Rc::new(MaxPool2dForward { shape: plane, relu: false }),
            many: Rc::new(MaxPool2dForward { shape: planes, relu: false }),
            divided: &["input"],
        },
        Pair { one: Rc::new(AvgPool2dForward(plane)), many: Rc::new(AvgPool2dForward(planes)), divided: &["input"] },
        Pair {
            one: Rc::new(AvgPool2dBackward(plane)),
            many: Rc::new(AvgPool2dBackward(planes)),
            divided: &["grad_output"],
        },
        Pair { one: loss, many: losses, divided: &["logits", "labels"] },
    ];
    let mut relations = Vec::new();
    for pair in pairs.map(Rc::new) {
        for &variant in pair.many.variants() {
            let held = Rc::clone(&pair);
            let run = move |device: &Device, variant: &str| held.run(device, variant);
            relations.push(Relation::new(
                Kind::Metamorphic,
                "batch of 5 = 5 batches of one",
                &*pair.many,
                variant,
                run,
            ));
        }
    }
    let [one, many] = [Conv2dGradWeight(one), Conv2dGradWeight(many)];
    for &variant in many.variants() {
        let run = move |device: &Device, variant: &str| summed(device, &one, &many, variant);
        relations.push(Relation::new(
            Kind::Metamorphic,
            "gradient of a batch = sum over its images",
            &many,
            variant,
            run,
        ));
    }
    relations
}

fn part(bits: &[u32], image: usize) -> &[u32] {
    let length = bits.len() / IMAGES as usize;
    &bits[image * length..(image + 1) * length]
}

impl Pair {
    /// Bit for bit: an image's sums run in the same order whatever lies beside it.
    fn run(&self, device: &Device, variant: &str) -> Result<Outcome> {
        let inputs = uniform(&*self.many, 2);
        let together = contents(device, &*self.many, variant, &COUNTED, &inputs)?;
        let operands = self.one.operands();
        let mut outcome = Outcome::default();
        for image in 0..IMAGES as usize {
            let of_image = operands.iter().zip(&inputs).map(|(operand, bits)| {
                if self.divided.contains(&operand.name) { part(bits, image).to_vec() } else { bits.clone() }
            });
            let alone = contents(device, &*self.one, variant, &COUNTED, &of_image.collect::<Vec<_>>())?;
            for ((operand, alone), together) in operands.iter().zip(&alone).zip(&together) {
                if operand.access != Access::Read {
                    outcome.equal(operand, part(together, image), alone, false);
                }
            }
        }
        Ok(outcome)
    }
}

/// On small integers, whose sums are exact in any order.
fn summed(device: &Device, one: &Conv2dGradWeight, many: &Conv2dGradWeight, variant: &str) -> Result<Outcome> {
    let inputs = integers(many, 8);
    let together = result(device, many, variant, &inputs)?;
    let mut sum = vec![0.0f32; together.len()];
    for image in 0..IMAGES as usize {
        let of_image = [part(&inputs[0], image).to_vec(), part(&inputs[1], image).to_vec(), Vec::new()];
        let alone = result(device, one, variant, &of_image)?;
        sum.iter_mut().zip(alone).for_each(|(sum, bits)| *sum += f32::from_bits(bits));
    }
    let sum: Vec<u32> = sum.into_iter().map(f32::to_bits).collect();
    let mut outcome = Outcome::default();
    outcome.equal(&many.operands()[2], &together, &sum, true);
    Ok(outcome)
}
