//! Maximum over a window. Source: PyTorch nn.MaxPool2d with ceil_mode=False.

use super::{Arguments, Lowering, Op, Operand, shader};
use crate::error::Result;
use crate::geometry::{Pool2d, product};
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("max_pool2d");

params! {
    MaxPool2dParams {
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
        dilation_height: u32,
        dilation_width: u32,
    }
}

fn params(shape: &Pool2d) -> MaxPool2dParams {
    let window = &shape.window;
    MaxPool2dParams {
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
        dilation_height: window.dilation[0],
        dilation_width: window.dilation[1],
    }
}

/// Sizes of a pooling, for tables.
pub(super) fn describe(shape: &Pool2d) -> String {
    let Pool2d { planes, input: [ih, iw], window, output: [oh, ow] } = shape;
    let [kernel_height, kernel_width] = window.kernel_size;
    let [stride_height, stride_width] = window.stride;
    let mut text = format!(
        "{planes}×{ih}×{iw} → {planes}×{oh}×{ow}, kernel {kernel_height}×{kernel_width}, stride {stride_height}×{stride_width}"
    );
    for (name, [height, width], default) in [("padding", window.padding, 0), ("dilation", window.dilation, 1)] {
        if [height, width] != [default; 2] {
            text.push_str(&format!(", {name} {height}×{width}"));
        }
    }
    text
}

/// Comparisons or additions of a pooling.
pub(super) fn flops(shape: &Pool2d) -> u64 {
    let window = product(&shape.window.kernel_size);
    (window as u64).saturating_mul(shape.output_len() as u64)
}

/// input (P, H, W) → output (P, OH, OW), argmax (P, OH, OW): flat index in the input plane, the first maximum on a tie.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2dForward(pub Pool2d);

impl Op for MaxPool2dForward {
    fn name(&self) -> &'static str {
        "max_pool2d_forward"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        let output = self.0.output_len();
        vec![
            Operand::read("input", self.0.input_len()),
            Operand::write("output", output),
            Operand::write("argmax", output).of_u32(),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.0)
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let bindings = [("input", 0), ("output", 1), ("argmax", 2)];
        let invocations = self.0.output_len() as u64;
        Ok(Dispatch::new(&SHADER, "max_pool2d_forward", &params(&self.0), &bindings, invocations).into())
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, output, argmax] = arguments.take();
        reference::max_pool2d::forward(&self.0, input.f64(), output.f64_mut(), argmax.u32_mut());
    }
}

/// winner (the forward argmax), grad_output (P, OH, OW) → grad_input (P, H, W), overwritten.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2dBackward(pub Pool2d);

impl Op for MaxPool2dBackward {
    fn name(&self) -> &'static str {
        "max_pool2d_backward"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        let output = self.0.output_len();
        vec![
            Operand::read("winner", output).of_u32(),
            Operand::read("grad_output", output),
            Operand::write("grad_input", self.0.input_len()),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.0)
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let bindings = [("winner", 0), ("grad_output", 1), ("grad_input", 2)];
        let invocations = self.0.input_len() as u64;
        Ok(Dispatch::new(&SHADER, "max_pool2d_backward", &params(&self.0), &bindings, invocations).into())
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [winner, grad_output, grad_input] = arguments.take();
        reference::max_pool2d::backward(&self.0, winner.u32(), grad_output.f64(), grad_input.f64_mut());
    }
}
