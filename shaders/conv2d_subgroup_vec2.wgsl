// conv2d_subgroup.wgsl for images of an even width, without dilation: rows are loaded two values at a time, to the same bits.
//
// What a load costs on software adapters hardly depends on how much it loads. A pair of a row lies inside the image or outside as a whole, because
// both the width and the first column of a tile are even; where the kernel begins at an odd column, a row is loaded from one column before.
//   forward, grad_input: a row for all columns of the tile and of the kernel, then as in conv2d_subgroup.wgsl
//   grad_weight:         2 · STEPS columns of the output in each turn of the loop, whose sums stay in registers meanwhile

enable subgroups;

// Conv2dParams is in conv2d_params.wgsl. store_window is in window_pairs.wgsl.
@group(0) @binding(0) var<uniform> params: Conv2dParams;
@group(0) @binding(1) var<storage, read> input: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read> grad_output: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(8) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(9) var<storage, read> winner: array<u32>;
@group(0) @binding(10) var<storage, read_write> grad_planes: array<vec2<f32>>;

// The host chooses the tile, an even number of columns where they are columns of an image. Loops over overrides have a length that compilers
// know: they are unrolled, and the arrays become registers.
override TILE_CHANNELS: u32 = 8u;
override TILE_COLUMNS: u32 = 4u;
override KERNEL_WIDTH: u32 = 1u;
// Pairs of a row that are loaded, and where in them the first column of the kernel meets the first of the tile; that is before them, a negative
// number, where a tile is a whole row of the image, of which nothing is loaded that lies outside it.
override PAIRS: u32 = 1u;
override OFFSET: u32 = 0u;
override STEPS: u32 = 1u;
// Channels of a tile, and of one lane.
const MAX_CHANNELS: u32 = 16u;
const LANES: u32 = 8u;
const MAX_COLUMNS: u32 = 14u;
const MAX_KERNEL_WIDTH: u32 = 8u;
const MAX_ROW: u32 = MAX_COLUMNS + MAX_KERNEL_WIDTH + 2u;

// Columns x and x + 1 of a row that begins at pair `row`, 0 where they are outside it (left of it x has wrapped to a huge value) or the row is
// outside the image.
fn load_input(row: u32, x: u32, inside: bool) -> vec2<f32> {
  return select(vec2(0.0), input[row + min(x, params.in_width - 2u) / 2u], inside && x < params.in_width);
}

fn load_grad_output(row: u32, x: u32, inside: bool) -> vec2<f32> {
  return select(vec2(0.0), grad_output[row + min(x, params.out_width - 2u) / 2u], inside && x < params.out_width);
}

// A weight of this lane's first channel, and of its second where there is one.
fn load_weights(at: vec2<u32>) -> vec2<f32> {
  if (TILE_CHANNELS <= LANES) {
    return vec2(weight[at.x], 0.0);
  }
  return vec2(weight[at.x], weight[at.y]);
}

// What the lane that has channel t holds of it.
fn of_channel(own: vec2<f32>, t: u32) -> f32 {
  return subgroupShuffle(select(own.x, own.y, t >= LANES), t % LANES);
}

// Adds column kw of a row of the kernel, where there is one, of which each lane holds its own channels', times a row of the image.
fn add_column(
  sums: ptr<function, array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>>,
  own: array<vec2<f32>, MAX_KERNEL_WIDTH>,
  row: array<f32, MAX_ROW>,
  kw: u32,
) {
  if (kw >= KERNEL_WIDTH) {
    return;
  }
  var weights = own;
  var values = row;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    let shared_weight = of_channel(weights[kw], t);
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      let at = OFFSET + kw + j;
      if (at < 2u * PAIRS) {
        (*sums)[t][j] += shared_weight * values[at];
      }
    }
  }
}

