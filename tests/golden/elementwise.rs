//! ReLU and dropout.

use shadegrad::reference::{dropout, relu};

use crate::case::Golden;
use crate::{U, poisoned};

#[test]
fn relu_agrees() {
    let golden = Golden::open("relu");
    for case in golden.cases(&["zeros_among"]) {
        let input = case.floats("input");
        let mut output = poisoned(input.len());
        relu::forward(&input, &mut output);
        case.assert_exact("output", &output);
        let mut grad_input = poisoned(input.len());
        relu::backward(&output, &case.floats("grad_output"), &mut grad_input);
        case.assert_exact("grad_input", &grad_input);
    }
}

/// Which elements are kept is chance; what becomes of them is not.
#[test]
fn dropout_agrees_given_the_mask() {
    let golden = Golden::open("dropout");
    for case in golden.cases(&["half", "a_tenth", "none", "nearly_all"]) {
        let (p, mask) = (case.floats("p")[0], case.integers("mask"));
        for (from, to) in [("input", "output"), ("grad_output", "grad_input")] {
            let from = case.floats(from);
            let mut result = poisoned(from.len());
            dropout::apply(p, |i| mask[i] != 0, &from, &mut result);
            // PyTorch multiplies by a rounded 1 / (1 − p) where we divide by a rounded 1 − p: three roundings there, two here.
            let bound: Vec<f64> = result.iter().map(|value| 5.0 * U * value.abs()).collect();
            case.assert_within(to, &result, &bound);
        }
    }
}
