// nonfinite.wgsl, FOURS times four elements an invocation: for lengths that are multiples of 4.

struct NonfiniteParams {
  length: u32,
}

@group(0) @binding(0) var<uniform> params: NonfiniteParams;
@group(0) @binding(1) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> status: array<atomic<u32>>;

const FOURS: u32 = 4u;

const NOWHERE: u32 = 0xffffffffu;

@compute @workgroup_size(WORKGROUP_SIZE)
fn nonfinite_vec4(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let start = workgroup_index(workgroup, grid) * FOURS * WORKGROUP_SIZE + local;
  var first = NOWHERE;
  for (var four = 0u; four < FOURS; four++) {
    let i = start + four * WORKGROUP_SIZE;
    if (i < params.length / 4u) {
      let nonfinite = (bitcast<vec4<u32>>(values[i]) & vec4(0x7f800000u)) == vec4(0x7f800000u);
      let component = select(select(select(3u, 2u, nonfinite.z), 1u, nonfinite.y), 0u, nonfinite.x);
      first = min(first, select(NOWHERE, 4u * i + component, any(nonfinite)));
    }
  }
  if (first != NOWHERE && atomicMin(&status[0], now.step) >= now.step) {
    atomicMin(&status[1], first);
  }
}
