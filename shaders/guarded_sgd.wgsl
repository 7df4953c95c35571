// One step of stochastic gradient descent as in sgd.wgsl, and the non-finite test of nonfinite.wgsl in the same pass over the gradients.
//
// A parameter whose gradient is not finite stays as it is, and the step is flagged in status; the others have moved by then. From the next step
// on nothing moves: the host gives the run up and goes back to its checkpoint.
//
// One element an invocation. Only integer atomics, and only minima, so the answer does not depend on the order of the invocations: what this
// step flags stops none of them.
// Source: PyTorch torch.optim.SGD with dampening=0.

struct SgdParams {
  length: u32,
  momentum: f32,
  weight_decay: f32,
  nesterov: u32,
}

@group(0) @binding(0) var<uniform> params: SgdParams;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read_write> status: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> momentum_buffer: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn guarded_sgd(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.length || atomicLoad(&status[0]) < now.step) {
    return;
  }
  let loaded = gradients[i];
  if ((bitcast<u32>(loaded) & 0x7f800000u) == 0x7f800000u) {
    if (atomicMin(&status[0], now.step) >= now.step) {
      atomicMin(&status[1], i);
    }
    return;
  }
  let gradient = loaded + params.weight_decay * parameters[i];
  let velocity = params.momentum * momentum_buffer[i] + gradient;
  let direction = select(velocity, gradient + params.momentum * velocity, params.nesterov != 0u);
  momentum_buffer[i] = velocity;
  parameters[i] -= now.learning_rate * direction;
}
