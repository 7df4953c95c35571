//! The breakages: small, named, each a mistake that somebody has made.

mod classifier_head;
mod conv2d;
mod conv2d_implicit_gemm;
mod conv2d_subgroup;
mod elementwise;
mod gather;
mod linear;
mod linear_shared;
mod loss;
mod matmul;
mod matmul_shared;
mod pooled;
mod pooling;
mod tile;
mod update;

/// One replacement in one shader.
pub struct Patch {
    pub name: &'static str,
    /// The op whose cases have to notice, and the variant of it that uses the shader.
    pub op: &'static str,
    pub variant: &'static str,
    pub shader: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    /// How often `from` stands in the file.
    pub times: usize,
}

const FAMILIES: [&[Patch]; 15] = [
    conv2d::PATCHES,
    conv2d_subgroup::PATCHES,
    conv2d_implicit_gemm::PATCHES,
    pooled::PATCHES,
    matmul::PATCHES,
    matmul_shared::PATCHES,
    tile::PATCHES,
    linear::PATCHES,
    linear_shared::PATCHES,
    pooling::PATCHES,
    elementwise::PATCHES,
    loss::PATCHES,
    classifier_head::PATCHES,
    update::PATCHES,
    gather::PATCHES,
];

/// All of them, family by family.
pub fn all() -> impl Iterator<Item = &'static Patch> {
    FAMILIES.into_iter().flatten()
}
