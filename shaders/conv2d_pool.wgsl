// A convolution of stride 1 without dilation, its ReLU and a max pooling of 2 × 2 windows, whose convolution nobody else needs.
//   output[n, o, h, w] = max over the window of relu(bias[o] + Σ_{c, kh, kw} input[n, c, y + kh − padding, x + kw − padding] · weight[o, c, kh, kw])
//   argmax = the flat index in the plane of the convolution, NOWHERE where the maximum is 0, so that no gradient passes
//
// One result an invocation, from the four sums of its window. The plain variant: the one to read, and the oracle for the others. The host sees to
// it that no sum is longer than one invocation may loop.
// Source: PyTorch nn.Conv2d, nn.ReLU, nn.MaxPool2d(2).

struct ConvPoolParams {
  batch: u32,
  in_channels: u32,
  in_height: u32,
  in_width: u32,
  out_channels: u32,
  // Of the convolution.
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  padding_height: u32,
  padding_width: u32,
}

@group(0) @binding(0) var<uniform> params: ConvPoolParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
@group(0) @binding(5) var<storage, read_write> argmax: array<u32>;

const NOWHERE: u32 = 0xffffffffu;

// By bits, because a driver may assume that there is no NaN.
fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// Stores the maximum of a window (upper row, lower row) whose first element is element `at` of its plane, after the ReLU.
fn store_maximum(i: u32, at: u32, window: vec4<f32>) {
  var best = window.x;
  var best_at = at;
  if (window.y > best || is_nan(window.y)) {
    best = window.y;
    best_at = at + 1u;
  }
  if (window.z > best || is_nan(window.z)) {
    best = window.z;
    best_at = at + params.out_width;
  }
  if (window.w > best || is_nan(window.w)) {
    best = window.w;
    best_at = at + params.out_width + 1u;
  }
  let stopped = best <= 0.0;
  output[i] = select(best, 0.0, stopped);
  argmax[i] = select(best_at, NOWHERE, stopped);
}

fn load_input(plane: u32, y: u32, x: u32) -> f32 {
  // Above or left of the input an index has wrapped to a huge value.
  if (y >= params.in_height || x >= params.in_width) {
    return 0.0;
  }
  return input[(plane * params.in_height + y) * params.in_width + x];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv2d_relu_max_pool2d_forward(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let height = params.out_height / 2u;
  let width = params.out_width / 2u;
  if (i >= params.batch * params.out_channels * height * width) {
    return;
  }
  let x = 2u * (i % width);
  let y = 2u * (i / width % height);
  let o = i / (width * height) % params.out_channels;
  let n = i / (width * height * params.out_channels);
  var sums = vec4(bias[o]);
  for (var c = 0u; c < params.in_channels; c++) {
    let plane = n * params.in_channels + c;
    for (var kh = 0u; kh < params.kernel_height; kh++) {
      let row = y + kh - params.padding_height;
      for (var kw = 0u; kw < params.kernel_width; kw++) {
        let column = x + kw - params.padding_width;
        let window = vec4(
          load_input(plane, row, column),
          load_input(plane, row, column + 1u),
          load_input(plane, row + 1u, column),
          load_input(plane, row + 1u, column + 1u),
        );
        sums += weight[((o * params.in_channels + c) * params.kernel_height + kh) * params.kernel_width + kw] * window;
      }
    }
  }
  store_maximum(i, y * params.out_width + x, sums);
}
