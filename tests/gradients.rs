//! The reference's backward against central differences in f64.
//!
//! Each operation is wrapped into one number, L(x) = Σ upstream · op(x) with a non-uniform upstream gradient, and every
//! component of the gradient of L is compared with (L(x + h) − L(x − h)) / 2h. Inputs are multiples of 2⁻²³ and h is a
//! power of two no smaller, so x ± h is exact.

use shadegrad::geometry::{Channels, Conv2d, Matmul, Pool2d, Window};
use shadegrad::random::{Purpose, Random};
use shadegrad::reference::{
    avg_pool2d, bias, conv2d, dropout, global_avg_pool2d, matmul, max_pool2d, mean_loss, relu, softmax_cross_entropy,
};

/// The unit roundoff of f64.
const U: f64 = f64::EPSILON / 2.0;

/// The step for operations that are linear (or piecewise linear) in the argument under test. Central differences of a
/// linear function have no truncation error at any step, so the step is large, which makes rounding small.
const LINEAR_STEP: f64 = 0.125;

/// Multiples of 2⁻²³ in [−1, 1).
fn uniform(random: &mut Random, length: usize) -> Vec<f64> {
    (0..length).map(|_| 2.0 * f64::from(random.unit()) - 1.0).collect()
}

fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

/// The largest magnitudes an input can take within a step.
fn raised(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs() + LINEAR_STEP).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Compares `gradient` with the central differences of `loss` at `x`, component by component.
#[track_caller]
fn check(name: &str, x: &[f64], gradient: &[f64], step: f64, tolerance: f64, loss: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len(), "{name}: length");
    let mut moved = x.to_vec();
    let mut worst = (0, 0.0, -1.0);
    for i in 0..x.len() {
        moved[i] = x[i] + step;
        let above = loss(&moved);
        moved[i] = x[i] - step;
        let below = loss(&moved);
        moved[i] = x[i];
        let expected = (above - below) / (2.0 * step);
        let error = (expected - gradient[i]).abs();
        // NaN counts as the worst there is.
        if error > worst.2 || error.is_nan() {
            worst = (i, expected, if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    let (i, expected, error) = worst;
    assert!(
        error <= tolerance,
        "{name}[{i}]: expected {expected:e}, actual {:e}, error {error:e} above {tolerance:e}",
        gradient[i]
    );
}

/// The tolerance for a loss that is a sum of products, none summed over more than `terms`, linear in the argument under
/// test. `magnitude` is the same loss on [`raised`] arguments and the absolute upstream gradient.
///
/// Each of the two evaluations is within γ_terms · magnitude of the truth (Higham, "Accuracy and Stability of Numerical
/// Algorithms", §3.1), so their quotient is within γ_terms · magnitude / h. The gradient is a sum of the products that
/// contain x, with x left out; raised to at least h, x makes them add up to at most magnitude / h, and the same γ
/// applies.
fn linear_tolerance(terms: usize, magnitude: f64) -> f64 {
    let tu = terms as f64 * U;
    2.0 * tu / (1.0 - tu) * magnitude / LINEAR_STEP
}

fn window(kernel_size: [u32; 2], stride: [u32; 2], padding: [u32; 2], dilation: [u32; 2]) -> Window {
    Window { kernel_size, stride, padding, dilation }
}

#[test]
fn conv2d_gradients() {
    let shapes = [
        Conv2d::new(1, 1, 1, [1, 1], Window::square(1)),
        Conv2d::new(2, 3, 2, [7, 5], Window::square(3)),
        Conv2d::new(1, 2, 3, [5, 5], Window::square(5)),
        Conv2d::new(2, 2, 3, [7, 8], Window::square(3).stride(2)),
        Conv2d::new(1, 2, 2, [7, 7], Window::square(2).stride(3)),
        Conv2d::new(1, 3, 2, [3, 4], Window::square(3).padding(2)),
        Conv2d::new(1, 1, 2, [9, 8], Window::square(3).dilation(2)),
        Conv2d::new(2, 1, 1, [1, 1], Window::square(3).padding(2).stride(2)),
        Conv2d::new(2, 3, 5, [8, 7], window([3, 2], [2, 3], [2, 1], [2, 3])),
        Conv2d::new(1, 2, 2, [4, 6], window([1, 5], [2, 1], [3, 0], [1, 1])),
    ];
    for (case, shape) in shapes.into_iter().enumerate() {
        let shape = shape.unwrap();
        let random = &mut Random::new(1, Purpose::Test, case as u64);
        let input = uniform(random, shape.input_len());
        let weight = uniform(random, shape.weight_len());
        let bias = uniform(random, shape.out_channels as usize);
        let upstream = uniform(random, shape.output_len());
        let loss = |input: &[f64], weight: &[f64], bias: &[f64], upstream: &[f64]| {
            let mut output = vec![f64::NAN; shape.output_len()];
            conv2d::forward(&shape, input, weight, bias, &mut output);
            dot(&output, upstream)
        };
        let terms = shape.weight_len() + shape.output_len() + 1;
        let magnitude = loss(&raised(&input), &raised(&weight), &raised(&bias), &absolute(&upstream));
        let tolerance = linear_tolerance(terms, magnitude);

        let mut gradient = vec![f64::NAN; shape.input_len()];
        conv2d::grad_input(&shape, &weight, &upstream, &mut gradient);
        check(&format!("{shape:?} grad_input"), &input, &gradient, LINEAR_STEP, tolerance, |input| {
            loss(input, &weight, &bias, &upstream)
        });

        let mut gradient = vec![f64::NAN; shape.weight_len()];
        conv2d::grad_weight(&shape, &input, &upstream, &mut gradient);
        check(&format!("{shape:?} grad_weight"), &weight, &gradient, LINEAR_STEP, tolerance, |weight| {
            loss(&input, weight, &bias, &upstream)
        });

        let channels =
            Channels { batch: shape.batch, channels: shape.out_channels, size: shape.output[0] * shape.output[1] };
        let mut gradient = vec![f64::NAN; bias.len()];
        bias::grad(&channels, &upstream, &mut gradient);
        check(&format!("{shape:?} grad_bias"), &bias, &gradient, LINEAR_STEP, tolerance, |bias| {
            loss(&input, &weight, bias, &upstream)
        });
    }
}

#[test]
fn bias_gradients() {
    for (case, (batch, channels, size)) in [(1, 1, 1), (3, 5, 1), (1, 7, 4), (2, 3, 11)].into_iter().enumerate() {
        let shape = Channels { batch, channels, size };
        let random = &mut Random::new(2, Purpose::Test, case as u64);
        let input = uniform(random, shape.len());
        let bias = uniform(random, channels as usize);
        let upstream = uniform(random, shape.len());
        let loss = |input: &[f64], bias: &[f64], upstream: &[f64]| {
            let mut output = vec![f64::NAN; shape.len()];
            bias::add(&shape, input, bias, &mut output);
            dot(&output, upstream)
        };
        let tolerance = linear_tolerance(shape.len() + 1, loss(&raised(&input), &raised(&bias), &absolute(&upstream)));
        let mut gradient = vec![f64::NAN; channels as usize];
        bias::grad(&shape, &upstream, &mut gradient);
        check(&format!("{shape:?} grad_bias"), &bias, &gradient, LINEAR_STEP, tolerance, |bias| {
            loss(&input, bias, &upstream)
        });
        check(&format!("{shape:?} grad_input"), &input, &upstream, LINEAR_STEP, tolerance, |input| {
            loss(input, &bias, &upstream)
        });
    }
}

#[test]
fn matmul_gradients() {
    for (case, (m, k, n)) in [(1, 1, 1), (1, 13, 1), (5, 1, 3), (4, 11, 7)].into_iter().enumerate() {
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let shape = Matmul { m, k, n, transpose_a, transpose_b };
            let random = &mut Random::new(3, Purpose::Test, case as u64);
            let a = uniform(random, (m * k) as usize);
            let b = uniform(random, (k * n) as usize);
            let upstream = uniform(random, (m * n) as usize);
            let multiply = |shape: &Matmul, a: &[f64], b: &[f64]| {
                let mut output = vec![f64::NAN; (shape.m * shape.n) as usize];
                matmul::forward(shape, a, b, &mut output);
                output
            };
            let loss = |a: &[f64], b: &[f64], upstream: &[f64]| dot(&multiply(&shape, a, b), upstream);
            let terms = (k + m * n) as usize;
            let tolerance = linear_tolerance(terms, loss(&raised(&a), &raised(&b), &absolute(&upstream)));

            // grad_a = upstream · bᵀ and grad_b = aᵀ · upstream, themselves transposed where the operand is stored so.
            let gradient = if transpose_a {
                let shape = Matmul { m: k, k: n, n: m, transpose_a: transpose_b, transpose_b: true };
                multiply(&shape, &b, &upstream)
            } else {
                let shape = Matmul { m, k: n, n: k, transpose_a: false, transpose_b: !transpose_b };
                multiply(&shape, &upstream, &b)
            };
            check(&format!("{shape:?} grad_a"), &a, &gradient, LINEAR_STEP, tolerance, |a| loss(a, &b, &upstream));

            let gradient = if transpose_b {
                let shape = Matmul { m: n, k: m, n: k, transpose_a: true, transpose_b: transpose_a };
                multiply(&shape, &upstream, &a)
            } else {
                let shape = Matmul { m: k, k: m, n, transpose_a: !transpose_a, transpose_b: false };
                multiply(&shape, &a, &upstream)
            };
            check(&format!("{shape:?} grad_b"), &b, &gradient, LINEAR_STEP, tolerance, |b| loss(&a, b, &upstream));
        }
    }
}

#[test]
fn max_pool2d_gradients() {
    let shapes = [
        Pool2d::new(1, [1, 1], Window::square(1)),
        Pool2d::new(3, [4, 6], Window::square(2).stride(2)),
        Pool2d::new(2, [7, 5], Window::square(3).stride(2)),
        Pool2d::new(2, [5, 7], Window::square(3).padding(1)),
        Pool2d::new(1, [7, 11], Window::square(2).stride(3)),
        Pool2d::new(1, [9, 8], Window::square(3).dilation(2)),
        Pool2d::new(2, [11, 7], window([4, 3], [3, 1], [2, 1], [2, 3])),
    ];
    for (case, shape) in shapes.into_iter().enumerate() {
        let shape = shape.unwrap();
        let random = &mut Random::new(4, Purpose::Test, case as u64);
        // All apart by 4 steps, so that no step changes which input is the maximum and the loss is linear within it.
        let length = shape.input_len();
        let input: Vec<f64> = random
            .permutation(length as u32)
            .into_iter()
            .map(|rank| 4.0 * LINEAR_STEP * (f64::from(rank) - length as f64 / 2.0))
            .collect();
        let upstream = uniform(random, shape.output_len());
        let forward = |input: &[f64]| {
            let mut output = vec![f64::NAN; shape.output_len()];
            let mut argmax = vec![u32::MAX; shape.output_len()];
            max_pool2d::forward(&shape, input, &mut output, &mut argmax);
            (output, argmax)
        };
        // Each output is one input, so the products are upstream · input.
        let largest = raised(&input).into_iter().fold(0.0, f64::max);
        let magnitude = absolute(&upstream).iter().sum::<f64>() * largest;
        let mut gradient = vec![f64::NAN; length];
        max_pool2d::backward(&shape, &forward(&input).1, &upstream, &mut gradient);
        let tolerance = linear_tolerance(shape.output_len(), magnitude);
        check(&format!("{shape:?}"), &input, &gradient, LINEAR_STEP, tolerance, |input| {
            dot(&forward(input).0, &upstream)
        });
    }
}

#[test]
fn avg_pool2d_gradients() {
    let shapes = [
        Pool2d::new(1, [1, 1], Window::square(1)),
        Pool2d::new(3, [4, 6], Window::square(2).stride(2)),
        Pool2d::new(2, [7, 5], Window::square(3).stride(2)),
        Pool2d::new(2, [5, 7], Window::square(3).padding(1)),
        Pool2d::new(1, [7, 11], Window::square(2).stride(3)),
        Pool2d::new(1, [9, 8], Window::square(3).dilation(2)),
        Pool2d::new(2, [11, 9], window([5, 2], [2, 3], [2, 1], [1, 1])),
    ];
    for (case, shape) in shapes.into_iter().enumerate() {
        let shape = shape.unwrap();
        let random = &mut Random::new(5, Purpose::Test, case as u64);
        let input = uniform(random, shape.input_len());
        let upstream = uniform(random, shape.output_len());
        let loss = |input: &[f64], upstream: &[f64]| {
            let mut output = vec![f64::NAN; shape.output_len()];
            avg_pool2d::forward(&shape, input, &mut output);
            dot(&output, upstream)
        };
        let mut gradient = vec![f64::NAN; shape.input_len()];
        avg_pool2d::backward(&shape, &upstream, &mut gradient);
        // The window's sum, its division, the loss's sum.
        let terms = (shape.window.kernel_size[0] * shape.window.kernel_size[1]) as usize + 1 + shape.output_len();
        let tolerance = linear_tolerance(terms, loss(&raised(&input), &absolute(&upstream)));
        check(&format!("{shape:?}"), &input, &gradient, LINEAR_STEP, tolerance, |input| loss(input, &upstream));
    }
}

#[test]
fn global_avg_pool2d_gradients() {
    for (case, (planes, size)) in [(1, 1), (7, 1), (1, 13), (6, 25)].into_iter().enumerate() {
        let random = &mut Random::new(6, Purpose::Test, case as u64);
        let input = uniform(random, planes * size);
        let upstream = uniform(random, planes);
        let loss = |input: &[f64], upstream: &[f64]| {
            let mut output = vec![f64::NAN; planes];
            global_avg_pool2d::forward(planes, size, input, &mut output);
            dot(&output, upstream)
        };
        let mut gradient = vec![f64::NAN; planes * size];
        global_avg_pool2d::backward(planes, size, &upstream, &mut gradient);
        let tolerance = linear_tolerance(size + 1 + planes, loss(&raised(&input), &absolute(&upstream)));
        check(&format!("{planes} × {size}"), &input, &gradient, LINEAR_STEP, tolerance, |input| {
            loss(input, &upstream)
        });
    }
}

#[test]
fn relu_gradients() {
    for length in [1, 2, 53] {
        let random = &mut Random::new(7, Purpose::Test, length as u64);
        // Two steps away from 0, so that no step crosses the kink.
        let input: Vec<f64> =
            uniform(random, length).into_iter().map(|value| value + (2.0 * LINEAR_STEP).copysign(value)).collect();
        let upstream = uniform(random, length);
        let loss = |input: &[f64], upstream: &[f64]| {
            let mut output = vec![f64::NAN; length];
            relu::forward(input, &mut output);
            dot(&output, upstream)
        };
        let mut output = vec![f64::NAN; length];
        relu::forward(&input, &mut output);
        let mut gradient = vec![f64::NAN; length];
        relu::backward(&output, &upstream, &mut gradient);
        let tolerance = linear_tolerance(length, loss(&raised(&input), &absolute(&upstream)));
        check(&format!("{length} values"), &input, &gradient, LINEAR_STEP, tolerance, |input| loss(input, &upstream));
    }
}

#[test]
fn dropout_gradients() {
    for (length, p) in [(1, 0.5), (7, 0.0), (53, 0.3), (53, 0.75)] {
        let random = &mut Random::new(9, Purpose::Test, length as u64);
        let (input, upstream) = (uniform(random, length), uniform(random, length));
        let mask = dropout::Mask { p, seed: 3, layer: 1, step: 2 };
        let apply = |values: &[f64]| {
            let mut result = vec![f64::NAN; length];
            dropout::apply(p.into(), |i| mask.keeps(i), values, &mut result);
            result
        };
        let loss = |input: &[f64], upstream: &[f64]| dot(&apply(input), upstream);
        // 1 − p and the quotient are two roundings more.
        let tolerance = linear_tolerance(length + 2, loss(&raised(&input), &absolute(&upstream)));
        let gradient = apply(&upstream);
        check(&format!("{length} values, p {p}"), &input, &gradient, LINEAR_STEP, tolerance, |input| {
            loss(input, &upstream)
        });
    }
}

#[test]
fn softmax_cross_entropy_gradients() {
    // Truncation grows with h², rounding with 1/h; for a loss of order 1 they meet near this step.
    const STEP: f64 = 1.0 / 8192.0;
    for (case, (rows, classes, count)) in [(1, 1, 1), (1, 2, 1), (5, 7, 5), (4, 10, 3)].into_iter().enumerate() {
        for label_smoothing in [0.0, 0.1] {
            let random = &mut Random::new(8, Purpose::Test, case as u64);
            let logits: Vec<f64> = uniform(random, rows * classes).into_iter().map(|logit| 4.0 * logit).collect();
            let labels: Vec<u32> =
                (0..rows).map(|n| if n < count { random.below(classes as u32) } else { u32::MAX }).collect();
            let evaluate = |logits: &[f64]| {
                let mut row_loss = vec![f64::NAN; rows];
                let mut grad_logits = vec![f64::NAN; logits.len()];
                softmax_cross_entropy::forward_backward(
                    classes,
                    count,
                    label_smoothing,
                    logits,
                    &labels,
                    &mut row_loss,
                    &mut grad_logits,
                );
                (mean_loss::rows(count, &row_loss), grad_logits)
            };
            // The third derivative of log Σ exp along one logit is p(1 − p)(1 − 2p), at most 1/(6√3) < 0.1. One
            // evaluation is within γ of the spread of a row (8, plus log classes) for its two sums over the classes,
            // its exp and log, and the mean over the rows.
            let truncation = STEP * STEP / 6.0 * 0.1 / count as f64;
            let rounding = (2 * classes + rows + 8) as f64 * U * (9.0 + (classes as f64).ln()) / STEP;
            let name = format!("{rows} × {classes}, label smoothing {label_smoothing}");
            let gradient = evaluate(&logits).1;
            check(&name, &logits, &gradient, STEP, truncation + rounding, |logits| evaluate(logits).0);
        }
    }
}
