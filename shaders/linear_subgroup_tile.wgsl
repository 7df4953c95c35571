// A fully connected layer as in linear.wgsl, for batches of many rows and widths that are multiples of 4, on subgroups of at least 8 lanes: as products
// of matrices in the tiles of subgroup_tile.wgsl.
//   linear_forward:     output (N, O) = a: input (N, I) × b: weight, stored (O, I)
//   linear_grad_input:  grad_input (N, I) = a: grad_output (N, O) × b: weight (O, I)
//   linear_grad_weight: grad_weight (O, I) = a: grad_output, stored (N, O) × b: input (N, I); the first workgroup of each tile of outputs adds up
//                       the biases' gradients, four outputs an invocation

struct LinearTileParams {
  // Of the product.
  m: u32,
  k: u32,
  n: u32,
  // Whether max(output, 0) comes after it.
  relu: u32,
  // Rows and columns of a plane of the input, where the input is what a 2 × 2 pooling has made of planes.
  pool_height: u32,
  pool_width: u32,
}

// store_window is in window_pairs.wgsl.
@group(0) @binding(0) var<uniform> params: LinearTileParams;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> grad_input: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> activation: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> winner: array<u32>;
@group(0) @binding(8) var<storage, read_write> grad_planes: array<vec2<f32>>;
@group(0) @binding(9) var<storage, read_write> grad_weight: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read_write> grad_bias: array<vec4<f32>>;

// Workgroups for one tile of rows.
fn groups() -> u32 {
  return (params.n / TILE_N + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
}

// The first row of a workgroup's tiles; past the last where the grid is larger than it has to be.
fn first_row(i: u32) -> u32 {
  return i / groups() * TILE_M;
}

// An invocation's columns, four to a place.
fn place_of(i: u32, local: u32) -> u32 {
  return i % groups() * WORKGROUP_SIZE + local;
}

fn sizes() -> vec3<u32> {
  return vec3(params.m, params.k, params.n);
}

// Where a row has the four columns of a place in a result, in fours.
fn at(row: u32, place: u32) -> u32 {
  return row * (params.n / TILE_N) + place;
}

// Whether they are to be written.
fn is_inside(row: u32, place: u32) -> bool {
  return row < params.m && place < params.n / TILE_N;
}

fn rectified(sums: vec4<f32>) -> vec4<f32> {
  return select(sums, vec4(0.0), vec4(params.relu != 0u) & (sums <= vec4(0.0)));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_forward_subgroup_tile(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let m = first_row(i);
  if (m >= params.m) {
    return;
  }
  let place = place_of(i, local);
  var upper: Block;
  var lower: Block;
  add_tile(&upper, &lower, sizes(), m, place, 0u, params.k, lane);
  let start = bias[min(place, params.n / TILE_N - 1u)];
  for (var row = 0u; row < BLOCK; row++) {
    let rows = m + vec2(row_of(row), row_of(row + BLOCK));
    if (is_inside(rows.x, place)) {
      output[at(rows.x, place)] = rectified(start + upper[row]);
    }
    if (is_inside(rows.y, place)) {
      output[at(rows.y, place)] = rectified(start + lower[row]);
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_subgroup_tile(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let m = first_row(i);
  if (m >= params.m) {
    return;
  }
  let place = place_of(i, local);
  var upper: Block;
  var lower: Block;
  add_tile(&upper, &lower, sizes(), m, place, 0u, params.k, lane);
  for (var row = 0u; row < BLOCK; row++) {
    let rows = m + vec2(row_of(row), row_of(row + BLOCK));
    if (is_inside(rows.x, place)) {
      grad_input[at(rows.x, place)] = upper[row];
    }
    if (is_inside(rows.y, place)) {
      grad_input[at(rows.y, place)] = lower[row];
    }
  }
}

// Where more is done with a result than to store it, they are where a loop can index them, so that this is compiled once: floats, because an array of
// vectors takes llvmpipe four times as long.
fn results_of(upper: Block, lower: Block) -> array<f32, 4u * TILE_M> {
  var results: array<f32, 4u * TILE_M>;
  for (var row = 0u; row < BLOCK; row++) {
    results[4u * row] = upper[row].x;
    results[4u * row + 1u] = upper[row].y;
    results[4u * row + 2u] = upper[row].z;
    results[4u * row + 3u] = upper[row].w;
    results[4u * (row + BLOCK)] = lower[row].x;
    results[4u * (row + BLOCK) + 1u] = lower[row].y;
    results[4u * (row + BLOCK) + 2u] = lower[row].z;
    results[4u * (row + BLOCK) + 3u] = lower[row].w;
  }
  return results;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_relu_subgroup_tile(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let m = first_row(i);
  if (m >= params.m) {
    return;
  }
  let place = place_of(i, local);
  var upper: Block;
  var lower: Block;
  add_tile(&upper, &lower, sizes(), m, place, 0u, params.k, lane);
  var results = results_of(upper, lower);
  for (var row = 0u; row < min(TILE_M, params.m - m); row++) {
    if (place < params.n / TILE_N) {
      let four = at(m + row, place);
      let own = vec4(results[4u * row], results[4u * row + 1u], results[4u * row + 2u], results[4u * row + 3u]);
      grad_input[four] = select(vec4(0.0), own, activation[four] > vec4(0.0));
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_max_pool2d_subgroup_tile(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let m = first_row(i);
  if (m >= params.m) {
    return;
  }
  let place = place_of(i, local);
  var upper: Block;
  var lower: Block;
  add_tile(&upper, &lower, sizes(), m, place, 0u, params.k, lane);
  var results = results_of(upper, lower);
  for (var result = 0u; result < 4u * min(TILE_M, params.m - m); result++) {
    if (place < params.n / TILE_N) {
      let window = 4u * at(m + result / 4u, place) + result % 4u;
      store_window(results[result], window, vec2(params.pool_height, params.pool_width));
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_weight_subgroup_tile(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let m = first_row(i);
  if (m >= params.m) {
    return;
  }
  let place = place_of(i, local);
  var upper: Block;
  var lower: Block;
  add_tile(&upper, &lower, sizes(), m, place, 0u, params.k, lane);
  for (var row = 0u; row < BLOCK; row++) {
    let rows = m + vec2(row_of(row), row_of(row + BLOCK));
    if (is_inside(rows.x, place)) {
      grad_weight[at(rows.x, place)] = upper[row];
    }
    if (is_inside(rows.y, place)) {
      grad_weight[at(rows.y, place)] = lower[row];
    }
  }
  if (i % groups() == 0u) {
    let fours = params.m / 4u;
    let own = m / 4u + local;
    if (local < TILE_M / 4u && own < fours) {
      var sum = vec4(0.0);
      for (var n = 0u; n < params.k; n++) {
        sum += a[n * fours + own];
      }
      grad_bias[own] = sum;
    }
  }
}
