// Two-dimensional convolution with the stride 1, and no dilation along the width; formulas, layouts and slices as in conv2d.wgsl.
//
// One invocation computes TILE_CHANNELS channels × TILE_COLUMNS columns. All invocations of a workgroup share the channels and differ in their
// columns, so what belongs to the channels is the same for all of them: each lane of a subgroup loads it for one channel, and the others
// take it from that lane's register. Along a row the columns slide: each step loads one value and keeps the other three. A lane loads two
// values for 32 multiply-adds, where the tiled variant loads eight for 16: on software adapters, where a load is a sequence of
// instructions for each lane and a shuffle is one, that is what a convolution costs.
// No lane may leave early, because others take values from it: what lies past the edge is computed from valid elements and not written.
// Needs subgroups of at least TILE_CHANNELS lanes.
//   forward:     8 output channels × 4 adjacent output columns
//   grad_input:  8 input channels × 4 adjacent input columns; kw runs backwards, so that the columns of grad_output slide too
//   grad_weight: 8 output channels × 4 adjacent kw

enable subgroups;

struct Conv2dParams {
  batch: u32,
  in_channels: u32,
  in_height: u32,
  in_width: u32,
  out_channels: u32,
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_height: u32,
  stride_width: u32,
  padding_height: u32,
  padding_width: u32,
  dilation_height: u32,
  dilation_width: u32,
  slices: u32,
  slice_length: u32,
}

@group(0) @binding(0) var<uniform> params: Conv2dParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_weight: array<f32>;

// A row of the tile is one vec4; there is one for each channel.
const TILE_CHANNELS: u32 = 8u;
const TILE_COLUMNS: u32 = 4u;

// A loop over the kernel's width has a length that compilers know, and is unrolled.
override KERNEL_WIDTH: u32 = 1u;

// input[row + x], 0 where x is outside the row (left of it x has wrapped to a huge value) or the row is outside the image.
fn load_input(row: u32, x: u32, inside: bool) -> f32 {
  return select(0.0, input[row + min(x, params.in_width - 1u)], inside && x < params.in_width);
}

