// Two-dimensional convolution as products of matrices in the tiles of tile.wgsl; formulas and layouts as in conv2d.wgsl. A slice is `slice_length`
// consecutive terms.
//
// One factor of each product is a matrix that is nowhere stored: its elements are found in the image where a slab is loaded. An invocation keeps
// to the four places of one quad throughout, so what divides is outside the loop; its place in the sum goes on by TILE_K in mixed digits.
//   forward:     output (O, N·OH·OW) = weight (O, C·KH·KW) × the input's windows (C·KH·KW, N·OH·OW)
//   grad_input:  grad_input (C, N·H·W) = weight (C, O·KH·KW) × what grad_output has for each (O·KH·KW, N·H·W)
//   grad_weight: grad_weight (O, C·KH·KW) = grad_output (O, N·OH·OW) × the input's windows (N·OH·OW, C·KH·KW); a bias is one more column,
//                whose inputs are all 1
// Zeros are loaded for what lies outside the image.
// Source: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014.

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
  if (i >= workgroups(sizes, params.slices)) {
    return;
  }
  let part = part_of(i, sizes, params.slice_length);
  let own_a = along_terms(local);
  let own_b = along_places(local);

  let rows = min(part.m + quad(own_a.y), vec4(params.out_channels - 1u)) * terms;
  let pixels = min(part.n + quad(own_b.y), vec4(sizes.z - 1u));
  let images = pixels / plane * (params.in_channels * params.in_height * params.in_width);
  // Above or left of the input these wrap to huge values, so one comparison covers both edges.
  let y = pixels % plane / params.out_width * params.stride_height - params.padding_height;
  let x = pixels % params.out_width * params.stride_width - params.padding_width;
  let step = split(TILE_K, kernel);
  var tap = split(part.first + own_b.x, kernel);
  var sums: Sums;
  begin(&sums, local);
  // A turn loads a slab, and multiplies the one before while that is on its way.
  for (var k = part.first; k < part.last + TILE_K; k += TILE_K) {
    let next_a = load_weight(rows + k + own_a.x, k + own_a.x < part.last);
    let ih = y + tap.y * params.dilation_height;
    let iw = x + tap.z * params.dilation_width;
    let inside = (ih < vec4(params.in_height)) & (iw < vec4(params.in_width)) & vec4(k + own_b.x < part.last);
    let next_b = load_input(images + (tap.x * params.in_height + ih) * params.in_width + iw, inside);
    if (k > part.first) {
      multiply(&sums, local);
    }
    stage(own_a, next_a, own_b, next_b);
    tap = advanced(tap, step, kernel);
  }

  finish(&sums, local);

  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    store_output(part.slice, place.x, place.y, quad_of(&sums, result, local));
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
  if (i >= workgroups(sizes, params.slices)) {
    return;
  }
  let part = part_of(i, sizes, params.slice_length);
  let own_a = along_terms(local);
  let own_b = along_places(local);

  let rows = min(part.m + quad(own_a.y), vec4(params.in_channels - 1u)) * taps;
  let pixels = min(part.n + quad(own_b.y), vec4(sizes.z - 1u));
  let images = pixels / plane * (params.out_channels * params.out_height * params.out_width);
  let y = pixels % plane / params.in_width + params.padding_height;
  let x = pixels % params.in_width + params.padding_width;
  let step = split(TILE_K, kernel);
  var tap_a = split(part.first + own_a.x, kernel);
  var tap_b = split(part.first + own_b.x, kernel);
  var sums: Sums;
  begin(&sums, local);
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
      multiply(&sums, local);
    }
    stage(own_a, next_a, own_b, next_b);
    tap_a = advanced(tap_a, step, kernel);
    tap_b = advanced(tap_b, step, kernel);
  }

  finish(&sums, local);

  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    store_grad_input(part.slice, place.x, place.y, quad_of(&sums, result, local));
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

  let rows = min(part.m + quad(own_part.y), vec4(params.out_channels - 1u)) * plane;
  let is_bias = part.n + quad(own_part.y) == vec4(row_length());
  let columns = min(part.n + quad(own_part.y), vec4(row_length() - 1u));
  let channels = columns / (kernel.x * kernel.y) * in_plane;
  let y = columns / kernel.y % kernel.x * params.dilation_height - params.padding_height;
  let x = columns % kernel.y * params.dilation_width - params.padding_width;
  let step = split(TILE_K, out_sizes);
  var pixel = split(part.first + own_part.x, out_sizes);
  var sums: Sums;
  begin(&sums, local);
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
      multiply(&sums, local);
    }
    stage(own_part, next_a, own_part, next_b);
    pixel = advanced(pixel, step, out_sizes);
  }
  finish(&sums, local);
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
  if (i >= workgroups(sizes, params.slices)) {
    return;
  }
  let part = part_of(i, sizes, params.slice_length);
  var sums = grads_of_weight(part, local);
  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    store_grad_weight(part.slice, place.x, place.y, quad_of(&sums, result, local));
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
  if (i >= workgroups(sizes, params.slices)) {
    return;
  }
  let part = part_of(i, sizes, params.slice_length);
  var sums = grads_of_weight(part, local);
  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    let values = quad_of(&sums, result, local);
    store_grad_weight(part.slice, place.x, place.y, values);
    let is_bias = quad(place.y) == vec4(row_length());
    if (any(is_bias) && place.x < params.out_channels) {
      grad_bias[part.slice * params.out_channels + place.x] = dot(select(vec4(0.0), values, is_bias), vec4(1.0));
    }
  }
}
