// Part of the kernels of linear layers and their gradients.

struct LinearParams {
  batch: u32,
  in_features: u32,
  out_features: u32,
  // Whether max(output, 0) comes after it.
  relu: u32,
  // Rows and columns of a plane of the input, where the input is what a 2 × 2 pooling has made of planes.
  pool_height: u32,
  pool_width: u32,
}
