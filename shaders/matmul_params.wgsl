// Part of the kernels of matrix products.

struct MatmulParams {
  m: u32,
  k: u32,
  n: u32,
  a_stride_m: u32,
  a_stride_k: u32,
  b_stride_k: u32,
  b_stride_n: u32,
  slices: u32,
  slice_length: u32,
}
