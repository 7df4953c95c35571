// Two-dimensional convolution with the stride 1, and no dilation along the width; formulas, layouts and slices as in conv2d.wgsl.
//
// One invocation computes TILE_CHANNELS channels × TILE_COLUMNS columns. All invocations of a workgroup share the channels and differ in their
// columns, so what belongs to the channels is the same for all of them: each lane of a subgroup loads it for one channel, or for two, and the
// others take it from that lane's register. Of what belongs to the columns a row is loaded once for all columns of the tile and of the kernel.
// On software adapters, where a load is a hundred instructions and a shuffle is one, that is what a convolution costs: a tile of 8 channels ×
// 14 columns and a kernel of 5 columns loads 23 values for 560 multiply-adds, the tiled variant eight for 16.
// No lane may leave early, because others take values from it: what lies past the edge is computed from valid elements and not written.
// Needs subgroups of at least 8 lanes.
//   forward:     output channels × adjacent output columns
//   grad_input:  input channels × adjacent input columns; kw runs backwards, so that the columns of grad_output slide too; slices are of
//                output channels, and the lanes of a workgroup go through the batch before they go to the next row of the image
//   grad_weight: output channels × all columns of the kernel; a bias is one more place, whose inputs are all 1

enable subgroups;

// Conv2dParams is in conv2d_params.wgsl.
@group(0) @binding(0) var<uniform> params: Conv2dParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(8) var<storage, read_write> grad_bias: array<f32>;

// The host chooses the tile. Loops over overrides have a length that compilers know: they are unrolled, and the arrays become registers.
override TILE_CHANNELS: u32 = 8u;
override TILE_COLUMNS: u32 = 4u;
override KERNEL_WIDTH: u32 = 1u;
// Columns of the output that one turn of grad_weight's loop takes, a divisor of their number.
override STEPS: u32 = 1u;
const MAX_CHANNELS: u32 = 8u;
const MAX_COLUMNS: u32 = 14u;
const MAX_KERNEL_WIDTH: u32 = 8u;
const MAX_STEPS: u32 = 4u;

// Channels of grad_weight's tile, and of one lane.
const MAX_OUTPUTS: u32 = 16u;
const LANES: u32 = 8u;

// input[row + x], 0 where x is outside the row (left of it x has wrapped to a huge value) or the row is outside the image.
fn load_input(row: u32, x: u32, inside: bool) -> f32 {
  return select(0.0, input[row + min(x, params.in_width - 1u)], inside && x < params.in_width);
}

// grad_output[row + x], likewise.
fn load_grad_output(row: u32, x: u32, inside: bool) -> f32 {
  return select(0.0, grad_output[row + min(x, params.out_width - 1u)], inside && x < params.out_width);
}

// Adds column kw of a row of the kernel, where there is one, of which each lane holds its own channel's, times a row of the image.
fn add_column(
  sums: ptr<function, array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>>,
  own: array<f32, MAX_KERNEL_WIDTH>,
  row: array<f32, MAX_COLUMNS + MAX_KERNEL_WIDTH>,
  kw: u32,
) {
  if (kw >= KERNEL_WIDTH) {
    return;
  }
  var weights = own;
  var values = row;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    let shared_weight = subgroupShuffle(weights[kw], t);
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      (*sums)[t][j] += shared_weight * values[kw + j];
    }
  }
}

