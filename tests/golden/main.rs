//! The reference against PyTorch: every tensor in `tests/golden/` was computed by PyTorch in float64, by
//! `tests/golden/generate.py`.
//!
//! Where both sides add up the same k products in different orders, each is within γ_k · Σ|a·b| of the true sum, γ_k =
//! k·u/(1 − k·u) (Higham, "Accuracy and Stability of Numerical Algorithms", §3.1), so they are within twice that of
//! each other. Σ|a·b| is the same operation run on absolute values. Where nothing is rounded, the values must be equal.

mod augmentation;
mod case;
mod conv2d;
mod elementwise;
mod linear;
mod loss;
mod pooling;
mod ten_steps;
mod update;

/// The unit roundoff of f64.
const U: f64 = f64::EPSILON / 2.0;

/// A result that no test may find unwritten.
fn poisoned(length: usize) -> Vec<f64> {
    vec![f64::NAN; length]
}

fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

/// 2 · γ_k · magnitude, where `magnitude` is Σ|a·b| over the k products of each value.
fn sum_bound(k: usize, magnitude: &[f64]) -> Vec<f64> {
    let ku = k as f64 * U;
    magnitude.iter().map(|magnitude| 2.0 * ku / (1.0 - ku) * magnitude).collect()
}
