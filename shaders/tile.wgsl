// Part of matmul_shared.wgsl and conv2d_implicit_gemm.wgsl: a product of matrices, a (m, k) × b (k, n), in squares of its output.
//
// A workgroup computes TILE × TILE of the output, one slice of the sums. TILE_K terms of its rows of a and its columns of b at a time are a slab in
// workgroup memory: each value is loaded from the buffer once for all invocations that need it, and the next slab is on its way while this one is
// multiplied. How slabs are kept and multiplied is in tile_registers.wgsl and tile_cooperative.wgsl, of which a shader has one.
// What factors are is in factors_f32.wgsl or factors_f16.wgsl.
//
// An invocation loads a quad of either slab: four rows of a, or four columns of b, a quarter of the tile apart, at one k. It also stores quads. So
// neighbouring invocations load and store neighbouring elements whatever the sizes are multiples of, transposed or not. The host chooses workgroups
// of QUADS × TILE_K invocations: then each loads one quad of a and one of b for a slab.
// No lane may leave early, because barriers follow: what is past the edge is computed from something and not written; terms past the end of a slice
// are zeros.
// Source: Volkov and Demmel, "Benchmarking GPUs to Tune Dense Linear Algebra", SC 2008.

// Side of the tile, and how many quads make one.
override TILE: u32 = 32u;
override QUADS: u32 = TILE / 4u;

// The places of a quad in the tile.
fn quad(first: u32) -> vec4<u32> {
  return first + vec4(0u, 1u, 2u, 3u) * QUADS;
}

// What a workgroup computes: its first row and column, its slice, and the terms of that.
struct Part {
  m: u32,
  n: u32,
  slice: u32,
  first: u32,
  last: u32,
}

// Workgroups that compute a product of `sizes`, (m, k, n).
fn workgroups(sizes: vec3<u32>, slices: u32) -> u32 {
  return slices * ((sizes.x + TILE - 1u) / TILE) * ((sizes.z + TILE - 1u) / TILE);
}

fn part_of(i: u32, sizes: vec3<u32>, slice_length: u32) -> Part {
  let tiles_m = (sizes.x + TILE - 1u) / TILE;
  let tiles_n = (sizes.z + TILE - 1u) / TILE;
  let slice = i / (tiles_m * tiles_n);
  let first = slice * slice_length;
  let last = min(first + slice_length, sizes.y);
  return Part(i / tiles_n % tiles_m * TILE, i % tiles_n * TILE, slice, first, last);
}

// Which k of a slab and which quad of the tile an invocation loads, where what is stored side by side are the terms, or the places.
fn along_terms(local: u32) -> vec2<u32> {
  return vec2(local % TILE_K, local / TILE_K);
}

fn along_places(local: u32) -> vec2<u32> {
  return vec2(local / QUADS, local % QUADS);
}
