// losses[now.slot] = Σ_n row_loss[n] / now.count: the batch's mean loss, kept on the GPU until a line is printed.
//
// One workgroup: every invocation adds its strided rows, then the first adds the WORKGROUP_SIZE partial sums, both in ascending order,
// so that the same rows give the same bits.

struct MeanLossParams {
  rows: u32,
}

@group(0) @binding(0) var<uniform> params: MeanLossParams;
@group(0) @binding(1) var<storage, read> row_loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;

var<workgroup> tile_sum: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn mean_loss(@builtin(local_invocation_index) local: u32) {
  var sum = 0.0;
  for (var n = local; n < params.rows; n += WORKGROUP_SIZE) {
    sum += row_loss[n];
  }
  tile_sum[local] = sum;
  workgroupBarrier();
  if (local == 0u) {
    var total = 0.0;
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
      total += tile_sum[i];
    }
    losses[now.slot] = total / f32(now.count);
  }
}
