//! The loss.

use shadegrad::reference::{mean_loss, softmax_cross_entropy};

use crate::case::Golden;
use crate::{poisoned, sum_bound};

#[test]
fn softmax_cross_entropy_agrees() {
    let golden = Golden::open("softmax_cross_entropy");
    for case in golden.cases(&["plain", "primes", "smoothed", "huge", "huge_smoothed"]) {
        let logits = case.floats("logits");
        let labels = case.integers("labels");
        let (rows, classes) = (labels.len(), logits.len() / labels.len());
        let mut row_loss = poisoned(rows);
        let mut grad_logits = poisoned(logits.len());
        let label_smoothing = case.floats("label_smoothing")[0];
        softmax_cross_entropy::forward_backward(
            classes,
            rows,
            label_smoothing,
            &logits,
            &labels,
            &mut row_loss,
            &mut grad_logits,
        );

        // A log-probability is logit − maximum − log Σ exp, rounded at the size of the spread of its row: two
        // subtractions, and a sum of `classes` exponentials whose relative error log turns into an absolute one. exp
        // and log are good to 1 ulp = 2u. The loss averages log-probabilities, so `classes` + 2 more roundings of the
        // same size.
        let spread: Vec<f64> = logits
            .chunks(classes)
            .map(|row| {
                let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let minimum = row.iter().copied().fold(f64::INFINITY, f64::min);
                maximum - minimum + (classes as f64).ln()
            })
            .collect();
        let roundings = 2 * classes + 8;
        let magnitude: Vec<f64> = spread.iter().map(|spread| 1.0 + spread).collect();
        case.assert_within("row_loss", &row_loss, &sum_bound(roundings, &magnitude));

        let mean_magnitude = magnitude.iter().sum::<f64>() / rows as f64;
        case.assert_within(
            "loss",
            &[mean_loss::rows(rows, &row_loss)],
            &sum_bound(roundings + rows, &[mean_magnitude]),
        );

        // A probability is exp of a log-probability whose absolute error is at most that of the loss times the
        // probability; p · |log p| ≤ 1/e, and a shift common to the row weighs at most 1. The target and the division
        // add 4 roundings.
        let bound = sum_bound(roundings + 4, &vec![3.0 / rows as f64; logits.len()]);
        case.assert_within("grad_logits", &grad_logits, &bound);
    }
}
