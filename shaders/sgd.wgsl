// One step of stochastic gradient descent over the flat parameter buffer.
//   g = gradients + weight_decay · parameters
//   momentum_buffer = momentum · momentum_buffer + g
//   parameters −= now.learning_rate · (nesterov ? g + momentum · momentum_buffer : momentum_buffer)
// momentum_buffer starts at 0. Where the non-finite test has flagged this step or one before, nothing is written: the parameters
// stay those of the last good step until the host has seen the flag.
//
// One element an invocation, all parameters of the network in one dispatch.
// Source: PyTorch torch.optim.SGD with dampening=0.

struct SgdParams {
  length: u32,
  momentum: f32,
  weight_decay: f32,
  nesterov: u32,
}

@group(0) @binding(0) var<uniform> params: SgdParams;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
// The first step with a non-finite gradient and where; see nonfinite.wgsl.
@group(0) @binding(2) var<storage, read> status: array<u32>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> momentum_buffer: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn sgd(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.length || status[0] <= now.step) {
    return;
  }
  let gradient = gradients[i] + params.weight_decay * parameters[i];
  let velocity = params.momentum * momentum_buffer[i] + gradient;
  let direction = select(velocity, gradient + params.momentum * velocity, params.nesterov != 0u);
  momentum_buffer[i] = velocity;
  parameters[i] -= now.learning_rate * direction;
}
