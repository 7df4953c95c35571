enable wgpu_cooperative_matrix;

// Part of tile_cooperative.wgsl: matrices of 8 × 8.

const SIDE: u32 = 8u;

// Matrices of a tile that one subgroup has at most: half of 64, because a workgroup of 128 has at least two subgroups.
const MOST: u32 = 32u;

alias Rows = coop_mat8x8<Factor, A>;
alias Columns = coop_mat8x8<Factor, B>;
alias Sum = coop_mat8x8<f32, C>;
