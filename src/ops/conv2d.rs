//! Two-dimensional convolution and its gradients; that of the bias by itself is [`BiasGrad`]. Source: PyTorch nn.Conv2d.

use super::bias::BiasGrad;
use super::conv2d_kernel::{Kernel, PLAIN_SHADER, SPLIT, SUBGROUP_VEC2, SUBGROUP_WORKGROUP, TILED};
use super::shared_tile::SharedTile;
use super::{Arguments, Lowering, Op, Operand, PLAIN, SUBGROUP};
use crate::error::Result;
use crate::geometry::{Channels, Conv2d, product};
use crate::gpu::StepRow;
use crate::reference;

fn describe(shape: &Conv2d) -> String {
    let Conv2d { batch, in_channels, out_channels, input: [ih, iw], window, output: [oh, ow] } = shape;
    let pair = |[h, w]: [u32; 2]| if h == w { h.to_string() } else { format!("{h}×{w}") };
    let mut text = format!(
        "{batch}×{in_channels}×{ih}×{iw} → {batch}×{out_channels}×{oh}×{ow}, kernel {}",
        pair(window.kernel_size)
    );
    for (name, value, default) in
        [("stride", window.stride, 1), ("padding", window.padding, 0), ("dilation", window.dilation, 1)]
    {
        if value != [default; 2] {
            text.push_str(&format!(", {name} {}", pair(value)));
        }
    }
    text
}

fn flops(shape: &Conv2d) -> u64 {
    let [kernel_height, kernel_width] = shape.window.kernel_size;
    let terms = product(&[shape.in_channels, kernel_height, kernel_width]);
    (2 * terms as u64).saturating_mul(shape.output_len() as u64)
}

/// input (N, C, H, W), weight (O, C, KH, KW), bias (O) → output (N, O, OH, OW).
#[derive(Clone, Copy, Debug)]
pub struct Conv2dForward(pub Conv2d);

impl Conv2dForward {
    /// How many tiles in workgroup memory suit it.
    pub(super) fn tiles(&self) -> usize {
        SharedTile::suiting(self.kernel().product::<1>())
    }

    fn kernel(&self) -> Kernel<'_> {
        let shape = &self.0;
        let [kernel_height, kernel_width] = shape.window.kernel_size;
        Kernel {
            op: self,
            shape,
            entry_points: [
                "conv2d_forward",
                "conv2d_forward_subgroup",
                "conv2d_forward_subgroup_vec2",
                "conv2d_forward_implicit_gemm",
            ],
            terms: (shape.in_channels * kernel_height, kernel_width),
            channels: shape.out_channels,
            rows: [shape.batch, shape.output[0]],
            columns: shape.output[1],
        }
    }
}

impl Op for Conv2dForward {
    fn name(&self) -> &'static str {
        "conv2d_forward"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", self.0.input_len()),
            Operand::read("weight", self.0.weight_len()),
            Operand::read("bias", self.0.out_channels as usize),
            Operand::write("output", self.0.output_len()),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.0)
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("N", self.0.batch), ("O", self.0.out_channels), ("H", self.0.output[0]), ("W", self.0.output[1])]
    }

    fn variants(&self) -> &'static [&'static str] {
        self.kernel().variants(&[self.0.input[1]])
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let (kernel, shape) = (self.kernel(), &self.0);
        match variant {
            PLAIN => Ok(kernel.plain::<1>()),
            TILED => Ok(kernel.tiled("conv2d_forward_tiled", true)),
            SUBGROUP if self.variants().contains(&SUBGROUP) => {
                Ok(kernel.subgroup(|_| SUBGROUP_WORKGROUP, kernel.tile_slices()))
            }
            SUBGROUP_VEC2 if self.variants().contains(&SUBGROUP_VEC2) => {
                let before = Some(shape.window.padding[1]);
                Ok(kernel.subgroup_vec2(|_| SUBGROUP_WORKGROUP, kernel.tile_slices(), shape.input[1], before))
            }
            _ => kernel.implicit_gemm::<1>(variant, &[]),
        }
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, weight, bias, output] = arguments.take();
        reference::conv2d::forward(&self.0, input.f64(), weight.f64(), bias.f64(), output.f64_mut());
    }
}

