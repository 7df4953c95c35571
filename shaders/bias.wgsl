// A bias per channel of (batch, channels, size); size is height × width, or 1 after a linear layer.
//   bias_add:  output[n, c, s] = input[n, c, s] + bias[c]
//   bias_grad: grad_bias[c] = Σ grad_output[n, c, s] over n and s (overwritten); this is also conv2d's grad_bias.
//
// bias_add: one element an invocation. bias_grad: one (slice, channel) an invocation; a slice is `slice_length` consecutive terms
// of the (n, s) sum, so that no invocation loops long; the host adds a pass over the slices when there are several.
// Source: PyTorch nn.Linear, nn.Conv2d.

struct BiasParams {
  batch: u32,
  channels: u32,
  size: u32,
  slices: u32,
  slice_length: u32,
}

@group(0) @binding(0) var<uniform> params: BiasParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_bias: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn bias_add(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.batch * params.channels * params.size) {
    return;
  }
  output[i] = input[i] + bias[(i / params.size) % params.channels];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn bias_grad(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.slices * params.channels) {
    return;
  }
  let channel = i % params.channels;
  let first = (i / params.channels) * params.slice_length;
  let last = min(first + params.slice_length, params.batch * params.size);
  var n = first / params.size;
  var s = first % params.size;
  var sum = 0.0;
  for (var term = first; term < last; term++) {
    sum += grad_output[(n * params.channels + channel) * params.size + s];
    s++;
    if (s == params.size) {
      s = 0u;
      n++;
    }
  }
  grad_bias[i] = sum;
}
