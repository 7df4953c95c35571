//! Layers as their ops know them.

use super::Builder;
use crate::geometry::{Conv2d, Linear, Pool2d};
use crate::nn::layer::Layer;
use crate::nn::network::Activation;
use crate::nn::noise::Noise;
use crate::ops::dropout::Dropout;
use crate::ops::linear;

impl Builder<'_> {
    pub fn conv2d(&self, index: usize) -> Conv2d {
        let (Layer::Conv2d { window, .. }, &[in_channels, height, width]) =
            (self.network.layers[index].layer, &self.activations[index].input[..])
        else {
            unreachable!("layer {index} is a convolution over planes")
        };
        let output = &self.activations[index].output;
        Conv2d {
            batch: self.batch,
            in_channels,
            out_channels: output[0],
            input: [height, width],
            window,
            output: [output[1], output[2]],
        }
    }

    pub fn pool2d(&self, index: usize) -> Pool2d {
        let (Layer::MaxPool2d { window } | Layer::AvgPool2d { window }, &[channels, height, width]) =
            (self.network.layers[index].layer, &self.activations[index].input[..])
        else {
            unreachable!("layer {index} is a pooling over planes")
        };
        let output = &self.activations[index].output;
        Pool2d { planes: self.batch * channels, input: [height, width], window, output: [output[1], output[2]] }
    }

    /// Forward and backward alike.
    pub fn dropout(&self, index: usize, length: u32) -> Dropout {
        let (Layer::Dropout { p }, Some(Noise { seed, .. })) = (self.network.layers[index].layer, self.noise) else {
            unreachable!("layer {index} is dropout in training")
        };
        Dropout { length, p, layer: index as u32, seed }
    }

    /// Planes of the batch, and elements of one.
    pub fn planes(&self, index: usize) -> (u32, u32) {
        let input = &self.activations[index].input;
        (self.batch * input[0], input[1] * input[2])
    }

    pub fn linear(&self, index: usize) -> Linear {
        let Activation { input, output } = &self.activations[index];
        Linear { batch: self.batch, in_features: input[0], out_features: output[0] }
    }

    /// Whether a linear layer is one op, or a product and a bias.
    pub fn is_one_op(&self, index: usize) -> bool {
        self.fuses_layers() && linear::fits(&self.linear(index))
    }

    /// The first layer with parameters: before it nothing needs a gradient.
    pub fn first_trained(&self) -> Option<usize> {
        let mut layers = self.network.layers.iter().zip(self.activations);
        layers.position(|(named, activation)| named.layer.parameters(&activation.input, &activation.output).is_some())
    }
}
