//! Poolings.

use shadegrad::reference::{avg_pool2d, global_avg_pool2d, max_pool2d};

use crate::case::Golden;
use crate::{absolute, poisoned, sum_bound};

#[test]
fn max_pool2d_agrees() {
    let golden = Golden::open("max_pool2d");
    for case in
        golden.cases(&["plain", "rows_left_over", "overlapping", "padded", "dilated", "combined", "ties", "not_finite"])
    {
        let shape = case.pool2d();
        let mut output = poisoned(shape.output_len());
        let mut argmax = vec![u32::MAX; shape.output_len()];
        max_pool2d::forward(&shape, &case.floats("input"), &mut output, &mut argmax);
        case.assert_exact("output", &output);
        for (i, (expected, actual)) in case.integers("argmax").iter().zip(&argmax).enumerate() {
            assert_eq!(expected, actual, "{}argmax[{i}]", case.prefix);
        }

        let backward = |grad_output: &[f64]| {
            let mut grad_input = poisoned(shape.input_len());
            max_pool2d::backward(&shape, &argmax, grad_output, &mut grad_input);
            grad_input
        };
        let grad_output = case.floats("grad_output");
        // An input is the maximum of at most KH·KW windows.
        let k = (shape.window.kernel_size[0] * shape.window.kernel_size[1]) as usize;
        case.assert_within("grad_input", &backward(&grad_output), &sum_bound(k, &backward(&absolute(&grad_output))));
    }
}

#[test]
fn avg_pool2d_agrees() {
    let golden = Golden::open("avg_pool2d");
    for case in golden.cases(&["plain", "rows_left_over", "overlapping", "padded", "non_square"]) {
        let shape = case.pool2d();
        // At most KH·KW summands either way, and one division each.
        let k = (shape.window.kernel_size[0] * shape.window.kernel_size[1]) as usize + 1;
        let forward = |input: &[f64]| {
            let mut output = poisoned(shape.output_len());
            avg_pool2d::forward(&shape, input, &mut output);
            output
        };
        let input = case.floats("input");
        case.assert_within("output", &forward(&input), &sum_bound(k, &forward(&absolute(&input))));

        let backward = |grad_output: &[f64]| {
            let mut grad_input = poisoned(shape.input_len());
            avg_pool2d::backward(&shape, grad_output, &mut grad_input);
            grad_input
        };
        let grad_output = case.floats("grad_output");
        case.assert_within("grad_input", &backward(&grad_output), &sum_bound(k, &backward(&absolute(&grad_output))));
    }
}

#[test]
fn global_avg_pool2d_agrees() {
    let golden = Golden::open("global_avg_pool2d");
    for case in golden.cases(&["one_pixel", "primes"]) {
        let input_shape = case.shape("input");
        let planes = (input_shape[0] * input_shape[1]) as usize;
        let size = (input_shape[2] * input_shape[3]) as usize;
        let forward = |input: &[f64]| {
            let mut output = poisoned(planes);
            global_avg_pool2d::forward(planes, size, input, &mut output);
            output
        };
        let input = case.floats("input");
        // `size` summands and one division.
        case.assert_within("output", &forward(&input), &sum_bound(size + 1, &forward(&absolute(&input))));

        let mut grad_input = poisoned(planes * size);
        global_avg_pool2d::backward(planes, size, &case.floats("grad_output"), &mut grad_input);
        // PyTorch may multiply by a rounded 1/size: two roundings where the reference has one.
        case.assert_within("grad_input", &grad_input, &sum_bound(2, &absolute(&grad_input)));
    }
}
