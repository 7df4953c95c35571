//! The backward half: the gradients of the layers, in reverse.

use super::Builder;
use super::forward::Saved;
use crate::geometry::{Channels, Linear, Matmul as MatmulShape, product};
use crate::nn::fusion::Fusion;
use crate::nn::layer::Layer;
use crate::nn::network::NamedLayer;
use crate::nn::plan::{Phase, TensorId};
use crate::ops::avg_pool2d::AvgPool2dBackward;
use crate::ops::bias::BiasGrad;
use crate::ops::conv2d::{Conv2dGradInput, Conv2dGradWeight, Conv2dGradWeightBias};
use crate::ops::global_avg_pool2d::GlobalAvgPool2dBackward;
use crate::ops::linear::{LinearGradInput, LinearGradWeight};
use crate::ops::matmul::Matmul;
use crate::ops::max_pool2d::MaxPool2dBackward;
use crate::ops::pooled_grad_input::{Conv2dGradInputMaxPool2d, LinearGradInputMaxPool2d};
use crate::ops::relu::ReluBackward;

/// A gradient of what comes out of a layer.
#[derive(Clone, Copy)]
pub struct Incoming {
    pub tensor: TensorId,
    /// What of the layer's end it has already gone through.
    pub done: Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Nothing,
    /// The ReLU has blocked it.
    Relu,
    /// The max pooling has handed it to its winners.
    MaxPool2d,
}

impl Incoming {
    pub fn new(tensor: TensorId) -> Self {
        Self { tensor, done: Done::Nothing }
    }
}

