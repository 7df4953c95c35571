// Part of shaders with tiles: slabs of quads, multiplied in the registers of each invocation.
//
// An invocation computes 4 × 4 results, or two or four such blocks, with two loads from workgroup memory for 16 multiply-adds, down to four for 64.
// The four rows of a block, and its four columns, are a quad, and a quad at one k is one vec4 of workgroup memory, a and b alike, transposed or not.
// Rows of a slab are one quad longer than they need to be: those that store a quad at neighbouring k meet in no bank.

const TILE_K: u32 = 8u;

// Blocks of an invocation along each side of the tile, 1 or 2.
override BLOCKS_M: u32 = 1u;
override BLOCKS_N: u32 = 1u;
override SLAB_ROW: u32 = QUADS + 1u;
override SLAB: u32 = TILE_K * SLAB_ROW;
// Rows of four results that an invocation has.
override RESULTS: u32 = 4u * BLOCKS_M * BLOCKS_N;

// A size without a name of its own is more than naga 30 can specialise.
var<workgroup> tile_a: array<vec4<Factor>, SLAB>;
var<workgroup> tile_b: array<vec4<Factor>, SLAB>;

// A row of a block in each vec4; those that the overrides leave out cost nothing.
struct Sums {
  upper_left: mat4x4<f32>,
  upper_right: mat4x4<f32>,
  lower_left: mat4x4<f32>,
  lower_right: mat4x4<f32>,
}

fn outer(rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
  return mat4x4(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
}

// The first quads of an invocation's results, of rows and of columns.
fn own_quads(local: u32) -> vec2<u32> {
  return vec2(local / (QUADS / BLOCKS_N), local % (QUADS / BLOCKS_N));
}

// Before the first slab: nothing to do.
fn begin(sums: ptr<function, Sums>, local: u32) {
}

// Puts an invocation's part of a slab in its place, once nobody needs the slab before.
fn stage(own_a: vec2<u32>, next_a: vec4<f32>, own_b: vec2<u32>, next_b: vec4<f32>) {
  workgroupBarrier();
  tile_a[own_a.x * SLAB_ROW + own_a.y] = vec4<Factor>(next_a);
  tile_b[own_b.x * SLAB_ROW + own_b.y] = vec4<Factor>(next_b);
  workgroupBarrier();
}

// Adds a slab's terms, in their order.
fn multiply(sums: ptr<function, Sums>, local: u32) {
  let own = own_quads(local);
  for (var k = 0u; k < TILE_K; k++) {
    let at_m = k * SLAB_ROW + own.x;
    let at_n = k * SLAB_ROW + own.y;
    let rows = vec4<f32>(tile_a[at_m]);
    let columns = vec4<f32>(tile_b[at_n]);
    (*sums).upper_left += outer(rows, columns);
    if (BLOCKS_N > 1u) {
      (*sums).upper_right += outer(rows, vec4<f32>(tile_b[at_n + QUADS / 2u]));
    }
    if (BLOCKS_M > 1u) {
      let lower = vec4<f32>(tile_a[at_m + QUADS / 2u]);
      (*sums).lower_left += outer(lower, columns);
      if (BLOCKS_N > 1u) {
        (*sums).lower_right += outer(lower, vec4<f32>(tile_b[at_n + QUADS / 2u]));
      }
    }
  }
}

// After the last slab: nothing to do.
fn finish(sums: ptr<function, Sums>, local: u32) {
}

fn block_of(sums: ptr<function, Sums>, result: u32) -> mat4x4<f32> {
  if (result / (4u * BLOCKS_N) == 0u) {
    if (result / 4u % BLOCKS_N == 0u) {
      return (*sums).upper_left;
    }
    return (*sums).upper_right;
  }
  if (result / 4u % BLOCKS_N == 0u) {
    return (*sums).lower_left;
  }
  return (*sums).lower_right;
}

// Row of the tile and first column of a quad of results, and what it holds.
fn place_of(result: u32, local: u32) -> vec2<u32> {
  let block = vec2(result / (4u * BLOCKS_N), result / 4u % BLOCKS_N);
  return own_quads(local) + block * (QUADS / 2u) + vec2(result % 4u * QUADS, 0u);
}

fn quad_of(sums: ptr<function, Sums>, result: u32, local: u32) -> vec4<f32> {
  var block = block_of(sums, result);
  return block[result % 4u];
}
