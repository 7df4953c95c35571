//! The end of a network and its loss as one op.

use super::Builder;
use super::backward::{Done, Incoming};
use crate::nn::fusion::Fusion;
use crate::nn::layer::Layer;
use crate::nn::plan::{Phase, TensorId};
use crate::ops::classifier_head::ClassifierHead;

/// The last layers and the loss, which are one op.
pub struct Head {
    op: ClassifierHead,
    /// The first of the layers.
    pub first: usize,
}

impl Builder<'_> {
    /// The end of the network and its loss in one op, where it is of that kind and small enough, and something before it is trained as well.
    pub fn head(&self, classes: u32, label_smoothing: f32, slots: u32) -> Option<Head> {
        let first = self.network.layers.len().checked_sub(3)?;
        let layer = |index: usize| self.network.layers[index].layer;
        let (Layer::Linear { .. }, Layer::Relu, Layer::Linear { .. }) =
            (layer(first), layer(first + 1), layer(first + 2))
        else {
            return None;
        };
        let before = self.first_trained().is_some_and(|trained| trained < first);
        // Of a linear layer: only its own ReLU can be masked where the gradient is made.
        let masked = first >= 2 && layer(first - 1) == Layer::Relu && matches!(layer(first - 2), Layer::Linear { .. });
        let masked = masked && self.is_one_op(first - 2);
        let op = ClassifierHead { hidden: self.linear(first), classes, label_smoothing, masked, slots };
        (self.fusion == Fusion::Full && before && op.fits()).then_some(Head { op, first })
    }

    /// Returns the logits, and the gradient of what goes in.
    pub fn classifier_head(
        &mut self,
        head: &Head,
        input: TensorId,
        labels: TensorId,
        losses: TensorId,
    ) -> (TensorId, Incoming) {
        let Head { op, first } = *head;
        let layers = &self.network.layers;
        let name = &layers[first].name;
        let [hidden, logits] = op.activations();
        let activations = self.activation(&format!("{name}.activations"), vec![logits.end as u32]);
        self.view(
            &format!("{}.output", layers[first + 1].name),
            vec![self.batch, op.hidden.out_features],
            activations,
            hidden.start,
        );
        let logits = self.view(
            &format!("{}.output", layers[first + 2].name),
            vec![self.batch, op.classes],
            activations,
            logits.start,
        );
        let block = vec![op.block().length as u32];
        let [parameters, gradients] = ["", "grad_"].map(|prefix| {
            let start = self.named(name, &format!("{prefix}weight"));
            self.view(&format!("{name}.{prefix}block"), block.clone(), start, 0)
        });
        let grad_name = match op.masked {
            true => format!("{}.grad_input", layers[first - 1].name),
            false => format!("{name}.grad_input"),
        };
        let grad_input = self.activation(&grad_name, vec![self.batch, op.hidden.in_features]);
        let operands = [input, parameters, labels, activations, gradients, grad_input, losses];
        self.push(&format!("{name}.head"), Phase::Loss, op, &operands);
        let done = if op.masked { Done::Relu } else { Done::Nothing };
        (logits, Incoming { tensor: grad_input, done })
    }
}