impl Builder<'_> {
    /// Gradients of every parameter, from that of what the saved layers end with.
    pub fn backward(&mut self, saved: &mut Vec<Saved>, mut incoming: Incoming) {
        let Some(first) = self.first_trained() else { return };
        while let Some(layers) = saved.pop() {
            if layers.layers.start < first {
                break;
            }
            incoming = self.layers_backward(&layers, incoming, layers.layers.start > first, saved);
        }
    }

    /// Whether these are a linear layer and its ReLU.
    fn ends_in_relu(&self, saved: &Saved) -> bool {
        saved.layers.len() == 2 && matches!(self.network.layers[saved.layers.start].layer, Layer::Linear { .. })
    }

    /// The max pooling that has made what these layers take, and its winners; a flattening between changes nothing.
    fn pooled_before<'s>(&self, before: &'s [Saved]) -> Option<(&'s Saved, TensorId)> {
        let is_flatten = |saved: &&Saved| self.network.layers[saved.layers.start].layer == Layer::Flatten;
        let saved = before.iter().rev().find(|saved| !is_flatten(saved))?;
        Some((saved, saved.argmax?))
    }

    /// The name of the gradient of what a max pooling takes, or the ReLU before it that is one op with it; `saved` are the layers that end with it.
    fn grad_planes_name(&self, saved: &Saved) -> String {
        let with_relu = usize::from(saved.layers.len() > 1);
        format!("{}.grad_input", self.network.layers[saved.layers.end - 1 - with_relu].name)
    }

    /// The gradient of what a convolution or a linear layer takes and of the pooling before it, where one op can do both.
    fn grad_input_through_pool(&mut self, index: usize, grad_output: TensorId, before: &[Saved]) -> Option<Incoming> {
        let (pooled, winner) = self.pooled_before(before).filter(|_| self.fusion == Fusion::Full)?;
        let pool = pooled.layers.end - 1;
        let NamedLayer { name, layer } = &self.network.layers[index];
        let label = format!("{name}.grad_input");
        let shape = self.with_batch(&self.activations[pool].input);
        let tensor = |builder: &mut Self| builder.activation(&builder.grad_planes_name(pooled), shape);
        let tensor = match layer {
            Layer::Conv2d { .. } => {
                let op = Conv2dGradInputMaxPool2d::new(self.conv2d(index), self.pool2d(pool))?;
                let (weight, grad_planes) = (self.named(name, "weight"), tensor(self));
                self.push(&label, Phase::Backward, op, &[weight, grad_output, winner, grad_planes]);
                grad_planes
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let op = LinearGradInputMaxPool2d::new(self.linear(index), self.pool2d(pool))?;
                let (weight, grad_planes) = (self.named(name, "weight"), tensor(self));
                self.push(&label, Phase::Backward, op, &[grad_output, weight, winner, grad_planes]);
                grad_planes
            }
            _ => return None,
        };
        Some(Incoming { tensor, done: Done::MaxPool2d })
    }

    /// Returns the gradient of what went in, or `incoming` again where none is needed. `before` are the layers before these.
    fn layers_backward(
        &mut self,
        saved: &Saved,
        incoming: Incoming,
        needs_grad_input: bool,
        before: &[Saved],
    ) -> Incoming {
        let index = saved.layers.start;
        let NamedLayer { name, layer } = &self.network.layers[index];
        let shape = self.with_batch(&self.activations[index].input);
        let grad_name = format!("{name}.grad_input");
        let backward = Phase::Backward;
        let mut grad_output = incoming.tensor;
        if *layer == Layer::Flatten {
            return match incoming.done {
                Done::MaxPool2d => incoming,
                _ => Incoming::new(self.reshape(&grad_name, shape, grad_output)),
            };
        }
        if saved.argmax.is_some() && incoming.done != Done::MaxPool2d {
            grad_output = self.max_pool2d_backward(saved, grad_output);
        }
        if self.ends_in_relu(saved) && incoming.done != Done::Relu {
            let grad_name = format!("{}.grad_input", self.network.layers[index + 1].name);
            grad_output = self.relu_backward(&grad_name, saved.output, grad_output);
        }
        match layer {
            Layer::Conv2d { .. } if self.fuses_layers() => {
                let [grad_weight, grad_bias] = ["grad_weight", "grad_bias"].map(|kind| self.named(name, kind));
                let operands = [saved.input, grad_output, grad_weight, grad_bias];
                let op = Conv2dGradWeightBias(self.conv2d(index));
                self.push(&format!("{name}.grad_weight"), backward, op, &operands);
            }
            Layer::Conv2d { .. } => {
                let conv2d = self.conv2d(index);
                let grad_weight = self.named(name, "grad_weight");
                let label = format!("{name}.grad_weight");
                self.push(&label, backward, Conv2dGradWeight(conv2d), &[saved.input, grad_output, grad_weight]);
                let size = product(&conv2d.output) as u32;
                let channels = Channels { batch: conv2d.batch, channels: conv2d.out_channels, size };
                let label = format!("{name}.grad_bias");
                self.push(&label, backward, BiasGrad(channels), &[grad_output, self.named(name, "grad_bias")]);
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let op = LinearGradWeight(self.linear(index));
                let [grad_weight, grad_bias] = ["grad_weight", "grad_bias"].map(|kind| self.named(name, kind));
                let operands = [grad_output, saved.input, grad_weight, grad_bias];
                self.push(&format!("{name}.grad_weight"), backward, op, &operands);
            }
            Layer::Linear { .. } => {
                let Linear { batch, in_features, out_features } = self.linear(index);
                let multiply =
                    MatmulShape { m: out_features, k: batch, n: in_features, transpose_a: true, transpose_b: false };
                let operands = [grad_output, saved.input, self.named(name, "grad_weight")];
                self.push(&format!("{name}.grad_weight"), backward, Matmul(multiply), &operands);
                let channels = Channels { batch, channels: out_features, size: 1 };
                let label = format!("{name}.grad_bias");
                self.push(&label, backward, BiasGrad(channels), &[grad_output, self.named(name, "grad_bias")]);
            }
            _ => {}
        }
        if !needs_grad_input || saved.argmax.is_some() && !matches!(layer, Layer::Conv2d { .. }) {
            return Incoming::new(grad_output);
        }
        if *layer == Layer::Relu && saved.layers.len() == 1 {
            return Incoming::new(self.relu_backward(&grad_name, saved.output, grad_output));
        }
        if let Some(incoming) = self.grad_input_through_pool(index, grad_output, before) {
            return incoming;
        }

        // Only a linear layer's own ReLU can be masked where the gradient is made, which then is that of the ReLU's own input.
        let relu = before.last().filter(|before| self.ends_in_relu(before)).map(|before| before.output);
        let masked = relu.filter(|_| matches!(layer, Layer::Linear { .. }) && self.is_one_op(index));
        let grad_name = match masked {
            Some(_) => format!("{}.grad_input", self.network.layers[index - 1].name),
            None => grad_name,
        };
        let grad_input = self.activation(&grad_name, shape);
        match layer {
            Layer::Conv2d { .. } => {
                let operands = [self.named(name, "weight"), grad_output, grad_input];
                self.push(&grad_name, backward, Conv2dGradInput(self.conv2d(index)), &operands);
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let op = LinearGradInput { shape: self.linear(index), relu: masked.is_some() };
                let operands: Vec<_> =
                    [grad_output, self.named(name, "weight")].into_iter().chain(masked).chain([grad_input]).collect();
                self.push(&format!("{name}.grad_input"), backward, op, &operands);
            }
            Layer::Linear { .. } => {
                let Linear { batch, in_features, out_features } = self.linear(index);
                let multiply =
                    MatmulShape { m: batch, k: out_features, n: in_features, transpose_a: false, transpose_b: false };
                let operands = [grad_output, self.named(name, "weight"), grad_input];
                self.push(&grad_name, backward, Matmul(multiply), &operands);
            }
            Layer::AvgPool2d { .. } => {
                self.push(&grad_name, backward, AvgPool2dBackward(self.pool2d(index)), &[grad_output, grad_input]);
            }
            Layer::GlobalAvgPool2d => {
                let (planes, size) = self.planes(index);
                self.push(&grad_name, backward, GlobalAvgPool2dBackward { planes, size }, &[grad_output, grad_input]);
            }
            Layer::Dropout { .. } => {
                let length = self.plan.tensor(grad_input).length() as u32;
                self.push(&grad_name, backward, self.dropout(index, length), &[grad_output, grad_input]);
            }
            Layer::MaxPool2d { .. } | Layer::Relu | Layer::Flatten => unreachable!("handled above"),
        }
        Incoming { tensor: grad_input, done: if masked.is_some() { Done::Relu } else { Done::Nothing } }
    }

    /// Of the pooling in layer `pool`, the ReLU before it included where they are one op.
    fn max_pool2d_backward(&mut self, saved: &Saved, grad_output: TensorId) -> TensorId {
        let Some(winner) = saved.argmax else { unreachable!("max pooling saves its argmax") };
        let (pool, grad_name) = (saved.layers.end - 1, self.grad_planes_name(saved));
        let grad_input = self.activation(&grad_name, self.with_batch(&self.activations[pool].input));
        let op = MaxPool2dBackward(self.pool2d(pool));
        self.push(&grad_name, Phase::Backward, op, &[winner, grad_output, grad_input]);
        grad_input
    }

    fn relu_backward(&mut self, grad_name: &str, output: TensorId, grad_output: TensorId) -> TensorId {
        let shape = self.plan.tensor(output).shape.clone();
        let grad_input = self.activation(grad_name, shape);
        let length = self.plan.tensor(output).length() as u32;
        self.push(grad_name, Phase::Backward, ReluBackward { length }, &[output, grad_output, grad_input]);
        grad_input
    }
}
