//! Tiles of a matrix product that workgroups stage in their memory: for hardware, which has such memory and cheap barriers.

use super::split::{BUSY_WORKGROUPS, Slices};
use super::{Op, unknown_variant};
use crate::error::Result;
use crate::gpu::{CooperativeMatrix, Device, Feature, Precision, Shader, Workgroup};

/// What the names of matmul's variants with such tiles begin with; the tile's own follows.
const SHARED: &str = "shared_";

/// The same for convolutions that are computed as matrix products.
const IMPLICIT_GEMM: &str = "implicit_gemm_";

/// The variants of an op for each number of [`SharedTile::suiting`] tiles: its own, then those with tiles under their first name. Those that round the
/// factors come last, so that where they may be chosen they are.
macro_rules! with_tiles {
    ($first:literal, [$($own:expr),*]) => {
        [
            &[$($own),*],
            &[$($own,)* concat!($first, "32"), concat!($first, "32_f16")],
            &[
                $($own,)*
                concat!($first, "32"),
                concat!($first, "64"),
                concat!($first, "cooperative_8x8"),
                concat!($first, "32_f16"),
                concat!($first, "64_f16"),
                concat!($first, "cooperative_8x8_f16"),
                concat!($first, "cooperative_16x16_f16"),
            ],
            &[
                $($own,)*
                concat!($first, "32"),
                concat!($first, "64"),
                concat!($first, "cooperative_8x8"),
                concat!($first, "128"),
                concat!($first, "32_f16"),
                concat!($first, "64_f16"),
                concat!($first, "128_f16"),
                concat!($first, "cooperative_8x8_f16"),
                concat!($first, "cooperative_16x16_f16"),
            ],
        ]
    };
}
pub(super) use with_tiles;

/// The shaders of one file for every [`Core`]: of registers and of cooperative matrices.
macro_rules! tile_shaders {
    ($name:literal $(, $part:literal)*) => {
        $crate::ops::shared_tile::Shaders {
            registers: shader!($name $(, $part)*, "tile", "tile_registers", "factors_f32"),
            registers_f16: shader!($name $(, $part)*, "tile", "tile_registers", "factors_f16"),
            cooperative_8x8: shader!($name $(, $part)*, "tile", "tile_cooperative", "cooperative_8x8", "factors_f32"),
            cooperative_8x8_f16: shader!(
                $name $(, $part)*, "tile", "tile_cooperative", "cooperative_8x8", "factors_f16"
            ),
            cooperative_16x16_f16: shader!(
                $name $(, $part)*, "tile", "tile_cooperative", "cooperative_16x16", "factors_f16"
            ),
        }
    };
}
pub(super) use tile_shaders;

/// See [`tile_shaders`].
pub struct Shaders {
    pub registers: Shader,
    pub registers_f16: Shader,
    pub cooperative_8x8: Shader,
    pub cooperative_8x8_f16: Shader,
    pub cooperative_16x16_f16: Shader,
}

/// Terms of a slab that is multiplied in registers, as the shader has it.
const TILE_K: u32 = 8;

/// Side of a block of results that an invocation has in registers, and length of a quad.
const BLOCK: u32 = 4;

/// Elements that rows of a slab for cooperative matrices are longer than they need to be, as the shader has it.
const PADDING: u32 = 8;

/// Lanes of the largest subgroup that the shaders with cooperative matrices leave room for.
const MOST_LANES: u32 = 64;

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
    core: Core,
    factors: Precision,
}

/// How slabs are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    /// By each invocation, which has so many blocks of results along m and along n.
    Registers([u32; 2]),
    /// By subgroups, whose matrices have sides of so many.
    Cooperative(u32),
}

/// In registers, the smallest first. More results an invocation need fewer loads for each, and leave room for fewer invocations.
const SIDES: [(u32, [u32; 2]); 3] = [(32, [1, 1]), (64, [1, 2]), (128, [2, 2])];

