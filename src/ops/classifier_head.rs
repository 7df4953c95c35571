//! The end of a classifier, forward and backward in one kernel: a linear layer, its ReLU, a second linear layer and softmax cross-entropy.
//! Source: PyTorch nn.Linear, nn.ReLU, nn.CrossEntropyLoss.

use std::ops::Range;

use super::linear::{LinearForward, LinearGradInput, LinearGradWeight, fits};
use super::softmax_cross_entropy::{MeanCrossEntropy, SoftmaxCrossEntropy};
use super::{Arguments, Lowering, Op, Operand, PLAIN, SUBGROUP, SUBGROUP_LANES, bindings_of, shader, unknown_variant};
use crate::error::Result;
use crate::geometry::Linear;
use crate::gpu::{Dispatch, OFFSET_ALIGNMENT, Shader, StepRow, params};
use crate::reference;

static PLAIN_SHADER: Shader = shader!("classifier_head");
static SUBGROUP_SHADER: Shader = shader!("classifier_head_subgroup", "cross_entropy");

/// Rows at most, as the shaders have it.
const MAX_ROWS: u32 = 8;

/// Products of a row at most: one workgroup does them all, where a dispatch for each layer would have many.
const MAX_PRODUCTS: u32 = 1 << 15;

/// Elements of the activations at most, as the shader has it; workgroup memory holds them twice, in 16 KiB.
const MAX_ACTIVATIONS: u32 = 2000;

/// Invocations of the workgroup at most.
const MAX_WORKGROUP: u32 = 128;

params! {
    ClassifierHeadParams {
        rows: u32,
        in_features: u32,
        hidden_features: u32,
        classes: u32,
        label_smoothing: f32,
        masked: u32,
        bias_1: u32,
        weight_2: u32,
        bias_2: u32,
        length: u32,
        logits: u32,
    }
}

/// input (N, I), parameters (a block), labels (N) → activations: hidden (N, H), then logits (N, K); grad_parameters (a block) and grad_input
/// (N, I) of the mean loss over the step's `count` rows; all overwritten, and `losses[slot]` = that loss. A label of K or more marks a row of
/// padding, whose loss and gradient are 0.
///
/// A block holds weight_1 (H, I), bias_1 (H), weight_2 (K, H) and bias_2 (K) as the flat parameter buffer does, each where a binding may begin,
/// with zeros after each.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierHead {
    /// From the input to the hidden features.
    pub hidden: Linear,
    pub classes: u32,
    pub label_smoothing: f32,
    /// Whether the input comes from a ReLU, whose mask its gradient gets.
    pub masked: bool,
    pub slots: u32,
}

/// Where the parts of a block lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub weight_1: Range<usize>,
    pub bias_1: Range<usize>,
    pub weight_2: Range<usize>,
    pub bias_2: Range<usize>,
    /// Elements of all of it.
    pub length: usize,
}

/// Consecutive ranges, each where a binding may begin, and where another would.
fn aligned(lengths: [usize; 4]) -> ([Range<usize>; 4], usize) {
    let mut end = 0;
    let ranges = lengths.map(|length| {
        let range = end..end + length;
        end = range.end.next_multiple_of(OFFSET_ALIGNMENT as usize / 4);
        range
    });
    (ranges, end)
}

impl ClassifierHead {
    /// Whether one workgroup can do it all, in no more time than several dispatches take.
    pub fn fits(&self) -> bool {
        let Linear { batch, in_features, out_features } = self.hidden;
        let products = [in_features, self.classes].map(|width| out_features.saturating_mul(width));
        batch <= MAX_ROWS
            && products.iter().all(|&products| products <= MAX_PRODUCTS)
            && out_features.saturating_add(self.classes).saturating_mul(batch) <= MAX_ACTIVATIONS
            && [self.hidden, self.last()].iter().all(fits)
            && self.loss().fits()
    }

    /// The layer from the hidden features to the logits.
    pub fn last(&self) -> Linear {
        let Linear { batch, out_features: in_features, .. } = self.hidden;
        Linear { batch, in_features, out_features: self.classes }
    }

    pub fn loss(&self) -> MeanCrossEntropy {
        let Self { hidden, classes, label_smoothing, slots, .. } = *self;
        MeanCrossEntropy { loss: SoftmaxCrossEntropy { rows: hidden.batch, classes, label_smoothing }, slots }
    }

    /// Of the parameters, and of their gradients.
    pub fn block(&self) -> Block {
        let (first, last) = (self.hidden, self.last());
        let lengths = [first.weight_len(), first.out_features as usize, last.weight_len(), last.out_features as usize];
        let ([weight_1, bias_1, weight_2, bias_2], length) = aligned(lengths);
        Block { weight_1, bias_1, weight_2, bias_2, length }
    }

    /// Where hidden features and logits lie in the activations.
    pub fn activations(&self) -> [Range<usize>; 2] {
        let (hidden, logits) = (self.hidden.output_len(), self.last().output_len());
        [0..hidden, hidden..hidden + logits]
    }
}

