//! Maximum over a window. Source: PyTorch nn.MaxPool2d with ceil_mode=False.

use super::{Arguments, Lowering, Op, Operand, PLAIN, bindings_of, shader, unknown_variant};
use crate::error::Result;
use crate::geometry::{Pool2d, Window, product};
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static PLAIN_SHADER: Shader = shader!("max_pool2d");
static PAIRS_SHADER: Shader = shader!("max_pool2d_2x2");

/// The name of the variant for the window that most networks have.
const TWO_BY_TWO: &str = "2x2";

/// In place of a winner: none, because the maximum is not positive and a ReLU came before the pooling.
pub const NOWHERE: u32 = u32::MAX;

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

fn variants(shape: &Pool2d) -> &'static [&'static str] {
    let pairs = shape.window == Window::square(2).stride(2) && shape.input[1].is_multiple_of(2);
    if pairs { &[PLAIN, TWO_BY_TWO] } else { &[PLAIN] }
}

/// The kernel of a variant, an invocation for each of `results`, or of `windows`.
fn lower(
    op: &dyn Op,
    variant: &str,
    entry_points: [&'static str; 2],
    params: &MaxPool2dParams,
    [results, windows]: [usize; 2],
) -> Result<Lowering> {
    let (shader, entry_point, invocations) = match variant {
        PLAIN => (&PLAIN_SHADER, entry_points[0], results),
        TWO_BY_TWO if op.variants().contains(&TWO_BY_TWO) => (&PAIRS_SHADER, entry_points[1], windows),
        _ => return Err(unknown_variant(op, variant)),
    };
    let bindings = bindings_of(&op.operands());
    Ok(Dispatch::new(shader, entry_point, params, &bindings, invocations as u64).into())
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

/// input (P, H, W) → output (P, OH, OW), argmax (P, OH, OW): flat index in the input plane, the first maximum on a tie. With `relu`, of
/// max(input, 0), and argmax is [`NOWHERE`] where that is 0.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2dForward {
    pub shape: Pool2d,
    pub relu: bool,
}

impl Op for MaxPool2dForward {
    fn name(&self) -> &'static str {
        if self.relu { "relu_max_pool2d_forward" } else { "max_pool2d_forward" }
    }

    fn shape(&self) -> String {
        describe(&self.shape)
    }

    fn operands(&self) -> Vec<Operand> {
        let output = self.shape.output_len();
        vec![
            Operand::read("input", self.shape.input_len()),
            Operand::write("output", output),
            Operand::write("argmax", output).of_u32(),
        ]
    }

    fn flops(&self) -> u64 {
        flops(&self.shape)
    }

    fn variants(&self) -> &'static [&'static str] {
        variants(&self.shape)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let entry_points = if self.relu {
            ["relu_max_pool2d_forward", "relu_max_pool2d_forward_2x2"]
        } else {
            ["max_pool2d_forward", "max_pool2d_forward_2x2"]
        };
        lower(self, variant, entry_points, &params(&self.shape), [self.shape.output_len(); 2])
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, output, argmax] = arguments.take();
        let (output, argmax) = (output.f64_mut(), argmax.u32_mut());
        reference::max_pool2d::forward(&self.shape, input.f64(), output, argmax);
        if self.relu {
            reference::max_pool2d::rectify(output, argmax);
        }
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

    fn variants(&self) -> &'static [&'static str] {
        variants(&self.0)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let entry_points = ["max_pool2d_backward", "max_pool2d_backward_2x2"];
        let Pool2d { planes, input: [height, width], .. } = self.0;
        let windows = product(&[planes, height.div_ceil(2), width / 2]);
        lower(self, variant, entry_points, &params(&self.0), [self.0.input_len(), windows])
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [winner, grad_output, grad_input] = arguments.take();
        reference::max_pool2d::backward(&self.0, winner.u32(), grad_output.f64(), grad_input.f64_mut());
    }
}
