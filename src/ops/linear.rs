//! A fully connected layer with its bias and its ReLU in one kernel. Source: PyTorch nn.Linear, nn.ReLU.

use std::ops::Range;

use super::linear_kernel::{Launch, variants};
use super::shared_tile::Product;
use super::{Arguments, Lowering, MAX_TERMS, Op, Operand};
use crate::error::Result;
use crate::geometry::{Linear, product};
use crate::gpu::StepRow;
use crate::reference;

/// Whether the sums of all three kernels are short enough for one invocation each; where not, a linear layer is a matrix product and
/// a bias.
pub fn fits(shape: &Linear) -> bool {
    [shape.batch, shape.in_features, shape.out_features].iter().all(|&terms| terms <= MAX_TERMS)
}

fn describe(shape: &Linear, relu: bool) -> String {
    let Linear { batch, in_features, out_features } = shape;
    format!("{batch}×{in_features} → {batch}×{out_features}{}", if relu { ", ReLU" } else { "" })
}

fn flops(shape: &Linear) -> u64 {
    2 * product(&[shape.batch, shape.in_features, shape.out_features]) as u64
}

/// input (N, I), weight (O, I), bias (O) → output (N, O), max(output, 0) where `relu`.
#[derive(Clone, Copy, Debug)]
pub struct LinearForward {
    pub shape: Linear,
    pub relu: bool,
}

impl LinearForward {
    fn product(&self) -> Product {
        let Linear { batch, in_features, out_features } = self.shape;
        Product { m: batch, k: in_features, n: out_features }
    }
}

impl Op for LinearForward {
    fn name(&self) -> &'static str {
        "linear_forward"
    }

    fn shape(&self) -> String {
        describe(&self.shape, self.relu)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", self.shape.input_len()),
            Operand::read("weight", self.shape.weight_len()),
            Operand::read("bias", self.shape.out_features as usize),
            Operand::write("output", self.shape.output_len()),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.shape)
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("N", self.shape.batch), ("O", self.shape.out_features)]
    }

    fn variants(&self) -> &'static [&'static str] {
        variants(&self.shape, self.product())
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        Launch {
            entry_points: [
                "linear_forward",
                "linear_forward_subgroup",
                "linear_forward_subgroup_tile",
                "linear_forward_shared",
            ],
            product: self.product(),
            transposed: [false, true],
            bias_columns: 0,
            relu: self.relu,
            pool: [0; 2],
            results: self.shape.output_len(),
            lanes: self.shape.out_features,
            shared: self.shape.batch,
        }
        .lower(self, &self.shape, variant)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, weight, bias, output] = arguments.take();
        reference::linear::forward(&self.shape, self.relu, input.f64(), weight.f64(), bias.f64(), output.f64_mut());
    }

    fn rectified(&self) -> Option<(usize, Range<usize>)> {
        self.relu.then(|| (3, 0..self.shape.output_len()))
    }
}

/// grad_output (N, O), weight (O, I) → grad_input (N, I), overwritten; with `relu` also activation (N, I), the output of the ReLU before
/// the layer: 0 where it is not positive.
#[derive(Clone, Copy, Debug)]
pub struct LinearGradInput {
    pub shape: Linear,
    pub relu: bool,
}

impl LinearGradInput {
    fn product(&self) -> Product {
        let Linear { batch, in_features, out_features } = self.shape;
        Product { m: batch, k: out_features, n: in_features }
    }

    fn launch(&self, entry_points: [&'static str; 4], pool: [u32; 2]) -> Launch {
        Launch {
            entry_points,
            product: self.product(),
            transposed: [false; 2],
            bias_columns: 0,
            relu: self.relu,
            pool,
            results: self.shape.input_len(),
            lanes: self.shape.in_features / 4,
            shared: self.shape.batch,
        }
    }

    /// The kernel that writes it through the pooling before it, which has made planes of the height and width `pool`, as `op`.
    pub(super) fn lower_through_pool(&self, op: &dyn Op, pool: [u32; 2], variant: &str) -> Result<Lowering> {
        let entry_points = [
            "linear_grad_input_max_pool2d",
            "linear_grad_input_max_pool2d_subgroup",
            "linear_grad_input_max_pool2d_subgroup_tile",
            "linear_grad_input_max_pool2d_shared",
        ];
        self.launch(entry_points, pool).lower(op, &self.shape, variant)
    }
}

impl Op for LinearGradInput {
    fn name(&self) -> &'static str {
        if self.relu { "linear_grad_input_relu" } else { "linear_grad_input" }
    }

