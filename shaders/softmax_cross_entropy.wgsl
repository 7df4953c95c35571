// Softmax cross-entropy with label smoothing ε over K classes, loss and gradient together.
//   row_loss[n]       = lse − (1 − ε) · logits[n, label] − ε/K · Σ_k logits[n, k],   lse = log Σ_k exp(logits[n, k])
//   grad_logits[n, k] = (softmax[n, k] − (1 − ε) · [k = label] − ε/K) / count        (of the mean over `now.count` rows, overwritten)
//   losses[now.slot]  = Σ_n row_loss[n] / count                                   (mean_cross_entropy, which keeps no row_loss)
// Rows that are padding carry a label past the classes; their loss and gradient are 0.
//
// softmax_cross_entropy: one row an invocation. mean_cross_entropy: one workgroup, strided rows an invocation, whose sums the first adds up
// in ascending order; for batches that are small enough. Everything is relative to the row's maximum, so logits of ±1e4 neither overflow nor cancel.
// Source: PyTorch nn.CrossEntropyLoss(label_smoothing=ε, reduction="mean").

struct SoftmaxCrossEntropyParams {
  rows: u32,
  classes: u32,
  label_smoothing: f32,
}

// loss_of is in cross_entropy.wgsl.
@group(0) @binding(0) var<uniform> params: SoftmaxCrossEntropyParams;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> row_loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_logits: array<f32>;
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;

var<workgroup> tile_sum: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn softmax_cross_entropy(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let n = invocation_index(workgroup, grid, local);
  if (n >= params.rows) {
    return;
  }
  row_loss[n] = loss_of(n);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mean_cross_entropy(@builtin(local_invocation_index) local: u32) {
  var sum = 0.0;
  for (var n = local; n < params.rows; n += WORKGROUP_SIZE) {
    sum += loss_of(n);
  }
  tile_sum[local] = sum;
  workgroupBarrier();
  if (local == 0u) {
    var total = 0.0;
    for (var i = 0u; i < min(WORKGROUP_SIZE, params.rows); i++) {
      total += tile_sum[i];
    }
    losses[now.slot] = total / f32(now.count);
  }
}
