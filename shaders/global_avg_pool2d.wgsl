// Mean over a whole plane of `size` = height × width, for each of `planes` = batch × channels planes.
//   forward:  output[p] = Σ_s input[p, s] / size
//   backward: grad_input[p, s] = grad_output[p] / size (overwritten)
//
// Forward: one (slice, plane) an invocation; a slice is `slice_length` consecutive elements, so that no invocation loops long; the host
// adds a pass over the slices when there are several. Backward: one element an invocation.
// Source: PyTorch nn.AdaptiveAvgPool2d(1).

struct GlobalAvgPool2dParams {
  planes: u32,
  size: u32,
  slices: u32,
  slice_length: u32,
}

@group(0) @binding(0) var<uniform> params: GlobalAvgPool2dParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn global_avg_pool2d_forward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.slices * params.planes) {
    return;
  }
  let plane = i % params.planes * params.size;
  let first = i / params.planes * params.slice_length;
  let last = min(first + params.slice_length, params.size);
  var sum = 0.0;
  for (var s = first; s < last; s++) {
    sum += input[plane + s];
  }
  output[i] = sum / f32(params.size);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn global_avg_pool2d_backward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.planes * params.size) {
    return;
  }
  grad_input[i] = grad_output[i / params.size] / f32(params.size);
}
