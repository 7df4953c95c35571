//! Softmax and cross-entropy in one, forward and backward together: the gradient is the probabilities minus the target.

/// The loss of each row and the gradient of their mean:
///
/// ```text
/// p[n] = softmax(logits[n])
/// q[n] = (1 − label_smoothing) · onehot(labels[n]) + label_smoothing / classes
/// row_loss[n] = −Σ over c of q[n, c] · log p[n, c]
/// grad_logits[n, c] = (p[n, c] − q[n, c]) / count
/// ```
///
/// logits and grad_logits (rows, classes), labels and row_loss (rows). `row_loss` is not scaled; `grad_logits` is the
/// gradient of the mean over the `count` real rows, that is of [`mean_loss::rows`](super::mean_loss::rows). A row whose label is
/// not below `classes` only fills up a short batch: its loss and its gradient are 0. Both results are overwritten.
///
/// Source: PyTorch `torch.nn.CrossEntropyLoss(label_smoothing=…)`, reduction "none" for row_loss, "mean" for
/// grad_logits.
pub fn forward_backward(
    classes: usize,
    count: usize,
    label_smoothing: f64,
    logits: &[f64],
    labels: &[u32],
    row_loss: &mut [f64],
    grad_logits: &mut [f64],
) {
    debug_assert_eq!(logits.len(), labels.len() * classes);
    debug_assert_eq!(row_loss.len(), labels.len());
    debug_assert_eq!(grad_logits.len(), logits.len());
    let rows = logits.chunks_exact(classes).zip(grad_logits.chunks_exact_mut(classes));
    for ((row_loss, &label), (logits, grad_logits)) in row_loss.iter_mut().zip(labels).zip(rows) {
        let label = label as usize;
        if label >= classes {
            *row_loss = 0.0;
            grad_logits.fill(0.0);
            continue;
        }
        // Shifted by the maximum, so that exp cannot overflow and the sum is at least 1.
        let maximum = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = logits.iter().map(|logit| (logit - maximum).exp()).sum::<f64>().ln();
        let log_probability = |c: usize| logits[c] - maximum - log_sum;

        *row_loss = -(1.0 - label_smoothing) * log_probability(label);
        // Skipped at 0, where an infinite logit would give 0 · ∞.
        if label_smoothing > 0.0 {
            *row_loss -= label_smoothing / classes as f64 * (0..classes).map(log_probability).sum::<f64>();
        }
        for (c, grad) in grad_logits.iter_mut().enumerate() {
            let onehot = if c == label { 1.0 } else { 0.0 };
            let target = (1.0 - label_smoothing) * onehot + label_smoothing / classes as f64;
            *grad = (log_probability(c).exp() - target) / count as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_give_log_classes() {
        let mut row_loss = [f64::NAN; 2];
        let mut grad_logits = [f64::NAN; 8];
        forward_backward(4, 1, 0.0, &[3.0; 8], &[2, u32::MAX], &mut row_loss, &mut grad_logits);
        assert_eq!(row_loss, [4f64.ln(), 0.0]);
        assert_eq!(grad_logits, [0.25, 0.25, -0.75, 0.25, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn huge_logits_stay_finite() {
        let mut row_loss = [f64::NAN; 2];
        let mut grad_logits = [f64::NAN; 4];
        forward_backward(2, 2, 0.0, &[1e4, -1e4, 1e4, -1e4], &[0, 1], &mut row_loss, &mut grad_logits);
        assert_eq!(row_loss, [0.0, 2e4]);
        assert_eq!(grad_logits, [0.0, 0.0, 0.5, -0.5]);
    }

    #[test]
    fn smoothing_moves_the_target() {
        let mut row_loss = [f64::NAN];
        let mut grad_logits = [f64::NAN; 2];
        forward_backward(2, 1, 0.5, &[0.0, 0.0], &[1], &mut row_loss, &mut grad_logits);
        assert!((row_loss[0] - 2f64.ln()).abs() < 1e-15);
        assert_eq!(grad_logits, [0.25, -0.25]);
    }
}
