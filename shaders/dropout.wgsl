// output[i] = input[i] / (1 − p) where element i is kept, which happens with probability 1 − p, else 0.
//
// Four elements an invocation, as many as one call of the generator has words for. Nobody stores which elements are kept: seed, layer,
// step and element decide, so the same kernel over the gradient of the output gives that of the input. `select` rather than a product
// with 0, which would let a NaN pass. Not run at inference.
// Source: PyTorch nn.Dropout.

struct DropoutParams {
  length: u32,
  // Which layer of the network it is.
  layer: u32,
  // p · 2³²: an element whose random word is below it is dropped.
  threshold: u32,
  // 1 / (1 − p).
  scale: f32,
  seed_low: u32,
  seed_high: u32,
}

@group(0) @binding(0) var<uniform> params: DropoutParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

// What the random words are for, as in reference/philox.rs.
const DROPOUT: u32 = 2u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn dropout(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let four = invocation_index(workgroup, grid, local);
  let first = four * 4u;
  // `four` as well: in the last row of a folded grid the product may wrap.
  if (four > params.length / 4u || first >= params.length) {
    return;
  }
  let words = philox(vec4(four, params.layer, now.step, DROPOUT), vec2(params.seed_low, params.seed_high));
  for (var k = 0u; k < min(4u, params.length - first); k++) {
    let i = first + k;
    output[i] = select(0.0, input[i] * params.scale, words[k] >= params.threshold);
  }
}
