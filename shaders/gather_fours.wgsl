// Part of gather.wgsl: four pixels at a time, for images whose pixels are a multiple of four.

@group(0) @binding(6) var<storage, read_write> input: array<vec4<f32>>;

fn store(n: u32, first: u32, values: vec4<f32>) {
  input[(n * params.image_length + first) / 4u] = values;
}