/// Side of a tile of cooperative matrices.
const COOPERATIVE_SIDE: u32 = 64;

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
        let name = variant.strip_prefix(SHARED).or_else(|| variant.strip_prefix(IMPLICIT_GEMM))?;
        let (name, factors) = name.strip_suffix("_f16").map_or((name, Precision::F32), |name| (name, Precision::F16));
        let (side, core) = match name {
            "cooperative_8x8" => (COOPERATIVE_SIDE, Core::Cooperative(8)),
            "cooperative_16x16" => (COOPERATIVE_SIDE, Core::Cooperative(16)),
            _ => {
                let wanted: u32 = name.parse().ok()?;
                let &(side, blocks) = SIDES.iter().find(|(side, _)| *side == wanted)?;
                (side, Core::Registers(blocks))
            }
        };
        Some(Self { side, core, factors })
    }

    /// How many tiles, the smallest first, suit a product: at least half of each side is computed for something, and a larger tile leaves
    /// enough of them to keep a device busy, or sums that can be cut.
    pub fn suiting(product: Product) -> usize {
        Self::suiting_with(product, |tile| tile.slices(product).slices)
    }

    /// The same where sums are not cut.
    pub fn suiting_whole(product: Product) -> usize {
        Self::suiting_with(product, |_| 1)
    }

    fn suiting_with(product: Product, slices: impl Fn(Self) -> u32) -> usize {
        let suits = |&&(side, blocks): &&(u32, [u32; 2])| {
            let tile = Self { side, core: Core::Registers(blocks), factors: Precision::F32 };
            let is_filled = product.k >= TILE_K && product.m.min(product.n) >= side / 2;
            let workgroups = || tile.tiles(product) * u64::from(slices(tile));
            is_filled && (side == SIDES[0].0 || workgroups() >= BUSY_WORKGROUPS.into())
        };
        SIDES.iter().take_while(suits).count()
    }

    /// Where few tiles alone would leave most of a device idle, their sums are cut.
    pub fn slices(self, product: Product) -> Slices {
        Slices::spread(product.k, 1, self.tiles(product))
    }

    /// Invocations for one slice.
    pub fn invocations(self, product: Product) -> u64 {
        self.tiles(product) * u64::from(self.lanes())
    }

    /// The one that computes it.
    pub fn shader(self, shaders: &'static Shaders) -> &'static Shader {
        match (self.core, self.factors) {
            (Core::Registers(_), Precision::F32) => &shaders.registers,
            (Core::Registers(_), Precision::F16) => &shaders.registers_f16,
            (Core::Cooperative(8), Precision::F32) => &shaders.cooperative_8x8,
            (Core::Cooperative(8), Precision::F16) => &shaders.cooperative_8x8_f16,
            (Core::Cooperative(_), _) => &shaders.cooperative_16x16_f16,
        }
    }

    /// Whether it needs what a device is asked for as experimental alone.
    pub fn is_experimental(self) -> bool {
        matches!(self.core, Core::Cooperative(_))
    }

    /// What it rounds the factors of products to.
    pub fn factors(self) -> Precision {
        self.factors
    }

    /// The values of the shaders' overrides.
    pub fn constants(self) -> Vec<(&'static str, u32)> {
        let mut constants = vec![("WORKGROUP_SIZE", self.lanes()), ("TILE", self.side)];
        if let Core::Registers([blocks_m, blocks_n]) = self.core {
            constants.extend([("BLOCKS_M", blocks_m), ("BLOCKS_N", blocks_n)]);
        }
        constants
    }

    /// Whether a device has what it needs: so large a workgroup, so much memory of one, and such matrices.
    pub fn runs_on(self, device: &Device) -> bool {
        let (largest, own) = (device.largest_workgroup(), self.workgroup());
        let fits = own.invocations <= largest.invocations && own.bytes <= largest.bytes;
        let [least, most] = device.subgroup_lanes();
        fits && match self.core {
            Core::Registers(_) => self.factors == Precision::F32 || device.has(Feature::F16),
            Core::Cooperative(side) => {
                let matrix = CooperativeMatrix { side, factors: self.factors };
                least > 0 && most <= MOST_LANES && device.cooperative_matrices().contains(&matrix)
            }
        }
    }

    fn tiles(self, product: Product) -> u64 {
        u64::from(product.m.div_ceil(self.side)) * u64::from(product.n.div_ceil(self.side))
    }

    /// With two slabs in its memory, and of cooperative matrices the results.
    pub fn workgroup(self) -> Workgroup {
        let bytes_of_factor = if self.factors == Precision::F16 { 2 } else { 4 };
        let bytes = match self.core {
            Core::Registers(_) => 2 * TILE_K * (self.side + BLOCK) * bytes_of_factor,
            Core::Cooperative(side) => {
                2 * side * (self.side + PADDING) * bytes_of_factor + self.side * self.side * 4 + size_of::<u32>() as u32
            }
        };
        Workgroup { invocations: self.lanes().into(), bytes: bytes.into() }
    }

    fn lanes(self) -> u32 {
        match self.core {
            Core::Registers([blocks_m, blocks_n]) => (self.side / BLOCK).pow(2) / (blocks_m * blocks_n),
            Core::Cooperative(side) => self.side / BLOCK * side,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_named_after_its_tile() {
        let tile = |side, core, factors| Some(SharedTile { side, core, factors });
        for (variant, expected) in [
            ("shared_64", tile(64, Core::Registers([1, 2]), Precision::F32)),
            ("implicit_gemm_128_f16", tile(128, Core::Registers([2, 2]), Precision::F16)),
            ("shared_cooperative_8x8", tile(64, Core::Cooperative(8), Precision::F32)),
            ("implicit_gemm_cooperative_16x16_f16", tile(64, Core::Cooperative(16), Precision::F16)),
        ] {
            assert_eq!(SharedTile::of_variant(variant), expected, "{variant}");
        }
        for other in ["plain", "subgroup", "shared_", "shared_16", "shared_f16", "implicit_gemm", "64"] {
            assert_eq!(SharedTile::of_variant(other), None, "{other}");
        }
    }

    #[test]
    fn each_invocation_loads_one_quad_of_either_slab() {
        static NAMES: [&[&str]; 4] = with_tiles!("shared_", []);
        for tile in NAMES[3].iter().filter_map(|name| SharedTile::of_variant(name)) {
            let terms = if let Core::Cooperative(side) = tile.core { side } else { TILE_K };
            assert_eq!(tile.lanes(), tile.side / BLOCK * terms);
            // The invocations of WebGPU's defaults, which every browser has, and the memory of a small GPU.
            let Workgroup { invocations, bytes } = tile.workgroup();
            assert!(invocations <= 256 && bytes <= 32 << 10, "{invocations} invocations, {bytes} bytes");
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