// All columns, one after the other: a loop over them would be too long for some compilers to unroll.
fn add_row(
  sums: ptr<function, array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>>,
  own: array<f32, MAX_KERNEL_WIDTH>,
  row: array<f32, MAX_COLUMNS + MAX_KERNEL_WIDTH>,
) {
  add_column(sums, own, row, 0u);
  add_column(sums, own, row, 1u);
  add_column(sums, own, row, 2u);
  add_column(sums, own, row, 3u);
  add_column(sums, own, row, 4u);
  add_column(sums, own, row, 5u);
  add_column(sums, own, row, 6u);
  add_column(sums, own, row, 7u);
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

  let channel = min(o + lane % MAX_CHANNELS, params.out_channels - 1u);
  let weight_rows = channel * params.in_channels * params.kernel_height;
  let x = ow - params.padding_width;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.in_channels * params.kernel_height);
  let start = select(0.0, bias[channel], slice == 0u);
  var sums: array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    let own = subgroupShuffle(start, t);
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      sums[t][j] = own;
    }
  }
  var c = first / params.kernel_height;
  var kh = first % params.kernel_height;
  for (var row = first; row < last; row++) {
    let ih = oh + kh * params.dilation_height - params.padding_height;
    let inside = ih < params.in_height;
    let input_row = ((n * params.in_channels + c) * params.in_height + min(ih, params.in_height - 1u)) * params.in_width;
    let weight_row = (weight_rows + row) * params.kernel_width;
    var values: array<f32, MAX_COLUMNS + MAX_KERNEL_WIDTH>;
    for (var j = 0u; j < TILE_COLUMNS + KERNEL_WIDTH - 1u; j++) {
      values[j] = load_input(input_row, x + j, inside);
    }
    var own: array<f32, MAX_KERNEL_WIDTH>;
    for (var kw = 0u; kw < KERNEL_WIDTH; kw++) {
      own[kw] = weight[weight_row + kw];
    }
    add_row(&sums, own, values);
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
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      if (o + t < params.out_channels && ow + j < params.out_width) {
        output[base + t * plane + j] = sums[t][j];
      }
    }
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
  let first_place = i % groups * WORKGROUP_SIZE;
  let place = first_place + local;
  i /= groups;
  let c = i % tiles_c * TILE_CHANNELS;
  let slice = i / tiles_c;
  let valid = min(place, places - 1u);
  let iw = valid % tiles_w * TILE_COLUMNS;
  let n = valid / tiles_w % params.batch;
  let ih = valid / (tiles_w * params.batch);
  // Near an edge of the image whole rows of the kernel meet no gradient: those that none of the workgroup's rows meets are left out.
  let last_place = min(first_place + WORKGROUP_SIZE, places) - 1u;
  let highest = first_place / (tiles_w * params.batch) + params.padding_height;
  let lowest = last_place / (tiles_w * params.batch) + params.padding_height;
  let past = max(highest, params.out_height - 1u) - (params.out_height - 1u);
  let first_kh = (past + params.dilation_height - 1u) / params.dilation_height;
  let end_kh = min(lowest / params.dilation_height + 1u, params.kernel_height);

  let channel = min(c + lane % MAX_CHANNELS, params.in_channels - 1u);
  let last_kw = params.kernel_width - 1u;
  // The column of grad_output that the last kw pairs with the first of the tile.
  let x = iw + params.padding_width - last_kw;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.out_channels);
  var sums: array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>;
  for (var o = first; o < last; o++) {
    for (var kh = first_kh; kh < end_kh; kh++) {
      let oh = ih + params.padding_height - kh * params.dilation_height;
      let inside = oh < params.out_height;
      let output_row = ((n * params.out_channels + o) * params.out_height + min(oh, params.out_height - 1u)) * params.out_width;
      let weight_row = ((o * params.in_channels + channel) * params.kernel_height + kh) * params.kernel_width;
      var values: array<f32, MAX_COLUMNS + MAX_KERNEL_WIDTH>;
      for (var j = 0u; j < TILE_COLUMNS + KERNEL_WIDTH - 1u; j++) {
        values[j] = load_grad_output(output_row, x + j, inside);
      }
      // The last kw first, as the columns of grad_output go.
      var own: array<f32, MAX_KERNEL_WIDTH>;
      for (var kw = 0u; kw < KERNEL_WIDTH; kw++) {
        own[kw] = weight[weight_row + last_kw - kw];
      }
      add_row(&sums, own, values);
    }
  }
  if (place >= places) {
    return;
  }

  let plane = params.in_height * params.in_width;
  let base = (((slice * params.batch + n) * params.in_channels + c) * params.in_height + ih) * params.in_width + iw;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      if (c + t < params.in_channels && iw + j < params.in_width) {
        grad_input[base + t * plane + j] = sums[t][j];
      }
    }
  }
}

