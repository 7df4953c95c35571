// output = max(input, 0); grad_input = grad_output where output > 0, else 0.
//
// One element an invocation. `select` on a comparison rather than `max`: a NaN then passes through to the non-finite test instead
// of turning into 0, on drivers that keep NaN at all.
// Source: PyTorch nn.ReLU.

struct ReluParams {
  length: u32,
}

@group(0) @binding(0) var<uniform> params: ReluParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read> activation: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn relu_forward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.length) {
    return;
  }
  let value = input[i];
  output[i] = select(value, 0.0, value <= 0.0);
}

// `activation` is the forward output.
@compute @workgroup_size(WORKGROUP_SIZE)
fn relu_backward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.length) {
    return;
  }
  grad_input[i] = select(0.0, grad_output[i], activation[i] > 0.0);
}
