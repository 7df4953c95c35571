// A fully connected layer with its bias and its ReLU as products of matrices in the tiles of tile.wgsl; formulas and layouts as in linear.wgsl.
//   linear_forward:     output (N, O) = input (N, I) × weightᵀ (I, O)
//   linear_grad_input:  grad_input (N, I) = grad_output (N, O) × weight (O, I)
//   linear_grad_weight: grad_weight (O, I) = grad_outputᵀ (O, N) × input (N, I); the bias is one more column, whose inputs are all 1

// LinearParams is in linear_params.wgsl. window_grads is in window_grads.wgsl.
@group(0) @binding(0) var<uniform> params: LinearParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(7) var<storage, read> activation: array<f32>;
@group(0) @binding(8) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(9) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(10) var<storage, read> winner: array<u32>;
@group(0) @binding(11) var<storage, read_write> grad_planes: array<f32>;

fn load_input(at: vec4<u32>, inside: bool) -> vec4<f32> {
  let place = select(vec4(0u), at, inside);
  return select(vec4(0.0), vec4(input[place.x], input[place.y], input[place.z], input[place.w]), inside);
}

fn load_weight(at: vec4<u32>, inside: bool) -> vec4<f32> {
  let place = select(vec4(0u), at, inside);
  return select(vec4(0.0), vec4(weight[place.x], weight[place.y], weight[place.z], weight[place.w]), inside);
}

fn load_grad_output(at: vec4<u32>, inside: bool) -> vec4<f32> {
  let place = select(vec4(0u), at, inside);
  let loaded = vec4(grad_output[place.x], grad_output[place.y], grad_output[place.z], grad_output[place.w]);
  return select(vec4(0.0), loaded, inside);
}

// Sums are never cut: the host sees to it that none is too long.
fn whole(i: u32, sizes: vec3<u32>) -> Part {
  return part_of(i, sizes, sizes.y);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_forward_shared(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let sizes = vec3(params.batch, params.in_features, params.out_features);
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes, 1u)) {
    return;
  }
  let part = whole(i, sizes);
  let own = along_terms(local);
  let rows = min(part.m + quad(own.y), vec4(params.batch - 1u)) * params.in_features;
  let columns = min(part.n + quad(own.y), vec4(params.out_features - 1u)) * params.in_features;
  var sums: Sums;
  begin(&sums, local);
  // A turn loads a slab, and multiplies the one before while that is on its way.
  for (var k = 0u; k < part.last + TILE_K; k += TILE_K) {
    let term = k + own.x;
    let next_a = load_input(rows + term, term < part.last);
    let next_b = load_weight(columns + term, term < part.last);
    if (k > 0u) {
      multiply(&sums, local);
    }
    stage(own, next_a, own, next_b);
  }
  finish(&sums, local);

  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    var values = quad_of(&sums, result, local);
    for (var j = 0u; j < 4u; j++) {
      let o = place.y + j * QUADS;
      if (place.x < params.batch && o < params.out_features) {
        let sum = values[j] + bias[o];
        output[place.x * params.out_features + o] = select(sum, 0.0, params.relu != 0u && sum <= 0.0);
      }
    }
  }
}

// The sums of a part of the gradient of the input.
fn grads_of_input(part: Part, local: u32) -> Sums {
  let own_a = along_terms(local);
  let own_b = along_places(local);
  let rows = min(part.m + quad(own_a.y), vec4(params.batch - 1u)) * params.out_features;
  let columns = min(part.n + quad(own_b.y), vec4(params.in_features - 1u));
  var sums: Sums;
  begin(&sums, local);
  for (var k = 0u; k < part.last + TILE_K; k += TILE_K) {
    let next_a = load_grad_output(rows + k + own_a.x, k + own_a.x < part.last);
    let next_b = load_weight((k + own_b.x) * params.in_features + columns, k + own_b.x < part.last);
    if (k > 0u) {
      multiply(&sums, local);
    }
    stage(own_a, next_a, own_b, next_b);
  }
  finish(&sums, local);
  return sums;
}

fn sizes_of_input() -> vec3<u32> {
  return vec3(params.batch, params.out_features, params.in_features);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_shared(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes_of_input(), 1u)) {
    return;
  }
  let part = whole(i, sizes_of_input());
  var sums = grads_of_input(part, local);
  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    var values = quad_of(&sums, result, local);
    for (var j = 0u; j < 4u; j++) {
      let feature = place.y + j * QUADS;
      if (place.x < params.batch && feature < params.in_features) {
        grad_input[place.x * params.in_features + feature] = values[j];
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_relu_shared(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes_of_input(), 1u)) {
    return;
  }
  let part = whole(i, sizes_of_input());
  var sums = grads_of_input(part, local);
  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    var values = quad_of(&sums, result, local);
    for (var j = 0u; j < 4u; j++) {
      let feature = place.y + j * QUADS;
      if (place.x < params.batch && feature < params.in_features) {
        let at = place.x * params.in_features + feature;
        grad_input[at] = select(0.0, values[j], activation[at] > 0.0);
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_max_pool2d_shared(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes_of_input(), 1u)) {
    return;
  }
  let part = whole(i, sizes_of_input());
  let width = 2u * params.pool_width;
  var sums = grads_of_input(part, local);
  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    var values = quad_of(&sums, result, local);
    for (var j = 0u; j < 4u; j++) {
      let feature = place.y + j * QUADS;
      if (place.x < params.batch && feature < params.in_features) {
        let at = place.x * params.in_features + feature;
        let row = at / params.pool_width;
        let column = 2u * (at % params.pool_width);
        let own = window_grads(values[j], winner[at], 2u * (row % params.pool_height) * width + column, width);
        let upper = 2u * row * width + column;
        grad_planes[upper] = own.x;
        grad_planes[upper + 1u] = own.y;
        grad_planes[upper + width] = own.z;
        grad_planes[upper + width + 1u] = own.w;
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_weight_shared(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let sizes = vec3(params.out_features, params.batch, params.in_features + 1u);
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes, 1u)) {
    return;
  }
  let part = whole(i, sizes);
  let own = along_places(local);
  let rows = min(part.m + quad(own.y), vec4(params.out_features - 1u));
  let is_bias = part.n + quad(own.y) == vec4(params.in_features);
  let columns = min(part.n + quad(own.y), vec4(params.in_features - 1u));
  var sums: Sums;
  begin(&sums, local);
  for (var k = 0u; k < part.last + TILE_K; k += TILE_K) {
    let term = k + own.x;
    let next_a = load_grad_output(term * params.out_features + rows, term < part.last);
    let inputs = load_input(term * params.in_features + columns, term < part.last);
    let next_b = select(inputs, vec4(1.0), is_bias & vec4(term < part.last));
    if (k > 0u) {
      multiply(&sums, local);
    }
    stage(own, next_a, own, next_b);
  }
  finish(&sums, local);

  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    var values = quad_of(&sums, result, local);
    for (var j = 0u; j < 4u; j++) {
      let feature = place.y + j * QUADS;
      if (place.x < params.out_features && feature < params.in_features) {
        grad_weight[place.x * params.in_features + feature] = values[j];
      }
      if (place.x < params.out_features && feature == params.in_features) {
        grad_bias[place.x] = values[j];
      }
    }
  }
}
