//! Matrix product with both transposes: a linear layer's forward, grad_input and grad_weight. Source: PyTorch torch.matmul.

use super::shared_tile::{Product, Shaders, SharedTile, tile_shaders, with_tiles};
use super::split::Slices;
use super::{Arguments, Lowering, Op, Operand, PLAIN, SUBGROUP, SUBGROUP_LANES, shader};
use crate::error::Result;
use crate::geometry::{Matmul as Shape, product};
use crate::gpu::{Dispatch, Precision, Shader, StepRow, params};
use crate::reference;

static PLAIN_SHADER: Shader = shader!("matmul", "matmul_params");
static TILED_SHADER: Shader = shader!("matmul_tiled", "matmul_params");
static SUBGROUP_SHADER: Shader = shader!("matmul_subgroup", "matmul_params", "subgroup_tile");
static SHARED_SHADERS: Shaders = tile_shaders!("matmul_shared", "matmul_params");

/// The kernels that can compute a shape, by how many sizes of tiles suit it.
static VARIANTS: [&[&str]; 4] = with_tiles!("shared_", [PLAIN, "tiled", SUBGROUP]);
static WITHOUT_SUBGROUPS: [&[&str]; 4] = with_tiles!("shared_", [PLAIN, "tiled"]);

/// Rows of a tile of the subgroup variant, as the shader has it.
const TILE_M: u32 = 32;

/// Invocations of a workgroup of the subgroup variant.
const WORKGROUP: u32 = 32;

params! {
    MatmulParams {
        m: u32,
        k: u32,
        n: u32,
        a_stride_m: u32,
        a_stride_k: u32,
        b_stride_k: u32,
        b_stride_n: u32,
        slices: u32,
        slice_length: u32,
    }
}

/// a (m, k) × b (k, n) → output (m, n); a is stored (k, m) and b (n, k) where the shape says transposed.
#[derive(Clone, Copy, Debug)]
pub struct Matmul(pub Shape);

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn shape(&self) -> String {
        let Shape { m, k, n, transpose_a, transpose_b } = self.0;
        let mark = |transposed| if transposed { "ᵀ" } else { "" };
        format!("{m}×{k}{} · {k}×{n}{}", mark(transpose_a), mark(transpose_b))
    }

    fn operands(&self) -> Vec<Operand> {
        let Shape { m, k, n, .. } = self.0;
        vec![
            Operand::read("a", product(&[m, k])),
            Operand::read("b", product(&[k, n])),
            Operand::write("output", product(&[m, n])),
        ]
    }

    fn flops(&self) -> u64 {
        2 * product(&[self.0.m, self.0.k, self.0.n]) as u64
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("M", self.0.m), ("N", self.0.n)]
    }

    fn variants(&self) -> &'static [&'static str] {
        let Shape { m, k, n, transpose_a, .. } = self.0;
        let tiles = SharedTile::suiting(Product { m, k, n });
        let fours = k.is_multiple_of(4) && n.is_multiple_of(4) && (!transpose_a || m.is_multiple_of(4));
        // Of a smaller matrix most of a tile would be computed for nothing.
        if fours && m > TILE_M / 2 { VARIANTS[tiles] } else { WITHOUT_SUBGROUPS[tiles] }
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let Shape { m, k, n, transpose_a, transpose_b } = self.0;
        let transposed = [("TRANSPOSE_A", transpose_a.into()), ("TRANSPOSE_B", transpose_b.into())];
        let mut constants = Vec::new();
        let mut slices = Slices::new(k, 1);
        let mut factors = Precision::F32;
        let (shader, entry_point, results) = match variant {
            PLAIN => (&PLAIN_SHADER, "matmul", u64::from(m) * u64::from(n)),
            "tiled" => {
                let tiles_m = m.div_ceil(TILED_SHADER.constant("TILE_M"));
                let tiles_n = n.div_ceil(TILED_SHADER.constant("TILE_N"));
                (&TILED_SHADER, "matmul_tiled", u64::from(tiles_m) * u64::from(tiles_n))
            }
            SUBGROUP if self.variants().contains(&SUBGROUP) => {
                let workgroup = WORKGROUP.min((n / 4).next_multiple_of(SUBGROUP_LANES));
                constants = [&[("WORKGROUP_SIZE", workgroup)], &transposed[..]].concat();
                let tiles_m = m.div_ceil(TILE_M);
                let places = (n / 4).next_multiple_of(workgroup);
                (&SUBGROUP_SHADER, "matmul_subgroup", u64::from(tiles_m) * u64::from(places))
            }
            _ => {
                let (tile, product) = (SharedTile::of_op(self, variant)?, Product { m, k, n });
                constants = [&tile.constants(), &transposed[..]].concat();
                (slices, factors) = (tile.slices(product), tile.factors());
                (tile.shader(&SHARED_SHADERS), "matmul_shared", tile.invocations(product))
            }
        };
        let (a_stride_m, a_stride_k) = if transpose_a { (1, m) } else { (k, 1) };
        let (b_stride_k, b_stride_n) = if transpose_b { (1, k) } else { (n, 1) };
        let Slices { slices: count, slice_length } = slices;
        let params =
            MatmulParams { m, k, n, a_stride_m, a_stride_k, b_stride_k, b_stride_n, slices: count, slice_length };
        let lowering = slices.lower([(product(&[m, n]), 2)], 3, |[output]| {
            let bindings = [("a", 0), ("b", 1), ("output", output)];
            Dispatch::specialised(shader, entry_point, &params, &bindings, u64::from(count) * results, &constants)
        });
        Ok(Lowering { factors, ..lowering })
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [a, b, output] = arguments.take();
        reference::matmul::forward(&self.0, a.f64(), b.f64(), output.f64_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shader_has_the_same_tile() {
        assert_eq!(SUBGROUP_SHADER.constant("TILE_M"), TILE_M);
    }

    #[test]
    fn a_shared_tile_takes_the_workgroup_that_it_says() {
        let matmul = Matmul(Shape { m: 1024, k: 1024, n: 1024, transpose_a: false, transpose_b: false });
        for variant in matmul.variants().iter().filter(|variant| SharedTile::of_variant(variant).is_some()) {
            let dispatch = matmul.lower(variant).unwrap().dispatches.swap_remove(0);
            let workgroup = dispatch.shader.reflection().workgroup(dispatch.entry_point, &dispatch.constants).unwrap();
            assert_eq!(workgroup, SharedTile::of_variant(variant).unwrap().workgroup());
        }
    }
}
