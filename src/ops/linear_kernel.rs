//! The kernels that a fully connected layer and its gradients are computed with: in which tiles, on how many lanes.

use super::shared_tile::{Product, Shaders, SharedTile, tile_shaders, with_tiles};
use super::split::BUSY_WORKGROUPS;
use super::{Lowering, Op, PLAIN, SUBGROUP, SUBGROUP_LANES, bindings_of, shader};
use crate::error::Result;
use crate::geometry::Linear;
use crate::gpu::{Dispatch, Shader, params};

static PLAIN_SHADER: Shader = shader!("linear", "linear_params", "window_grads");
static SUBGROUP_SHADER: Shader = shader!("linear_subgroup", "linear_params", "window_grads", "window_pairs");
static SUBGROUP_TILE_SHADER: Shader = shader!("linear_subgroup_tile", "subgroup_tile", "window_grads", "window_pairs");
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

/// The kernels that can compute a shape, the fastest last.
pub(super) fn variants(shape: &Linear, product: Product) -> &'static [&'static str] {
    let tiles = SharedTile::suiting_whole(product);
    // Of a smaller batch most of a tile, or of a slab, would be computed for nothing.
    let fills = shape.batch > TILE_M / 2 && [product.m, product.k, product.n].iter().all(|size| size.is_multiple_of(4));
    match shape.in_features.is_multiple_of(4) {
        true if fills => VARIANTS_OF_TILES[tiles],
        true => VARIANTS[tiles],
        false => WITHOUT_SUBGROUPS[tiles],
    }
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
pub(super) struct Launch {
    /// Of the plain variant, those with subgroups and those with workgroup memory.
    pub entry_points: [&'static str; 4],
    pub relu: bool,
    /// Height and width of a plane of the input, where its gradient is written through a pooling.
    pub pool: [u32; 2],
    pub results: usize,
    pub lanes: u32,
    /// Rows of the batch, or outputs.
    pub shared: u32,
    /// As a product of matrices, and whether each of them is stored transposed.
    pub product: Product,
    pub transposed: [bool; 2],
    /// Columns that the product has more where it sums up a bias as well, in workgroup memory.
    pub bias_columns: u32,
}

impl Launch {
    pub fn lower(&self, op: &dyn Op, shape: &Linear, variant: &str) -> Result<Lowering> {
        let Linear { batch, in_features, out_features } = *shape;
        let params = LinearParams {
            batch,
            in_features,
            out_features,
            relu: self.relu.into(),
            pool_height: self.pool[0],
            pool_width: self.pool[1],
        };
        let bindings = bindings_of(&op.operands());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shaders_have_the_same_limits() {
        assert_eq!(
            [&SUBGROUP_SHADER, &SUBGROUP_TILE_SHADER].map(|shader| shader.constant("LANES")),
            [SUBGROUP_LANES; 2]
        );
        assert_eq!(SUBGROUP_SHADER.constant("MAX_HELD"), MAX_HELD);
        assert_eq!(["TILE_M", "TILE_N"].map(|name| SUBGROUP_TILE_SHADER.constant(name)), [TILE_M, TILE_N]);
    }
}
