// max_pool2d.wgsl for the window that most networks have: 2 × 2, stride 2, without padding, over planes of an even width.
//
// One output an invocation, whose window nobody shares: forward loads it as two pairs, backward stores it as two pairs. Where the height is
// odd, backward has a row more, whose windows would end outside the plane: its pairs get no gradient.

struct MaxPool2dParams {
  planes: u32,
  in_height: u32,
  in_width: u32,
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_height: u32,
  stride_width: u32,
  padding_height: u32,
  padding_width: u32,
  dilation_height: u32,
  dilation_width: u32,
}

@group(0) @binding(0) var<uniform> params: MaxPool2dParams;
@group(0) @binding(1) var<storage, read> input: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read_write> argmax: array<u32>;
@group(0) @binding(4) var<storage, read> winner: array<u32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<vec2<f32>>;

const NOWHERE: u32 = 0xffffffffu;

// By bits, because a driver may assume that there is no NaN.
fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// A maximum and its flat index in its plane.
struct Maximum {
  value: f32,
  at: u32,
}

fn maximum_of(i: u32) -> Maximum {
  let row = i / params.out_width;
  let oh = row % params.out_height;
  // A row of the input holds as many pairs as one of the output has elements.
  let pair = (row / params.out_height * params.in_height + 2u * oh) * params.out_width + i % params.out_width;
  let upper = input[pair];
  let lower = input[pair + params.out_width];
  let at = 2u * (oh * params.in_width + i % params.out_width);
  var best = Maximum(upper.x, at);
  if (upper.y > best.value || is_nan(upper.y)) {
    best = Maximum(upper.y, at + 1u);
  }
  if (lower.x > best.value || is_nan(lower.x)) {
    best = Maximum(lower.x, at + params.in_width);
  }
  if (lower.y > best.value || is_nan(lower.y)) {
    best = Maximum(lower.y, at + params.in_width + 1u);
  }
  return best;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn max_pool2d_forward_2x2(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.planes * params.out_height * params.out_width) {
    return;
  }
  let best = maximum_of(i);
  output[i] = best.value;
  argmax[i] = best.at;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn relu_max_pool2d_forward_2x2(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.planes * params.out_height * params.out_width) {
    return;
  }
  let best = maximum_of(i);
  let stopped = best.value <= 0.0;
  output[i] = select(best.value, 0.0, stopped);
  argmax[i] = select(best.at, NOWHERE, stopped);
}

// `winner` is the forward argmax.
@compute @workgroup_size(WORKGROUP_SIZE)
fn max_pool2d_backward_2x2(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let rows = (params.in_height + 1u) / 2u;
  if (i >= params.planes * rows * params.out_width) {
    return;
  }
  let ow = i % params.out_width;
  let oh = i / params.out_width % rows;
  let plane = i / params.out_width / rows;
  let pair = (plane * params.in_height + 2u * oh) * params.out_width + ow;
  if (oh == params.out_height) {
    grad_input[pair] = vec2(0.0);
    return;
  }
  let source = (plane * params.out_height + oh) * params.out_width + ow;
  let grad = grad_output[source];
  // Past the two rows where the winner is nowhere.
  let place = winner[source] - 2u * (oh * params.in_width + ow);
  grad_input[pair] = vec2(select(0.0, grad, place == 0u), select(0.0, grad, place == 1u));
  grad_input[pair + params.out_width] =
    vec2(select(0.0, grad, place == params.in_width), select(0.0, grad, place == params.in_width + 1u));
}
