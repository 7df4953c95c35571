// Mean over a window, for each of `planes` = batch × channels planes; padding counts as zeros.
//   forward:  output = Σ input over the window / (kernel_height · kernel_width)
//   backward: grad_input = Σ grad_output over the windows that cover it / (kernel_height · kernel_width) (overwritten)
//
// One element an invocation; backward gathers in a fixed order instead of scattering.
// Source: PyTorch nn.AvgPool2d with count_include_pad=True, ceil_mode=False.

struct AvgPool2dParams {
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
}

@group(0) @binding(0) var<uniform> params: AvgPool2dParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn avg_pool2d_forward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.planes * params.out_height * params.out_width) {
    return;
  }
  let ow = i % params.out_width;
  let oh = (i / params.out_width) % params.out_height;
  let plane = i / (params.out_width * params.out_height) * params.in_height * params.in_width;
  var sum = 0.0;
  for (var kh = 0u; kh < params.kernel_height; kh++) {
    // Above or left of the input the subtraction wraps to a huge value, so one comparison covers both edges.
    let ih = oh * params.stride_height + kh - params.padding_height;
    if (ih >= params.in_height) {
      continue;
    }
    for (var kw = 0u; kw < params.kernel_width; kw++) {
      let iw = ow * params.stride_width + kw - params.padding_width;
      if (iw < params.in_width) {
        sum += input[plane + ih * params.in_width + iw];
      }
    }
  }
  output[i] = sum / f32(params.kernel_height * params.kernel_width);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn avg_pool2d_backward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let size = params.in_height * params.in_width;
  if (i >= params.planes * size) {
    return;
  }
  let y = i % size / params.in_width + params.padding_height;
  let x = i % params.in_width + params.padding_width;
  let plane = i / size * params.out_height * params.out_width;
  var sum = 0.0;
  for (var kh = 0u; kh < min(params.kernel_height, y + 1u); kh++) {
    let oh = (y - kh) / params.stride_height;
    if (oh >= params.out_height || oh * params.stride_height + kh != y) {
      continue;
    }
    for (var kw = 0u; kw < min(params.kernel_width, x + 1u); kw++) {
      let ow = (x - kw) / params.stride_width;
      if (ow < params.out_width && ow * params.stride_width + kw == x) {
        sum += grad_output[plane + oh * params.out_width + ow];
      }
    }
  }
  grad_input[i] = sum / f32(params.kernel_height * params.kernel_width);
}
