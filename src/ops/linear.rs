//! A fully connected layer with its bias and its ReLU in one kernel. Source: PyTorch nn.Linear, nn.ReLU.

use std::ops::Range;

use super::shared_tile::{Product, Shaders, SharedTile, tile_shaders, with_tiles};
use super::split::BUSY_WORKGROUPS;
use super::{Arguments, Lowering, MAX_TERMS, Op, Operand, PLAIN, SUBGROUP, SUBGROUP_LANES, shader};
use crate::error::Result;
use crate::geometry::{Linear, product};
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static PLAIN_SHADER: Shader = shader!("linear", "linear_params", "window_grads");
static SUBGROUP_SHADER: Shader = shader!("linear_subgroup", "linear_params", "window_grads");
static SUBGROUP_TILE_SHADER: Shader = shader!("linear_subgroup_tile", "subgroup_tile", "window_grads");
static SHARED_SHADERS: Shaders = tile_shaders!("linear_shared", "linear_params", "window_grads");

/// The kernels that can compute a shape, by how many sizes of tiles suit it.
static VARIANTS_OF_TILES: [&[&str]; 4] = with_tiles!("shared_", [PLAIN, SUBGROUP, SUBGROUP_TILE]);
static VARIANTS: [&[&str]; 4] = with_tiles!("shared_", [PLAIN, SUBGROUP]);
static WITHOUT_SUBGROUPS: [&[&str]; 4] = with_tiles!("shared_", [PLAIN]);

params! {
    LinearParams {
        batch: u32,
        in_features: u32,
        out_features: u32,
        relu: u32,
        pool_height: u32,
        pool_width: u32,
    }
}

params! {
    LinearTileParams {
        m: u32,
        k: u32,
        n: u32,
        relu: u32,
        pool_height: u32,
        pool_width: u32,
    }
}

/// The name of the variant of [`SUBGROUP`] whose invocations compute a tile of a product of matrices.
const SUBGROUP_TILE: &str = "subgroup_tile";

/// Sides of such a tile, as the shader has it.
const TILE_M: u32 = 32;
const TILE_N: u32 = 4;

/// Whether the sums of all three kernels are short enough for one invocation each; where not, a linear layer is a matrix product and
/// a bias.
pub fn fits(shape: &Linear) -> bool {
    [shape.batch, shape.in_features, shape.out_features].iter().all(|&terms| terms <= MAX_TERMS)
}

fn variants(shape: &Linear, product: Product) -> &'static [&'static str] {
    let tiles = SharedTile::suiting_whole(product);
    // Of a smaller batch most of a tile, or of a slab, would be computed for nothing.
    let fills = shape.batch > TILE_M / 2 && [product.m, product.k, product.n].iter().all(|size| size.is_multiple_of(4));
    match shape.in_features.is_multiple_of(4) {
        true if fills => VARIANTS_OF_TILES[tiles],
        true => VARIANTS[tiles],
        false => WITHOUT_SUBGROUPS[tiles],
    }
}

fn describe(shape: &Linear, relu: bool) -> String {
    let Linear { batch, in_features, out_features } = shape;
    format!("{batch}×{in_features} → {batch}×{out_features}{}", if relu { ", ReLU" } else { "" })
}

fn flops(shape: &Linear) -> u64 {
    2 * product(&[shape.batch, shape.in_features, shape.out_features]) as u64
}

/// Invocations of a workgroup of the subgroup variants: few, because a small layer has few.
const WORKGROUP: u32 = 32;

/// Times the lanes of a subgroup that an invocation of the subgroup variants takes of rows or outputs at most, as the shader has it.
const MAX_HELD: u32 = 2;

/// How many of `length` rows or outputs an invocation takes, where there are `groups` workgroups for each so many: a divisor of the lanes that are
/// sure to be there, or a multiple, as long as that leaves enough workgroups.
fn tile(length: u32, groups: u32) -> u32 {
    let held = |held: &u32| length.div_ceil(held * SUBGROUP_LANES).saturating_mul(groups) >= BUSY_WORKGROUPS;
    let held = (2..=MAX_HELD).rev().find(held).unwrap_or(1);
    length.next_power_of_two().min(held * SUBGROUP_LANES)
}