// All columns, one after the other: a loop over them would be too long for some compilers to unroll.
fn add_row(
  sums: ptr<function, array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>>,
  own: array<vec2<f32>, MAX_KERNEL_WIDTH>,
  row: array<f32, MAX_ROW>,
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

// The sums where a loop can index them, so that what stores one of them is compiled once.
fn in_a_row(sums: ptr<function, array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>>) -> array<f32, MAX_CHANNELS * MAX_COLUMNS> {
  var results: array<f32, MAX_CHANNELS * MAX_COLUMNS>;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      results[t * TILE_COLUMNS + j] = (*sums)[t][j];
    }
  }
  return results;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_forward_subgroup_vec2(
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

  let channels = min(vec2(o, o + LANES) + lane % LANES, vec2(params.out_channels - 1u));
  let kernels = channels * params.in_channels * params.kernel_height;
  let x = ow - params.padding_width - OFFSET;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.in_channels * params.kernel_height);
  let start = select(vec2(0.0), vec2(bias[channels.x], bias[channels.y]), slice == 0u);
  var sums: array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    let own = of_channel(start, t);
    for (var j = 0u; j < TILE_COLUMNS; j++) {
      sums[t][j] = own;
    }
  }
  var c = first / params.kernel_height;
  var kh = first % params.kernel_height;
  for (var row = first; row < last; row++) {
    let ih = oh + kh - params.padding_height;
    let inside = ih < params.in_height;
    let input_row = ((n * params.in_channels + c) * params.in_height + min(ih, params.in_height - 1u)) * (params.in_width / 2u);
    let weight_rows = (kernels + row) * params.kernel_width;
    var values: array<f32, MAX_ROW>;
    for (var pair = 0u; pair < PAIRS; pair++) {
      let loaded = load_input(input_row, x + 2u * pair, inside);
      values[2u * pair] = loaded.x;
      values[2u * pair + 1u] = loaded.y;
    }
    var own: array<vec2<f32>, MAX_KERNEL_WIDTH>;
    for (var kw = 0u; kw < KERNEL_WIDTH; kw++) {
      own[kw] = load_weights(weight_rows + kw);
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
  var results = in_a_row(&sums);
  for (var result = 0u; result < TILE_CHANNELS * TILE_COLUMNS; result++) {
    let t = result / TILE_COLUMNS;
    let j = result % TILE_COLUMNS;
    if (o + t < params.out_channels && ow + j < params.out_width) {
      output[base + t * plane + j] = results[result];
    }
  }
}

// Places of grad_input's tiles in one channel, and workgroups of it all.
fn input_places() -> u32 {
  return params.batch * params.in_height * ((params.in_width + TILE_COLUMNS - 1u) / TILE_COLUMNS);
}

fn input_workgroups() -> u32 {
  let tiles_c = (params.in_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  return params.slices * tiles_c * ((input_places() + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE);
}

// A tile of the gradient of the input: its channels from `channel` on, its columns from `column` on. The first is element `base`, the same of
// the next channel `plane` elements on. There is none past the last place.
struct InputTile {
  results: array<f32, MAX_CHANNELS * MAX_COLUMNS>,
  channel: u32,
  column: u32,
  base: u32,
  exists: bool,
}

fn grads_of_input(index: u32, local: u32, lane: u32) -> InputTile {
  let tiles_w = (params.in_width + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tiles_c = (params.in_channels + TILE_CHANNELS - 1u) / TILE_CHANNELS;
  let places = input_places();
  let groups = (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  var i = index;
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
  let first_kh = max(highest, params.out_height - 1u) - (params.out_height - 1u);
  let end_kh = min(lowest + 1u, params.kernel_height);

  let channels = min(vec2(c, c + LANES) + lane % LANES, vec2(params.in_channels - 1u));
  // The column of grad_output that the last kw pairs with the first of the tile.
  let x = iw + params.padding_width - (params.kernel_width - 1u) - OFFSET;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.out_channels);
  var sums: array<array<f32, MAX_COLUMNS>, MAX_CHANNELS>;
  for (var o = first; o < last; o++) {
    for (var kh = first_kh; kh < end_kh; kh++) {
      let oh = ih + params.padding_height - kh;
      let inside = oh < params.out_height;
      let output_row =
        ((n * params.out_channels + o) * params.out_height + min(oh, params.out_height - 1u)) * (params.out_width / 2u);
      let weight_rows =
        ((o * params.in_channels + channels) * params.kernel_height + kh) * params.kernel_width;
      var values: array<f32, MAX_ROW>;
      for (var pair = 0u; pair < PAIRS; pair++) {
        let loaded = load_grad_output(output_row, x + 2u * pair, inside);
        values[2u * pair] = loaded.x;
        values[2u * pair + 1u] = loaded.y;
      }
      // The last kw first, as the columns of grad_output go.
      var own: array<vec2<f32>, MAX_KERNEL_WIDTH>;
      for (var kw = 0u; kw < KERNEL_WIDTH; kw++) {
        own[KERNEL_WIDTH - 1u - kw] = load_weights(weight_rows + kw);
      }
      add_row(&sums, own, values);
    }
  }
  let base = (((slice * params.batch + n) * params.in_channels + c) * params.in_height + ih) * params.in_width + iw;
  return InputTile(in_a_row(&sums), c, iw, base, place < places);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_input_subgroup_vec2(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  if (i >= input_workgroups()) {
    return;
  }
  var tile = grads_of_input(i, local, lane);
  let plane = params.in_height * params.in_width;
  for (var result = 0u; result < TILE_CHANNELS * TILE_COLUMNS; result++) {
    let t = result / TILE_COLUMNS;
    let j = result % TILE_COLUMNS;
    if (tile.exists && tile.channel + t < params.in_channels && tile.column + j < params.in_width) {
      grad_input[tile.base + t * plane + j] = tile.results[result];
    }
  }
}

// Through the pooling before the convolution: each result goes to its window's winner, zeros to the rest of the window.
@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_input_max_pool2d_subgroup_vec2(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let i = workgroup_index(workgroup, grid);
  if (i >= input_workgroups()) {
    return;
  }
  var tile = grads_of_input(i, local, lane);
  let plane = params.in_height * params.in_width;
  for (var result = 0u; result < TILE_CHANNELS * TILE_COLUMNS; result++) {
    let t = result / TILE_COLUMNS;
    let j = result % TILE_COLUMNS;
    if (tile.exists && tile.channel + t < params.in_channels && tile.column + j < params.in_width) {
      store_window(tile.results[result], tile.base + t * plane + j, vec2(params.in_height, params.in_width));
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

// A pair of columns of grad_output: those of this lane's first channel, and those of its second where there is one.
fn load_own(pairs: vec2<u32>) -> vec4<f32> {
  if (TILE_CHANNELS <= LANES) {
    return vec4(grad_output[pairs.x], 0.0, 0.0);
  }
  return vec4(grad_output[pairs.x], grad_output[pairs.y]);
}

// Columns of the input that one turn of the loop needs: 2 · PAIRS, of which the next needs all but the first 2 · STEPS again.
fn grads_of_weight(place: u32, o: u32, slice: u32, lane: u32) -> array<array<f32, MAX_KERNEL_WIDTH>, MAX_CHANNELS> {
  let rows = params.in_channels * params.kernel_height;
  let valid = min(place, rows - 1u);
  let kh = valid % params.kernel_height;
  let c = valid / params.kernel_height;
  let is_bias = place == rows;

  let channels = min(vec2(o, o + LANES) + lane % LANES, vec2(params.out_channels - 1u));
  let x = 0u - params.padding_width - OFFSET;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.batch * params.out_height);
  var sums: array<array<f32, MAX_KERNEL_WIDTH>, MAX_CHANNELS>;
  var n = first / params.out_height;
  var oh = first % params.out_height;
  for (var row = first; row < last; row++) {
    let ih = oh + kh - params.padding_height;
    let inside = ih < params.in_height;
    let input_row = ((n * params.in_channels + c) * params.in_height + min(ih, params.in_height - 1u)) * (params.in_width / 2u);
    let output_rows = ((n * params.out_channels + channels) * params.out_height + oh) * (params.out_width / 2u);
    var values: array<f32, MAX_ROW>;
    for (var pair = STEPS; pair < PAIRS; pair++) {
      let loaded = select(load_input(input_row, x + 2u * (pair - STEPS), inside), vec2(1.0), is_bias);
      values[2u * pair] = loaded.x;
      values[2u * pair + 1u] = loaded.y;
    }
    for (var ow = 0u; ow < params.out_width; ow += 2u * STEPS) {
      for (var pair = STEPS; pair < PAIRS; pair++) {
        values[2u * (pair - STEPS)] = values[2u * pair];
        values[2u * (pair - STEPS) + 1u] = values[2u * pair + 1u];
      }
      for (var pair = PAIRS - STEPS; pair < PAIRS; pair++) {
        let loaded = select(load_input(input_row, x + ow + 2u * pair, inside), vec2(1.0), is_bias);
        values[2u * pair] = loaded.x;
        values[2u * pair + 1u] = loaded.y;
      }
      for (var step = 0u; step < STEPS; step++) {
        let own = load_own(output_rows + ow / 2u + step);
        for (var t = 0u; t < TILE_CHANNELS; t++) {
          let shared_grads = subgroupShuffle(select(own.xy, own.zw, t >= LANES), t % LANES);
          for (var j = 0u; j < KERNEL_WIDTH; j++) {
            sums[t][j] += shared_grads.x * values[OFFSET + 2u * step + j];
            sums[t][j] += shared_grads.y * values[OFFSET + 2u * step + 1u + j];
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

fn store_grad_weight(place: u32, o: u32, slice: u32, sums: array<array<f32, MAX_KERNEL_WIDTH>, MAX_CHANNELS>) {
  let row_length = params.in_channels * params.kernel_height * params.kernel_width;
  let base = (slice * params.out_channels + o) * row_length + place * params.kernel_width;
  var results: array<f32, MAX_CHANNELS * MAX_KERNEL_WIDTH>;
  for (var t = 0u; t < TILE_CHANNELS; t++) {
    for (var j = 0u; j < KERNEL_WIDTH; j++) {
      results[t * KERNEL_WIDTH + j] = sums[t][j];
    }
  }
  for (var result = 0u; result < TILE_CHANNELS * KERNEL_WIDTH; result++) {
    let t = result / KERNEL_WIDTH;
    if (o + t < params.out_channels) {
      grad_weight[base + t * row_length + result % KERNEL_WIDTH] = results[result];
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_subgroup_vec2(
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
fn conv2d_grad_weight_bias_subgroup_vec2(
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
