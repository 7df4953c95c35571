//! A convolution, its ReLU and the max pooling after it in one kernel. Source: PyTorch nn.Conv2d, nn.ReLU, nn.MaxPool2d.

use super::conv2d::Conv2dForward;
use super::conv2d_kernel::{SUBGROUP_WORKGROUP, TILED, even_tile};
use super::max_pool2d::MaxPool2dForward;
use super::shared_tile::with_tiles;
use super::{
    Arguments, Lowering, MAX_TERMS, Op, Operand, PLAIN, SUBGROUP, SUBGROUP_LANES, bindings_of, shader, unknown_variant,
};
use crate::error::Result;
use crate::geometry::{Conv2d, Pool2d, Window, product};
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static PLAIN_SHADER: Shader = shader!("conv2d_pool");
static SUBGROUP_SHADER: Shader = shader!("conv2d_pool_subgroup");

/// The longest sides of what an invocation of the subgroup variant computes, as the shader has them.
const MAX_CHANNELS: u32 = 8;
const MAX_PAIRS: u32 = 5;
const MAX_KERNEL_WIDTH: u32 = 8;

/// By how many sizes of tiles suit the convolution.
static VARIANTS: [&[&str]; 4] = with_tiles!("implicit_gemm_", [PLAIN, TILED, SUBGROUP]);

params! {
    ConvPoolParams {
        batch: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
        out_height: u32,
        out_width: u32,
        kernel_height: u32,
        kernel_width: u32,
        padding_height: u32,
        padding_width: u32,
    }
}

/// input (N, C, H, W), weight (O, C, KH, KW), bias (O) → output (N, O, PH, PW) = the maximum of each window of max(convolution, 0), argmax
/// (N, O, PH, PW): its flat index in the plane of the convolution, [`NOWHERE`](super::max_pool2d::NOWHERE) where the maximum is 0.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dReluMaxPool2dForward {
    conv: Conv2d,
    pool: Pool2d,
}

impl Conv2dReluMaxPool2dForward {
    /// `None` where the kernels are not made for the shapes: `pool` is over the planes of `conv`.
    pub fn new(conv: Conv2d, pool: Pool2d) -> Option<Self> {
        let Window { kernel_size: [height, width], stride, dilation, .. } = conv.window;
        let terms = product(&[conv.in_channels, height, width]);
        let fits = stride == [1; 2]
            && dilation == [1; 2]
            && width <= MAX_KERNEL_WIDTH
            && conv.input[1].is_multiple_of(2)
            && terms <= MAX_TERMS as usize
            && pool.window == Window::square(2).stride(2);
        fits.then_some(Self { conv, pool })
    }

    /// What the reference takes the maxima of: the planes of the convolution.
    pub(crate) fn planes(&self, input: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let mut planes = vec![0.0; self.conv.output_len()];
        reference::conv2d::forward(&self.conv, input, weight, bias, &mut planes);
        planes
    }

    /// The maxima of the windows of `planes`, and where they are.
    pub(crate) fn maxima(&self, planes: &[f64], output: &mut [f64], argmax: &mut [u32]) {
        reference::max_pool2d::forward(&self.pool, planes, output, argmax);
        reference::max_pool2d::rectify(output, argmax);
    }

    /// Elements of one of the planes, and of what is left of it.
    pub(crate) fn plane_lengths(&self) -> [usize; 2] {
        [product(&self.pool.input), product(&self.pool.output)]
    }

    fn apart(&self) -> (Conv2dForward, MaxPool2dForward) {
        (Conv2dForward(self.conv), MaxPool2dForward { shape: self.pool, relu: true })
    }

    /// Tiles for the convolution as a product of matrices, which has its pooling in a kernel of its own: that pays for large ones alone.
    fn tiles_apart(&self) -> usize {
        let tiles = self.apart().0.tiles();
        if tiles > 1 { tiles } else { 0 }
    }
}

/// The most pairs of columns whose tiles cover `length` with the fewest to spare.
fn tile_pairs(length: u32) -> u32 {
    (1..=MAX_PAIRS).rev().min_by_key(|&pairs| length.next_multiple_of(pairs)).unwrap_or(1)
}

