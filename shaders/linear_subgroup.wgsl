// linear.wgsl for widths that are multiples of 4, on subgroups of at least 8 lanes.
//
// Lanes differ in what they own, outputs or fours of inputs, whose weights each loads for itself, four values at a time. What all of a
// workgroup need alike, a few rows of the batch, each lane of a subgroup loads one part of, and the others take it from that lane's
// register. No lane may leave early, because others take values from it: what lies past the edge is computed from valid elements and not
// written.
//   forward:     TILE_ROWS rows × one output
//   grad_input:  TILE_ROWS rows × four inputs
//   grad_weight: TILE_OUTPUTS outputs × four inputs; the first workgroup of each adds up the biases' gradients, an output an invocation

enable subgroups;

// LinearParams is in linear_params.wgsl. store_window is in window_pairs.wgsl.
@group(0) @binding(0) var<uniform> params: LinearParams;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> activation: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> grad_weight: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(10) var<storage, read> winner: array<u32>;
@group(0) @binding(11) var<storage, read_write> grad_planes: array<vec2<f32>>;

// Lanes that every subgroup has.
const LANES: u32 = 8u;

// Rows of the batch: a divisor of LANES, then the lanes hold PARTS consecutive parts of each, or HELD times LANES, then each lane holds a part of
// HELD rows. grad_weight has HELD times LANES outputs instead.
override TILE_ROWS: u32 = 8u;
override PARTS: u32 = 1u;
override HELD: u32 = 1u;
const MAX_HELD: u32 = 2u;
const MAX_TILE: u32 = MAX_HELD * LANES;

