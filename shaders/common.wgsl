// Shared by every kernel; the host appends this file to each shader.

override WORKGROUP_SIZE: u32 = 64u;

// What changes from one training step to the next. The host writes a table of these once per submit and selects a row with
// a dynamic offset, so that every step replays the same recorded dispatches.
struct Step {
  // Counts from 1 over the whole run.
  step: u32,
  // Counts from 1.
  epoch: u32,
  // Where this batch starts in `order`, in images.
  order_offset: u32,
  // Real images in this batch; rows from `count` on are padding and must not influence anything.
  count: u32,
  // Where this step's loss goes in `losses`.
  slot: u32,
  learning_rate: f32,
}

@group(1) @binding(0) var<uniform> now: Step;

// One-dimensional index of a workgroup: more than 65,535 of them fold into y.
fn workgroup_index(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
  return workgroup.y * grid.x + workgroup.x;
}

// One-dimensional index of an invocation in a grid folded the same way.
fn invocation_index(workgroup: vec3<u32>, grid: vec3<u32>, local: u32) -> u32 {
  return workgroup_index(workgroup, grid) * WORKGROUP_SIZE + local;
}

// The high word of a product of two words; WGSL has no integers of 64 bits.
fn multiply_high(a: u32, b: u32) -> u32 {
  let a_low = a & 0xffffu;
  let a_high = a >> 16u;
  let b_low = b & 0xffffu;
  let b_high = b >> 16u;
  let middle = a_high * b_low + ((a_low * b_low) >> 16u);
  let carried = a_low * b_high + (middle & 0xffffu);
  return a_high * b_high + (middle >> 16u) + (carried >> 16u);
}

// Philox4x32-10: four random words that depend on a counter and a key and on nothing drawn before.
// Source: Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var words = counter;
  var round_key = key;
  for (var round = 0u; round < 10u; round++) {
    words = vec4(
      multiply_high(0xcd9e8d57u, words.z) ^ words.y ^ round_key.x,
      0xcd9e8d57u * words.z,
      multiply_high(0xd2511f53u, words.x) ^ words.w ^ round_key.y,
      0xd2511f53u * words.x,
    );
    round_key += vec2(0x9e3779b9u, 0xbb67ae85u);
  }
  return words;
}
