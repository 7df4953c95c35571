// Part of the kernels that write a gradient through a 2 × 2 max pooling, two elements of a row at a time.

// Writes what a window gets, by its place among all; planes have `size` windows, rows and columns. window_grads is in window_grads.wgsl.
fn store_window(grad: f32, window: u32, size: vec2<u32>) {
  let width = 2u * size.y;
  let row = window / size.y;
  let first = 2u * (row % size.x) * width + 2u * (window % size.y);
  let own = window_grads(grad, winner[window], first, width);
  // A row of windows is two rows of the planes, each of as many pairs as the row has windows.
  let pair = window + row * size.y;
  grad_planes[pair] = own.xy;
  grad_planes[pair + size.y] = own.zw;
}