    fn shape(&self) -> String {
        describe(&self.shape, false)
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("grad_output", self.shape.output_len()),
            Operand::read("weight", self.shape.weight_len()),
        ];
        if self.relu {
            operands.push(Operand::read("activation", self.shape.input_len()));
        }
        operands.push(Operand::write("grad_input", self.shape.input_len()));
        operands
    }

    fn flops(&self) -> u64 {
        flops(&self.shape)
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("N", self.shape.batch), ("I", self.shape.in_features)]
    }

    fn variants(&self) -> &'static [&'static str] {
        variants(&self.shape, self.product())
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let entry_points = if self.relu {
            [
                "linear_grad_input_relu",
                "linear_grad_input_relu_subgroup",
                "linear_grad_input_relu_subgroup_tile",
                "linear_grad_input_relu_shared",
            ]
        } else {
            [
                "linear_grad_input",
                "linear_grad_input_subgroup",
                "linear_grad_input_subgroup_tile",
                "linear_grad_input_shared",
            ]
        };
        self.launch(entry_points, [0; 2]).lower(self, &self.shape, variant)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        if self.relu {
            let [grad_output, weight, activation, grad_input] = arguments.take();
            let grad_input = grad_input.f64_mut();
            reference::linear::grad_input(&self.shape, grad_output.f64(), weight.f64(), grad_input);
            let unmasked = grad_input.to_vec();
            reference::relu::backward(activation.f64(), &unmasked, grad_input);
        } else {
            let [grad_output, weight, grad_input] = arguments.take();
            reference::linear::grad_input(&self.shape, grad_output.f64(), weight.f64(), grad_input.f64_mut());
        }
    }
}

/// grad_output (N, O), input (N, I) → grad_weight (O, I), grad_bias (O), both overwritten.
#[derive(Clone, Copy, Debug)]
pub struct LinearGradWeight(pub Linear);

impl LinearGradWeight {
    fn product(&self) -> Product {
        let Linear { batch, in_features, out_features } = self.0;
        Product { m: out_features, k: batch, n: in_features }
    }
}

impl Op for LinearGradWeight {
    fn name(&self) -> &'static str {
        "linear_grad_weight"
    }

    fn shape(&self) -> String {
        describe(&self.0, false)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("grad_output", self.0.output_len()),
            Operand::read("input", self.0.input_len()),
            Operand::write("grad_weight", self.0.weight_len()),
            Operand::write("grad_bias", self.0.out_features as usize),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.0) + self.0.output_len() as u64
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("O", self.0.out_features), ("I", self.0.in_features)]
    }

    fn variants(&self) -> &'static [&'static str] {
        variants(&self.0, self.product())
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        Launch {
            entry_points: [
                "linear_grad_weight",
                "linear_grad_weight_subgroup",
                "linear_grad_weight_subgroup_tile",
                "linear_grad_weight_shared",
            ],
            product: self.product(),
            transposed: [true, false],
            bias_columns: 1,
            relu: false,
            pool: [0; 2],
            results: self.0.weight_len(),
            lanes: self.0.in_features / 4,
            shared: self.0.out_features,
        }
        .lower(self, &self.0, variant)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [grad_output, input, grad_weight, grad_bias] = arguments.take();
        reference::linear::grad_parameters(
            &self.0,
            grad_output.f64(),
            input.f64(),
            grad_weight.f64_mut(),
            grad_bias.f64_mut(),
        );
    }
}