// Whatever is loaded of row `held` of a lane begins with the row that this returns.
fn held_row(n: u32, held: u32, lane: u32) -> u32 {
  return min(n + held * LANES + lane % min(TILE_ROWS, LANES), params.batch - 1u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_forward_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let groups = (params.out_features + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let rows = (params.batch + TILE_ROWS - 1u) / TILE_ROWS;
  let i = workgroup_index(workgroup, grid);
  if (i >= groups * rows) {
    return;
  }
  let o = i % groups * WORKGROUP_SIZE + local;
  let n = i / groups * TILE_ROWS;
  let fours = params.in_features / 4u;
  let weight_row = min(o, params.out_features - 1u) * fours;
  let own_part = lane / TILE_ROWS % PARTS;
  var sums: array<vec4<f32>, MAX_TILE>;
  for (var first = 0u; first < fours; first += PARTS) {
    let at = first + own_part;
    var own: array<vec4<f32>, MAX_HELD>;
    for (var held = 0u; held < HELD; held++) {
      let own_row = held_row(n, held, lane) * fours;
      own[held] = select(vec4(0.0), input[own_row + min(at, fours - 1u)], at < fours);
    }
    for (var part = 0u; part < PARTS; part++) {
      let weights = weight[weight_row + min(first + part, fours - 1u)];
      for (var row = 0u; row < TILE_ROWS; row++) {
        sums[row] += subgroupShuffle(own[row / LANES], part * TILE_ROWS + row % LANES) * weights;
      }
    }
  }
  if (o >= params.out_features) {
    return;
  }
  let start = bias[o];
  // Where a loop can index them, so that what stores one of them is compiled once.
  var results: array<f32, MAX_TILE>;
  for (var row = 0u; row < TILE_ROWS; row++) {
    results[row] = start + ((sums[row].x + sums[row].y) + (sums[row].z + sums[row].w));
  }
  for (var row = 0u; row < min(TILE_ROWS, params.batch - n); row++) {
    let sum = results[row];
    output[(n + row) * params.out_features + o] = select(sum, 0.0, params.relu != 0u && sum <= 0.0);
  }
}

// Workgroups of grad_input for one tile of rows.
fn groups_of_inputs() -> u32 {
  return (params.in_features / 4u + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
}

fn grads_of_input(n: u32, place: u32, lane: u32) -> array<vec4<f32>, MAX_TILE> {
  let fours = params.in_features / 4u;
  let four = min(place, fours - 1u);
  let own_part = lane / TILE_ROWS % PARTS;
  var sums: array<vec4<f32>, MAX_TILE>;
  for (var first = 0u; first < params.out_features; first += PARTS) {
    let at = first + own_part;
    var own: array<f32, MAX_HELD>;
    for (var held = 0u; held < HELD; held++) {
      let own_row = held_row(n, held, lane) * params.out_features;
      own[held] = select(0.0, grad_output[own_row + min(at, params.out_features - 1u)], at < params.out_features);
    }
    for (var part = 0u; part < PARTS; part++) {
      let weights = weight[min(first + part, params.out_features - 1u) * fours + four];
      for (var row = 0u; row < TILE_ROWS; row++) {
        sums[row] += subgroupShuffle(own[row / LANES], part * TILE_ROWS + row % LANES) * weights;
      }
    }
  }
  return sums;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let n = i / groups_of_inputs() * TILE_ROWS;
  if (n >= params.batch) {
    return;
  }
  let place = i % groups_of_inputs() * WORKGROUP_SIZE + local;
  var sums = grads_of_input(n, place, lane);
  let fours = params.in_features / 4u;
  for (var row = 0u; row < min(TILE_ROWS, params.batch - n); row++) {
    if (place < fours) {
      grad_input[(n + row) * fours + place] = sums[row];
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_relu_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let n = i / groups_of_inputs() * TILE_ROWS;
  if (n >= params.batch) {
    return;
  }
  let place = i % groups_of_inputs() * WORKGROUP_SIZE + local;
  var sums = grads_of_input(n, place, lane);
  let fours = params.in_features / 4u;
  for (var row = 0u; row < min(TILE_ROWS, params.batch - n); row++) {
    if (place < fours) {
      let at = (n + row) * fours + place;
      grad_input[at] = select(vec4(0.0), sums[row], activation[at] > vec4(0.0));
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_max_pool2d_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  let n = i / groups_of_inputs() * TILE_ROWS;
  if (n >= params.batch) {
    return;
  }
  let place = i % groups_of_inputs() * WORKGROUP_SIZE + local;
  let sums = grads_of_input(n, place, lane);
  // One by one where a loop can index them, so that what stores a window is compiled once.
  var results: array<f32, 4u * MAX_TILE>;
  for (var row = 0u; row < TILE_ROWS; row++) {
    results[4u * row] = sums[row].x;
    results[4u * row + 1u] = sums[row].y;
    results[4u * row + 2u] = sums[row].z;
    results[4u * row + 3u] = sums[row].w;
  }
  for (var result = 0u; result < 4u * min(TILE_ROWS, params.batch - n); result++) {
    let at = (n + result / 4u) * params.in_features + 4u * place + result % 4u;
    if (4u * place < params.in_features) {
      store_window(results[result], at, vec2(params.pool_height, params.pool_width));
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_weight_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let fours = params.in_features / 4u;
  let groups = (fours + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let tile_outputs = HELD * LANES;
  let tiles = (params.out_features + tile_outputs - 1u) / tile_outputs;
  let i = workgroup_index(workgroup, grid);
  if (i >= groups * tiles) {
    return;
  }
  let four = i % groups * WORKGROUP_SIZE + local;
  let valid = min(four, fours - 1u);
  let o = i / groups * tile_outputs;
  var sums: array<vec4<f32>, MAX_TILE>;
  for (var n = 0u; n < params.batch; n++) {
    let values = input[n * fours + valid];
    var own: array<f32, MAX_HELD>;
    for (var held = 0u; held < HELD; held++) {
      own[held] = grad_output[n * params.out_features + min(o + held * LANES + lane % LANES, params.out_features - 1u)];
    }
    for (var t = 0u; t < HELD * LANES; t++) {
      sums[t] += subgroupShuffle(own[t / LANES], t % LANES) * values;
    }
  }
  var results = sums;
  for (var t = 0u; t < min(tile_outputs, params.out_features - o); t++) {
    if (four < fours) {
      grad_weight[(o + t) * fours + four] = results[t];
    }
  }
  if (i % groups == 0u) {
    for (var t = local; t < min(tile_outputs, params.out_features - o); t += WORKGROUP_SIZE) {
      var sum = 0.0;
      for (var n = 0u; n < params.batch; n++) {
        sum += grad_output[n * params.out_features + o + t];
      }
      grad_bias[o + t] = sum;
    }
  }
}
