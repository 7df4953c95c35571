// Two-dimensional convolution as products of matrices with tiles in workgroup memory, as in matmul_shared.wgsl, where slabs, blocks and quads are
// explained; formulas and layouts as in conv2d.wgsl. A slice is `slice_length` consecutive terms.
//
// One factor of each product is a matrix that is nowhere stored: its elements are found in the image where a slab is loaded. An invocation keeps
// to the four places of one quad throughout, so what divides is outside the loop; its place in the sum goes on by TILE_K in mixed digits.
//   forward:     output (O, N·OH·OW) = weight (O, C·KH·KW) × the input's windows (C·KH·KW, N·OH·OW)
//   grad_input:  grad_input (C, N·H·W) = weight (C, O·KH·KW) × what grad_output has for each (O·KH·KW, N·H·W)
//   grad_weight: grad_weight (O, C·KH·KW) = grad_output (O, N·OH·OW) × the input's windows (N·OH·OW, C·KH·KW); a bias is one more column,
//                whose inputs are all 1
// Zeros are loaded for what lies outside the image.
// Source: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014.

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
@group(0) @binding(8) var<storage, read_write> grad_bias: array<f32>;

// Sides of the tile, and blocks of an invocation along each, 1 or 2. The host chooses them so that QUADS × TILE_K invocations compute a tile: then
// each loads one quad of a and one of b for a slab.
override TILE: u32 = 32u;
override BLOCKS_M: u32 = 1u;
override BLOCKS_N: u32 = 1u;
override QUADS: u32 = TILE / 4u;
override SLAB_ROW: u32 = QUADS + 1u;
override SLAB: u32 = TILE_K * SLAB_ROW;
const TILE_K: u32 = 8u;

// A size without a name of its own is more than naga 30 can specialise.
var<workgroup> tile_a: array<vec4<f32>, SLAB>;
var<workgroup> tile_b: array<vec4<f32>, SLAB>;

// The results of an invocation, a row of a block in each vec4; those that the overrides leave out cost nothing.
struct Sums {
  upper_left: mat4x4<f32>,
  upper_right: mat4x4<f32>,
  lower_left: mat4x4<f32>,
  lower_right: mat4x4<f32>,
}

fn outer(rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
  return mat4x4(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
}

// Adds a slab's terms, in their order; quad_m and quad_n are the first of an invocation's.
fn multiply(sums: ptr<function, Sums>, quad_m: u32, quad_n: u32) {
  for (var k = 0u; k < TILE_K; k++) {
    let at_m = k * SLAB_ROW + quad_m;
    let at_n = k * SLAB_ROW + quad_n;
    let rows = tile_a[at_m];
    let columns = tile_b[at_n];
    (*sums).upper_left += outer(rows, columns);
    if (BLOCKS_N > 1u) {
      (*sums).upper_right += outer(rows, tile_b[at_n + QUADS / 2u]);
    }
    if (BLOCKS_M > 1u) {
      let lower = tile_a[at_m + QUADS / 2u];
      (*sums).lower_left += outer(lower, columns);
      if (BLOCKS_N > 1u) {
        (*sums).lower_right += outer(lower, tile_b[at_n + QUADS / 2u]);
      }
    }
  }
}

fn block_of(sums: Sums, block_m: u32, block_n: u32) -> mat4x4<f32> {
  if (block_m == 0u) {
    if (block_n == 0u) {
      return sums.upper_left;
    }
    return sums.upper_right;
  }
  if (block_n == 0u) {
    return sums.lower_left;
  }
  return sums.lower_right;
}

// The places of a quad in the tile.
fn quad(first: u32) -> vec4<u32> {
  return first + vec4(0u, 1u, 2u, 3u) * QUADS;
}

// A place along three axes, of the last two of which `sizes` has the lengths.
fn split(place: u32, sizes: vec2<u32>) -> vec3<u32> {
  return vec3(place / (sizes.x * sizes.y), place / sizes.y % sizes.x, place % sizes.y);
}

// The sum of two such places, both as `split` makes them.
fn advanced(place: vec3<u32>, step: vec3<u32>, sizes: vec2<u32>) -> vec3<u32> {
  var next = place + step;
  if (next.z >= sizes.y) {
    next.z -= sizes.y;
    next.y++;
  }
  if (next.y >= sizes.x) {
    next.y -= sizes.x;
    next.x++;
  }
  return next;
}

// The part of a product of `sizes`, (m, k, n), that a workgroup computes: its first row and column, and its slice.
struct Part {
  m: u32,
  n: u32,
  slice: u32,
  first: u32,
  last: u32,
}

fn workgroups(sizes: vec3<u32>) -> u32 {
  return params.slices * ((sizes.x + TILE - 1u) / TILE) * ((sizes.z + TILE - 1u) / TILE);
}

fn part_of(i: u32, sizes: vec3<u32>) -> Part {
  let tiles_m = (sizes.x + TILE - 1u) / TILE;
  let tiles_n = (sizes.z + TILE - 1u) / TILE;
  let slice = i / (tiles_m * tiles_n);
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, sizes.y);
  return Part(i / tiles_n % tiles_m * TILE, i % tiles_n * TILE, slice, first, last);
}

