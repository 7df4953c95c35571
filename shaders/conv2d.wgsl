// Two-dimensional convolution (cross-correlation), NCHW activations, OIHW weight.
//   forward:     output[n, o, oh, ow] = bias[o] + Σ weight[o, c, kh, kw] · input[n, c, ih, iw]
//   grad_input:  grad_input[n, c, ih, iw] = Σ weight[o, c, kh, kw] · grad_output[n, o, oh, ow]
//   grad_input_max_pool2d: the gradient of the planes that a 2 × 2 pooling has made the input of, which all goes to the winners
//   grad_weight: grad_weight[o, c, kh, kw] = Σ grad_output[n, o, oh, ow] · input[n, c, ih, iw]
// each over all terms with ih = oh · stride + kh · dilation − padding inside the input, and iw likewise. The gradient of the bias
// is bias_grad in bias.wgsl.
//
// One (slice, output element) an invocation. The sum runs over rows — (c, kh), (o, kh) and (n, oh) — with the last axis inside; a slice
// is `slice_length` consecutive rows, so that no invocation loops long. The host adds a pass over the slices when there are several.
// The plain variant: the one to read, and the oracle for the others.
// Source: PyTorch nn.Conv2d.

// Conv2dParams is in conv2d_params.wgsl. window_grads is in window_grads.wgsl.
@group(0) @binding(0) var<uniform> params: Conv2dParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(8) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(9) var<storage, read> winner: array<u32>;
@group(0) @binding(10) var<storage, read_write> grad_planes: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_forward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let length = params.batch * params.out_channels * params.out_height * params.out_width;
  if (i >= params.slices * length) {
    return;
  }
  let slice = i / length;
  let ow = i % params.out_width;
  let oh = (i / params.out_width) % params.out_height;
  let o = (i / (params.out_width * params.out_height)) % params.out_channels;
  let n = (i % length) / (params.out_width * params.out_height * params.out_channels);

  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.in_channels * params.kernel_height);
  var sum = select(0.0, bias[o], slice == 0u);
  for (var row = first; row < last; row++) {
    let c = row / params.kernel_height;
    let kh = row % params.kernel_height;
    // Above or left of the input the subtraction wraps to a huge value, so one comparison covers both edges.
    let ih = oh * params.stride_height + kh * params.dilation_height - params.padding_height;
    if (ih >= params.in_height) {
      continue;
    }
    let input_row = ((n * params.in_channels + c) * params.in_height + ih) * params.in_width;
    let weight_row = ((o * params.in_channels + c) * params.kernel_height + kh) * params.kernel_width;
    for (var kw = 0u; kw < params.kernel_width; kw++) {
      let iw = ow * params.stride_width + kw * params.dilation_width - params.padding_width;
      if (iw < params.in_width) {
        sum += weight[weight_row + kw] * input[input_row + iw];
      }
    }
  }
  output[i] = sum;
}

// Element i of the gradient of the input, of which there are `length` in a slice.
fn grad_of_input(i: u32, length: u32) -> f32 {
  let slice = i / length;
  let iw = i % params.in_width;
  let ih = (i / params.in_width) % params.in_height;
  let c = (i / (params.in_width * params.in_height)) % params.in_channels;
  let n = (i % length) / (params.in_width * params.in_height * params.in_channels);

  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.out_channels * params.kernel_height);
  var sum = 0.0;
  for (var row = first; row < last; row++) {
    let o = row / params.kernel_height;
    let kh = row % params.kernel_height;
    let y = ih + params.padding_height;
    if (y < kh * params.dilation_height) {
      continue;
    }
    let oh = (y - kh * params.dilation_height) / params.stride_height;
    if (oh >= params.out_height || oh * params.stride_height + kh * params.dilation_height != y) {
      continue;
    }
    let output_row = ((n * params.out_channels + o) * params.out_height + oh) * params.out_width;
    let weight_row = ((o * params.in_channels + c) * params.kernel_height + kh) * params.kernel_width;
    for (var kw = 0u; kw < params.kernel_width; kw++) {
      let x = iw + params.padding_width;
      if (x < kw * params.dilation_width) {
        break;
      }
      let ow = (x - kw * params.dilation_width) / params.stride_width;
      if (ow < params.out_width && ow * params.stride_width + kw * params.dilation_width == x) {
        sum += weight[weight_row + kw] * grad_output[output_row + ow];
      }
    }
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_input(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let length = params.batch * params.in_channels * params.in_height * params.in_width;
  if (i >= params.slices * length) {
    return;
  }
  grad_input[i] = grad_of_input(i, length);
}

// In one slice.
@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_input_max_pool2d(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let length = params.batch * params.in_channels * params.in_height * params.in_width;
  if (i >= length) {
    return;
  }
  let width = 2u * params.in_width;
  let row = i / params.in_width;
  let column = 2u * (i % params.in_width);
  let own = window_grads(grad_of_input(i, length), winner[i], 2u * (row % params.in_height) * width + column, width);
  let upper = 2u * row * width + column;
  grad_planes[upper] = own.x;
  grad_planes[upper + 1u] = own.y;
  grad_planes[upper + width] = own.z;
  grad_planes[upper + width + 1u] = own.w;
}

// The gradient of one weight, summed over the rows of a slice.
fn grad_of_weight(weight_index: u32, slice: u32) -> f32 {
  let kw = weight_index % params.kernel_width;
  let kh = (weight_index / params.kernel_width) % params.kernel_height;
  let c = (weight_index / (params.kernel_width * params.kernel_height)) % params.in_channels;
  let o = weight_index / (params.kernel_width * params.kernel_height * params.in_channels);

  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.batch * params.out_height);
  var sum = 0.0;
  for (var row = first; row < last; row++) {
    let n = row / params.out_height;
    let oh = row % params.out_height;
    let ih = oh * params.stride_height + kh * params.dilation_height - params.padding_height;
    if (ih >= params.in_height) {
      continue;
    }
    let input_row = ((n * params.in_channels + c) * params.in_height + ih) * params.in_width;
    let output_row = ((n * params.out_channels + o) * params.out_height + oh) * params.out_width;
    for (var ow = 0u; ow < params.out_width; ow++) {
      let iw = ow * params.stride_width + kw * params.dilation_width - params.padding_width;
      if (iw < params.in_width) {
        sum += grad_output[output_row + ow] * input[input_row + iw];
      }
    }
  }
  return sum;
}

// The gradient of one bias, likewise.
fn grad_of_bias(o: u32, slice: u32) -> f32 {
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.batch * params.out_height);
  var sum = 0.0;
  for (var row = first; row < last; row++) {
    let n = row / params.out_height;
    let output_row = ((n * params.out_channels + o) * params.out_height + row % params.out_height) * params.out_width;
    for (var ow = 0u; ow < params.out_width; ow++) {
      sum += grad_output[output_row + ow];
    }
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let length = params.out_channels * params.in_channels * params.kernel_height * params.kernel_width;
  if (i >= params.slices * length) {
    return;
  }
  grad_weight[i] = grad_of_weight(i % length, i / length);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_grad_weight_bias(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let row_length = params.in_channels * params.kernel_height * params.kernel_width;
  let length = params.out_channels * row_length;
  if (i >= params.slices * length) {
    return;
  }
  let slice = i / length;
  grad_weight[i] = grad_of_weight(i % length, slice);
  // The first weight of each output channel brings its bias along.
  if (i % row_length == 0u) {
    grad_bias[i / row_length] = grad_of_bias(i % length / row_length, slice);
  }
}