impl Op for Conv2dReluMaxPool2dForward {
    fn name(&self) -> &'static str {
        "conv2d_relu_max_pool2d_forward"
    }

    fn shape(&self) -> String {
        let [height, width] = self.pool.output;
        format!("{} → {height}×{width}", self.apart().0.shape())
    }

    fn operands(&self) -> Vec<Operand> {
        let (conv, pool) = self.apart();
        conv.operands().into_iter().take(3).chain(pool.operands().into_iter().skip(1)).collect()
    }

    fn flops(&self) -> u64 {
        let (conv, pool) = self.apart();
        conv.flops() + pool.flops()
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        let [height, width] = self.pool.output;
        vec![("N", self.conv.batch), ("O", self.conv.out_channels), ("H", height), ("W", width)]
    }

    fn variants(&self) -> &'static [&'static str] {
        VARIANTS[self.tiles_apart()]
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let Conv2d { batch, in_channels, out_channels, input, output, window } = self.conv;
        let params = ConvPoolParams {
            batch,
            in_channels,
            in_height: input[0],
            in_width: input[1],
            out_channels,
            out_height: output[0],
            out_width: output[1],
            kernel_height: window.kernel_size[0],
            kernel_width: window.kernel_size[1],
            padding_height: window.padding[0],
            padding_width: window.padding[1],
        };
        let bindings = bindings_of(&self.operands());
        match variant {
            PLAIN => {
                let results = self.pool.output_len() as u64;
                let entry_point = "conv2d_relu_max_pool2d_forward";
                Ok(Dispatch::new(&PLAIN_SHADER, entry_point, &params, &bindings, results).into())
            }
            SUBGROUP => {
                let channels = even_tile(out_channels, MAX_CHANNELS);
                let pairs = tile_pairs(self.pool.output[1]);
                let places = product(&[batch, self.pool.output[0], self.pool.output[1].div_ceil(pairs)]) as u64;
                // Lanes without a place would compute for nothing.
                let workgroup = places.next_multiple_of(SUBGROUP_LANES.into()).min(SUBGROUP_WORKGROUP.into());
                let invocations = places.next_multiple_of(workgroup) * u64::from(out_channels.div_ceil(channels));
                let shift = window.padding[1] % 2;
                let constants = [
                    ("WORKGROUP_SIZE", workgroup as u32),
                    ("TILE_CHANNELS", channels),
                    ("TILE_COLUMNS", 2 * pairs),
                    ("KERNEL_WIDTH", window.kernel_size[1]),
                    ("PAIRS", (shift + 2 * pairs + window.kernel_size[1] - 1).div_ceil(2)),
                    ("OFFSET", shift),
                ];
                let entry_point = "conv2d_relu_max_pool2d_forward_subgroup";
                Ok(Dispatch::specialised(&SUBGROUP_SHADER, entry_point, &params, &bindings, invocations, &constants)
                    .into())
            }
            // One after the other.
            _ if self.variants().contains(&variant) => {
                let (conv, pool) = self.apart();
                let mut lowering = conv.lower(variant)?.over(&[0, 1, 2, 5], 6);
                lowering.scratch.insert(0, self.conv.output_len());
                let pool_variant = pool.variants().last().copied().unwrap_or(PLAIN);
                lowering.dispatches.extend(pool.lower(pool_variant)?.over(&[5, 3, 4], 6).dispatches);
                Ok(lowering)
            }
            _ => Err(unknown_variant(self, variant)),
        }
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, weight, bias, output, argmax] = arguments.take();
        let planes = self.planes(input.f64(), weight.f64(), bias.f64());
        self.maxima(&planes, output.f64_mut(), argmax.u32_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shaders_have_the_same_limits() {
        assert_eq!(SUBGROUP_SHADER.constant("MAX_CHANNELS"), MAX_CHANNELS);
        assert_eq!(SUBGROUP_SHADER.constant("MAX_COLUMNS"), 2 * MAX_PAIRS);
        assert_eq!(SUBGROUP_SHADER.constant("MAX_KERNEL_WIDTH"), MAX_KERNEL_WIDTH);
    }
}