// Which k of a slab and which quad of the tile an invocation loads, where what is stored side by side are the terms, or the places.
fn along_terms(local: u32) -> vec2<u32> {
  return vec2(local % TILE_K, local / TILE_K);
}

fn along_places(local: u32) -> vec2<u32> {
  return vec2(local / QUADS, local % QUADS);
}

// The first quads of an invocation's results, of rows and of columns.
fn own_quads(local: u32) -> vec2<u32> {
  return vec2(local / (QUADS / BLOCKS_N), local % (QUADS / BLOCKS_N));
}

// Puts an invocation's part of a slab in its place, once nobody needs the slab before.
fn stage(own_a: vec2<u32>, next_a: vec4<f32>, own_b: vec2<u32>, next_b: vec4<f32>) {
  workgroupBarrier();
  tile_a[own_a.x * SLAB_ROW + own_a.y] = next_a;
  tile_b[own_b.x * SLAB_ROW + own_b.y] = next_b;
  workgroupBarrier();
}

fn load_weight(place: vec4<u32>, inside: bool) -> vec4<f32> {
  let at = select(vec4(0u), place, inside);
  return select(vec4(0.0), vec4(weight[at.x], weight[at.y], weight[at.z], weight[at.w]), inside);
}

fn load_input(place: vec4<u32>, inside: vec4<bool>) -> vec4<f32> {
  let at = select(vec4(0u), place, inside);
  return select(vec4(0.0), vec4(input[at.x], input[at.y], input[at.z], input[at.w]), inside);
}

fn load_grad_output(place: vec4<u32>, inside: vec4<bool>) -> vec4<f32> {
  let at = select(vec4(0u), place, inside);
  return select(vec4(0.0), vec4(grad_output[at.x], grad_output[at.y], grad_output[at.z], grad_output[at.w]), inside);
}

// Where the first of `channels` planes of `size` has four pixels, counted over all images, in one slice's results.
fn pixels_at(pixels: vec4<u32>, channels: u32, size: u32, slice: u32) -> vec4<u32> {
  return ((slice * params.batch + pixels / size) * channels) * size + pixels % size;
}

fn store_output(slice: u32, o: u32, first: u32, row: vec4<f32>) {
  let plane = params.out_height * params.out_width;
  if (o >= params.out_channels) {
    return;
  }
  let values = row + select(0.0, bias[o], slice == 0u);
  let inside = quad(first) < vec4(params.batch * plane);
  let at = pixels_at(quad(first), params.out_channels, plane, slice) + o * plane;
  if (inside.x) {
    output[at.x] = values.x;
  }
  if (inside.y) {
    output[at.y] = values.y;
  }
  if (inside.z) {
    output[at.z] = values.z;
  }
  if (inside.w) {
    output[at.w] = values.w;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_forward_implicit_gemm(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let plane = params.out_height * params.out_width;
  let kernel = vec2(params.kernel_height, params.kernel_width);
  let terms = params.in_channels * kernel.x * kernel.y;
  let sizes = vec3(params.out_channels, terms, params.batch * plane);
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes)) {
    return;
  }
  let part = part_of(i, sizes);
  let own_a = along_terms(local);
  let own_b = along_places(local);
  let own = own_quads(local);

  let rows = min(part.m + quad(own_a.y), vec4(params.out_channels - 1u)) * terms;
  let pixels = min(part.n + quad(own_b.y), vec4(sizes.z - 1u));
  let images = pixels / plane * (params.in_channels * params.in_height * params.in_width);
  // Above or left of the input these wrap to huge values, so one comparison covers both edges.
  let y = pixels % plane / params.out_width * params.stride_height - params.padding_height;
  let x = pixels % params.out_width * params.stride_width - params.padding_width;
  let step = split(TILE_K, kernel);
  var tap = split(part.first + own_b.x, kernel);
  var sums: Sums;
  // A turn loads a slab, and multiplies the one before while that is on its way.
  for (var k = part.first; k < part.last + TILE_K; k += TILE_K) {
    let next_a = load_weight(rows + k + own_a.x, k + own_a.x < part.last);
    let ih = y + tap.y * params.dilation_height;
    let iw = x + tap.z * params.dilation_width;
    let inside = (ih < vec4(params.in_height)) & (iw < vec4(params.in_width)) & vec4(k + own_b.x < part.last);
    let next_b = load_input(images + (tap.x * params.in_height + ih) * params.in_width + iw, inside);
    if (k > part.first) {
      multiply(&sums, own.x, own.y);
    }
    stage(own_a, next_a, own_b, next_b);
    tap = advanced(tap, step, kernel);
  }

  for (var block_m = 0u; block_m < BLOCKS_M; block_m++) {
    for (var block_n = 0u; block_n < BLOCKS_N; block_n++) {
      var block = block_of(sums, block_m, block_n);
      let first = vec2(part.m, part.n) + own + vec2(block_m, block_n) * (QUADS / 2u);
      for (var row = 0u; row < 4u; row++) {
        store_output(part.slice, first.x + row * QUADS, first.y, block[row]);
      }
    }
  }
}