/// What one of the kernels is launched with: a result an invocation, or places of a workgroup's lanes times tiles of what they share.
struct Launch {
    /// Of the plain variant, those with subgroups and those with workgroup memory.
    entry_points: [&'static str; 4],
    relu: bool,
    /// Height and width of a plane of the input, where its gradient is written through a pooling.
    pool: [u32; 2],
    results: usize,
    lanes: u32,
    /// Rows of the batch, or outputs.
    shared: u32,
    /// As a product of matrices, and whether each of them is stored transposed.
    product: Product,
    transposed: [bool; 2],
    /// Columns that the product has more where it sums up a bias as well, in workgroup memory.
    bias_columns: u32,
}

impl Launch {
    fn lower(&self, op: &dyn Op, shape: &Linear, variant: &str) -> Result<Lowering> {
        let Linear { batch, in_features, out_features } = *shape;
        let params = LinearParams {
            batch,
            in_features,
            out_features,
            relu: self.relu.into(),
            pool_height: self.pool[0],
            pool_width: self.pool[1],
        };
        let bindings: Vec<_> = op.operands().iter().enumerate().map(|(place, operand)| (operand.name, place)).collect();
        match variant {
            PLAIN => {
                let results = self.results as u64;
                Ok(Dispatch::new(&PLAIN_SHADER, self.entry_points[0], &params, &bindings, results).into())
            }
            SUBGROUP if op.variants().contains(&SUBGROUP) => {
                // Lanes without a place would compute for nothing.
                let workgroup = WORKGROUP.min(self.lanes.next_multiple_of(SUBGROUP_LANES));
                let tile = tile(self.shared, self.lanes.div_ceil(workgroup));
                let tiles = self.shared.div_ceil(tile);
                let invocations = u64::from(self.lanes.next_multiple_of(workgroup)) * u64::from(tiles);
                let constants = [
                    ("WORKGROUP_SIZE", workgroup),
                    ("TILE_ROWS", tile),
                    ("PARTS", (SUBGROUP_LANES / tile).max(1)),
                    ("HELD", tile.div_ceil(SUBGROUP_LANES)),
                ];
                let entry_point = self.entry_points[1];
                Ok(Dispatch::specialised(&SUBGROUP_SHADER, entry_point, &params, &bindings, invocations, &constants)
                    .into())
            }
            SUBGROUP_TILE if op.variants().contains(&SUBGROUP_TILE) => Ok(self.subgroup_tile(bindings)),
            _ => {
                let tile = SharedTile::of_op(op, variant)?;
                let (shader, entry_point) = (tile.shader(&SHARED_SHADERS), self.entry_points[3]);
                let Product { m, k, n } = self.product;
                let invocations = tile.invocations(Product { m, k, n: n + self.bias_columns });
                let constants = tile.constants();
                let dispatch = Dispatch::specialised(shader, entry_point, &params, &bindings, invocations, &constants);
                Ok(Lowering { factors: tile.factors(), ..dispatch.into() })
            }
        }
    }
}

impl Launch {
    /// A tile an invocation, in the largest workgroups of which there are enough. The first two operands are the product's.
    fn subgroup_tile(&self, mut bindings: Vec<(&'static str, usize)>) -> Lowering {
        let Product { m, k, n } = self.product;
        (bindings[0].0, bindings[1].0) = ("a", "b");
        let (tiles, places) = (m.div_ceil(TILE_M), n / TILE_N);
        let workgroups = |size: u32| tiles.saturating_mul(places.div_ceil(size));
        let sizes = [WORKGROUP, WORKGROUP / 2];
        let workgroup = sizes.into_iter().find(|&size| workgroups(size) >= BUSY_WORKGROUPS).unwrap_or(SUBGROUP_LANES);
        let [pool_height, pool_width] = self.pool;
        let params = LinearTileParams { m, k, n, relu: self.relu.into(), pool_height, pool_width };
        let [transpose_a, transpose_b] = self.transposed.map(u32::from);
        let constants = [("WORKGROUP_SIZE", workgroup), ("TRANSPOSE_A", transpose_a), ("TRANSPOSE_B", transpose_b)];
        let invocations = u64::from(workgroups(workgroup)) * u64::from(workgroup);
        let (shader, entry_point) = (&SUBGROUP_TILE_SHADER, self.entry_points[2]);
        Dispatch::specialised(shader, entry_point, &params, &bindings, invocations, &constants).into()
    }
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
