// output[m, n] = Σ_k a(m, k) · b(k, n) as in matmul.wgsl, for sizes whose rows as they are stored are multiples of 4, on subgroups of at
// least 8 lanes.
//
// One invocation computes TILE_M × TILE_N of the output, four terms of the sums at a time. All invocations of a workgroup have the same rows and
// differ in their columns: each lane of a subgroup loads a part of a, and the others take it from that lane's register; of b each loads
// what belongs to its own columns. Every load is of four values. No lane may leave early, because others take values from it: what lies
// past the edge is computed from valid elements and not written. Slices as in matmul.wgsl, in multiples of four terms.

enable subgroups;

@group(0) @binding(0) var<uniform> params: MatmulParams;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

// Whether a is stored (k, m), b (n, k).
override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;

// Lanes that every subgroup has.
const LANES: u32 = 8u;
const TILE_M: u32 = 32u;
const TILE_N: u32 = 4u;

// Loads of four values that a lane does for its part of a, and for its columns of b.
const PARTS: u32 = 4u;

// Rows of the tile that one array holds: a loop over all of them would be too long for some compilers to unroll.
const BLOCK: u32 = TILE_M / 2u;

// The row of the tile that a lane's register makes: part is row / LANES, the lane row % LANES.
fn row_of(row: u32) -> u32 {
  return select(row, row % LANES * 4u + row / LANES, TRANSPOSE_A);
}

fn transposed(values: array<vec4<f32>, 4>) -> array<vec4<f32>, 4> {
  return array(
    vec4(values[0].x, values[1].x, values[2].x, values[3].x),
    vec4(values[0].y, values[1].y, values[2].y, values[3].y),
    vec4(values[0].z, values[1].z, values[2].z, values[3].z),
    vec4(values[0].w, values[1].w, values[2].w, values[3].w),
  );
}

// Adds four terms of each sum: `held` has four k of the lane's rows, `columns` the four columns at each of those k.
fn multiply(sums: ptr<function, array<vec4<f32>, BLOCK>>, held: array<vec4<f32>, 2>, columns: array<vec4<f32>, 4>) {
  var parts = held;
  for (var row = 0u; row < BLOCK; row++) {
    let part = parts[row / LANES];
    let source = row % LANES;
    (*sums)[row] = fma(vec4(subgroupShuffle(part.x, source)), columns[0], (*sums)[row]);
    (*sums)[row] = fma(vec4(subgroupShuffle(part.y, source)), columns[1], (*sums)[row]);
    (*sums)[row] = fma(vec4(subgroupShuffle(part.z, source)), columns[2], (*sums)[row]);
    (*sums)[row] = fma(vec4(subgroupShuffle(part.w, source)), columns[3], (*sums)[row]);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn matmul_subgroup(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles_m = (params.m + TILE_M - 1u) / TILE_M;
  let places = params.n / TILE_N;
  let groups = (places + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let i = workgroup_index(workgroup, grid);
  if (i >= params.slices * tiles_m * groups) {
    return;
  }
  let place = i % groups * WORKGROUP_SIZE + local;
  let m = i / groups % tiles_m * TILE_M;
  let slice = i / (groups * tiles_m);
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.k);

  let own = lane % LANES;
  let valid = min(place, places - 1u);
  // Where the loads begin, in fours: at four k of one row for each eight of the tile, or at four adjacent rows for each of four k.
  var from_a: array<u32, PARTS>;
  var from_b: array<u32, PARTS>;
  for (var part = 0u; part < PARTS; part++) {
    if (TRANSPOSE_A) {
      from_a[part] = min(m / 4u + own, params.m / 4u - 1u) + part * (params.m / 4u);
    } else {
      from_a[part] = min(m + part * LANES + own, params.m - 1u) * (params.k / 4u);
    }
    if (TRANSPOSE_B) {
      from_b[part] = (valid * TILE_N + part) * (params.k / 4u);
    } else {
      from_b[part] = valid + part * places;
    }
  }
  let step_a = select(1u, params.m, TRANSPOSE_A);
  let step_b = select(params.n, 1u, TRANSPOSE_B);

  var upper: array<vec4<f32>, BLOCK>;
  var lower: array<vec4<f32>, BLOCK>;
  for (var four = first / 4u; four < last / 4u; four++) {
    var held: array<vec4<f32>, PARTS>;
    var columns: array<vec4<f32>, PARTS>;
    for (var part = 0u; part < PARTS; part++) {
      held[part] = a[from_a[part] + four * step_a];
      columns[part] = b[from_b[part] + four * step_b];
    }
    if (TRANSPOSE_A) {
      held = transposed(held);
    }
    if (TRANSPOSE_B) {
      columns = transposed(columns);
    }
    multiply(&upper, array(held[0], held[1]), columns);
    multiply(&lower, array(held[2], held[3]), columns);
  }
  if (place >= places) {
    return;
  }
  for (var row = 0u; row < BLOCK; row++) {
    let rows = m + vec2(row_of(row), row_of(row + BLOCK));
    if (rows.x < params.m) {
      output[(slice * params.m + rows.x) * places + place] = upper[row];
    }
    if (rows.y < params.m) {
      output[(slice * params.m + rows.y) * places + place] = lower[row];
    }
  }
}
