// classifier_head.wgsl for widths that are multiples of 4, on subgroups of at least 8 lanes; the classes may be any number. Its sums have the order
// of linear_subgroup.wgsl and softmax_cross_entropy.wgsl, to the bit.
//
// The first product is made as there: lanes own hidden features, whose weights each loads for itself, and share the rows of the input from
// register to register. After it an invocation owns four adjacent results, and what it shares with others is in workgroup memory.

enable subgroups;

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

// loss_of is in cross_entropy.wgsl.
@group(0) @binding(0) var<uniform> params: ClassifierHeadParams;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> parameters: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> activations: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradients: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> losses: array<f32>;

const MAX_ROWS: u32 = 8u;

// Lanes that every subgroup has.
const LANES: u32 = 8u;

// Rows, for the loops that compilers have to unroll, and the same rounded up to a divisor of LANES: the lanes hold so many rows, and PARTS
// consecutive fours of each.
override ROWS: u32 = 1u;
override TILE_ROWS: u32 = 8u;
override PARTS: u32 = LANES / TILE_ROWS;

// Elements of the arrays below, which the host knows: rows × hidden features, rows × classes.
override HIDDEN: u32 = 1u;
override LOGITS: u32 = 1u;

var<workgroup> hidden: array<f32, HIDDEN>;
var<workgroup> grad_hidden: array<f32, HIDDEN>;
var<workgroup> logits: array<f32, LOGITS>;
var<workgroup> grad_logits: array<f32, LOGITS>;
var<workgroup> row_loss: array<f32, MAX_ROWS>;

fn load_parameter(at: u32) -> f32 {
  return parameters[at / 4u][at % 4u];
}

fn load_hidden(four: u32) -> vec4<f32> {
  let first = 4u * four;
  return vec4(hidden[first], hidden[first + 1u], hidden[first + 2u], hidden[first + 3u]);
}

fn load_grad_hidden(four: u32) -> vec4<f32> {
  let first = 4u * four;
  return vec4(grad_hidden[first], grad_hidden[first + 1u], grad_hidden[first + 2u], grad_hidden[first + 3u]);
}

// Hidden features of all rows, WORKGROUP_SIZE of them at a time. Everybody takes part, because others take values from it.
fn forward(local: u32, lane: u32) {
  let fours = params.in_features / 4u;
  let own_row = min(lane % TILE_ROWS, ROWS - 1u) * fours;
  let own_part = lane / TILE_ROWS % PARTS;
  for (var tile = 0u; tile < params.hidden_features; tile += WORKGROUP_SIZE) {
    let h = tile + local;
    let weight_row = min(h, params.hidden_features - 1u) * fours;
    var sums: array<vec4<f32>, LANES>;
    for (var first = 0u; first < fours; first += PARTS) {
      let at = first + own_part;
      let own = select(vec4(0.0), input[own_row + min(at, fours - 1u)], at < fours);
      for (var part = 0u; part < PARTS; part++) {
        let weights = parameters[weight_row + min(first + part, fours - 1u)];
        for (var row = 0u; row < ROWS; row++) {
          sums[row] += subgroupShuffle(own, part * TILE_ROWS + row) * weights;
        }
      }
    }
    if (h < params.hidden_features) {
      let start = load_parameter(params.bias_1 + h);
      // Where a loop can index them, so that what becomes of one is compiled once.
      var results = sums;
      for (var row = 0u; row < params.rows; row++) {
        let sum = start + ((results[row].x + results[row].y) + (results[row].z + results[row].w));
        let value = select(sum, 0.0, sum <= 0.0);
        hidden[row * params.hidden_features + h] = value;
        activations[row * params.hidden_features + h] = value;
      }
    }
  }
}

