//! The kernels that convolutions and their gradients are computed with: which tile, in which slices.

use super::shared_tile::{Product, Shaders, SharedTile, tile_shaders, with_tiles};
use super::split::Slices;
use super::{Lowering, Op, PLAIN, SUBGROUP, SUBGROUP_LANES, bindings_of, shader};
use crate::error::Result;
use crate::geometry::{Conv2d, Window, product};
use crate::gpu::{Dispatch, Shader, params};

pub(super) static PLAIN_SHADER: Shader = shader!("conv2d", "conv2d_params", "window_grads");
static TILED_SHADER: Shader = shader!("conv2d_tiled", "conv2d_params");
static SUBGROUP_SHADER: Shader = shader!("conv2d_subgroup", "conv2d_params");
static SUBGROUP_VEC2_SHADER: Shader = shader!("conv2d_subgroup_vec2", "conv2d_params", "window_grads", "window_pairs");
static IMPLICIT_GEMM_SHADERS: Shaders = tile_shaders!("conv2d_implicit_gemm", "conv2d_params");

/// The name of the variant whose invocations compute a tile each.
pub(super) const TILED: &str = "tiled";

/// The longest sides of what an invocation of the subgroup variants computes, as the shader has them: channels and columns of an image,
/// channels and columns of a kernel.
const MAX_CHANNELS: u32 = 16;
const MAX_COLUMNS: u32 = 14;
const MAX_KERNEL_WIDTH: u32 = 8;
const MAX_ROW: u32 = MAX_COLUMNS + MAX_KERNEL_WIDTH + 2;

/// Results of an invocation: more would find no registers anywhere.
const MAX_RESULTS: u32 = 112;

/// The most columns that one turn of grad_weight's loop takes.
const MAX_STEPS: u32 = 4;

/// The name of the variant of [`SUBGROUP`] that loads rows two values at a time.
pub(super) const SUBGROUP_VEC2: &str = "subgroup_vec2";

/// The name of the variant of [`PLAIN`] that cuts sums of few results into short slices: for hardware, whose invocations wait for their loads.
pub(super) const SPLIT: &str = "split";

/// The kernels that can compute a shape, by what they ask of it and by how many sizes of tiles suit it.
static VARIANTS_OF_PAIRS: [&[&str]; 4] = with_tiles!("implicit_gemm_", [PLAIN, TILED, SUBGROUP, SUBGROUP_VEC2]);
static VARIANTS_OF_ROWS: [&[&str]; 4] = with_tiles!("implicit_gemm_", [PLAIN, TILED, SUBGROUP]);
static VARIANTS_OF_ALL: [&[&str]; 4] = with_tiles!("implicit_gemm_", [PLAIN, TILED]);

/// The same for sums over images, of which there may be few.
static SUMS_OF_PAIRS: [&[&str]; 4] = with_tiles!("implicit_gemm_", [PLAIN, SPLIT, TILED, SUBGROUP, SUBGROUP_VEC2]);
static SUMS_OF_ROWS: [&[&str]; 4] = with_tiles!("implicit_gemm_", [PLAIN, SPLIT, TILED, SUBGROUP]);
static SUMS_OF_ALL: [&[&str]; 4] = with_tiles!("implicit_gemm_", [PLAIN, SPLIT, TILED]);

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

/// One of the kernels: its entry points, what it writes, and over which rows it sums.
pub(super) struct Kernel<'a> {
    pub op: &'a dyn Op,
    pub shape: &'a Conv2d,
    /// Of the plain variant, those with subgroups and that with workgroup memory.
    pub entry_points: [&'static str; 4],
    /// Rows of the sum, and terms of a row.
    pub terms: (u32, u32),
    /// What it writes, as tiles see it: channels, rows and columns.
    pub channels: u32,
    pub rows: [u32; 2],
    pub columns: u32,
}

