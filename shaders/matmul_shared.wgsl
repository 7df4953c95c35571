// output[m, n] = Σ_k a(m, k) · b(k, n) as in matmul.wgsl, of any sizes, for GPUs with workgroup memory.
//
// A workgroup computes TILE × TILE of the output. TILE_K terms of its rows of a and its columns of b at a time are a slab in workgroup memory: each
// value is loaded from the buffer once for all invocations that need it, and the next slab is on its way while this one is multiplied. An
// invocation computes 4 × 4 results in registers, or two or four such blocks, with two loads from workgroup memory for 16 multiply-adds, down to
// four for 64.
//
// The four rows of a block, and its four columns, are a quarter of the tile apart: a quad. So neighbouring invocations load and store neighbouring
// elements whatever the sizes are multiples of, and a quad at one k is one vec4 of workgroup memory, a and b alike, transposed or not. Rows of a
// slab are one quad longer than they need to be: those that store a quad at neighbouring k meet in no bank.
// Rows and columns past the edge are computed from the last valid ones and not written; terms past the end of a slice are zeros. No lane may
// leave early, because barriers follow. Slices as in matmul.wgsl.
// Source: Volkov and Demmel, "Benchmarking GPUs to Tune Dense Linear Algebra", SC 2008.

struct MatmulParams {
  m: u32,
  k: u32,
  n: u32,
  a_stride_m: u32,
  a_stride_k: u32,
  b_stride_k: u32,
  b_stride_n: u32,
  slices: u32,
  slice_length: u32,
}

@group(0) @binding(0) var<uniform> params: MatmulParams;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

// Whether a is stored (k, m), b (n, k).
override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;

// Sides of the tile, and blocks of an invocation along each, 1 or 2. The host chooses them so that QUADS × TILE_K invocations compute a tile: then
// each loads one quad of a and one of b for a slab.
override TILE: u32 = 32u;
override BLOCKS_M: u32 = 1u;
override BLOCKS_N: u32 = 1u;
override QUADS: u32 = TILE / 4u;
override SLAB_ROW: u32 = QUADS + 1u;
override SLAB: u32 = TILE_K * SLAB_ROW;
const TILE_K: u32 = 8u;

// A size without a name of its own is more than naga 30 can specialise.
var<workgroup> tile_a: array<vec4<f32>, SLAB>;
var<workgroup> tile_b: array<vec4<f32>, SLAB>;

// The results of an invocation, a row of a block in each vec4; those that the overrides leave out cost nothing.
struct Sums {
  upper_left: mat4x4<f32>,
  upper_right: mat4x4<f32>,
  lower_left: mat4x4<f32>,
  lower_right: mat4x4<f32>,
}

