// conv2d_pool.wgsl on subgroups of at least 8 lanes, shared as in conv2d_subgroup.wgsl, which it follows to the bit.
//
// One invocation computes TILE_CHANNELS channels × two rows × TILE_COLUMNS columns of the convolution, and from them its maxima. A row of the input
// is loaded once for both: it meets the kernel's row kh in the lower one, then kh + 1 in the upper one.

enable subgroups;

struct ConvPoolParams {
  batch: u32,
  in_channels: u32,
  in_height: u32,
  in_width: u32,
  out_channels: u32,
  // Of the convolution.
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  padding_height: u32,
  padding_width: u32,
}

@group(0) @binding(0) var<uniform> params: ConvPoolParams;
@group(0) @binding(1) var<storage, read> input: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read_write> argmax: array<u32>;

const NOWHERE: u32 = 0xffffffffu;

// By bits, because a driver may assume that there is no NaN.
fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// Stores the maximum of a window (upper row, lower row) whose first element is element `at` of its plane, after the ReLU.
fn store_maximum(i: u32, at: u32, window: vec4<f32>) {
  var best = window.x;
  var best_at = at;
  if (window.y > best || is_nan(window.y)) {
    best = window.y;
    best_at = at + 1u;
  }
  if (window.z > best || is_nan(window.z)) {
    best = window.z;
    best_at = at + params.out_width;
  }
  if (window.w > best || is_nan(window.w)) {
    best = window.w;
    best_at = at + params.out_width + 1u;
  }
  let stopped = best <= 0.0;
  output[i] = select(best, 0.0, stopped);
  argmax[i] = select(best_at, NOWHERE, stopped);
}

// The host chooses the tile: an even number of columns. Loops over overrides have a length that compilers know: they are unrolled, and the
// arrays become registers.
override TILE_CHANNELS: u32 = 8u;
override TILE_COLUMNS: u32 = 4u;
override KERNEL_WIDTH: u32 = 1u;
// Pairs of a row that are loaded, and whether that is from one column before the kernel's first.
override PAIRS: u32 = 1u;
override OFFSET: u32 = 0u;
const MAX_CHANNELS: u32 = 8u;
const MAX_COLUMNS: u32 = 10u;
const MAX_KERNEL_WIDTH: u32 = 8u;
const MAX_ROW: u32 = MAX_COLUMNS + MAX_KERNEL_WIDTH + 2u;

// What a row of the input has for all columns of the tile and of the kernel: 0 outside the image. Left of it x has wrapped to a huge value.
fn load_row(plane: u32, y: u32, x: u32) -> array<f32, MAX_ROW> {
  let inside = y < params.in_height;
  let row = (plane * params.in_height + min(y, params.in_height - 1u)) * (params.in_width / 2u);
  var values: array<f32, MAX_ROW>;
  for (var pair = 0u; pair < PAIRS; pair++) {
    let column = x + 2u * pair;
    let loaded = input[row + min(column, params.in_width - 2u) / 2u];
    let kept = select(vec2(0.0), loaded, inside && column < params.in_width);
    values[2u * pair] = kept.x;
    values[2u * pair + 1u] = kept.y;
  }
  return values;
}

fn load_weights(row: u32) -> array<f32, MAX_KERNEL_WIDTH> {
  var weights: array<f32, MAX_KERNEL_WIDTH>;
  for (var kw = 0u; kw < KERNEL_WIDTH; kw++) {
    weights[kw] = weight[row * params.kernel_width + kw];
  }
  return weights;
}

// Adds column kw of a row of the kernel, where there is one, times two rows of the input.
fn add_column(
  upper: ptr<function, array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>>,
  lower: ptr<function, array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>>,
  own: array<f32, MAX_KERNEL_WIDTH>,
  upper_row: array<f32, MAX_ROW>,
  lower_row: array<f32, MAX_ROW>,
  kw: u32,
) {
  if (kw >= KERNEL_WIDTH) {
    return;
  }
  var weights = own;
  var above = upper_row;
  var below = lower_row;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    let shared_weight = subgroupShuffle(weights[kw], t);
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      (*upper)[t][j] += shared_weight * above[OFFSET + kw + j];
      (*lower)[t][j] += shared_weight * below[OFFSET + kw + j];
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_relu_max_pool2d_forward_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let height = params.out_height / 2u;
  let width = params.out_width / 2u;
  let tiles_w = (2u * width + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_o = (params.out_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  let places = params.batch * height * tiles_w;
  let groups = (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let i = workgroup_index(workgroup, grid);
  if (i >= tiles_o * groups) {
    return;
  }
  let place = i % groups * WORKGROUP_SIZE + local;
  let o = i / groups * TILE_CHANNELS;
  let valid = min(place, places - 1u);
  let ow = valid % tiles_w * TILE_COLUMNS;
  let oh = 2u * (valid / tiles_w % height);
  let n = valid / (tiles_w * height);

  let channel = min(o + lane % MAX_CHANNELS, params.out_channels - 1u);
  let x = ow - params.padding_width - OFFSET;
  let y = oh - params.padding_height;
  let start = bias[channel];
  var upper: array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>;
  var lower: array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    let own = subgroupShuffle(start, t);
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      upper[t][j] = own;
      lower[t][j] = own;
    }
  }
  for (var c = 0u; c < params.in_channels; c++) {
    let plane = n * params.in_channels + c;
    let weight_row = (channel * params.in_channels + c) * params.kernel_height;
    var above = load_row(plane, y, x);
    for (var kh = 0u; kh < params.kernel_height; kh++) {
      let weights = load_weights(weight_row + kh);
      let below = load_row(plane, y + kh + 1u, x);
      // One after the other: a loop over them would be too long for some compilers to unroll.
      add_column(&upper, &lower, weights, above, below, 0u);
      add_column(&upper, &lower, weights, above, below, 1u);
      add_column(&upper, &lower, weights, above, below, 2u);
      add_column(&upper, &lower, weights, above, below, 3u);
      add_column(&upper, &lower, weights, above, below, 4u);
      add_column(&upper, &lower, weights, above, below, 5u);
      add_column(&upper, &lower, weights, above, below, 6u);
      add_column(&upper, &lower, weights, above, below, 7u);
      above = below;
    }
  }
  if (place >= places) {
    return;
  }

  // The windows where a loop can index them, so that what stores a maximum is compiled once.
  var windows: array<vec4<f32>, MAX_CHANNELS * MAX_COLUMNS / 2u>;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    for (var pair = 0u; pair < TILE_COLUMNS / 2u; pair++) {
      let j = 2u * pair;
      windows[t * (TILE_COLUMNS / 2u) + pair] = vec4(upper[t][j], upper[t][j + 1u], lower[t][j], lower[t][j + 1u]);
    }
  }
  for (var result = 0u; result < TILE_CHANNELS * (TILE_COLUMNS / 2u); result++) {
    let t = result / (TILE_COLUMNS / 2u);
    let column = ow + 2u * (result % (TILE_COLUMNS / 2u));
    if (o + t < params.out_channels && column < 2u * width) {
      let at = ((n * params.out_channels + o + t) * height + oh / 2u) * width + column / 2u;
      store_maximum(at, oh * params.out_width + column, windows[result]);
    }
  }
}