// Workgroups of grad_weight over `places` rows of the kernel, for one tile of channels.
fn groups_of(places: u32) -> u32 {
  return (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
}

// The first of the channels of a workgroup; `i` counts the groups of all.
fn first_channel(i: u32) -> u32 {
  return i % ((params.out_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS) * TILE_CHANNELS;
}

fn slice_of(i: u32) -> u32 {
  return i / ((params.out_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS);
}

// A column of grad_output: that of this lane's first channel, and that of its second where there is one.
fn load_own(row: u32, second_row: u32) -> vec2<f32> {
  if (TILE_CHANNELS <= LANES) {
    return vec2(grad_output[row], 0.0);
  }
  return vec2(grad_output[row], grad_output[second_row]);
}

fn grads_of_weight(place: u32, o: u32, slice: u32, lane: u32) -> array<array<f32, MAX_KERNEL_WIDTH>, MAX_OUTPUTS> {
  let rows = params.in_channels * params.kernel_height;
  let valid = min(place, rows - 1u);
  let kh = valid % params.kernel_height;
  let c = valid / params.kernel_height;
  let is_bias = place == rows;

  let channels = min(vec2(o, o + LANES) + lane % LANES, vec2(params.out_channels - 1u));
  let x = 0u - params.padding_width;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.batch * params.out_height);
  var sums: array<array<f32, MAX_KERNEL_WIDTH>, MAX_OUTPUTS>;
  var n = first / params.out_height;
  var oh = first % params.out_height;
  for (var row = first; row < last; row++) {
    let ih = oh + kh * params.dilation_height - params.padding_height;
    let inside = ih < params.in_height;
    let input_row = ((n * params.in_channels + c) * params.in_height + min(ih, params.in_height - 1u)) * params.in_width;
    let output_rows = ((n * params.out_channels + channels) * params.out_height + oh) * params.out_width;
    // What a turn of the loop needs; the next begins with what this one ends with.
    var values: array<f32, MAX_STEPS + MAX_KERNEL_WIDTH>;
    for (var j = 0u; j < KERNEL_WIDTH - 1u; j++) {
      values[STEPS + j] = select(load_input(input_row, x + j, inside), 1.0, is_bias);
    }
    for (var ow = 0u; ow < params.out_width; ow += STEPS) {
      for (var j = 0u; j < KERNEL_WIDTH - 1u; j++) {
        values[j] = values[STEPS + j];
      }
      for (var step = 0u; step < min(STEPS, 2u); step++) {
        let j = KERNEL_WIDTH - 1u + step;
        values[j] = select(load_input(input_row, x + ow + j, inside), 1.0, is_bias);
        let own = load_own(output_rows.x + ow + step, output_rows.y + ow + step);
        for (var t = 0u; t < TILE_CHANNELS; t++) {
          let shared_grad = subgroupShuffle(select(own.x, own.y, t >= LANES), t % LANES);
          for (var j = 0u; j < KERNEL_WIDTH; j++) {
            sums[t][j] += shared_grad * values[step + j];
          }
        }
      }
      for (var step = 2u; step < STEPS; step++) {
        let j = KERNEL_WIDTH - 1u + step;
        values[j] = select(load_input(input_row, x + ow + j, inside), 1.0, is_bias);
        let own = load_own(output_rows.x + ow + step, output_rows.y + ow + step);
        for (var t = 0u; t < TILE_CHANNELS; t++) {
          let shared_grad = subgroupShuffle(select(own.x, own.y, t >= LANES), t % LANES);
          for (var j = 0u; j < KERNEL_WIDTH; j++) {
            sums[t][j] += shared_grad * values[step + j];
          }
        }
      }
    }
    oh++;
    if (oh == params.out_height) {
      oh = 0u;
      n++;
    }
  }
  return sums;
}

fn store_grad_weight(place: u32, o: u32, slice: u32, sums: array<array<f32, MAX_KERNEL_WIDTH>, MAX_OUTPUTS>) {
  let row_length = params.in_channels * params.kernel_height * params.kernel_width;
  let base = (slice * params.out_channels + o) * row_length + place * params.kernel_width;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    for (var j = 0u; j < KERNEL_WIDTH; j++) {
      if (o + t < params.out_channels) {
        grad_weight[base + t * row_length + j] = sums[t][j];
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let places = params.in_channels * params.kernel_height;
  let groups = groups_of(places);
  let i = workgroup_index(workgroup, grid) / groups;
  let o = first_channel(i);
  let slice = slice_of(i);
  if (slice >= params.slices) {
    return;
  }
  let place = workgroup_index(workgroup, grid) % groups * WORKGROUP_SIZE + local;
  let sums = grads_of_weight(place, o, slice, lane);
  if (place < places) {
    store_grad_weight(place, o, slice, sums);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_bias_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let places = params.in_channels * params.kernel_height;
  let groups = groups_of(places + 1u);
  let i = workgroup_index(workgroup, grid) / groups;
  let o = first_channel(i);
  let slice = slice_of(i);
  if (slice >= params.slices) {
    return;
  }
  let place = workgroup_index(workgroup, grid) % groups * WORKGROUP_SIZE + local;
  let sums = grads_of_weight(place, o, slice, lane);
  if (place < places) {
    store_grad_weight(place, o, slice, sums);
  } else if (place == places) {
    for (var t = 0u; t < TILE_CHANNELS; t++) {
      if (o + t < params.out_channels) {
        grad_bias[slice * params.out_channels + o + t] = sums[t][0];
      }
    }
  }
}
