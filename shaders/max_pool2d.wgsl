// Maximum over a window, for each of `planes` = batch × channels planes.
//   forward:  output = max over the window; argmax = its flat index in the input plane (the first one, on a tie)
//   relu_max_pool2d_forward: with the ReLU before the pooling, whose output nobody needs then: the maximum of max(input, 0), and
//             argmax = NOWHERE where that is 0, so that no gradient passes
//   backward: grad_input[i] = Σ grad_output over the outputs whose argmax is i (overwritten)
//
// One element an invocation. Backward gathers over the outputs whose window covers the element, in a fixed order, instead of
// scattering: windows may overlap, and float atomics are neither portable nor reproducible. Padding never wins.
// Source: PyTorch nn.MaxPool2d with ceil_mode=False.

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
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read_write> argmax: array<u32>;
@group(0) @binding(4) var<storage, read> winner: array<u32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;

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
  let ow = i % params.out_width;
  let oh = (i / params.out_width) % params.out_height;
  let plane = i / (params.out_width * params.out_height) * params.in_height * params.in_width;
  var best = Maximum(0.0, 0u);
  var found = false;
  for (var kh = 0u; kh < params.kernel_height; kh++) {
    // Above or left of the input the subtraction wraps to a huge value, so one comparison covers both edges.
    let ih = oh * params.stride_height + kh * params.dilation_height - params.padding_height;
    if (ih >= params.in_height) {
      continue;
    }
    for (var kw = 0u; kw < params.kernel_width; kw++) {
      let iw = ow * params.stride_width + kw * params.dilation_width - params.padding_width;
      if (iw < params.in_width) {
        let at = ih * params.in_width + iw;
        let value = input[plane + at];
        if (!found || value > best.value || is_nan(value)) {
          best = Maximum(value, at);
          found = true;
        }
      }
    }
  }
  return best;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn max_pool2d_forward(
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
fn relu_max_pool2d_forward(
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
fn max_pool2d_backward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let size = params.in_height * params.in_width;
  if (i >= params.planes * size) {
    return;
  }
  let at = i % size;
  let y = at / params.in_width + params.padding_height;
  let x = at % params.in_width + params.padding_width;
  let plane = i / size * params.out_height * params.out_width;
  var sum = 0.0;
  for (var kh = 0u; kh < params.kernel_height; kh++) {
    if (y < kh * params.dilation_height) {
      break;
    }
    let oh = (y - kh * params.dilation_height) / params.stride_height;
    if (oh >= params.out_height || oh * params.stride_height + kh * params.dilation_height != y) {
      continue;
    }
    for (var kw = 0u; kw < params.kernel_width; kw++) {
      if (x < kw * params.dilation_width) {
        break;
      }
      let ow = (x - kw * params.dilation_width) / params.stride_width;
      if (ow < params.out_width && ow * params.stride_width + kw * params.dilation_width == x) {
        let at_output = plane + oh * params.out_width + ow;
        if (winner[at_output] == at) {
          sum += grad_output[at_output];
        }
      }
    }
  }
  grad_input[i] = sum;
}