// grad_output[row + x], likewise.
fn load_grad_output(row: u32, x: u32, inside: bool) -> f32 {
  return select(0.0, grad_output[row + min(x, params.out_width - 1u)], inside && x < params.out_width);
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
fn conv2d_forward_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles_w = (params.out_width + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_o = (params.out_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  let places = params.batch * params.out_height * tiles_w;
  let groups = (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  var i = workgroup_index(workgroup, grid);
  if (i >= params.slices * tiles_o * groups) {
    return;
  }
  let place = i % groups * WORKGROUP_SIZE + local;
  i /= groups;
  let o = i % tiles_o * TILE_CHANNELS;
  let slice = i / tiles_o;
  let valid = min(place, places - 1u);
  let ow = valid % tiles_w * TILE_COLUMNS;
  let oh = valid / tiles_w % params.out_height;
  let n = valid / (tiles_w * params.out_height);

  let channel = min(o + lane % TILE_CHANNELS, params.out_channels - 1u);
  let weight_rows = channel * params.in_channels * params.kernel_height;
  let x = ow - params.padding_width;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.in_channels * params.kernel_height);
  let start = select(0.0, bias[channel], slice == 0u);
  var sum_0 = vec4(subgroupShuffle(start, 0u));
  var sum_1 = vec4(subgroupShuffle(start, 1u));
  var sum_2 = vec4(subgroupShuffle(start, 2u));
  var sum_3 = vec4(subgroupShuffle(start, 3u));
  var sum_4 = vec4(subgroupShuffle(start, 4u));
  var sum_5 = vec4(subgroupShuffle(start, 5u));
  var sum_6 = vec4(subgroupShuffle(start, 6u));
  var sum_7 = vec4(subgroupShuffle(start, 7u));
  var c = first / params.kernel_height;
  var kh = first % params.kernel_height;
  for (var row = first; row < last; row++) {
    let ih = oh + kh * params.dilation_height - params.padding_height;
    let inside = ih < params.in_height;
    let input_row = ((n * params.in_channels + c) * params.in_height + min(ih, params.in_height - 1u)) * params.in_width;
    let weight_row = (weight_rows + row) * params.kernel_width;
    var values = vec4(
      0.0,
      load_input(input_row, x, inside),
      load_input(input_row, x + 1u, inside),
      load_input(input_row, x + 2u, inside),
    );
    for (var kw = 0u; kw < KERNEL_WIDTH; kw++) {
      values = vec4(values.yzw, load_input(input_row, x + 3u + kw, inside));
      let own = weight[weight_row + kw];
      sum_0 += subgroupShuffle(own, 0u) * values;
      sum_1 += subgroupShuffle(own, 1u) * values;
      sum_2 += subgroupShuffle(own, 2u) * values;
      sum_3 += subgroupShuffle(own, 3u) * values;
      sum_4 += subgroupShuffle(own, 4u) * values;
      sum_5 += subgroupShuffle(own, 5u) * values;
      sum_6 += subgroupShuffle(own, 6u) * values;
      sum_7 += subgroupShuffle(own, 7u) * values;
    }
    kh++;
    if (kh == params.kernel_height) {
      kh = 0u;
      c++;
    }
  }
  if (place >= places) {
    return;
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
  if (o + 4u < params.out_channels) {
    store_output(base + 4u * plane, columns, sum_4);
  }
  if (o + 5u < params.out_channels) {
    store_output(base + 5u * plane, columns, sum_5);
  }
  if (o + 6u < params.out_channels) {
    store_output(base + 6u * plane, columns, sum_6);
  }
  if (o + 7u < params.out_channels) {
    store_output(base + 7u * plane, columns, sum_7);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_input_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles_w = (params.in_width + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_c = (params.in_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  let places = params.batch * params.in_height * tiles_w;
  let groups = (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  var i = workgroup_index(workgroup, grid);
  if (i >= params.slices * tiles_c * groups) {
    return;
  }
  let place = i % groups * WORKGROUP_SIZE + local;
  i /= groups;
  let c = i % tiles_c * TILE_CHANNELS;
  let slice = i / tiles_c;
  let valid = min(place, places - 1u);
  let iw = valid % tiles_w * TILE_COLUMNS;
  let ih = valid / tiles_w % params.in_height;
  let n = valid / (tiles_w * params.in_height);

  let channel = min(c + lane % TILE_CHANNELS, params.in_channels - 1u);
  let last_kw = params.kernel_width - 1u;
  // The column of grad_output that the last kw pairs with the first of the four.
  let x = iw + params.padding_width - last_kw;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.out_channels * params.kernel_height);
  var sum_0 = vec4(0.0);
  var sum_1 = vec4(0.0);
  var sum_2 = vec4(0.0);
  var sum_3 = vec4(0.0);
  var sum_4 = vec4(0.0);
  var sum_5 = vec4(0.0);
  var sum_6 = vec4(0.0);
  var sum_7 = vec4(0.0);
  var o = first / params.kernel_height;
  var kh = first % params.kernel_height;
  for (var row = first; row < last; row++) {
    let oh = ih + params.padding_height - kh * params.dilation_height;
    let inside = oh < params.out_height;
    let output_row = ((n * params.out_channels + o) * params.out_height + min(oh, params.out_height - 1u)) * params.out_width;
    let weight_row = ((o * params.in_channels + channel) * params.kernel_height + kh) * params.kernel_width;
    var values = vec4(
      0.0,
      load_grad_output(output_row, x, inside),
      load_grad_output(output_row, x + 1u, inside),
      load_grad_output(output_row, x + 2u, inside),
    );
    for (var step = 0u; step < KERNEL_WIDTH; step++) {
      values = vec4(values.yzw, load_grad_output(output_row, x + 3u + step, inside));
      let own = weight[weight_row + last_kw - step];
      sum_0 += subgroupShuffle(own, 0u) * values;
      sum_1 += subgroupShuffle(own, 1u) * values;
      sum_2 += subgroupShuffle(own, 2u) * values;
      sum_3 += subgroupShuffle(own, 3u) * values;
      sum_4 += subgroupShuffle(own, 4u) * values;
      sum_5 += subgroupShuffle(own, 5u) * values;
      sum_6 += subgroupShuffle(own, 6u) * values;
      sum_7 += subgroupShuffle(own, 7u) * values;
    }
    kh++;
    if (kh == params.kernel_height) {
      kh = 0u;
      o++;
    }
  }
  if (place >= places) {
    return;
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
  if (c + 4u < params.in_channels) {
    store_grad_input(base + 4u * plane, columns, sum_4);
  }
  if (c + 5u < params.in_channels) {
    store_grad_input(base + 5u * plane, columns, sum_5);
  }
  if (c + 6u < params.in_channels) {
    store_grad_input(base + 6u * plane, columns, sum_6);
  }
  if (c + 7u < params.in_channels) {
    store_grad_input(base + 7u * plane, columns, sum_7);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles_kw = (params.kernel_width + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_o = (params.out_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  let places = params.in_channels * params.kernel_height * tiles_kw;
  let groups = (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  var i = workgroup_index(workgroup, grid);
  if (i >= params.slices * tiles_o * groups) {
    return;
  }
  let place = i % groups * WORKGROUP_SIZE + local;
  i /= groups;
  let o = i % tiles_o * TILE_CHANNELS;
  let slice = i / tiles_o;
  let valid = min(place, places - 1u);
  let kw = valid % tiles_kw * TILE_COLUMNS;
  let kh = valid / tiles_kw % params.kernel_height;
  let c = valid / (tiles_kw * params.kernel_height);

  let channel = min(o + lane % TILE_CHANNELS, params.out_channels - 1u);
  let x = kw - params.padding_width;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.batch * params.out_height);
  var sum_0 = vec4(0.0);
  var sum_1 = vec4(0.0);
  var sum_2 = vec4(0.0);
  var sum_3 = vec4(0.0);
  var sum_4 = vec4(0.0);
  var sum_5 = vec4(0.0);
  var sum_6 = vec4(0.0);
  var sum_7 = vec4(0.0);
  var n = first / params.out_height;
  var oh = first % params.out_height;
  for (var row = first; row < last; row++) {
    let ih = oh + kh * params.dilation_height - params.padding_height;
    let inside = ih < params.in_height;
    let input_row = ((n * params.in_channels + c) * params.in_height + min(ih, params.in_height - 1u)) * params.in_width;
    let output_row = ((n * params.out_channels + channel) * params.out_height + oh) * params.out_width;
    var values = vec4(
      0.0,
      load_input(input_row, x, inside),
      load_input(input_row, x + 1u, inside),
      load_input(input_row, x + 2u, inside),
    );
    for (var ow = 0u; ow < params.out_width; ow++) {
      values = vec4(values.yzw, load_input(input_row, x + 3u + ow, inside));
      let own = grad_output[output_row + ow];
      sum_0 += subgroupShuffle(own, 0u) * values;
      sum_1 += subgroupShuffle(own, 1u) * values;
      sum_2 += subgroupShuffle(own, 2u) * values;
      sum_3 += subgroupShuffle(own, 3u) * values;
      sum_4 += subgroupShuffle(own, 4u) * values;
      sum_5 += subgroupShuffle(own, 5u) * values;
      sum_6 += subgroupShuffle(own, 6u) * values;
      sum_7 += subgroupShuffle(own, 7u) * values;
    }
    oh++;
    if (oh == params.out_height) {
      oh = 0u;
      n++;
    }
  }
  if (place >= places) {
    return;
  }

  let plane = params.in_channels * params.kernel_height * params.kernel_width;
  let base = (((slice * params.out_channels + o) * params.in_channels + c) * params.kernel_height + kh) * params.kernel_width + kw;
  let columns = params.kernel_width - kw;
  store_grad_weight(base, columns, sum_0);
  if (o + 1u < params.out_channels) {
    store_grad_weight(base + plane, columns, sum_1);
  }
  if (o + 2u < params.out_channels) {
    store_grad_weight(base + 2u * plane, columns, sum_2);
  }
  if (o + 3u < params.out_channels) {
    store_grad_weight(base + 3u * plane, columns, sum_3);
  }
  if (o + 4u < params.out_channels) {
    store_grad_weight(base + 4u * plane, columns, sum_4);
  }
  if (o + 5u < params.out_channels) {
    store_grad_weight(base + 5u * plane, columns, sum_5);
  }
  if (o + 6u < params.out_channels) {
    store_grad_weight(base + 6u * plane, columns, sum_6);
  }
  if (o + 7u < params.out_channels) {
    store_grad_weight(base + 7u * plane, columns, sum_7);
  }
}
