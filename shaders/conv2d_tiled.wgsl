// Two-dimensional convolution with register tiles; formulas, layouts and slices as in conv2d.wgsl.
//
// One invocation computes TILE_CHANNELS channels × TILE_COLUMNS columns, so that each loaded value is used four times, without shared
// memory or barriers, which software adapters and small GPUs pay dearly for. Channels and columns past the edge read a valid
// element, multiply it by zero or leave it unwritten.
//   forward:     4 output channels × 4 adjacent output columns
//   grad_input:  4 input channels × 4 adjacent input columns
//   grad_weight: 4 output channels × 4 consecutive (c, kh, kw)

// Conv2dParams is in conv2d_params.wgsl.
@group(0) @binding(0) var<uniform> params: Conv2dParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_weight: array<f32>;

// A row of the tile is one vec4.
const TILE_CHANNELS: u32 = 4u;
const TILE_COLUMNS: u32 = 4u;

// Four consecutive indices, those past the end replaced by the last valid one.
fn four(first: u32, length: u32) -> vec4<u32> {
  return min(vec4(first, first + 1u, first + 2u, first + 3u), vec4(length - 1u));
}

// input[row + x], 0 where x is outside the row (left of it x has wrapped to a huge value).
fn load_input(row: u32, x: vec4<u32>) -> vec4<f32> {
  let inside = x < vec4(params.in_width);
  let at = row + min(x, vec4(params.in_width - 1u));
  return select(vec4(0.0), vec4(input[at.x], input[at.y], input[at.z], input[at.w]), inside);
}

fn store_output(base: u32, columns: u32, values: vec4<f32>) {
  output[base] = values.x;
  if (columns > 1u) {
    output[base + 1u] = values.y;
  }
  if (columns > 2u) {
    output[base + 2u] = values.z;
  }
  if (columns > 3u) {
    output[base + 3u] = values.w;
  }
}

fn store_grad_input(base: u32, columns: u32, values: vec4<f32>) {
  grad_input[base] = values.x;
  if (columns > 1u) {
    grad_input[base + 1u] = values.y;
  }
  if (columns > 2u) {
    grad_input[base + 2u] = values.z;
  }
  if (columns > 3u) {
    grad_input[base + 3u] = values.w;
  }
}

