//! Products of matrices, and the linear layers made of them.

use shadegrad::geometry::{Channels, Matmul};
use shadegrad::reference::{bias, matmul};

use crate::case::{Case, Golden};
use crate::conv2d::check_grad_bias;
use crate::{absolute, poisoned, sum_bound};

#[test]
fn matmul_agrees() {
    let golden = Golden::open("matmul");
    for (case, (transpose_a, transpose_b)) in golden
        .cases(&["transpose_00", "transpose_01", "transpose_10", "transpose_11"])
        .into_iter()
        .zip([(false, false), (false, true), (true, false), (true, true)])
    {
        let output_shape = case.shape("output");
        let k = case.shape("a")[usize::from(!transpose_a)];
        let shape = Matmul { m: output_shape[0], k, n: output_shape[1], transpose_a, transpose_b };
        check_matmul(&case, "output", &shape, &case.floats("a"), &case.floats("b"));
    }
}

pub fn multiply(shape: &Matmul, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut output = poisoned((shape.m * shape.n) as usize);
    matmul::forward(shape, a, b, &mut output);
    output
}

fn check_matmul(case: &Case, name: &str, shape: &Matmul, a: &[f64], b: &[f64]) {
    let bound = sum_bound(shape.k as usize, &multiply(shape, &absolute(a), &absolute(b)));
    case.assert_within(name, &multiply(shape, a, b), &bound);
}

/// The three matrix products of a linear layer.
pub struct Linear {
    output: Matmul,
    pub grad_input: Matmul,
    pub grad_weight: Matmul,
    pub bias: Channels,
}

impl Linear {
    pub fn new(batch: u32, inputs: u32, outputs: u32) -> Self {
        let plain = Matmul { m: 0, k: 0, n: 0, transpose_a: false, transpose_b: false };
        Self {
            output: Matmul { m: batch, k: inputs, n: outputs, transpose_b: true, ..plain },
            grad_input: Matmul { m: batch, k: outputs, n: inputs, ..plain },
            grad_weight: Matmul { m: outputs, k: batch, n: inputs, transpose_a: true, ..plain },
            bias: Channels { batch, channels: outputs, size: 1 },
        }
    }

    pub fn forward(&self, input: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let product = multiply(&self.output, input, weight);
        let mut output = poisoned(product.len());
        bias::add(&self.bias, &product, bias, &mut output);
        output
    }
}

#[test]
fn linear_agrees() {
    let golden = Golden::open("linear");
    for case in golden.cases(&["one", "primes", "batch_4"]) {
        let (input_shape, weight_shape) = (case.shape("input"), case.shape("weight"));
        let linear = Linear::new(input_shape[0], input_shape[1], weight_shape[0]);
        let (input, weight, bias) = (case.floats("input"), case.floats("weight"), case.floats("bias"));
        let grad_output = case.floats("grad_output");

        let magnitude = linear.forward(&absolute(&input), &absolute(&weight), &absolute(&bias));
        let bound = sum_bound(linear.output.k as usize + 1, &magnitude);
        case.assert_within("output", &linear.forward(&input, &weight, &bias), &bound);
        check_matmul(&case, "grad_input", &linear.grad_input, &grad_output, &weight);
        check_matmul(&case, "grad_weight", &linear.grad_weight, &grad_output, &input);
        check_grad_bias(&case, &linear.bias, &grad_output);
    }
}
