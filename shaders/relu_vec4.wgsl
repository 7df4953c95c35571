// relu.wgsl, FOURS times four elements an invocation: for lengths that are multiples of 4.

struct ReluParams {
  length: u32,
}

@group(0) @binding(0) var<uniform> params: ReluParams;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> activation: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> grad_output: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> grad_input: array<vec4<f32>>;

const FOURS: u32 = 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn relu_forward_vec4(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let first = workgroup_index(workgroup, grid) * FOURS * WORKGROUP_SIZE + local;
  for (var four = 0u; four < FOURS; four++) {
    let i = first + four * WORKGROUP_SIZE;
    if (i < params.length / 4u) {
      let value = input[i];
      output[i] = select(value, vec4(0.0), value <= vec4(0.0));
    }
  }
}

// `activation` is the forward output.
@compute @workgroup_size(WORKGROUP_SIZE)
fn relu_backward_vec4(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let first = workgroup_index(workgroup, grid) * FOURS * WORKGROUP_SIZE + local;
  for (var four = 0u; four < FOURS; four++) {
    let i = first + four * WORKGROUP_SIZE;
    if (i < params.length / 4u) {
      grad_input[i] = select(vec4(0.0), grad_output[i], activation[i] > vec4(0.0));
    }
  }
}
