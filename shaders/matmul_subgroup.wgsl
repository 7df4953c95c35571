// output[m, n] = Σ_k a(m, k) · b(k, n) as in matmul.wgsl, for sizes whose rows as they are stored are multiples of 4, on subgroups of at
// least 8 lanes: in the tiles of subgroup_tile.wgsl. Slices as in matmul.wgsl, in multiples of four terms.

// MatmulParams is in matmul_params.wgsl.
@group(0) @binding(0) var<uniform> params: MatmulParams;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn matmul_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles_m = (params.m + TILE_M - 1u) / TILE_M;
  let places = params.n / TILE_N;
  let groups = (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let i = workgroup_index(workgroup, grid);
  if (i >= params.slices * tiles_m * groups) {
    return;
  }
  let place = i % groups * WORKGROUP_SIZE + local;
  let m = i / groups % tiles_m * TILE_M;
  let slice = i / (groups * tiles_m);
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.k);
  var upper: Block;
  var lower: Block;
  add_tile(&upper, &lower, vec3(params.m, params.k, params.n), m, place, first, last, lane);
  if (place >= places) {
    return;
  }
  for (var row = 0u; row < BLOCK; row++) {
    let rows = m + vec2(row_of(row), row_of(row + BLOCK));
    if (rows.x < params.m) {
      output[(slice * params.m + rows.x) * places + place] = upper[row];
    }
    if (rows.y < params.m) {
      output[(slice * params.m + rows.y) * places + place] = lower[row];
    }
  }
}
