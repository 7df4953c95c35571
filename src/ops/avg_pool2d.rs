//! Mean over a window, padding counted as zeros. Source: PyTorch nn.AvgPool2d with count_include_pad=True, ceil_mode=False.

use super::max_pool2d::{describe, flops};
use super::{Arguments, Lowering, Op, Operand, shader};
use crate::error::Result;
use crate::geometry::Pool2d;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("avg_pool2d");

params! {
    AvgPool2dParams {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_height: u32,
        stride_width: u32,
        padding_height: u32,
        padding_width: u32,
    }
}

/// The window's dilation is 1: PyTorch's average pooling has none.
fn params(shape: &Pool2d) -> AvgPool2dParams {
    let window = &shape.window;
    debug_assert_eq!(window.dilation, [1; 2], "average pooling has no dilation");
    AvgPool2dParams {
        planes: shape.planes,
        in_height: shape.input[0],
        in_width: shape.input[1],
        out_height: shape.output[0],
        out_width: shape.output[1],
        kernel_height: window.kernel_size[0],
        kernel_width: window.kernel_size[1],
        stride_height: window.stride[0],
        stride_width: window.stride[1],
        padding_height: window.padding[0],
        padding_width: window.padding[1],
    }
}

/// input (P, H, W) → output (P, OH, OW).
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2dForward(pub Pool2d);

impl Op for AvgPool2dForward {
    fn name(&self) -> &'static str {
        "avg_pool2d_forward"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", self.0.input_len()), Operand::write("output", self.0.output_len())]
    }

    fn flops(&self) -> u64 {
        flops(&self.0)
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let bindings = [("input", 0), ("output", 1)];
        let invocations = self.0.output_len() as u64;
        Ok(Dispatch::new(&SHADER, "avg_pool2d_forward", &params(&self.0), &bindings, invocations).into())
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, output] = arguments.take();
        reference::avg_pool2d::forward(&self.0, input.f64(), output.f64_mut());
    }
}

/// grad_output (P, OH, OW) → grad_input (P, H, W), overwritten.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2dBackward(pub Pool2d);

impl Op for AvgPool2dBackward {
    fn name(&self) -> &'static str {
        "avg_pool2d_backward"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("grad_output", self.0.output_len()), Operand::write("grad_input", self.0.input_len())]
    }

    fn flops(&self) -> u64 {
        flops(&self.0)
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let bindings = [("grad_output", 0), ("grad_input", 1)];
        let invocations = self.0.input_len() as u64;
        Ok(Dispatch::new(&SHADER, "avg_pool2d_backward", &params(&self.0), &bindings, invocations).into())
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [grad_output, grad_input] = arguments.take();
        reference::avg_pool2d::backward(&self.0, grad_output.f64(), grad_input.f64_mut());
    }
}