fn outer(rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
  return mat4x4(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
}

// Adds a slab's terms, in their order; quad_m and quad_n are the first of an invocation's.
fn multiply(sums: ptr<function, Sums>, quad_m: u32, quad_n: u32) {
  for (var k = 0u; k < TILE_K; k++) {
    let at_m = k * SLAB_ROW + quad_m;
    let at_n = k * SLAB_ROW + quad_n;
    let rows = tile_a[at_m];
    let columns = tile_b[at_n];
    (*sums).upper_left += outer(rows, columns);
    if (BLOCKS_N > 1u) {
      (*sums).upper_right += outer(rows, tile_b[at_n + QUADS / 2u]);
    }
    if (BLOCKS_M > 1u) {
      let lower = tile_a[at_m + QUADS / 2u];
      (*sums).lower_left += outer(lower, columns);
      if (BLOCKS_N > 1u) {
        (*sums).lower_right += outer(lower, tile_b[at_n + QUADS / 2u]);
      }
    }
  }
}

fn block_of(sums: Sums, block_m: u32, block_n: u32) -> mat4x4<f32> {
  if (block_m == 0u) {
    if (block_n == 0u) {
      return sums.upper_left;
    }
    return sums.upper_right;
  }
  if (block_n == 0u) {
    return sums.lower_left;
  }
  return sums.lower_right;
}

// The places of a quad in the tile.
fn quad(first: u32) -> vec4<u32> {
  return first + vec4(0u, 1u, 2u, 3u) * QUADS;
}

// Which k of a slab and which quad of the tile an invocation loads: neighbours have what is stored side by side.
fn own_part(local: u32, along_k: bool) -> vec2<u32> {
  return select(vec2(local / QUADS, local % QUADS), vec2(local % TILE_K, local / TILE_K), along_k);
}

fn load_a(rows: vec4<u32>, k: u32, last: u32) -> vec4<f32> {
  let at = rows + min(k, last - 1u) * params.a_stride_k;
  return select(vec4(0.0), vec4(a[at.x], a[at.y], a[at.z], a[at.w]), k < last);
}

fn load_b(columns: vec4<u32>, k: u32, last: u32) -> vec4<f32> {
  let at = columns + min(k, last - 1u) * params.b_stride_k;
  return select(vec4(0.0), vec4(b[at.x], b[at.y], b[at.z], b[at.w]), k < last);
}

fn store_row(slice: u32, m: u32, n: u32, row: vec4<f32>) {
  if (m >= params.m) {
    return;
  }
  let inside = quad(n) < vec4(params.n);
  let at = (slice * params.m + m) * params.n + quad(n);
  if (inside.x) {
    output[at.x] = row.x;
  }
  if (inside.y) {
    output[at.y] = row.y;
  }
  if (inside.z) {
    output[at.z] = row.z;
  }
  if (inside.w) {
    output[at.w] = row.w;
  }
}

fn store_block(slice: u32, m: u32, n: u32, block: mat4x4<f32>) {
  store_row(slice, m, n, block[0]);
  store_row(slice, m + QUADS, n, block[1]);
  store_row(slice, m + 2u * QUADS, n, block[2]);
  store_row(slice, m + 3u * QUADS, n, block[3]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn matmul_shared(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tiles_m = (params.m + TILE - 1u) / TILE;
  let tiles_n = (params.n + TILE - 1u) / TILE;
  let i = workgroup_index(workgroup, grid);
  if (i >= params.slices * tiles_m * tiles_n) {
    return;
  }
  let slice = i / (tiles_m * tiles_n);
  let m = i / tiles_n % tiles_m * TILE;
  let n = i % tiles_n * TILE;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.k);

  let part_a = own_part(local, !TRANSPOSE_A);
  let part_b = own_part(local, TRANSPOSE_B);
  let rows = min(m + quad(part_a.y), vec4(params.m - 1u)) * params.a_stride_m;
  let columns = min(n + quad(part_b.y), vec4(params.n - 1u)) * params.b_stride_n;
  let invocations_n = QUADS / BLOCKS_N;
  let quad_m = local / invocations_n;
  let quad_n = local % invocations_n;

  var sums: Sums;
  // A turn loads a slab, and multiplies the one before while that is on its way.
  for (var k = first; k < last + TILE_K; k += TILE_K) {
    let next_a = load_a(rows, k + part_a.x, last);
    let next_b = load_b(columns, k + part_b.x, last);
    if (k > first) {
      multiply(&sums, quad_m, quad_n);
    }
    // Until here the slab before was needed.
    workgroupBarrier();
    tile_a[part_a.x * SLAB_ROW + part_a.y] = next_a;
    tile_b[part_b.x * SLAB_ROW + part_b.y] = next_b;
    workgroupBarrier();
  }

  for (var block_m = 0u; block_m < BLOCKS_M; block_m++) {
    for (var block_n = 0u; block_n < BLOCKS_N; block_n++) {
      let own = vec2(m + quad_m, n + quad_n) + vec2(block_m, block_n) * (QUADS / 2u);
      store_block(slice, own.x, own.y, block_of(sums, block_m, block_n));
    }
  }
}
