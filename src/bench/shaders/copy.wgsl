// The bandwidth of a copy: output[i] = input[i]. Which width of a load suits a device differs: copy_vec4 moves 16 bytes an invocation,
// copy_scalar 4.

struct CopyParams {
  length: u32,
}

@group(0) @binding(0) var<uniform> params: CopyParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read> input_vec4: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output_vec4: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn copy_scalar(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i < params.length) {
    output[i] = input[i];
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn copy_vec4(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (4u * i < params.length) {
    output_vec4[i] = input_vec4[i];
  }
}
