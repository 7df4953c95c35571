// One step of stochastic gradient descent as in sgd.wgsl, and the non-finite test of nonfinite.wgsl in the same pass over the gradients.
//
// A parameter stays as it is where its gradient is not finite, or where it would not be finite afterwards, and the step is flagged in status; the
// others have moved by then. From the next step on nothing moves: the host gives the run up and goes back to its checkpoint.
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

// By magnitude: of a sum, a compiler that assumes that there are only finite ones may know the test of the exponent's bits, and its answer.
fn is_nonfinite(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) >= 0x7f800000u;
}

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
  let before = parameters[i];
  let gradient = loaded + params.weight_decay * before;
  let velocity = params.momentum * momentum_buffer[i] + gradient;
  let direction = select(velocity, gradient + params.momentum * velocity, params.nesterov != 0u);
  let moved = before - now.learning_rate * direction;
  if (is_nonfinite(loaded) || is_nonfinite(moved)) {
    if (atomicMin(&status[0], now.step) >= now.step) {
      atomicMin(&status[1], i);
    }
    return;
  }
  momentum_buffer[i] = velocity;
  parameters[i] = moved;
}