// The strides, for grad_input: a division by what the compiler knows is none.
override STRIDE_HEIGHT: u32 = 1u;
override STRIDE_WIDTH: u32 = 1u;

fn store_grad_input(slice: u32, c: u32, first: u32, row: vec4<f32>) {
  let plane = params.in_height * params.in_width;
  if (c >= params.in_channels) {
    return;
  }
  let inside = quad(first) < vec4(params.batch * plane);
  let at = pixels_at(quad(first), params.in_channels, plane, slice) + c * plane;
  if (inside.x) {
    grad_input[at.x] = row.x;
  }
  if (inside.y) {
    grad_input[at.y] = row.y;
  }
  if (inside.z) {
    grad_input[at.z] = row.z;
  }
  if (inside.w) {
    grad_input[at.w] = row.w;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_input_implicit_gemm(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let plane = params.in_height * params.in_width;
  let kernel = vec2(params.kernel_height, params.kernel_width);
  let taps = kernel.x * kernel.y;
  let sizes = vec3(params.in_channels, params.out_channels * taps, params.batch * plane);
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes)) {
    return;
  }
  let part = part_of(i, sizes);
  let own_a = along_terms(local);
  let own_b = along_places(local);
  let own = own_quads(local);

  let rows = min(part.m + quad(own_a.y), vec4(params.in_channels - 1u)) * taps;
  let pixels = min(part.n + quad(own_b.y), vec4(sizes.z - 1u));
  let images = pixels / plane * (params.out_channels * params.out_height * params.out_width);
  let y = pixels % plane / params.in_width + params.padding_height;
  let x = pixels % params.in_width + params.padding_width;
  let step = split(TILE_K, kernel);
  var tap_a = split(part.first + own_a.x, kernel);
  var tap_b = split(part.first + own_b.x, kernel);
  var sums: Sums;
  for (var k = part.first; k < part.last + TILE_K; k += TILE_K) {
    let at = (tap_a.x * params.in_channels * kernel.x + tap_a.y) * kernel.y + tap_a.z;
    let next_a = load_weight(rows + at, k + own_a.x < part.last);
    let shift = tap_b.yz * vec2(params.dilation_height, params.dilation_width);
    let oh = (y - shift.x) / STRIDE_HEIGHT;
    let ow = (x - shift.y) / STRIDE_WIDTH;
    let meets_y = (y >= vec4(shift.x)) & (oh < vec4(params.out_height)) & (oh * STRIDE_HEIGHT + shift.x == y);
    let meets_x = (x >= vec4(shift.y)) & (ow < vec4(params.out_width)) & (ow * STRIDE_WIDTH + shift.y == x);
    let inside = meets_y & meets_x & vec4(k + own_b.x < part.last);
    let next_b = load_grad_output(images + (tap_b.x * params.out_height + oh) * params.out_width + ow, inside);
    if (k > part.first) {
      multiply(&sums, own.x, own.y);
    }
    stage(own_a, next_a, own_b, next_b);
    tap_a = advanced(tap_a, step, kernel);
    tap_b = advanced(tap_b, step, kernel);
  }

  for (var block_m = 0u; block_m < BLOCKS_M; block_m++) {
    for (var block_n = 0u; block_n < BLOCKS_N; block_n++) {
      var block = block_of(sums, block_m, block_n);
      let first = vec2(part.m, part.n) + own + vec2(block_m, block_n) * (QUADS / 2u);
      for (var row = 0u; row < 4u; row++) {
        store_grad_input(part.slice, first.x + row * QUADS, first.y, block[row]);
      }
    }
  }
}

