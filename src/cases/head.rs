//! The end of a classifier. Its results are sums of sums, with exponentials and a mask between, so their bounds are carried along: from the
//! error of what goes into a sum, and the roundings of the sum, to the error of what comes out.

use super::bound::{Bound, DIVISION, FLUSH, gamma};
use super::loss::{LossBounds, labels, loss_bounds};
use super::pairwise::pairwise;
use super::{Block, Case, Style, Timed};
use crate::geometry::Linear;
use crate::gpu::StepRow;
use crate::ops::classifier_head::ClassifierHead;
use crate::random::{Purpose, Random};
use crate::reference;

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[Timed {
        op: "classifier_head",
        defaults: &["batch=4,in_features=120,hidden_features=84,classes=10"],
        build: |sizes| {
            let (batch, in_features) = (sizes.get("batch")?, sizes.get("in_features")?);
            let hidden = Linear { batch, in_features, out_features: sizes.get("hidden_features")? };
            let classes = sizes.get("classes")?;
            let op = ClassifierHead { hidden, classes, label_smoothing: 0.0, masked: true, slots: 1 };
            if !op.fits() {
                return Err(sizes.refusal("a head of these sizes is too much for one workgroup"));
            }
            Ok(head(op, batch, 0, Style::Uniform, &mut Random::new(0, Purpose::Test, 1 << 33)))
        },
    }],
};

fn cases() -> Vec<Case> {
    const BATCHES: [u32; 4] = [1, 3, 4, 8];
    const WIDTHS: [u32; 4] = [3, 4, 12, 36];
    const CLASSES: [u32; 4] = [1, 3, 4, 10];
    let swept = pairwise([BATCHES.len(), WIDTHS.len(), WIDTHS.len(), CLASSES.len(), 2, 3, 2]);
    let swept = swept.into_iter().map(|[batch, inputs, hidden, classes, smoothing, count, masked]| {
        let batch = BATCHES[batch];
        let hidden = Linear { batch, in_features: WIDTHS[inputs], out_features: WIDTHS[hidden] };
        let count = [batch, batch.div_ceil(2), 1][count];
        (hidden, CLASSES[classes], [0.0, 0.1][smoothing], count, masked == 1)
    });
    // Around a workgroup, the tutorial's, and the largest of each size.
    let special = [
        (4, 8, 124, 10),
        (4, 8, 128, 10),
        (3, 8, 132, 3),
        (4, 516, 8, 10),
        (4, 120, 84, 10),
        (8, 120, 84, 10),
        (2, 4096, 8, 2),
        (1, 4, 1960, 3),
        (1, 4, 16, 1900),
    ];
    let special = special.into_iter().map(|(batch, in_features, out_features, classes)| {
        (Linear { batch, in_features, out_features }, classes, 0.1, batch, true)
    });
    let mut cases = Vec::new();
    for (index, (hidden, classes, label_smoothing, count, masked)) in swept.chain(special).enumerate() {
        let slots = 1 + index as u32 % 3;
        let op = ClassifierHead { hidden, classes, label_smoothing, masked, slots };
        assert!(op.fits(), "{op:?}");
        for style in [Style::Uniform, Style::Integers] {
            let mut random = Random::new(index as u64, Purpose::Test, 1 << 33);
            cases.push(head(op, count, index as u32 % slots, style, &mut random));
        }
    }
    cases
}

fn head(op: ClassifierHead, count: u32, slot: u32, style: Style, random: &mut Random) -> Case {
    let step = StepRow { step: 1, epoch: 1, order_offset: 0, count, slot, learning_rate: 0.0 };
    let labels = labels(op.hidden.batch, op.classes, count, random);
    Case::new(op, style, bound(op, style)).step(step).given("labels", labels)
}

/// A value and how far it may be off.
#[derive(Clone, Copy)]
struct Number {
    value: f64,
    error: f64,
}

impl Number {
    const ZERO: Self = Self::exact(0.0);

    const fn exact(value: f64) -> Self {
        Self { value, error: 0.0 }
    }

    /// The largest that it may be.
    fn magnitude(self) -> f64 {
        self.value.abs() + self.error
    }

    /// max(value, 0), which moves no error.
    fn rectified(self) -> Self {
        Self { value: self.value.max(0.0), ..self }
    }

    /// What a mask lets through. Where the error decides about it, anything from none to all.
    fn where_positive(self, mask: Self) -> Self {
        if mask.value.abs() <= mask.error {
            let value = if mask.value > 0.0 { self.value } else { 0.0 };
            return Self { value, error: self.magnitude() };
        }
        if mask.value > 0.0 { self } else { Self::ZERO }
    }
}

/// `start` + Σ a·b, no term of which is rounded more than `roundings` times.
fn sum(start: Number, roundings: u64, terms: impl Iterator<Item = (Number, Number)>) -> Number {
    let (mut sum, mut magnitude, mut largest) = (start, start.magnitude(), 1.0f64);
    for (a, b) in terms {
        let most = a.magnitude() * b.magnitude();
        sum.value += a.value * b.value;
        sum.error += most - (a.value * b.value).abs();
        magnitude += most;
        largest = largest.max(a.magnitude()).max(b.magnitude());
    }
    // A term may lose each of its two factors, itself and the sum so far.
    sum.error += gamma(roundings) * magnitude + 4.0 * roundings as f64 * FLUSH * largest;
    sum
}

