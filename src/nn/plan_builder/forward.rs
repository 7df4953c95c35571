//! The forward half: a batch gathered, then the layers in order.

use std::ops::Range;

use super::Builder;
use crate::geometry::{Channels, Linear, Matmul as MatmulShape, product};
use crate::nn::layer::Layer;
use crate::nn::network::NamedLayer;
use crate::nn::noise::Noise;
use crate::nn::plan::{Phase, Role, TensorId};
use crate::ops::avg_pool2d::AvgPool2dForward;
use crate::ops::bias::BiasAdd;
use crate::ops::conv2d::Conv2dForward;
use crate::ops::conv2d_pool::Conv2dReluMaxPool2dForward;
use crate::ops::gather::{Gather, GatherAugmented, RECORD_BUFFERS};
use crate::ops::global_avg_pool2d::GlobalAvgPool2dForward;
use crate::ops::linear::LinearForward;
use crate::ops::matmul::Matmul;
use crate::ops::max_pool2d::MaxPool2dForward;
use crate::ops::relu::ReluForward;
use crate::ops::{Element, Op};

/// What the backward of a layer, or of several that are one op, needs of its forward.
pub struct Saved {
    /// Where in the network they are.
    pub layers: Range<usize>,
    pub input: TensorId,
    pub output: TensorId,
    /// Max pooling's winners.
    pub argmax: Option<TensorId>,
}

impl Builder<'_> {
    /// Images in, the output of the layer before `end` out, or logits.
    pub fn forward(&mut self, end: usize) -> (Vec<Saved>, TensorId, TensorId) {
        let images = self.images;
        let image_length = product(&images.shape) as u32;
        let gather = Gather {
            batch: self.batch,
            image_length,
            mean: images.mean,
            deviation: images.deviation,
            records: images.records,
            order: images.order,
        };
        let mut operands: Vec<TensorId> = gather.operands()[..=RECORD_BUFFERS]
            .iter()
            .map(|operand| self.tensor(operand.name, vec![operand.length as u32], Role::Data, Element::U32))
            .collect();
        let input = self.activation("input", self.with_batch(&images.shape));
        let labels = self.tensor("labels", vec![self.batch], Role::Activation, Element::U32);
        operands.extend([input, labels]);
        match self.noise {
            Some(Noise { seed, augmentation }) if !augmentation.is_none() => {
                let gather = GatherAugmented { gather, shape: images.shape, augmentation, seed };
                self.push("gather", Phase::Gather, gather, &operands);
            }
            _ => self.push("gather", Phase::Gather, gather, &operands),
        }

        let mut saved = Vec::new();
        let mut current = input;
        let mut first = 0;
        while first < end {
            let layers = first..first + self.together(first);
            let (output, argmax) = self.layers_forward(layers.clone(), current);
            first = layers.end;
            saved.push(Saved { layers, input: current, output, argmax });
            current = output;
        }
        (saved, current, labels)
    }

    /// How many layers from `first` on are one op.
    fn together(&self, first: usize) -> usize {
        let layer = |index: usize| self.network.layers.get(index).map(|named| named.layer);
        if self.conv_pool(first).is_some() {
            return 3;
        }
        match (layer(first), layer(first + 1)) {
            (Some(Layer::Relu), Some(Layer::MaxPool2d { .. })) if self.fuses_layers() => 2,
            (Some(Layer::Linear { .. }), Some(Layer::Relu)) if self.is_one_op(first) => 2,
            _ => 1,
        }
    }

    /// The op for a convolution, a ReLU and a max pooling from `first` on, where they are, and it can do them.
    fn conv_pool(&self, first: usize) -> Option<Conv2dReluMaxPool2dForward> {
        let layer = |index: usize| self.network.layers.get(index).map(|named| named.layer);
        match [layer(first), layer(first + 1), layer(first + 2)] {
            [Some(Layer::Conv2d { .. }), Some(Layer::Relu), Some(Layer::MaxPool2d { .. })] if self.fuses_layers() => {
                Conv2dReluMaxPool2dForward::new(self.conv2d(first), self.pool2d(first + 2))
            }
            _ => None,
        }
    }

    fn layers_forward(&mut self, layers: Range<usize>, input: TensorId) -> (TensorId, Option<TensorId>) {
        // The layer that works, and whether a ReLU comes with it.
        let (index, relu) = match self.network.layers[layers.start].layer {
            Layer::Relu if layers.len() == 2 => (layers.start + 1, true),
            _ => (layers.start, layers.len() > 1),
        };
        let NamedLayer { name, layer } = &self.network.layers[index];
        let last = layers.end - 1;
        let shape = self.with_batch(&self.activations[last].output);
        let (label, output_name) = (format!("{name}.forward"), format!("{}.output", self.network.layers[last].name));
        let is_view = match layer {
            Layer::Flatten => true,
            Layer::Dropout { .. } => self.noise.is_none(),
            _ => false,
        };
        if is_view {
            return (self.reshape(&output_name, shape, input), None);
        }
        let output = self.activation(&output_name, shape.clone());
        let length = product(&shape) as u32;
        let mut argmax = None;
        match layer {
            Layer::Conv2d { .. } if let Some(op) = self.conv_pool(index) => {
                let name_of_pool = &self.network.layers[last].name;
                let winners = self.tensor(&format!("{name_of_pool}.argmax"), shape, Role::Activation, Element::U32);
                argmax = Some(winners);
                let operands = [input, self.named(name, "weight"), self.named(name, "bias"), output, winners];
                self.push(&label, Phase::Forward, op, &operands);
            }
            Layer::Conv2d { .. } => {
                let operands = [input, self.named(name, "weight"), self.named(name, "bias"), output];
                self.push(&label, Phase::Forward, Conv2dForward(self.conv2d(index)), &operands);
            }
            Layer::MaxPool2d { .. } => {
                let winners = self.tensor(&format!("{name}.argmax"), shape, Role::Activation, Element::U32);
                argmax = Some(winners);
                let op = MaxPool2dForward { shape: self.pool2d(index), relu };
                self.push(&label, Phase::Forward, op, &[input, output, winners]);
            }
            Layer::AvgPool2d { .. } => {
                self.push(&label, Phase::Forward, AvgPool2dForward(self.pool2d(index)), &[input, output]);
            }
            Layer::GlobalAvgPool2d => {
                let (planes, size) = self.planes(index);
                self.push(&label, Phase::Forward, GlobalAvgPool2dForward { planes, size }, &[input, output]);
            }
            Layer::Relu => self.push(&label, Phase::Forward, ReluForward { length }, &[input, output]),
            Layer::Dropout { .. } => {
                self.push(&label, Phase::Forward, self.dropout(index, length), &[input, output]);
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let operands = [input, self.named(name, "weight"), self.named(name, "bias"), output];
                self.push(&label, Phase::Forward, LinearForward { shape: self.linear(index), relu }, &operands);
            }
            Layer::Linear { .. } => {
                let product = self.activation(&format!("{name}.product"), shape.clone());
                let Linear { batch, in_features, out_features } = self.linear(index);
                let multiply =
                    MatmulShape { m: batch, k: in_features, n: out_features, transpose_a: false, transpose_b: true };
                self.push(&label, Phase::Forward, Matmul(multiply), &[input, self.named(name, "weight"), product]);
                let channels = Channels { batch, channels: out_features, size: 1 };
                let operands = [product, self.named(name, "bias"), output];
                self.push(&format!("{name}.bias_add"), Phase::Forward, BiasAdd(channels), &operands);
            }
            Layer::Flatten => unreachable!("handled above"),
        }
        (output, argmax)
    }
}