/// weight (O, C, KH, KW), grad_output (N, O, OH, OW) → grad_input (N, C, H, W), overwritten.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dGradInput(pub Conv2d);

impl Op for Conv2dGradInput {
    fn name(&self) -> &'static str {
        "conv2d_grad_input"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("weight", self.0.weight_len()),
            Operand::read("grad_output", self.0.output_len()),
            Operand::write("grad_input", self.0.input_len()),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.0)
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("N", self.0.batch), ("C", self.0.in_channels), ("H", self.0.input[0]), ("W", self.0.input[1])]
    }

    fn variants(&self) -> &'static [&'static str] {
        self.kernel().variants(&[self.0.output[1]])
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let kernel = self.kernel();
        match variant {
            PLAIN => Ok(kernel.plain::<1>()),
            TILED => Ok(kernel.tiled("conv2d_grad_input_tiled", true)),
            SUBGROUP if self.variants().contains(&SUBGROUP) => {
                Ok(kernel.subgroup(kernel.one_row(), kernel.channel_slices()))
            }
            SUBGROUP_VEC2 if self.variants().contains(&SUBGROUP_VEC2) => Ok(kernel.subgroup_vec2_grads()),
            _ => {
                let [height, width] = self.0.window.stride;
                kernel.implicit_gemm::<1>(variant, &[("STRIDE_HEIGHT", height), ("STRIDE_WIDTH", width)])
            }
        }
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [weight, grad_output, grad_input] = arguments.take();
        reference::conv2d::grad_input(&self.0, weight.f64(), grad_output.f64(), grad_input.f64_mut());
    }
}

/// input (N, C, H, W), grad_output (N, O, OH, OW) → grad_weight (O, C, KH, KW), overwritten.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dGradWeight(pub Conv2d);

impl Conv2dGradWeight {
    fn kernel(&self) -> Kernel<'_> {
        let entry_points = [
            "conv2d_grad_weight",
            "conv2d_grad_weight_subgroup",
            "conv2d_grad_weight_subgroup_vec2",
            "conv2d_grad_weight_implicit_gemm",
        ];
        grad_weight(self, &self.0, entry_points)
    }
}

impl Op for Conv2dGradWeight {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", self.0.input_len()),
            Operand::read("grad_output", self.0.output_len()),
            Operand::write("grad_weight", self.0.weight_len()),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.0)
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        let [kernel_height, kernel_width] = self.0.window.kernel_size;
        vec![("O", self.0.out_channels), ("C", self.0.in_channels), ("KH", kernel_height), ("KW", kernel_width)]
    }

    fn variants(&self) -> &'static [&'static str] {
        self.kernel().sum_variants::<1>(&[self.0.input[1], self.0.output[1]])
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let kernel = self.kernel();
        match variant {
            PLAIN => Ok(kernel.plain::<1>()),
            SPLIT => Ok(kernel.split::<1>()),
            TILED => Ok(kernel.tiled("conv2d_grad_weight_tiled", false)),
            SUBGROUP if self.variants().contains(&SUBGROUP) => Ok(kernel.subgroup_sums::<1>()),
            SUBGROUP_VEC2 if self.variants().contains(&SUBGROUP_VEC2) => Ok(kernel.subgroup_vec2_sums::<1>()),
            _ => kernel.implicit_gemm::<1>(variant, &[]),
        }
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, grad_output, grad_weight] = arguments.take();
        reference::conv2d::grad_weight(&self.0, input.f64(), grad_output.f64(), grad_weight.f64_mut());
    }
}

/// The kernel of the input's gradient.
fn grad_input<'a>(op: &'a dyn Op, shape: &'a Conv2d, entry_points: [&'static str; 4]) -> Kernel<'a> {
    let [kernel_height, kernel_width] = shape.window.kernel_size;
    Kernel {
        op,
        shape,
        entry_points,
        terms: (shape.out_channels * kernel_height, kernel_width),
        channels: shape.in_channels,
        rows: [shape.batch, shape.input[0]],
        columns: shape.input[1],
    }
}

