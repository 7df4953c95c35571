//! Two-dimensional convolution and its gradients; that of the bias is [`super::bias::BiasGrad`]. Source: PyTorch nn.Conv2d.

use super::split::Slices;
use super::{Arguments, Lowering, Op, Operand, PLAIN, SUBGROUP, shader, unknown_variant};
use crate::error::Result;
use crate::geometry::{Conv2d, Window, product};
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static PLAIN_SHADER: Shader = shader!("conv2d");
static TILED_SHADER: Shader = shader!("conv2d_tiled");
static SUBGROUP_SHADER: Shader = shader!("conv2d_subgroup");

/// The kernels that can compute a shape, the fastest last.
fn variants(shape: &Conv2d) -> &'static [&'static str] {
    let Window { stride, dilation, .. } = shape.window;
    if stride == [1; 2] && dilation[1] == 1 { &[PLAIN, "tiled", SUBGROUP] } else { &[PLAIN, "tiled"] }
}

params! {
    Conv2dParams {
        batch: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
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
        slices: u32,
        slice_length: u32,
    }
}

fn params(shape: &Conv2d, slices: Slices) -> Conv2dParams {
    let window = &shape.window;
    Conv2dParams {
        batch: shape.batch,
        in_channels: shape.in_channels,
        in_height: shape.input[0],
        in_width: shape.input[1],
        out_channels: shape.out_channels,
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
        slices: slices.slices,
        slice_length: slices.slice_length,
    }
}

/// One of the three kernels: its entry points, what it reads, what it writes and over which rows it sums.
struct Kernel<'a> {
    op: &'a dyn Op,
    shape: &'a Conv2d,
    entry_points: [&'static str; 3],
    /// Rows of the sum, and terms of a row.
    rows: (u32, u32),
    /// Tiles of one slice, given the variant, the tile's channels and its columns: across the channels, and of all the rest.
    tiles: &'a dyn Fn(&str, u32, u32) -> [usize; 2],
}

impl Kernel<'_> {
    fn lower(&self, variant: &str) -> Result<Lowering> {
        let operands = self.op.operands();
        let output = operands.len() - 1;
        let length = operands[output].length;
        let (shader, entry_point, results) = match variant {
            PLAIN => (&PLAIN_SHADER, self.entry_points[0], length),
            "tiled" => {
                let [channels, rest] = self.tiles(variant, &TILED_SHADER);
                (&TILED_SHADER, self.entry_points[1], channels * rest)
            }
            // A workgroup has the same channels throughout.
            SUBGROUP if self.op.variants().contains(&SUBGROUP) => {
                let [channels, rest] = self.tiles(variant, &SUBGROUP_SHADER);
                let workgroup = SUBGROUP_SHADER.constant("WORKGROUP_SIZE") as usize;
                (&SUBGROUP_SHADER, self.entry_points[2], channels * rest.next_multiple_of(workgroup))
            }
            _ => return Err(unknown_variant(self.op, variant)),
        };
        let slices = Slices::new(self.rows.0, self.rows.1);
        Ok(slices.lower(length, output, operands.len(), |place| {
            let mut bindings: Vec<_> =
                operands.iter().enumerate().map(|(place, operand)| (operand.name, place)).collect();
            bindings[output].1 = place;
            let invocations = u64::from(slices.slices) * results as u64;
            let mut dispatch = Dispatch::new(shader, entry_point, &params(self.shape, slices), &bindings, invocations);
            if variant == SUBGROUP {
                dispatch.constants.push(("KERNEL_WIDTH", self.shape.window.kernel_size[1].into()));
            }
            dispatch
        }))
    }

    fn tiles(&self, variant: &str, shader: &Shader) -> [usize; 2] {
        (self.tiles)(variant, shader.constant("TILE_CHANNELS"), shader.constant("TILE_COLUMNS"))
    }
}

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
        variants(&self.0)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let shape = &self.0;
        let [kernel_height, kernel_width] = shape.window.kernel_size;
        let tiles = |_: &str, channels, columns| {
            let rest = product(&[shape.batch, shape.output[0], shape.output[1].div_ceil(columns)]);
            [shape.out_channels.div_ceil(channels) as usize, rest]
        };
        Kernel {
            op: self,
            shape,
            entry_points: ["conv2d_forward", "conv2d_forward_tiled", "conv2d_forward_subgroup"],
            rows: (shape.in_channels * kernel_height, kernel_width),
            tiles: &tiles,
        }
        .lower(variant)
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
        variants(&self.0)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let shape = &self.0;
        let [kernel_height, kernel_width] = shape.window.kernel_size;
        let tiles = |_: &str, channels, columns| {
            let rest = product(&[shape.batch, shape.input[0], shape.input[1].div_ceil(columns)]);
            [shape.in_channels.div_ceil(channels) as usize, rest]
        };
        Kernel {
            op: self,
            shape,
            entry_points: ["conv2d_grad_input", "conv2d_grad_input_tiled", "conv2d_grad_input_subgroup"],
            rows: (shape.out_channels * kernel_height, kernel_width),
            tiles: &tiles,
        }
        .lower(variant)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [weight, grad_output, grad_input] = arguments.take();
        reference::conv2d::grad_input(&self.0, weight.f64(), grad_output.f64(), grad_input.f64_mut());
    }
}

/// input (N, C, H, W), grad_output (N, O, OH, OW) → grad_weight (O, C, KH, KW), overwritten.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dGradWeight(pub Conv2d);

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
        variants(&self.0)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let shape = &self.0;
        let [kernel_height, kernel_width] = shape.window.kernel_size;
        let tiles = |variant: &str, channels, columns| {
            // A tile of the subgroup variant keeps to a row of the kernel; the other's does not.
            let rest = match variant {
                SUBGROUP => product(&[shape.in_channels, kernel_height, kernel_width.div_ceil(columns)]),
                _ => product(&[shape.in_channels, kernel_height, kernel_width]).div_ceil(columns as usize),
            };
            [shape.out_channels.div_ceil(channels) as usize, rest]
        };
        Kernel {
            op: self,
            shape,
            entry_points: ["conv2d_grad_weight", "conv2d_grad_weight_tiled", "conv2d_grad_weight_subgroup"],
            rows: (shape.batch * shape.output[0], shape.output[1]),
            tiles: &tiles,
        }
        .lower(variant)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, grad_output, grad_weight] = arguments.take();
        reference::conv2d::grad_weight(&self.0, input.f64(), grad_output.f64(), grad_weight.f64_mut());
    }
}
