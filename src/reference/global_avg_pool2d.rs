//! The mean of each plane.

/// `output[p] = 1/size · Σ over i of input[p, i]`.
///
/// `planes` is batch × channels, `size` is height × width. input (planes, size), output (planes).
///
/// Source: PyTorch `torch.nn.functional.adaptive_avg_pool2d` with output size 1.
pub fn forward(planes: usize, size: usize, input: &[f64], output: &mut [f64]) {
    debug_assert_eq!(input.len(), planes * size);
    debug_assert_eq!(output.len(), planes);
    for (output, plane) in output.iter_mut().zip(input.chunks_exact(size)) {
        *output = plane.iter().sum::<f64>() / size as f64;
    }
}

/// `grad_input[p, i] = grad_output[p] / size`.
///
/// grad_output (planes), grad_input (planes, size), overwritten.
///
/// Source: PyTorch autograd of `torch.nn.functional.adaptive_avg_pool2d`.
pub fn backward(planes: usize, size: usize, grad_output: &[f64], grad_input: &mut [f64]) {
    debug_assert_eq!(grad_output.len(), planes);
    debug_assert_eq!(grad_input.len(), planes * size);
    for (plane, grad_output) in grad_input.chunks_exact_mut(size).zip(grad_output) {
        plane.fill(grad_output / size as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plane_has_its_own_mean() {
        let mut output = [f64::NAN; 2];
        forward(2, 4, &[1.0, 2.0, 3.0, 6.0, -1.0, -1.0, -1.0, -5.0], &mut output);
        assert_eq!(output, [3.0, -2.0]);
        let mut grad_input = [f64::NAN; 8];
        backward(2, 4, &[4.0, 8.0], &mut grad_input);
        assert_eq!(grad_input, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    }
}
