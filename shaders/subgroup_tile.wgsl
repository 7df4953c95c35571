enable subgroups;

// Part of kernels that compute a product of matrices, a (m, k) × b (k, n), in tiles of 32 × 4, on subgroups of at least 8 lanes. Rows of a and b as
// they are stored are multiples of 4.
//
// One invocation computes TILE_M × TILE_N of the product, four terms of the sums at a time. All invocations of a workgroup have the same rows and
// differ in their columns: each lane of a subgroup loads a part of a, and the others take it from that lane's register; of b each loads
// what belongs to its own columns. Every load is of four values. No lane may leave early, because others take values from it: what lies
// past the edge is computed from valid elements.

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
alias Block = array<vec4<f32>, BLOCK>;

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
fn multiply(sums: ptr<function, Block>, held: array<vec4<f32>, 2>, columns: array<vec4<f32>, 4>) {
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

// Adds the terms from first to last, multiples of four, of a tile of a product of `sizes`, (m, k, n), whose first row is m and whose columns are the
// four of a place: row_of(row) of the tile is `upper`'s row, row_of(row + BLOCK) `lower`'s.
fn add_tile(
  upper: ptr<function, Block>,
  lower: ptr<function, Block>,
  sizes: vec3<u32>,
  m: u32,
  place: u32,
  first: u32,
  last: u32,
  lane: u32,
) {
  let own = lane % LANES;
  let places = sizes.z / TILE_N;
  let valid = min(place, places - 1u);
  // Where the loads begin, in fours: at four k of one row for each eight of the tile, or at four adjacent rows for each of four k.
  var from_a: array<u32, PARTS>;
  var from_b: array<u32, PARTS>;
  for (var part = 0u; part < PARTS; part++) {
    if (TRANSPOSE_A) {
      from_a[part] = min(m / 4u + own, sizes.x / 4u - 1u) + part * (sizes.x / 4u);
    } else {
      from_a[part] = min(m + part * LANES + own, sizes.x - 1u) * (sizes.y / 4u);
    }
    if (TRANSPOSE_B) {
      from_b[part] = (valid * TILE_N + part) * (sizes.y / 4u);
    } else {
      from_b[part] = valid + part * places;
    }
  }
  let step_a = select(1u, sizes.x, TRANSPOSE_A);
  let step_b = select(sizes.z, 1u, TRANSPOSE_B);
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
    multiply(upper, array(held[0], held[1]), columns);
    multiply(lower, array(held[2], held[3]), columns);
  }
}
