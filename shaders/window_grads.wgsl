// Part of the kernels that write a gradient through a 2 × 2 max pooling.

// What the four elements of a 2 × 2 window get, the upper row first: `grad` for its winner, which has the flat index `winner_at` in a plane of
// the given width where the window's first has `first`; nothing where that is not in the window.
fn window_grads(grad: f32, winner_at: u32, first: u32, width: u32) -> vec4<f32> {
  return select(vec4(0.0), vec4(grad), vec4(winner_at) == vec4(first) + vec4(0u, 1u, width, width + 1u));
}