// Weights of an output channel, a column each.
fn row_length() -> u32 {
  return params.in_channels * params.kernel_height * params.kernel_width;
}

// The sums of a part of the gradient of the weight, and of the bias in the column behind its last.
fn grads_of_weight(part: Part, local: u32) -> Sums {
  let out_sizes = vec2(params.out_height, params.out_width);
  let plane = out_sizes.x * out_sizes.y;
  let in_plane = params.in_height * params.in_width;
  let kernel = vec2(params.kernel_height, params.kernel_width);
  let own_part = along_terms(local);
  let own = own_quads(local);

  let rows = min(part.m + quad(own_part.y), vec4(params.out_channels - 1u)) * plane;
  let is_bias = part.n + quad(own_part.y) == vec4(row_length());
  let columns = min(part.n + quad(own_part.y), vec4(row_length() - 1u));
  let channels = columns / (kernel.x * kernel.y) * in_plane;
  let y = columns / kernel.y % kernel.x * params.dilation_height - params.padding_height;
  let x = columns % kernel.y * params.dilation_width - params.padding_width;
  let step = split(TILE_K, out_sizes);
  var pixel = split(part.first + own_part.x, out_sizes);
  var sums: Sums;
  for (var k = part.first; k < part.last + TILE_K; k += TILE_K) {
    let is_term = k + own_part.x < part.last;
    let at = pixel.x * params.out_channels * plane + pixel.y * out_sizes.y + pixel.z;
    let next_a = load_grad_output(rows + at, vec4(is_term));
    let ih = pixel.y * params.stride_height + y;
    let iw = pixel.z * params.stride_width + x;
    let inside = (ih < vec4(params.in_height)) & (iw < vec4(params.in_width)) & vec4(is_term);
    let image = pixel.x * params.in_channels * in_plane;
    let values = load_input(image + channels + ih * params.in_width + iw, inside);
    let next_b = select(values, vec4(1.0), is_bias & vec4(is_term));
    if (k > part.first) {
      multiply(&sums, own.x, own.y);
    }
    stage(own_part, next_a, own_part, next_b);
    pixel = advanced(pixel, step, out_sizes);
  }
  return sums;
}

fn store_grad_weight(slice: u32, o: u32, first: u32, row: vec4<f32>) {
  if (o >= params.out_channels) {
    return;
  }
  let inside = quad(first) < vec4(row_length());
  let at = (slice * params.out_channels + o) * row_length() + quad(first);
  if (inside.x) {
    grad_weight[at.x] = row.x;
  }
  if (inside.y) {
    grad_weight[at.y] = row.y;
  }
  if (inside.z) {
    grad_weight[at.z] = row.z;
  }
  if (inside.w) {
    grad_weight[at.w] = row.w;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_implicit_gemm(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let sizes = vec3(params.out_channels, params.batch * params.out_height * params.out_width, row_length());
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes)) {
    return;
  }
  let part = part_of(i, sizes);
  let sums = grads_of_weight(part, local);
  for (var block_m = 0u; block_m < BLOCKS_M; block_m++) {
    for (var block_n = 0u; block_n < BLOCKS_N; block_n++) {
      var block = block_of(sums, block_m, block_n);
      let first = vec2(part.m, part.n) + own_quads(local) + vec2(block_m, block_n) * (QUADS / 2u);
      for (var row = 0u; row < 4u; row++) {
        store_grad_weight(part.slice, first.x + row * QUADS, first.y, block[row]);
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_bias_implicit_gemm(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let sizes = vec3(params.out_channels, params.batch * params.out_height * params.out_width, row_length() + 1u);
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes)) {
    return;
  }
  let part = part_of(i, sizes);
  let sums = grads_of_weight(part, local);
  for (var block_m = 0u; block_m < BLOCKS_M; block_m++) {
    for (var block_n = 0u; block_n < BLOCKS_N; block_n++) {
      var block = block_of(sums, block_m, block_n);
      let first = vec2(part.m, part.n) + own_quads(local) + vec2(block_m, block_n) * (QUADS / 2u);
      for (var row = 0u; row < 4u; row++) {
        let o = first.x + row * QUADS;
        store_grad_weight(part.slice, o, first.y, block[row]);
        let is_bias = quad(first.y) == vec4(row_length());
        if (any(is_bias) && o < params.out_channels) {
          grad_bias[part.slice * params.out_channels + o] = dot(select(vec4(0.0), block[row], is_bias), vec4(1.0));
        }
      }
    }
  }
}
