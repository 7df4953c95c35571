// sgd.wgsl, FOURS times four elements an invocation: for lengths that are multiples of 4.
//
// A load or store of four values costs a software adapter little more than one of a single value, and a GPU one transaction.

struct SgdParams {
  length: u32,
  momentum: f32,
  weight_decay: f32,
  nesterov: u32,
}

@group(0) @binding(0) var<uniform> params: SgdParams;
@group(0) @binding(1) var<storage, read> gradients: array<vec4<f32>>;
// The first step with a non-finite gradient and where; see nonfinite.wgsl.
@group(0) @binding(2) var<storage, read> status: array<u32>;
@group(0) @binding(3) var<storage, read_write> parameters: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> momentum_buffer: array<vec4<f32>>;

const FOURS: u32 = 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn sgd_vec4(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  if (status[0] <= now.step) {
    return;
  }
  let first = workgroup_index(workgroup, grid) * FOURS * WORKGROUP_SIZE + local;
  for (var four = 0u; four < FOURS; four++) {
    let i = first + four * WORKGROUP_SIZE;
    if (i < params.length / 4u) {
      let before = parameters[i];
      let gradient = gradients[i] + params.weight_decay * before;
      let velocity = params.momentum * momentum_buffer[i] + gradient;
      let direction = select(velocity, gradient + params.momentum * velocity, params.nesterov != 0u);
      momentum_buffer[i] = velocity;
      parameters[i] = before - now.learning_rate * direction;
    }
  }
}
