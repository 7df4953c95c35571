// output[m, n] = Σ_k a(m, k) · b(k, n) as in matmul.wgsl, of any sizes, for GPUs with workgroup memory: in the tiles of tile.wgsl.
// Rows and columns past the edge are computed from the last valid ones. Slices as in matmul.wgsl.

// MatmulParams is in matmul_params.wgsl.
@group(0) @binding(0) var<uniform> params: MatmulParams;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

// Whether a is stored (k, m), b (n, k).
override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;

fn own_part(local: u32, is_along_terms: bool) -> vec2<u32> {
  return select(along_places(local), along_terms(local), is_along_terms);
}

fn load_a(rows: vec4<u32>, k: u32, last: u32) -> vec4<f32> {
  let at = rows + min(k, last - 1u) * params.a_stride_k;
  return select(vec4(0.0), vec4(a[at.x], a[at.y], a[at.z], a[at.w]), k < last);
}

fn load_b(columns: vec4<u32>, k: u32, last: u32) -> vec4<f32> {
  let at = columns + min(k, last - 1u) * params.b_stride_k;
  return select(vec4(0.0), vec4(b[at.x], b[at.y], b[at.z], b[at.w]), k < last);
}

fn store_quad(slice: u32, m: u32, n: u32, values: vec4<f32>) {
  if (m >= params.m) {
    return;
  }
  let inside = quad(n) < vec4(params.n);
  let at = (slice * params.m + m) * params.n + quad(n);
  if (inside.x) {
    output[at.x] = values.x;
  }
  if (inside.y) {
    output[at.y] = values.y;
  }
  if (inside.z) {
    output[at.z] = values.z;
  }
  if (inside.w) {
    output[at.w] = values.w;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn matmul_shared(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let sizes = vec3(params.m, params.k, params.n);
  let i = workgroup_index(workgroup, grid);
  if (i >= workgroups(sizes, params.slices)) {
    return;
  }
  let part = part_of(i, sizes, params.slice_length);
  let own_a = own_part(local, !TRANSPOSE_A);
  let own_b = own_part(local, TRANSPOSE_B);
  let rows = min(part.m + quad(own_a.y), vec4(params.m - 1u)) * params.a_stride_m;
  let columns = min(part.n + quad(own_b.y), vec4(params.n - 1u)) * params.b_stride_n;

  var sums: Sums;
  begin(&sums, local);
  // A turn loads a slab, and multiplies the one before while that is on its way.
  for (var k = part.first; k < part.last + TILE_K; k += TILE_K) {
    let next_a = load_a(rows, k + own_a.x, part.last);
    let next_b = load_b(columns, k + own_b.x, part.last);
    if (k > part.first) {
      multiply(&sums, local);
    }
    stage(own_a, next_a, own_b, next_b);
  }
  finish(&sums, local);

  for (var result = 0u; result < RESULTS; result++) {
    let place = vec2(part.m, part.n) + place_of(result, local);
    store_quad(part.slice, place.x, place.y, quad_of(&sums, result, local));
  }
}
