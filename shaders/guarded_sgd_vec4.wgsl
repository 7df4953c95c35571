// guarded_sgd.wgsl, FOURS times four elements an invocation: for lengths that are multiples of 4.

struct SgdParams {
  length: u32,
  momentum: f32,
  weight_decay: f32,
  nesterov: u32,
}

@group(0) @binding(0) var<uniform> params: SgdParams;
@group(0) @binding(1) var<storage, read> gradients: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> status: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> parameters: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> momentum_buffer: array<vec4<f32>>;

const FOURS: u32 = 4u;

const NOWHERE: u32 = 0xffffffffu;

// By magnitude, as in guarded_sgd.wgsl.
fn is_nonfinite(values: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(values) & vec4(0x7fffffffu)) >= vec4(0x7f800000u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn guarded_sgd_vec4(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  if (atomicLoad(&status[0]) < now.step) {
    return;
  }
  let start = workgroup_index(workgroup, grid) * FOURS * WORKGROUP_SIZE + local;
  // A length that the compiler does not know: unrolled, it would only compile longer.
  let end = min(start + FOURS * WORKGROUP_SIZE, params.length / 4u);
  var first = NOWHERE;
  for (var i = start; i < end; i += WORKGROUP_SIZE) {
    let loaded = gradients[i];
    let before = parameters[i];
    let moving = momentum_buffer[i];
    let gradient = loaded + params.weight_decay * before;
    let velocity = params.momentum * moving + gradient;
    let direction = select(velocity, gradient + params.momentum * velocity, params.nesterov != 0u);
    let moved = before - now.learning_rate * direction;
    let nonfinite = is_nonfinite(loaded) | is_nonfinite(moved);
    momentum_buffer[i] = select(velocity, moving, nonfinite);
    parameters[i] = select(moved, before, nonfinite);
    let component = select(select(select(3u, 2u, nonfinite.z), 1u, nonfinite.y), 0u, nonfinite.x);
    first = min(first, select(NOWHERE, 4u * i + component, any(nonfinite)));
  }
  if (first != NOWHERE && atomicMin(&status[0], now.step) >= now.step) {
    atomicMin(&status[1], first);
  }
}
