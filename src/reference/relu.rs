//! The rectifier.

/// output = max(input, 0); NaN stays NaN.
///
/// Source: PyTorch `torch.nn.functional.relu`.
pub fn forward(input: &[f64], output: &mut [f64]) {
    debug_assert_eq!(input.len(), output.len());
    for (output, &input) in output.iter_mut().zip(input) {
        // Not `f64::max`, which would turn NaN into 0.
        *output = if input <= 0.0 { 0.0 } else { input };
    }
}

/// grad_input = grad_output where output > 0, else 0 (also at exactly 0), overwritten. The mask comes from the output,
/// so the input need not be kept.
///
/// Source: PyTorch autograd of `torch.nn.functional.relu`.
pub fn backward(output: &[f64], grad_output: &[f64], grad_input: &mut [f64]) {
    debug_assert_eq!(output.len(), grad_output.len());
    debug_assert_eq!(output.len(), grad_input.len());
    for ((grad_input, &grad_output), &output) in grad_input.iter_mut().zip(grad_output).zip(output) {
        *grad_input = if output > 0.0 { grad_output } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_values_and_their_gradients_vanish() {
        let mut output = [f64::NAN; 4];
        forward(&[-1.0, 0.0, -0.0, 2.0], &mut output);
        assert_eq!(output, [0.0, 0.0, 0.0, 2.0]);
        let mut grad_input = [f64::NAN; 4];
        backward(&output, &[5.0, 6.0, 7.0, 8.0], &mut grad_input);
        assert_eq!(grad_input, [0.0, 0.0, 0.0, 8.0]);
    }

    #[test]
    fn nan_propagates() {
        let mut output = [0.0];
        forward(&[f64::NAN], &mut output);
        assert!(output[0].is_nan());
    }
}
