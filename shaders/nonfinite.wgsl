// Finds the first NaN or infinity: status = [step, index], both 0xffffffff while all values were finite.
//
// One element an invocation. The test is on the bits, because a driver may assume that there is no NaN. Only integer atomics, and only
// minima, so the answer does not depend on the order of the invocations. Once a step is flagged, later ones leave it alone.

struct NonfiniteParams {
  length: u32,
}

@group(0) @binding(0) var<uniform> params: NonfiniteParams;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> status: array<atomic<u32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn nonfinite(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.length || (bitcast<u32>(values[i]) & 0x7f800000u) != 0x7f800000u) {
    return;
  }
  if (atomicMin(&status[0], now.step) >= now.step) {
    atomicMin(&status[1], i);
  }
}
