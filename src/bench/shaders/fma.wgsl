// The rate of multiply-adds: x ← x · factor + term, in eight independent chains of four lanes, so that none waits for another, and with no
// memory traffic but one store at the end.
//
// factor and term come from outside and every chain reaches the output, so that no compiler can do without the loop.

struct FmaParams {
  rounds: u32,
  factor: f32,
  term: f32,
}

@group(0) @binding(0) var<uniform> params: FmaParams;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

// Multiply-adds of one invocation in one round: 4 steps of 8 chains of 4 lanes.
const FMA_PER_ROUND: u32 = 128u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn fma_rate(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= arrayLength(&output)) {
    return;
  }
  let factor = vec4(params.factor);
  let term = vec4(params.term);
  // Each lane begins elsewhere: equal chains could be computed once.
  let start = vec4(0.0, 1.0, 2.0, 3.0) + f32(local);
  var a = start;
  var b = start + 4.0;
  var c = start + 8.0;
  var d = start + 12.0;
  var e = start + 16.0;
  var f = start + 20.0;
  var g = start + 24.0;
  var h = start + 28.0;
  for (var round = 0u; round < params.rounds; round++) {
    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
    e = fma(e, factor, term);
    f = fma(f, factor, term);
    g = fma(g, factor, term);
    h = fma(h, factor, term);

    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
    e = fma(e, factor, term);
    f = fma(f, factor, term);
    g = fma(g, factor, term);
    h = fma(h, factor, term);

    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
    e = fma(e, factor, term);
    f = fma(f, factor, term);
    g = fma(g, factor, term);
    h = fma(h, factor, term);

    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
    e = fma(e, factor, term);
    f = fma(f, factor, term);
    g = fma(g, factor, term);
    h = fma(h, factor, term);
  }
  output[i] = dot(a + b + c + d + e + f + g + h, vec4(1.0));
}