impl Kernel<'_> {
    /// The kernels that can compute images, the fastest last; `widths` are those of the images that it loads.
    pub fn variants(&self, widths: &[u32]) -> &'static [&'static str] {
        self.suiting::<1>([&VARIANTS_OF_ALL, &VARIANTS_OF_ROWS, &VARIANTS_OF_PAIRS], widths)
    }

    /// Those that can compute `N` sums over images.
    pub fn sum_variants<const N: usize>(&self, widths: &[u32]) -> &'static [&'static str] {
        self.suiting::<N>([&SUMS_OF_ALL, &SUMS_OF_ROWS, &SUMS_OF_PAIRS], widths)
    }

    fn suiting<const N: usize>(
        &self,
        [all, rows, pairs]: [&'static [&'static [&'static str]; 4]; 3],
        widths: &[u32],
    ) -> &'static [&'static str] {
        let Window { stride, dilation, kernel_size, .. } = self.shape.window;
        let tiles = SharedTile::suiting(self.product::<N>());
        if stride != [1; 2] || dilation[1] != 1 || kernel_size[1] > MAX_KERNEL_WIDTH {
            all[tiles]
        } else if dilation[0] != 1 || widths.iter().any(|width| width % 2 == 1) {
            rows[tiles]
        } else {
            pairs[tiles]
        }
    }

    /// As a product of matrices, of which one is nowhere stored. Each operand that it writes after the first is one column more.
    pub fn product<const N: usize>(&self) -> Product {
        let columns = product(&[self.rows[0], self.rows[1], self.columns]).saturating_add(N - 1);
        Product {
            m: self.channels,
            k: self.terms.0.saturating_mul(self.terms.1),
            n: columns.try_into().unwrap_or(u32::MAX),
        }
    }

    /// A tile a workgroup, in its memory.
    pub fn implicit_gemm<const N: usize>(&self, variant: &str, overrides: &[(&'static str, u32)]) -> Result<Lowering> {
        let (tile, product) = (SharedTile::of_op(self.op, variant)?, self.product::<N>());
        let constants = [&tile.constants(), overrides].concat();
        let invocations = tile.invocations(product);
        let entry_point = self.entry_points[3];
        let (shader, slices) = (tile.shader(&IMPLICIT_GEMM_SHADERS), tile.slices(product));
        let lowering = self.summed::<N>(shader, entry_point, invocations, slices, &constants);
        Ok(Lowering { factors: tile.factors(), ..lowering })
    }

    /// A result an invocation, of the first of the last `N` operands, which it writes.
    pub fn plain<const N: usize>(&self) -> Lowering {
        self.plain_of::<N>(|_| self.slices())
    }

    /// The same, of short slices.
    pub fn split<const N: usize>(&self) -> Lowering {
        self.plain_of::<N>(|results| Slices::fine(self.terms.0, self.terms.1, results))
    }

    fn plain_of<const N: usize>(&self, slices: impl FnOnce(u64) -> Slices) -> Lowering {
        let [(results, _), ..] = self.written::<N>()[..] else { unreachable!("a kernel writes something") };
        let results = results as u64;
        self.summed::<N>(&PLAIN_SHADER, self.entry_points[0], results, slices(results), &[])
    }

    /// A workgroup has the same channels throughout. Each of the `N` operands that it writes after the first is one place more.
    fn shared<const N: usize>(
        &self,
        (shader, entry_point): (&'static Shader, &'static str),
        [channels, columns]: [u32; 2],
        workgroup: u32,
        slices: impl FnOnce(u64) -> Slices,
        row: &[(&'static str, u32)],
    ) -> Lowering {
        let places = product(&self.rows) as u64 * u64::from(self.columns.div_ceil(columns)) + N as u64 - 1;
        // Lanes without a place would compute for nothing.
        let workgroup = workgroup.min(places.next_multiple_of(SUBGROUP_LANES.into()).try_into().unwrap_or(u32::MAX));
        let groups = places.div_ceil(workgroup.into());
        let workgroups = groups * u64::from(self.channels.div_ceil(channels));
        // Slices do not depend on the tile, so that neither do the bits of a sum.
        let slices = slices(groups * u64::from(self.channels.div_ceil(SUBGROUP_LANES)));
        let constants = [
            ("WORKGROUP_SIZE", workgroup),
            ("TILE_CHANNELS", channels),
            ("TILE_COLUMNS", columns),
            ("KERNEL_WIDTH", self.kernel_width()),
        ];
        let invocations = workgroups * u64::from(workgroup);
        self.summed::<N>(shader, entry_point, invocations, slices, &[&constants, row].concat())
    }

    fn kernel_width(&self) -> u32 {
        self.shape.window.kernel_size[1]
    }

    /// The tile of an image that covers it at the least cost, in loads: `multiple` columns or a multiple of them. There is a load for each column
    /// of the kernel and eight channels, one for each column that `row` says, and the multiply-adds, of which some 25 take as long.
    fn tile(&self, multiple: u32, most_channels: u32, row: impl Fn(u32) -> Row) -> [u32; 2] {
        let kernel_width = self.kernel_width();
        let cost = |&[channels, columns]: &[u32; 2]| {
            let Row { loaded, products, .. } = row(columns);
            let loads = kernel_width * channels.div_ceil(SUBGROUP_LANES) + loaded;
            let tiles = u64::from(self.channels.div_ceil(channels)) * u64::from(self.columns.div_ceil(columns));
            tiles * u64::from(25 * loads + channels * products)
        };
        let columns = (1..=MAX_COLUMNS / multiple).map(|columns| columns * multiple);
        let tiles = columns.flat_map(|columns| (1..=most_channels).map(move |channels| [channels, columns]));
        tiles.filter(|[channels, columns]| channels * columns <= MAX_RESULTS).min_by_key(cost).unwrap_or([1, multiple])
    }

    /// Of a kernel, all of whose columns one invocation has.
    fn tile_of_kernel(&self) -> [u32; 2] {
        [even_tile(self.channels, MAX_CHANNELS), self.columns]
    }

    /// The most of 1 to `longest` times `unit` columns of the output that its width is a multiple of.
    fn steps(&self, unit: u32, longest: u32) -> u32 {
        let width = self.shape.output[1];
        (1..=longest).rev().find(|steps| width.is_multiple_of(unit * steps)).unwrap_or(1)
    }

    /// Tiles of images, in workgroups that follow from their columns.
    pub fn subgroup(&self, workgroup: impl FnOnce(u32) -> u32, slices: Slices) -> Lowering {
        let kernel_width = self.kernel_width();
        let tile = self.tile(1, SUBGROUP_LANES, |columns| Row::sliding(columns, kernel_width, 0));
        self.shared::<1>((&SUBGROUP_SHADER, self.entry_points[1]), tile, workgroup(tile[1]), |_| slices, &[])
    }

    /// The same, with rows loaded in pairs: rows of `width` columns, of which a tile needs those from `before` columns before it on; `None` where
    /// padding has it begin behind its first column.
    pub fn subgroup_vec2(
        &self,
        workgroup: impl FnOnce(u32) -> u32,
        slices: Slices,
        width: u32,
        before: Option<u32>,
    ) -> Lowering {
        let kernel_width = self.kernel_width();
        let row = |columns: u32| match before {
            Some(before) if columns == self.columns && width <= MAX_ROW => {
                Row::whole(columns, kernel_width, width, before)
            }
            Some(before) => Row::sliding(columns, kernel_width, before % 2),
            None => Row::sliding(columns, kernel_width, self.shape.window.padding[1].abs_diff(kernel_width - 1) % 2),
        };
        let tile = self.tile(2, MAX_CHANNELS, row);
        let Row { loaded, offset, .. } = row(tile[1]);
        let row = [("OFFSET", offset), ("PAIRS", loaded.div_ceil(2))];
        self.shared::<1>((&SUBGROUP_VEC2_SHADER, self.entry_points[2]), tile, workgroup(tile[1]), |_| slices, &row)
    }

    /// Lanes of a workgroup of grad_input that keeps to one row of the images, which leaves out most of what meets no gradient; by the columns of
    /// a tile.
    pub fn one_row(&self) -> impl FnOnce(u32) -> u32 {
        let (batch, width) = (self.shape.batch, self.columns);
        move |columns| {
            let tiles = batch.saturating_mul(width.div_ceil(columns));
            (1 << tiles.ilog2().min(31)).clamp(SUBGROUP_LANES, SUBGROUP_WORKGROUP)
        }
    }

    /// Slices of output channels.
    pub fn channel_slices(&self) -> Slices {
        let [kernel_height, kernel_width] = self.shape.window.kernel_size;
        Slices::of_tiles(self.shape.out_channels, kernel_height.saturating_mul(kernel_width))
    }

    pub fn subgroup_vec2_grads(&self) -> Lowering {
        let before = (self.kernel_width() - 1).checked_sub(self.shape.window.padding[1]);
        self.subgroup_vec2(self.one_row(), self.channel_slices(), self.shape.output[1], before)
    }

    /// Tiles of the kernel.
    pub fn subgroup_sums<const N: usize>(&self) -> Lowering {
        let row = [("STEPS", self.steps(1, MAX_STEPS))];
        let (kernel, tile) = ((&SUBGROUP_SHADER, self.entry_points[1]), self.tile_of_kernel());
        self.shared::<N>(kernel, tile, SUBGROUP_WORKGROUP, |workgroups| self.spread(workgroups), &row)
    }

    /// The same, with rows loaded in pairs.
    pub fn subgroup_vec2_sums<const N: usize>(&self) -> Lowering {
        let (steps, shift) = (self.steps(2, MAX_STEPS / 2), self.shape.window.padding[1] % 2);
        let pairs = (shift + 2 * steps + self.kernel_width() - 1).div_ceil(2);
        let row = [("OFFSET", shift), ("PAIRS", pairs), ("STEPS", steps)];
        let (kernel, tile) = ((&SUBGROUP_VEC2_SHADER, self.entry_points[2]), self.tile_of_kernel());
        self.shared::<N>(kernel, tile, SUBGROUP_WORKGROUP, |workgroups| self.spread(workgroups), &row)
    }

    /// Tiles that do not share a row where `are_apart`; else they run on into the next.
    pub fn tiled(&self, entry_point: &'static str, are_apart: bool) -> Lowering {
        let [channels, columns] = ["TILE_CHANNELS", "TILE_COLUMNS"].map(|name| TILED_SHADER.constant(name) as usize);
        let (rows, row) = (product(&self.rows), self.columns as usize);
        let rest = if are_apart { rows * row.div_ceil(columns) } else { (rows * row).div_ceil(columns) };
        let results = (self.channels as usize).div_ceil(channels) * rest;
        self.summed::<1>(&TILED_SHADER, entry_point, results as u64, self.slices(), &[])
    }

    pub fn slices(&self) -> Slices {
        Slices::new(self.terms.0, self.terms.1)
    }

    pub fn tile_slices(&self) -> Slices {
        Slices::of_tiles(self.terms.0, self.terms.1)
    }

    /// Where one slice alone would leave most of a device idle: the weights are few, and the sum is long.
    fn spread(&self, workgroups: u64) -> Slices {
        Slices::spread(self.terms.0, self.terms.1, workgroups)
    }

    /// Lengths and places of what is written.
    fn written<const N: usize>(&self) -> [(usize, usize); N] {
        let operands = self.op.operands();
        let first = operands.len() - N;
        std::array::from_fn(|result| (operands[first + result].length, first + result))
    }

    /// `invocations` for one slice.
    pub fn summed<const N: usize>(
        &self,
        shader: &'static Shader,
        entry_point: &'static str,
        invocations: u64,
        slices: Slices,
        constants: &[(&'static str, u32)],
    ) -> Lowering {
        let operands = self.op.operands();
        slices.lower::<N>(self.written(), operands.len(), |places| {
            let mut bindings = bindings_of(&operands);
            let first = operands.len() - N;
            bindings[first..].iter_mut().zip(places).for_each(|(binding, place)| binding.1 = place);
            let invocations = u64::from(slices.slices) * invocations;
            let params = params(self.shape, slices);
            Dispatch::specialised(shader, entry_point, &params, &bindings, invocations, constants)
        })
    }
}

/// Invocations of a workgroup of the subgroup variants: few, because a small layer has few.
pub(super) const SUBGROUP_WORKGROUP: u32 = 32;

/// What a tile loads of a row of an image.
struct Row {
    loaded: u32,
    /// Where in it the first column of the kernel meets the first of the tile, as the shader has it.
    offset: u32,
    /// Multiply-adds of a channel.
    products: u32,
}

impl Row {
    /// What all columns of the tile and of the kernel meet, and `shift` columns before.
    fn sliding(columns: u32, kernel_width: u32, shift: u32) -> Self {
        Self { loaded: shift + columns + kernel_width - 1, offset: shift, products: columns * kernel_width }
    }

    /// The whole of a row of `width` columns, for a tile that is a whole row and whose kernel begins `before` columns before it.
    fn whole(columns: u32, kernel_width: u32, width: u32, before: u32) -> Self {
        let meets = |column: u32| (before..before + width).contains(&column);
        let pairs = (0..columns).flat_map(|column| (0..kernel_width).map(move |kw| column + kw));
        Self { loaded: width, offset: before.wrapping_neg(), products: pairs.filter(|&at| meets(at)).count() as u32 }
    }
}

/// The side of the fewest tiles of at most `longest` that cover `length`, none larger than it has to be.
pub(super) fn even_tile(length: u32, longest: u32) -> u32 {
    length.div_ceil(length.div_ceil(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shaders_have_the_same_limits() {
        let [single, vec2] = [&SUBGROUP_SHADER, &SUBGROUP_VEC2_SHADER];
        assert_eq!([single.constant("MAX_OUTPUTS"), vec2.constant("MAX_CHANNELS")], [MAX_CHANNELS; 2]);
        assert_eq!([single, vec2].map(|shader| shader.constant("MAX_COLUMNS")), [MAX_COLUMNS; 2]);
        assert_eq!([single, vec2].map(|shader| shader.constant("MAX_KERNEL_WIDTH")), [MAX_KERNEL_WIDTH; 2]);
        assert_eq!(vec2.constant("MAX_ROW"), MAX_ROW);
        assert_eq!(single.constant("MAX_STEPS"), MAX_STEPS);
        assert_eq!([single, vec2].map(|shader| shader.constant("LANES")), [SUBGROUP_LANES; 2]);
    }
}
