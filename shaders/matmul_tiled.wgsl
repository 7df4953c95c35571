// output[m, n] = Σ_k a(m, k) · b(k, n), row-major; strides make both transposes the same loop.
//
// One invocation computes a TILE_M × TILE_N tile in registers: each loaded value of a and b is used four times, without shared memory
// or barriers, which software adapters and small GPUs pay dearly for. Rows and columns past the edge read the last valid one and
// are not written. Slices as in matmul.wgsl.

// MatmulParams is in matmul_params.wgsl.
@group(0) @binding(0) var<uniform> params: MatmulParams;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

// A row of the tile is one vec4.
const TILE_M: u32 = 4u;
const TILE_N: u32 = 4u;

fn store_row(slice: u32, m: u32, n: u32, row: vec4<f32>) {
  if (m >= params.m) {
    return;
  }
  let base = (slice * params.m + m) * params.n + n;
  output[base] = row.x;
  if (n + 1u < params.n) {
    output[base + 1u] = row.y;
  }
  if (n + 2u < params.n) {
    output[base + 2u] = row.z;
  }
  if (n + 3u < params.n) {
    output[base + 3u] = row.w;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn matmul_tiled(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let tiles_m = (params.m + TILE_M - 1u) / TILE_M;
  let tiles_n = (params.n + TILE_N - 1u) / TILE_N;
  if (i >= params.slices * tiles_m * tiles_n) {
    return;
  }
  let slice = i / (tiles_m * tiles_n);
  let m = (i / tiles_n) % tiles_m * TILE_M;
  let n = i % tiles_n * TILE_N;
  let first = slice * params.slice_length;
  let last = min(first + params.slice_length, params.k);

  let rows = min(vec4(m, m + 1u, m + 2u, m + 3u), vec4(params.m - 1u)) * params.a_stride_m;
  let columns = min(vec4(n, n + 1u, n + 2u, n + 3u), vec4(params.n - 1u)) * params.b_stride_n;
  var row_0 = vec4(0.0);
  var row_1 = vec4(0.0);
  var row_2 = vec4(0.0);
  var row_3 = vec4(0.0);
  for (var k = first; k < last; k++) {
    let a_k = k * params.a_stride_k;
    let b_k = k * params.b_stride_k;
    let values = vec4(b[b_k + columns.x], b[b_k + columns.y], b[b_k + columns.z], b[b_k + columns.w]);
    row_0 += a[a_k + rows.x] * values;
    row_1 += a[a_k + rows.y] * values;
    row_2 += a[a_k + rows.z] * values;
    row_3 += a[a_k + rows.w] * values;
  }
  store_row(slice, m, n, row_0);
  store_row(slice, m + 1u, n, row_1);
  store_row(slice, m + 2u, n, row_2);
  store_row(slice, m + 3u, n, row_3);
}