/// The forward sums of whole numbers are not rounded.
pub(super) fn bound(op: ClassifierHead, style: Style) -> Bound {
    Box::new(move |case, inputs, _, _| bounds(&op, style, &case.step, inputs))
}

fn bounds(op: &ClassifierHead, style: Style, step: &StepRow, inputs: &[Vec<u32>]) -> Vec<Vec<f64>> {
    let exact =
        |bits: &[u32]| -> Vec<Number> { bits.iter().map(|&bits| Number::exact(f32::from_bits(bits).into())).collect() };
    let (input, parameters, labels) = (exact(&inputs[0]), exact(&inputs[1]), &inputs[2]);
    let [rows, features, width, classes] =
        [op.hidden.batch, op.hidden.in_features, op.hidden.out_features, op.classes].map(|size| size as usize);
    let block = op.block();
    let [weight_1, bias_1, weight_2, bias_2] =
        [&block.weight_1, &block.bias_1, &block.weight_2, &block.bias_2].map(|range| &parameters[range.clone()]);
    let pairs = |terms: usize| if style == Style::Integers { 0 } else { terms as u64 + 1 };

    let forward = |input: &[Number], weight: &[Number], bias: &[Number], terms: usize| -> Vec<Number> {
        let outputs = bias.len();
        let products = (0..rows * outputs).map(|at| {
            let (row, weights) = (&input[at / outputs * terms..], &weight[at % outputs * terms..]);
            let products = row.iter().copied().zip(weights.iter().copied()).take(terms);
            sum(bias[at % outputs], pairs(terms), products)
        });
        products.collect()
    };
    let before = forward(&input, weight_1, bias_1, features);
    let hidden: Vec<Number> = before.iter().map(|number| number.rectified()).collect();
    let logits = forward(&hidden, weight_2, bias_2, width);

    let LossBounds { rows: of_rows, grads, magnitudes } = loss_bounds(
        op.loss().loss,
        step.count,
        &logits.iter().map(|logit| logit.value).collect::<Vec<_>>(),
        labels,
        &logits.iter().map(|logit| logit.error).collect::<Vec<_>>(),
    );
    let mut row_loss = vec![0.0; rows];
    let mut values = vec![0.0; logits.len()];
    reference::softmax_cross_entropy::forward_backward(
        classes,
        step.count as usize,
        op.label_smoothing.into(),
        &logits.iter().map(|logit| logit.value).collect::<Vec<_>>(),
        labels,
        &mut row_loss,
        &mut values,
    );
    let grad_logits: Vec<Number> =
        values.into_iter().zip(grads).map(|(value, error)| Number { value, error }).collect();
    let mut losses = vec![0.0; op.slots as usize];
    let roundings = gamma(rows as u64 + DIVISION);
    let total = |values: &[f64]| values.iter().sum::<f64>() / f64::from(step.count);
    losses[step.slot as usize] = (1.0 + roundings) * total(&of_rows) + roundings * total(&magnitudes) + FLUSH;

    // Σ over the layer's outputs of grad_output[n, o] · weight[o, i].
    let grad_input = |grads: &[Number], weight: &[Number], inputs: usize| -> Vec<Number> {
        let outputs = grads.len() / rows;
        let products = (0..rows * inputs).map(|at| {
            let (n, i) = (at / inputs, at % inputs);
            let terms = (0..outputs).map(|o| (grads[n * outputs + o], weight[o * inputs + i]));
            sum(Number::ZERO, outputs as u64, terms)
        });
        products.collect()
    };
    let masked = |grads: Vec<Number>, masks: &[Number]| -> Vec<Number> {
        grads.into_iter().zip(masks).map(|(grad, &mask)| grad.where_positive(mask)).collect()
    };
    let grad_hidden = masked(grad_input(&grad_logits, weight_2, width), &before);
    let mut grads = grad_input(&grad_hidden, weight_1, features);
    if op.masked {
        grads = masked(grads, &input);
    }

    let mut gradients = vec![0.0; block.length];
    let mut parameters = |grads: &[Number], input: &[Number], inputs: usize, weight: usize, bias: usize| {
        let outputs = grads.len() / rows;
        let of = |o: usize| (0..rows).map(move |n| grads[n * outputs + o]);
        for o in 0..outputs {
            for i in 0..inputs {
                let terms = of(o).enumerate().map(|(n, grad)| (grad, input[n * inputs + i]));
                gradients[weight + o * inputs + i] = sum(Number::ZERO, rows as u64, terms).error;
            }
            let terms = of(o).map(|grad| (grad, Number::exact(1.0)));
            gradients[bias + o] = sum(Number::ZERO, rows as u64, terms).error;
        }
    };
    parameters(&grad_hidden, &input, features, block.weight_1.start, block.bias_1.start);
    parameters(&grad_logits, &hidden, width, block.weight_2.start, block.bias_2.start);

    let errors = |numbers: &[Number]| numbers.iter().map(|number| number.error).collect::<Vec<_>>();
    let [of_hidden, of_logits] = op.activations();
    let mut activations = vec![0.0; of_logits.end];
    activations[of_hidden].copy_from_slice(&errors(&hidden));
    activations[of_logits].copy_from_slice(&errors(&logits));
    vec![Vec::new(), Vec::new(), Vec::new(), activations, gradients, errors(&grads), losses]
}