// One by one: what would be done by fours is four times as much to compile, and there are few.
fn grad_of_parameter(at: u32) -> f32 {
  var sum = 0.0;
  if (at < params.weight_2) {
    let h = at - params.bias_1;
    for (var n = 0u; n < params.rows && h < params.hidden_features; n++) {
      sum += grad_hidden[n * params.hidden_features + h];
    }
    return sum;
  }
  let is_weight = at < params.bias_2;
  let first = at - select(params.bias_2, params.weight_2, is_weight);
  let k = select(first, first / params.hidden_features, is_weight);
  for (var n = 0u; n < params.rows && k < params.classes; n++) {
    var factor = 1.0;
    if (is_weight) {
      factor = hidden[n * params.hidden_features + first % params.hidden_features];
    }
    sum += grad_logits[n * params.classes + k] * factor;
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn classifier_head_subgroup(
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let fours = params.in_features / 4u;
  let hidden_fours = params.hidden_features / 4u;
  let weight_2 = params.weight_2 / 4u;
  forward(local, lane);
  workgroupBarrier();

  for (var at = local; at < ROWS * params.classes; at += WORKGROUP_SIZE) {
    let n = at / params.classes;
    let k = at % params.classes;
    var sum = vec4(0.0);
    for (var h = 0u; h < hidden_fours; h++) {
      sum += load_hidden(n * hidden_fours + h) * parameters[weight_2 + k * hidden_fours + h];
    }
    let logit = load_parameter(params.bias_2 + k) + ((sum.x + sum.y) + (sum.z + sum.w));
    logits[at] = logit;
    activations[params.logits + at] = logit;
  }
  workgroupBarrier();

  if (local < params.rows) {
    row_loss[local] = loss_of(local);
  }
  workgroupBarrier();

  if (local == 0u) {
    var total = 0.0;
    for (var n = 0u; n < params.rows; n++) {
      total += row_loss[n];
    }
    losses[now.slot] = total / f32(now.count);
  }
  for (var at = local; at < ROWS * params.hidden_features; at += WORKGROUP_SIZE) {
    let n = at / params.hidden_features;
    let h = at % params.hidden_features;
    var sum = 0.0;
    for (var k = 0u; k < params.classes; k++) {
      sum += grad_logits[n * params.classes + k] * load_parameter(params.weight_2 + k * params.hidden_features + h);
    }
    grad_hidden[at] = select(0.0, sum, hidden[at] > 0.0);
  }
  workgroupBarrier();

  // Four rows of four of weight_1: four hidden features × four inputs.
  for (var at = local; at < hidden_fours * fours; at += WORKGROUP_SIZE) {
    let i = at % fours;
    let h = at / fours;
    var sums: array<vec4<f32>, 4>;
    for (var n = 0u; n < params.rows; n++) {
      let values = input[n * fours + i];
      let grads = load_grad_hidden(n * hidden_fours + h);
      sums[0] += grads.x * values;
      sums[1] += grads.y * values;
      sums[2] += grads.z * values;
      sums[3] += grads.w * values;
    }
    // Four times, which the compiler is not to know, or it would unroll what is to be compiled once.
    var results = sums;
    for (var row = 0u; row < params.in_features / fours; row++) {
      gradients[(4u * h + row) * fours + i] = results[row];
    }
  }
  for (var at = params.hidden_features * params.in_features + local; at < params.length; at += WORKGROUP_SIZE) {
    gradients[at / 4u][at % 4u] = grad_of_parameter(at);
  }

  // The four inputs of all rows.
  for (var i = local; i < fours; i += WORKGROUP_SIZE) {
    var sums: array<vec4<f32>, MAX_ROWS>;
    for (var h = 0u; h < params.hidden_features; h++) {
      let weights = parameters[h * fours + i];
      for (var n = 0u; n < ROWS; n++) {
        sums[n] += grad_hidden[n * params.hidden_features + h] * weights;
      }
    }
    var results = sums;
    for (var n = 0u; n < params.rows; n++) {
      let at = n * fours + i;
      let passes = vec4(params.masked == 0u) | (input[at] > vec4(0.0));
      grad_input[at] = select(vec4(0.0), results[n], passes);
    }
  }
}
