//! A fully connected layer, from its parts.

use super::{bias as biases, matmul, relu as rectifier};
use crate::geometry::{Channels, Linear, Matmul};

fn channels(shape: &Linear) -> Channels {
    Channels { batch: shape.batch, channels: shape.out_features, size: 1 }
}

/// `output[n, o] = bias[o] + Σ over i of input[n, i] · weight[o, i]`, then its ReLU where there is one.
///
/// input (batch, in), weight (out, in), bias (out), output (batch, out).
///
/// Source: PyTorch `torch.nn.functional.linear`, `torch.nn.functional.relu`.
pub fn forward(shape: &Linear, relu: bool, input: &[f64], weight: &[f64], bias: &[f64], output: &mut [f64]) {
    let Linear { batch, in_features, out_features } = *shape;
    let multiply = Matmul { m: batch, k: in_features, n: out_features, transpose_a: false, transpose_b: true };
    matmul::forward(&multiply, input, weight, output);
    let product = output.to_vec();
    biases::add(&channels(shape), &product, bias, output);
    if relu {
        let sum = output.to_vec();
        rectifier::forward(&sum, output);
    }
}

/// `grad_input[n, i] = Σ over o of grad_output[n, o] · weight[o, i]`, overwritten.
///
/// Source: PyTorch autograd of `torch.nn.functional.linear`.
pub fn grad_input(shape: &Linear, grad_output: &[f64], weight: &[f64], grad_input: &mut [f64]) {
    let Linear { batch, in_features, out_features } = *shape;
    let multiply = Matmul { m: batch, k: out_features, n: in_features, transpose_a: false, transpose_b: false };
    matmul::forward(&multiply, grad_output, weight, grad_input);
}

/// `grad_weight[o, i] = Σ over n of grad_output[n, o] · input[n, i]`, `grad_bias[o] = Σ over n of grad_output[n, o]`, both overwritten.
///
/// Source: PyTorch autograd of `torch.nn.functional.linear`.
pub fn grad_parameters(
    shape: &Linear,
    grad_output: &[f64],
    input: &[f64],
    grad_weight: &mut [f64],
    grad_bias: &mut [f64],
) {
    let Linear { batch, in_features, out_features } = *shape;
    let multiply = Matmul { m: out_features, k: batch, n: in_features, transpose_a: true, transpose_b: false };
    matmul::forward(&multiply, grad_output, input, grad_weight);
    biases::grad(&channels(shape), grad_output, grad_bias);
}
