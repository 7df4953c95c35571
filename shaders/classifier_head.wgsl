// The end of a classifier, forward and backward, for batches that one workgroup can do: a linear layer, its ReLU, a second linear layer and
// softmax cross-entropy with label smoothing ε.
//   hidden[n, h] = relu(bias_1[h] + Σ_i input[n, i] · weight_1[h, i]),   logits[n, k] = bias_2[k] + Σ_h hidden[n, h] · weight_2[k, h]
//   losses[now.slot] and the gradient g of the logits as in softmax_cross_entropy.wgsl, padding included
//   grad_hidden[n, h]  = Σ_k g[n, k] · weight_2[k, h] where hidden[n, h] > 0, else 0
//   grad_weight_2[k, h] = Σ_n g[n, k] · hidden[n, h],        grad_bias_2[k] = Σ_n g[n, k]
//   grad_weight_1[h, i] = Σ_n grad_hidden[n, h] · input[n, i], grad_bias_1[h] = Σ_n grad_hidden[n, h]
//   grad_input[n, i]    = Σ_h grad_hidden[n, h] · weight_1[h, i]; where `masked`, 0 wherever input[n, i] is not positive: the ReLU before it
//
// Parameters lie in one block: weight_1 (H, I), bias_1 (H), weight_2 (K, H), bias_2 (K), each where the params say; their gradients in another
// of the same layout, all of which is written, what is between them as 0. Activations are hidden (N, H), then logits (N, K).
//
// Every sum belongs to one invocation and is as long as its axis; what others need of it passes through workgroup memory. The plain
// variant: the one to read, and the oracle for the other.
// Source: PyTorch nn.Linear, nn.ReLU, nn.CrossEntropyLoss(label_smoothing=ε, reduction="mean").

struct ClassifierHeadParams {
  rows: u32,
  in_features: u32,
  hidden_features: u32,
  classes: u32,
  label_smoothing: f32,
  masked: u32,
  // Where they begin in their block, in elements; weight_1 begins at 0.
  bias_1: u32,
  weight_2: u32,
  bias_2: u32,
  // Elements of the block.
  length: u32,
  // Where the logits begin in the activations.
  logits: u32,
}

@group(0) @binding(0) var<uniform> params: ClassifierHeadParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> parameters: array<f32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> activations: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(7) var<storage, read_write> losses: array<f32>;

// Rows and activations at most.
const MAX_ROWS: u32 = 8u;
const MAX_ACTIVATIONS: u32 = 2000u;

// The activations, and their gradients in the same places.
var<workgroup> held: array<f32, MAX_ACTIVATIONS>;
var<workgroup> grads: array<f32, MAX_ACTIVATIONS>;
var<workgroup> row_loss: array<f32, MAX_ROWS>;

// The loss of row n; writes its gradient.
fn loss_of(n: u32) -> f32 {
  let row = params.logits + n * params.classes;
  let label = labels[n];
  if (label >= params.classes) {
    for (var k = 0u; k < params.classes; k++) {
      grads[row + k] = 0.0;
    }
    return 0.0;
  }

  var highest = held[row];
  for (var k = 1u; k < params.classes; k++) {
    let value = held[row + k];
    highest = select(highest, value, value > highest);
  }
  var total = 0.0;
  var below = 0.0;
  for (var k = 0u; k < params.classes; k++) {
    let difference = held[row + k] - highest;
    total += exp(difference);
    below += difference;
  }
  let spread = params.label_smoothing / f32(params.classes);
  let count = f32(now.count);
  for (var k = 0u; k < params.classes; k++) {
    let target_probability = spread + select(0.0, 1.0 - params.label_smoothing, k == label);
    grads[row + k] = (exp(held[row + k] - highest) / total - target_probability) / count;
  }
  return log(total) - (1.0 - params.label_smoothing) * (held[row + label] - highest) - spread * below;
}

// What element `at` of the block gets: the gradient of a parameter, or 0 between two of them.
fn grad_of_parameter(at: u32) -> f32 {
  var sum = 0.0;
  if (at < params.bias_1) {
    let h = at / params.in_features;
    let i = at % params.in_features;
    for (var n = 0u; n < params.rows && h < params.hidden_features; n++) {
      sum += grads[n * params.hidden_features + h] * input[n * params.in_features + i];
    }
  } else if (at < params.weight_2) {
    let h = at - params.bias_1;
    for (var n = 0u; n < params.rows && h < params.hidden_features; n++) {
      sum += grads[n * params.hidden_features + h];
    }
  } else if (at < params.bias_2) {
    let k = (at - params.weight_2) / params.hidden_features;
    let h = (at - params.weight_2) % params.hidden_features;
    for (var n = 0u; n < params.rows && k < params.classes; n++) {
      sum += grads[params.logits + n * params.classes + k] * held[n * params.hidden_features + h];
    }
  } else {
    let k = at - params.bias_2;
    for (var n = 0u; n < params.rows && k < params.classes; n++) {
      sum += grads[params.logits + n * params.classes + k];
    }
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn classifier_head(@builtin(local_invocation_index) local: u32) {
  for (var at = local; at < params.rows * params.hidden_features; at += WORKGROUP_SIZE) {
    let n = at / params.hidden_features;
    let h = at % params.hidden_features;
    var sum = parameters[params.bias_1 + h];
    for (var i = 0u; i < params.in_features; i++) {
      sum += input[n * params.in_features + i] * parameters[h * params.in_features + i];
    }
    let value = select(sum, 0.0, sum <= 0.0);
    held[at] = value;
    activations[at] = value;
  }
  workgroupBarrier();

  for (var at = local; at < params.rows * params.classes; at += WORKGROUP_SIZE) {
    let n = at / params.classes;
    let k = at % params.classes;
    var sum = parameters[params.bias_2 + k];
    for (var h = 0u; h < params.hidden_features; h++) {
      sum += held[n * params.hidden_features + h] * parameters[params.weight_2 + k * params.hidden_features + h];
    }
    held[params.logits + at] = sum;
    activations[params.logits + at] = sum;
  }
  workgroupBarrier();

  for (var n = local; n < params.rows; n += WORKGROUP_SIZE) {
    row_loss[n] = loss_of(n);
  }
  workgroupBarrier();

  if (local == 0u) {
    var total = 0.0;
    for (var n = 0u; n < params.rows; n++) {
      total += row_loss[n];
    }
    losses[now.slot] = total / f32(now.count);
  }
  for (var at = local; at < params.rows * params.hidden_features; at += WORKGROUP_SIZE) {
    let n = at / params.hidden_features;
    let h = at % params.hidden_features;
    var sum = 0.0;
    for (var k = 0u; k < params.classes; k++) {
      sum += grads[params.logits + n * params.classes + k] * parameters[params.weight_2 + k * params.hidden_features + h];
    }
    grads[at] = select(0.0, sum, held[at] > 0.0);
  }
  workgroupBarrier();

  for (var at = local; at < params.length; at += WORKGROUP_SIZE) {
    gradients[at] = grad_of_parameter(at);
  }
  for (var at = local; at < params.rows * params.in_features; at += WORKGROUP_SIZE) {
    let n = at / params.in_features;
    let i = at % params.in_features;
    var sum = 0.0;
    for (var h = 0u; h < params.hidden_features; h++) {
      sum += grads[n * params.hidden_features + h] * parameters[h * params.in_features + i];
    }
    grad_input[at] = select(0.0, sum, params.masked == 0u || input[at] > 0.0);
  }
}
