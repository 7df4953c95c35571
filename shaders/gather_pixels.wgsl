// Part of gather.wgsl: a pixel at a time.

@group(0) @binding(6) var<storage, read_write> input: array<f32>;

// Four pixels of row n, as many of them as the image still has.
fn store(n: u32, first: u32, values: vec4<f32>) {
  let base = n * params.image_length + first;
  input[base] = values.x;
  if (first + 1u < params.image_length) {
    input[base + 1u] = values.y;
  }
  if (first + 2u < params.image_length) {
    input[base + 2u] = values.z;
  }
  if (first + 3u < params.image_length) {
    input[base + 3u] = values.w;
  }
}
