// A fully connected layer with its bias and, where one follows, its ReLU.
//   linear_forward:         output[n, o] = relu(bias[o] + Σ_i input[n, i] · weight[o, i])
//   linear_grad_input:      grad_input[n, i] = Σ_o grad_output[n, o] · weight[o, i]                     (overwritten)
//   linear_grad_input_relu: the same where activation[n, i] > 0, else 0: activation is the output of the ReLU before the layer
//   linear_grad_input_max_pool2d: the gradient of the planes that a 2 × 2 pooling has made the input of, which all goes to the winners
//   linear_grad_weight:     grad_weight[o, i] = Σ_n grad_output[n, o] · input[n, i], grad_bias[o] = Σ_n grad_output[n, o]
//
// One result an invocation; that of grad_weight with i = 0 adds up the bias's gradient as well. The plain variant: the one to read, and
// the oracle for the others. The host sees to it that no sum is longer than one invocation may loop.
// Source: PyTorch nn.Linear, nn.ReLU.

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

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_forward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = invocation_index(workgroup, grid, local);
  if (at >= params.batch * params.out_features) {
    return;
  }
  let n = at / params.out_features;
  let o = at % params.out_features;
  var sum = bias[o];
  for (var i = 0u; i < params.in_features; i++) {
    sum += input[n * params.in_features + i] * weight[o * params.in_features + i];
  }
  output[at] = select(sum, 0.0, params.relu != 0u && sum <= 0.0);
}

fn grad_of_input(n: u32, i: u32) -> f32 {
  var sum = 0.0;
  for (var o = 0u; o < params.out_features; o++) {
    sum += grad_output[n * params.out_features + o] * weight[o * params.in_features + i];
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = invocation_index(workgroup, grid, local);
  if (at >= params.batch * params.in_features) {
    return;
  }
  grad_input[at] = grad_of_input(at / params.in_features, at % params.in_features);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_relu(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = invocation_index(workgroup, grid, local);
  if (at >= params.batch * params.in_features) {
    return;
  }
  grad_input[at] = select(0.0, grad_of_input(at / params.in_features, at % params.in_features), activation[at] > 0.0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_input_max_pool2d(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = invocation_index(workgroup, grid, local);
  if (at >= params.batch * params.in_features) {
    return;
  }
  let width = 2u * params.pool_width;
  let row = at / params.pool_width;
  let column = 2u * (at % params.pool_width);
  let grad = grad_of_input(at / params.in_features, at % params.in_features);
  let own = window_grads(grad, winner[at], 2u * (row % params.pool_height) * width + column, width);
  let upper = 2u * row * width + column;
  grad_planes[upper] = own.x;
  grad_planes[upper + 1u] = own.y;
  grad_planes[upper + width] = own.z;
  grad_planes[upper + width + 1u] = own.w;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_weight(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = invocation_index(workgroup, grid, local);
  if (at >= params.out_features * params.in_features) {
    return;
  }
  let o = at / params.in_features;
  let i = at % params.in_features;
  var sum = 0.0;
  var bias_sum = 0.0;
  for (var n = 0u; n < params.batch; n++) {
    let grad = grad_output[n * params.out_features + o];
    sum += grad * input[n * params.in_features + i];
    bias_sum += grad;
  }
  grad_weight[at] = sum;
  if (i == 0u) {
    grad_bias[o] = bias_sum;
  }
}