impl Conv2dGradInput {
    fn kernel(&self) -> Kernel<'_> {
        let entry_points = [
            "conv2d_grad_input",
            "conv2d_grad_input_subgroup",
            "conv2d_grad_input_subgroup_vec2",
            "conv2d_grad_input_implicit_gemm",
        ];
        grad_input(self, &self.0, entry_points)
    }

    /// The kernel that writes it through the pooling before it, as `op`, in the variants that have one; the sums are no longer than one slice.
    pub(super) fn lower_through_pool(&self, op: &dyn Op, variant: &str) -> Option<Lowering> {
        let names = ["conv2d_grad_input_max_pool2d", "", "conv2d_grad_input_max_pool2d_subgroup_vec2", ""];
        let kernel = grad_input(op, &self.0, names);
        match variant {
            PLAIN => {
                let results = self.0.input_len() as u64;
                Some(kernel.summed::<1>(&PLAIN_SHADER, names[0], results, kernel.slices(), &[]))
            }
            SUBGROUP_VEC2 if self.variants().contains(&SUBGROUP_VEC2) => Some(kernel.subgroup_vec2_grads()),
            _ => None,
        }
    }
}

/// The kernel of a weight's gradient, with the bias's or without.
fn grad_weight<'a>(op: &'a dyn Op, shape: &'a Conv2d, entry_points: [&'static str; 4]) -> Kernel<'a> {
    let [kernel_height, kernel_width] = shape.window.kernel_size;
    Kernel {
        op,
        shape,
        entry_points,
        terms: (shape.batch * shape.output[0], shape.output[1]),
        channels: shape.out_channels,
        rows: [shape.in_channels, kernel_height],
        columns: kernel_width,
    }
}

/// input (N, C, H, W), grad_output (N, O, OH, OW) → grad_weight (O, C, KH, KW), grad_bias (O), both overwritten.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dGradWeightBias(pub Conv2d);

impl Conv2dGradWeightBias {
    fn kernel(&self) -> Kernel<'_> {
        let entry_points = [
            "conv2d_grad_weight_bias",
            "conv2d_grad_weight_bias_subgroup",
            "conv2d_grad_weight_bias_subgroup_vec2",
            "conv2d_grad_weight_bias_implicit_gemm",
        ];
        grad_weight(self, &self.0, entry_points)
    }

    /// What the bias sees of the output.
    fn channels(&self) -> Channels {
        let Conv2d { batch, out_channels: channels, output, .. } = self.0;
        Channels { batch, channels, size: product(&output) as u32 }
    }
}

impl Op for Conv2dGradWeightBias {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight_bias"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = Conv2dGradWeight(self.0).operands();
        operands.push(Operand::write("grad_bias", self.0.out_channels as usize));
        operands
    }

    fn flops(&self) -> u64 {
        flops(&self.0) + self.0.output_len() as u64
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        Conv2dGradWeight(self.0).axes()
    }

    fn variants(&self) -> &'static [&'static str] {
        self.kernel().sum_variants::<2>(&[self.0.input[1], self.0.output[1]])
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let kernel = self.kernel();
        match variant {
            PLAIN => Ok(kernel.plain::<2>()),
            SPLIT => Ok(kernel.split::<2>()),
            // One after the other.
            TILED => {
                let mut weight = Conv2dGradWeight(self.0).lower(TILED)?.over(&[0, 1, 2], 4);
                let bias = BiasGrad(self.channels()).lower(PLAIN)?.over(&[1, 3], 4 + weight.scratch.len());
                weight.dispatches.extend(bias.dispatches);
                weight.scratch.extend(bias.scratch);
                Ok(weight)
            }
            SUBGROUP if self.variants().contains(&SUBGROUP) => Ok(kernel.subgroup_sums::<2>()),
            SUBGROUP_VEC2 if self.variants().contains(&SUBGROUP_VEC2) => Ok(kernel.subgroup_vec2_sums::<2>()),
            _ => kernel.implicit_gemm::<2>(variant, &[]),
        }
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, grad_output, grad_weight, grad_bias] = arguments.take();
        let grad_output = grad_output.f64();
        reference::conv2d::grad_weight(&self.0, input.f64(), grad_output, grad_weight.f64_mut());
        reference::bias::grad(&self.channels(), grad_output, grad_bias.f64_mut());
    }
}
