enable subgroups;

// Part of shaders with tiles: slabs multiplied by the lanes of a subgroup together, which have matrices of SIDE × SIDE between them (on some GPUs in
// units of their own, "tensor cores"). The sizes and types that there are come from cooperative_8x8.wgsl or cooperative_16x16.wgsl.
//
// A subgroup has some of the tile's matrices of sums, side by side. Which lane has which element of a matrix nobody says: results reach the lanes that
// store them by way of workgroup memory.

const TILE_K: u32 = SIDE;

// Matrices along a side of the tile, and in all of it.
override ALONG: u32 = TILE / SIDE;
override MATRICES: u32 = ALONG * ALONG;
// Rows of a slab are eight elements longer than they need to be: neighbouring rows are in other banks, and every matrix begins at 16 bytes.
override SLAB_ROW: u32 = TILE + 8u;
override SLAB: u32 = TILE_K * SLAB_ROW;
override OUTPUT: u32 = TILE * TILE;
// Rows of four results that an invocation has.
override RESULTS: u32 = OUTPUT / (4u * WORKGROUP_SIZE);

var<workgroup> tile_a: array<Factor, SLAB>;
var<workgroup> tile_b: array<Factor, SLAB>;
var<workgroup> tile_output: array<f32, OUTPUT>;
var<workgroup> counted: atomic<u32>;

struct Sums {
  matrices: array<Sum, MOST>,
  // The first of the subgroup's matrices, and the one after its last.
  first: u32,
  end: u32,
}

// Gives each subgroup its number, and so its matrices: how many there are, and which lanes are in them, is the driver's to decide.
fn begin(sums: ptr<function, Sums>, local: u32) {
  if (local == 0u) {
    atomicStore(&counted, 0u);
  }
  workgroupBarrier();
  var number = 0u;
  if (subgroupExclusiveAdd(1u) == 0u) {
    number = atomicAdd(&counted, 1u);
  }
  number = subgroupBroadcastFirst(number);
  workgroupBarrier();
  let subgroups = atomicLoad(&counted);
  let own = (MATRICES + subgroups - 1u) / subgroups;
  (*sums).first = min(number * own, MATRICES);
  (*sums).end = min((*sums).first + own, MATRICES);
}

// Row and column of a matrix in the tile.
fn corner(matrix: u32) -> vec2<u32> {
  return vec2(matrix / ALONG, matrix % ALONG) * SIDE;
}

// Puts an invocation's part of a slab in its place, once nobody needs the slab before.
fn stage(own_a: vec2<u32>, next_a: vec4<f32>, own_b: vec2<u32>, next_b: vec4<f32>) {
  let rows = own_a.x * SLAB_ROW + quad(own_a.y);
  let columns = own_b.x * SLAB_ROW + quad(own_b.y);
  workgroupBarrier();
  tile_a[rows.x] = Factor(next_a.x);
  tile_a[rows.y] = Factor(next_a.y);
  tile_a[rows.z] = Factor(next_a.z);
  tile_a[rows.w] = Factor(next_a.w);
  tile_b[columns.x] = Factor(next_b.x);
  tile_b[columns.y] = Factor(next_b.y);
  tile_b[columns.z] = Factor(next_b.z);
  tile_b[columns.w] = Factor(next_b.w);
  workgroupBarrier();
}

// Adds a slab's terms. In which order an adapter adds the SIDE products of a result, and whether it rounds in between, is its own.
// All lanes of a subgroup take the same way, which naga 30 does not see; it counts the matrices among the derivatives, for which there is this filter.
@diagnostic(off, derivative_uniformity)
fn multiply(sums: ptr<function, Sums>, local: u32) {
  for (var place = 0u; place < MOST; place++) {
    let matrix = (*sums).first + place;
    if (matrix < (*sums).end) {
      let at = corner(matrix);
      // A slab of a has its terms one below the other, so its columns are stored side by side; of b, its rows are.
      let rows = coopLoad<Rows>(&tile_a[at.x], SLAB_ROW);
      let columns = coopLoadT<Columns>(&tile_b[at.y], SLAB_ROW);
      (*sums).matrices[place] = coopMultiplyAdd(rows, columns, (*sums).matrices[place]);
    }
  }
}

// Hands the results to the lanes that store them.
@diagnostic(off, derivative_uniformity)
fn finish(sums: ptr<function, Sums>, local: u32) {
  for (var place = 0u; place < MOST; place++) {
    let matrix = (*sums).first + place;
    if (matrix < (*sums).end) {
      let at = corner(matrix);
      coopStoreT((*sums).matrices[place], &tile_output[at.x * TILE + at.y], TILE);
    }
  }
  workgroupBarrier();
}

// Row of the tile and first column of a quad of results, and what it holds.
fn place_of(result: u32, local: u32) -> vec2<u32> {
  let at = result * WORKGROUP_SIZE + local;
  return vec2(at / QUADS, at % QUADS);
}

fn quad_of(sums: ptr<function, Sums>, result: u32, local: u32) -> vec4<f32> {
  let place = place_of(result, local);
  let at = place.x * TILE + quad(place.y);
  return vec4(tile_output[at.x], tile_output[at.y], tile_output[at.z], tile_output[at.w]);
}
