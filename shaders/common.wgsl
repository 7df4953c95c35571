// Shared by every kernel; the host appends this file to each shader.

override WORKGROUP_SIZE: u32 = 64u;

// What changes from one training step to the next. The host writes a table of these once per submit and selects a row with
// a dynamic offset, so that every step replays the same recorded dispatches.
struct Step {
  // Counts from 1 over the whole run.
  step: u32,
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
