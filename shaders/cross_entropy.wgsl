// Part of the kernels that end in a loss: logits, labels and grad_logits are theirs.

// The loss of row n; writes its gradient.
fn loss_of(n: u32) -> f32 {
  let row = n * params.classes;
  let label = labels[n];
  if (label >= params.classes) {
    for (var k = 0u; k < params.classes; k++) {
      grad_logits[row + k] = 0.0;
    }
    return 0.0;
  }

  var highest = logits[row];
  for (var k = 1u; k < params.classes; k++) {
    let value = logits[row + k];
    highest = select(highest, value, value > highest);
  }
  var total = 0.0;
  var below = 0.0;
  for (var k = 0u; k < params.classes; k++) {
    let difference = logits[row + k] - highest;
    total += exp(difference);
    below += difference;
  }
  let spread = params.label_smoothing / f32(params.classes);
  let count = f32(now.count);
  for (var k = 0u; k < params.classes; k++) {
    let target_probability = spread + select(0.0, 1.0 - params.label_smoothing, k == label);
    grad_logits[row + k] = (exp(logits[row + k] - highest) / total - target_probability) / count;
  }
  return log(total) - (1.0 - params.label_smoothing) * (logits[row + label] - highest) - spread * below;
}
