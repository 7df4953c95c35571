// output[m, n] = Σ_k a(m, k) · b(k, n), row-major; strides make both transposes the same loop.
//
// One (slice, m, n) an invocation. A slice is `slice_length` consecutive k, so that no invocation loops long; the host adds a pass
// over the slices when there are several. The plain variant: the one to read, and the oracle for the others.
// Source: PyTorch torch.matmul.

// MatmulParams is in matmul_params.wgsl.
@group(0) @binding(0) var<uniform> params: MatmulParams;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn matmul(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let length = params.m * params.n;
  if (i >= params.slices * length) {
    return;
  }
  let slice = i / length;
  let m = (i % length) / params.n;
  let n = i % params.n;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.k);
  var sum = 0.0;
  for (var k = first; k < last; k++) {
    sum += a[m * params.a_stride_m + k * params.a_stride_k] * b[k * params.b_stride_k + n * params.b_stride_n];
  }
  output[i] = sum;
}