fn store_grad_weight(base: u32, columns: u32, values: vec4<f32>) {
  grad_weight[base] = values.x;
  if (columns > 1u) {
    grad_weight[base + 1u] = values.y;
  }
  if (columns > 2u) {
    grad_weight[base + 2u] = values.z;
  }
  if (columns > 3u) {
    grad_weight[base + 3u] = values.w;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_forward_tiled(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  var i = invocation_index(workgroup, grid, local);
  let tiles_w = (params.out_width + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_o = (params.out_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  if (i >= params.slices * params.batch * tiles_o * params.out_height * tiles_w) {
    return;
  }
  let ow = i % tiles_w * TILE_COLUMNS;
  i /= tiles_w;
  let oh = i % params.out_height;
  i /= params.out_height;
  let o = i % tiles_o * TILE_CHANNELS;
  i /= tiles_o;
  let n = i % params.batch;
  let slice = i / params.batch;

  let channels = four(o, params.out_channels);
  let weight_rows = channels * (params.in_channels * params.kernel_height * params.kernel_width);
  let x = vec4(ow, ow + 1u, ow + 2u, ow + 3u) * params.stride_width - params.padding_width;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.in_channels * params.kernel_height);
  let start = select(vec4(0.0), vec4(bias[channels.x], bias[channels.y], bias[channels.z], bias[channels.w]), slice == 0u);
  var sum_0 = vec4(start.x);
  var sum_1 = vec4(start.y);
  var sum_2 = vec4(start.z);
  var sum_3 = vec4(start.w);
  for (var row = first; row < last; row++) {
    let c = row / params.kernel_height;
    let kh = row % params.kernel_height;
    let ih = oh * params.stride_height + kh * params.dilation_height - params.padding_height;
    if (ih >= params.in_height) {
      continue;
    }
    let input_row = ((n * params.in_channels + c) * params.in_height + ih) * params.in_width;
    for (var kw = 0u; kw < params.kernel_width; kw++) {
      let values = load_input(input_row, x + kw * params.dilation_width);
      let k = row * params.kernel_width + kw;
      sum_0 += weight[weight_rows.x + k] * values;
      sum_1 += weight[weight_rows.y + k] * values;
      sum_2 += weight[weight_rows.z + k] * values;
      sum_3 += weight[weight_rows.w + k] * values;
    }
  }

  let plane = params.out_height * params.out_width;
  let base = (((slice * params.batch + n) * params.out_channels + o) * params.out_height + oh) * params.out_width + ow;
  let columns = params.out_width - ow;
  store_output(base, columns, sum_0);
  if (o + 1u < params.out_channels) {
    store_output(base + plane, columns, sum_1);
  }
  if (o + 2u < params.out_channels) {
    store_output(base + 2u * plane, columns, sum_2);
  }
  if (o + 3u < params.out_channels) {
    store_output(base + 3u * plane, columns, sum_3);
  }
}

// grad_output[row + ow] where ow · stride + offset = x for an ow in the row, else 0.
fn load_grad_output(row: u32, x: vec4<u32>, offset: u32) -> vec4<f32> {
  let ow = (x - offset) / params.stride_width;
  let inside = (x >= vec4(offset)) & (ow < vec4(params.out_width)) & (ow * params.stride_width + offset == x);
  let at = row + min(ow, vec4(params.out_width - 1u));
  return select(vec4(0.0), vec4(grad_output[at.x], grad_output[at.y], grad_output[at.z], grad_output[at.w]), inside);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_input_tiled(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  var i = invocation_index(workgroup, grid, local);
  let tiles_w = (params.in_width + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_c = (params.in_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  if (i >= params.slices * params.batch * tiles_c * params.in_height * tiles_w) {
    return;
  }
  let iw = i % tiles_w * TILE_COLUMNS;
  i /= tiles_w;
  let ih = i % params.in_height;
  i /= params.in_height;
  let c = i % tiles_c * TILE_CHANNELS;
  i /= tiles_c;
  let n = i % params.batch;
  let slice = i / params.batch;

  let kernel = params.kernel_height * params.kernel_width;
  let weight_columns = four(c, params.in_channels) * kernel;
  let x = vec4(iw, iw + 1u, iw + 2u, iw + 3u) + params.padding_width;
  let y = ih + params.padding_height;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.out_channels * params.kernel_height);
  var sum_0 = vec4(0.0);
  var sum_1 = vec4(0.0);
  var sum_2 = vec4(0.0);
  var sum_3 = vec4(0.0);
  for (var row = first; row < last; row++) {
    let o = row / params.kernel_height;
    let kh = row % params.kernel_height;
    if (y < kh * params.dilation_height) {
      continue;
    }
    let oh = (y - kh * params.dilation_height) / params.stride_height;
    if (oh >= params.out_height || oh * params.stride_height + kh * params.dilation_height != y) {
      continue;
    }
    let output_row = ((n * params.out_channels + o) * params.out_height + oh) * params.out_width;
    let weight_row = o * params.in_channels * kernel + kh * params.kernel_width;
    for (var kw = 0u; kw < params.kernel_width; kw++) {
      let values = load_grad_output(output_row, x, kw * params.dilation_width);
      let k = weight_row + kw;
      sum_0 += weight[weight_columns.x + k] * values;
      sum_1 += weight[weight_columns.y + k] * values;
      sum_2 += weight[weight_columns.z + k] * values;
      sum_3 += weight[weight_columns.w + k] * values;
    }
  }

  let plane = params.in_height * params.in_width;
  let base = (((slice * params.batch + n) * params.in_channels + c) * params.in_height + ih) * params.in_width + iw;
  let columns = params.in_width - iw;
  store_grad_input(base, columns, sum_0);
  if (c + 1u < params.in_channels) {
    store_grad_input(base + plane, columns, sum_1);
  }
  if (c + 2u < params.in_channels) {
    store_grad_input(base + 2u * plane, columns, sum_2);
  }
  if (c + 3u < params.in_channels) {
    store_grad_input(base + 3u * plane, columns, sum_3);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_tiled(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  var i = invocation_index(workgroup, grid, local);
  let kernel = params.kernel_height * params.kernel_width;
  let row_length = params.in_channels * kernel;
  let tiles_k = (row_length + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_o = (params.out_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  if (i >= params.slices * tiles_o * tiles_k) {
    return;
  }
  let k = i % tiles_k * TILE_COLUMNS;
  i /= tiles_k;
  let o = i % tiles_o * TILE_CHANNELS;
  let slice = i / tiles_o;

  let columns = four(k, row_length);
  let c = columns / kernel;
  let shift_y = columns / params.kernel_width % params.kernel_height * params.dilation_height - params.padding_height;
  let shift_x = columns % params.kernel_width * params.dilation_width - params.padding_width;
  let channels = four(o, params.out_channels) * (params.out_height * params.out_width);
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.batch * params.out_height);
  var sum_0 = vec4(0.0);
  var sum_1 = vec4(0.0);
  var sum_2 = vec4(0.0);
  var sum_3 = vec4(0.0);
  for (var row = first; row < last; row++) {
    let n = row / params.out_height;
    let oh = row % params.out_height;
    let ih = oh * params.stride_height + shift_y;
    let inside_y = ih < vec4(params.in_height);
    let input_rows = ((n * params.in_channels + c) * params.in_height + min(ih, vec4(params.in_height - 1u))) * params.in_width;
    let output_row = n * params.out_channels * params.out_height * params.out_width + oh * params.out_width;
    for (var ow = 0u; ow < params.out_width; ow++) {
      let iw = ow * params.stride_width + shift_x;
      let at = input_rows + min(iw, vec4(params.in_width - 1u));
      let inside = inside_y & (iw < vec4(params.in_width));
      let values = select(vec4(0.0), vec4(input[at.x], input[at.y], input[at.z], input[at.w]), inside);
      let at_output = output_row + ow;
      sum_0 += grad_output[channels.x + at_output] * values;
      sum_1 += grad_output[channels.y + at_output] * values;
      sum_2 += grad_output[channels.z + at_output] * values;
      sum_3 += grad_output[channels.w + at_output] * values;
    }
  }

  let base = (slice * params.out_channels + o) * row_length + k;
  let valid = row_length - k;
  store_grad_weight(base, valid, sum_0);
  if (o + 1u < params.out_channels) {
    store_grad_weight(base + row_length, valid, sum_1);
  }
  if (o + 2u < params.out_channels) {
    store_grad_weight(base + 2u * row_length, valid, sum_2);
  }
  if (o + 3u < params.out_channels) {
    store_grad_weight(base + 3u * row_length, valid, sum_3);
  }
}
