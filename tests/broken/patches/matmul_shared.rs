//! Breakages of products of matrices from tiles in workgroup memory.

use super::Patch;

pub const PATCHES: &[Patch] = &[
    Patch {
        name: "the last slab left out",
        op: "matmul",
        variant: "shared_32",
        shader: "matmul_shared",
        from: "k < part.last + TILE_K; k += TILE_K",
        to: "k < part.last; k += TILE_K",
        times: 1,
    },
    Patch {
        name: "terms past the end of the sum",
        op: "matmul",
        variant: "shared_32",
        shader: "matmul_shared",
        from: ", k < last);",
        to: ", true);",
        times: 2,
    },
    Patch {
        name: "one row past the last written",
        op: "matmul",
        variant: "shared_32",
        shader: "matmul_shared",
        from: "if (m >= params.m) {",
        to: "if (m > params.m) {",
        times: 1,
    },
    Patch {
        name: "the last column of a quad written past the edge",
        op: "matmul",
        variant: "shared_32",
        shader: "matmul_shared",
        from: "if (inside.w) {",
        to: "if (inside.z) {",
        times: 1,
    },
    Patch {
        name: "the storage of b taken for that of a",
        op: "matmul",
        variant: "shared_32",
        shader: "matmul_shared",
        from: "stage(own_a, next_a, own_b, next_b)",
        to: "stage(own_b, next_a, own_b, next_b)",
        times: 1,
    },
];
