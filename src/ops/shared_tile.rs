//! Tiles of a matrix product that workgroups stage in their memory: for hardware, which has such memory and cheap barriers.

use super::split::{BUSY_WORKGROUPS, Slices};
use super::{Op, unknown_variant};
use crate::error::Result;
use crate::gpu::{Device, Workgroup};

/// What the names of matmul's variants with such tiles begin with; the side of the tile follows.
const SHARED: &str = "shared_";

/// The same for convolutions that are computed as matrix products.
const IMPLICIT_GEMM: &str = "implicit_gemm_";

/// Terms of a slab, as the shaders have it.
const TILE_K: u32 = 8;

/// Side of a block of results that an invocation has in registers.
const BLOCK: u32 = 4;

/// Rows, terms and columns of a product (m, k) × (k, n).
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub m: u32,
    pub k: u32,
    pub n: u32,
}

/// A square of the output that a workgroup computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedTile {
    side: u32,
    /// Blocks of an invocation along m and along n.
    blocks: [u32; 2],
}

/// The smallest first. More results an invocation need fewer loads for each, and leave room for fewer invocations.
const TILES: [SharedTile; 3] = [
    SharedTile { side: 32, blocks: [1, 1] },
    SharedTile { side: 64, blocks: [1, 2] },
    SharedTile { side: 128, blocks: [2, 2] },
];

impl SharedTile {
    /// The tile of one of an op's variants.
    ///
    /// # Errors
    /// A variant that the op does not list, or that has none.
    pub fn of_op(op: &dyn Op, variant: &str) -> Result<Self> {
        let listed = op.variants().contains(&variant);
        Self::of_variant(variant).filter(|_| listed).ok_or_else(|| unknown_variant(op, variant))
    }

    /// The tile that a variant has, which is named after it.
    pub fn of_variant(variant: &str) -> Option<Self> {
        let side: u32 = variant.strip_prefix(SHARED).or_else(|| variant.strip_prefix(IMPLICIT_GEMM))?.parse().ok()?;
        TILES.into_iter().find(|tile| tile.side == side)
    }

    /// How many tiles, the smallest first, suit a product: at least half of each side is computed for something, and a larger tile leaves
    /// enough of them to keep a device busy.
    pub fn suiting(product: Product) -> usize {
        let suits = |tile: &Self| {
            let is_filled = product.k >= TILE_K && product.m.min(product.n) >= tile.side / 2;
            let workgroups = || tile.tiles(product) * u64::from(tile.slices(product).slices);
            is_filled && (*tile == TILES[0] || workgroups() >= BUSY_WORKGROUPS.into())
        };
        TILES.iter().take_while(|tile| suits(tile)).count()
    }

    /// Where few tiles alone would leave most of a device idle, their sums are cut.
    pub fn slices(self, product: Product) -> Slices {
        Slices::spread(product.k, 1, self.tiles(product))
    }

    /// Invocations for one slice.
    pub fn invocations(self, product: Product) -> u64 {
        self.tiles(product) * u64::from(self.lanes())
    }

    /// The values of the shaders' overrides.
    pub fn constants(self) -> [(&'static str, u32); 4] {
        let [blocks_m, blocks_n] = self.blocks;
        [("WORKGROUP_SIZE", self.lanes()), ("TILE", self.side), ("BLOCKS_M", blocks_m), ("BLOCKS_N", blocks_n)]
    }

    /// Whether a device allows workgroups of so many invocations and so much memory.
    pub fn fits(self, device: &Device) -> bool {
        let (largest, own) = (device.largest_workgroup(), self.workgroup());
        own.invocations <= largest.invocations && own.bytes <= largest.bytes
    }

    fn tiles(self, product: Product) -> u64 {
        u64::from(product.m.div_ceil(self.side)) * u64::from(product.n.div_ceil(self.side))
    }

    /// With two slabs in its memory, whose rows are a block longer than the tile.
    pub fn workgroup(self) -> Workgroup {
        let bytes = 2 * TILE_K * (self.side + BLOCK) * 4;
        Workgroup { invocations: self.lanes().into(), bytes: bytes.into() }
    }

    fn lanes(self) -> u32 {
        (self.side / BLOCK).pow(2) / (self.blocks[0] * self.blocks[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_named_after_its_tile() {
        assert_eq!(SharedTile::of_variant("shared_64"), Some(TILES[1]));
        assert_eq!(SharedTile::of_variant("implicit_gemm_128"), Some(TILES[2]));
        for other in ["plain", "subgroup", "shared_", "shared_16", "implicit_gemm", "64"] {
            assert_eq!(SharedTile::of_variant(other), None, "{other}");
        }
    }

    #[test]
    fn each_invocation_loads_one_quad_of_either_slab() {
        for tile in TILES {
            assert_eq!(tile.lanes(), tile.side / BLOCK * TILE_K);
            // WebGPU's defaults, which every browser has.
            let Workgroup { invocations, bytes } = tile.workgroup();
            assert!(invocations <= 256 && bytes <= 16 << 10, "{invocations} invocations, {bytes} bytes");
        }
    }

    #[test]
    fn tiles_are_filled_and_many() {
        let suiting = |m, k, n| SharedTile::suiting(Product { m, k, n });
        assert_eq!(suiting(15, 64, 4096), 0);
        assert_eq!(suiting(16, 7, 4096), 0);
        assert_eq!(suiting(16, 8, 16), 1);
        assert_eq!(suiting(256, 256, 256), 1);
        assert_eq!(suiting(512, 512, 512), 2);
        assert_eq!(suiting(1024, 1024, 1024), 3);
        // Few tiles, but a sum that is long enough to be cut.
        assert_eq!(suiting(64, 16_384, 64), 3);
    }
}