impl Op for ClassifierHead {
    fn name(&self) -> &'static str {
        "classifier_head"
    }

    fn shape(&self) -> String {
        let Linear { batch, in_features, out_features } = self.hidden;
        format!("{batch}×{in_features} → {batch}×{out_features} → {batch}×{}", self.classes)
    }

    fn operands(&self) -> Vec<Operand> {
        let block = self.block().length;
        vec![
            Operand::read("input", self.hidden.input_len()),
            Operand::read("parameters", block),
            Operand::read("labels", self.hidden.batch as usize).of_u32(),
            Operand::write("activations", self.activations()[1].end),
            Operand::write("gradients", block),
            Operand::write("grad_input", self.hidden.input_len()),
            Operand::read_write("losses", self.slots as usize),
        ]
    }

    fn flops(&self) -> u64 {
        let layers = [(self.hidden, true), (self.last(), false)].into_iter().map(|(shape, relu)| {
            LinearForward { shape, relu }.flops()
                + LinearGradInput { shape, relu }.flops()
                + LinearGradWeight(shape).flops()
        });
        layers.sum::<u64>() + self.loss().flops()
    }

    fn bytes(&self) -> u64 {
        // Of the ring one slot.
        let elements = 2 * self.hidden.input_len()
            + 2 * self.block().length
            + self.hidden.batch as usize
            + self.activations()[1].end
            + 1;
        4 * elements as u64
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        // One workgroup does it all.
        vec![("OUTPUT", 1)]
    }

    fn variants(&self) -> &'static [&'static str] {
        let Linear { in_features, out_features, .. } = self.hidden;
        if in_features.is_multiple_of(4) && out_features.is_multiple_of(4) { &[PLAIN, SUBGROUP] } else { &[PLAIN] }
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let Linear { batch, in_features, out_features } = self.hidden;
        let (block, [_, logits]) = (self.block(), self.activations());
        let params = ClassifierHeadParams {
            rows: batch,
            in_features,
            hidden_features: out_features,
            classes: self.classes,
            label_smoothing: self.label_smoothing,
            masked: self.masked.into(),
            bias_1: block.bias_1.start as u32,
            weight_2: block.weight_2.start as u32,
            bias_2: block.bias_2.start as u32,
            length: block.length as u32,
            logits: logits.start as u32,
        };
        let bindings = bindings_of(&self.operands());
        let (hidden, logits) = (batch * out_features, batch * self.classes);
        match variant {
            PLAIN => Ok(Dispatch::new(&PLAIN_SHADER, "classifier_head", &params, &bindings, 1).into()),
            SUBGROUP if self.variants().contains(&SUBGROUP) => {
                let rows = batch.next_power_of_two();
                let constants = [
                    ("WORKGROUP_SIZE", out_features.next_multiple_of(SUBGROUP_LANES).min(MAX_WORKGROUP)),
                    ("ROWS", batch),
                    ("TILE_ROWS", rows),
                    ("PARTS", SUBGROUP_LANES / rows),
                    ("HIDDEN", hidden),
                    ("LOGITS", logits),
                ];
                let entry_point = "classifier_head_subgroup";
                Ok(Dispatch::specialised(&SUBGROUP_SHADER, entry_point, &params, &bindings, 1, &constants).into())
            }
            _ => Err(unknown_variant(self, variant)),
        }
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [input, parameters, labels, activations, gradients, grad_input, losses] = arguments.take();
        let (input, parameters) = (input.f64(), parameters.f64());
        let (activations, gradients) = (activations.f64_mut(), gradients.f64_mut());
        let (first, last, block, [hidden, logits]) = (self.hidden, self.last(), self.block(), self.activations());
        let [weight_1, bias_1, weight_2, bias_2] =
            [&block.weight_1, &block.bias_1, &block.weight_2, &block.bias_2].map(|range| &parameters[range.clone()]);

        reference::linear::forward(&first, true, input, weight_1, bias_1, &mut activations[hidden.clone()]);
        let features = activations[hidden].to_vec();
        reference::linear::forward(&last, false, &features, weight_2, bias_2, &mut activations[logits.clone()]);

        let (classes, count) = (self.classes as usize, step.count as usize);
        let mut row_loss = vec![0.0; first.batch as usize];
        let mut grad_logits = vec![0.0; last.output_len()];
        reference::softmax_cross_entropy::forward_backward(
            classes,
            count,
            f64::from(self.label_smoothing),
            &activations[logits],
            labels.u32(),
            &mut row_loss,
            &mut grad_logits,
        );
        losses.f64_mut()[step.slot as usize] = reference::mean_loss::rows(count, &row_loss);

        let mut unmasked = vec![0.0; features.len()];
        reference::linear::grad_input(&last, &grad_logits, weight_2, &mut unmasked);
        let mut grad_hidden = vec![0.0; features.len()];
        reference::relu::backward(&features, &unmasked, &mut grad_hidden);
        gradients.fill(0.0);
        for (shape, grad_output, input, weight, bias) in [
            (&first, &grad_hidden, input, block.weight_1, block.bias_1),
            (&last, &grad_logits, &features[..], block.weight_2, block.bias_2),
        ] {
            let (weights, biases) = gradients.split_at_mut(bias.start);
            let biases = &mut biases[..bias.len()];
            reference::linear::grad_parameters(shape, grad_output, input, &mut weights[weight], biases);
        }
        let grad_input = grad_input.f64_mut();
        reference::linear::grad_input(&first, &grad_hidden, weight_1, grad_input);
        if self.masked {
            let unmasked = grad_input.to_vec();
            reference::relu::backward(input, &unmasked, grad_input);
        }
    }

    fn rectified(&self) -> Option<(usize, Range<usize>)> {
        let [hidden, _] = self.activations();
        Some((3, hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shaders_have_the_same_limits() {
        assert_eq!([&PLAIN_SHADER, &SUBGROUP_SHADER].map(|shader| shader.constant("MAX_ROWS")), [MAX_ROWS; 2]);
        assert_eq!(PLAIN_SHADER.constant("MAX_ACTIVATIONS"), MAX_ACTIVATIONS);
        assert_eq!(SUBGROUP_SHADER.constant("LANES"), SUBGROUP_LANES);
    }
}
