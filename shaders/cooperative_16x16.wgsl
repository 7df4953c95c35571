enable wgpu_cooperative_matrix;

// Part of tile_cooperative.wgsl: matrices of 16 × 16.

const SIDE: u32 = 16u;

// Matrices of a tile that one subgroup has at most: a quarter of 16, because a workgroup of 256 has at least four subgroups.
const MOST: u32 = 4u;

alias Rows = coop_mat16x16<Factor, A>;
alias Columns = coop_mat16x16<Factor, B>;
alias Sum = coop_mat16x16<f32, C>;
