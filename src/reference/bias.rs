//! A per-channel bias.

use crate::geometry::Channels;

/// `output[n, c, i] = input[n, c, i] + bias[c]`.
///
/// input and output (batch, channels, size), bias (channels).
///
/// Source: PyTorch, the bias term of `torch.nn.functional.conv2d` and `torch.nn.functional.linear`.
pub fn add(shape: &Channels, input: &[f64], bias: &[f64], output: &mut [f64]) {
    debug_assert_eq!(input.len(), shape.len());
    debug_assert_eq!(bias.len(), shape.channels as usize);
    debug_assert_eq!(output.len(), shape.len());
    let size = shape.size as usize;
    for ((output, input), bias) in output.chunks_exact_mut(size).zip(input.chunks_exact(size)).zip(bias.iter().cycle())
    {
        for (output, input) in output.iter_mut().zip(input) {
            *output = input + bias;
        }
    }
}

/// `grad_bias[c] = Σ over n, i of grad_output[n, c, i]`. The gradient of the input is grad_output itself.
///
/// grad_output (batch, channels, size), grad_bias (channels), overwritten.
///
/// Source: PyTorch autograd of the bias term of `torch.nn.functional.conv2d` and `torch.nn.functional.linear`.
pub fn grad(shape: &Channels, grad_output: &[f64], grad_bias: &mut [f64]) {
    debug_assert_eq!(grad_output.len(), shape.len());
    debug_assert_eq!(grad_bias.len(), shape.channels as usize);
    grad_bias.fill(0.0);
    for image in grad_output.chunks_exact(shape.channels as usize * shape.size as usize) {
        for (grad_bias, plane) in grad_bias.iter_mut().zip(image.chunks_exact(shape.size as usize)) {
            *grad_bias += plane.iter().sum::<f64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_bias() {
        let shape = Channels { batch: 2, channels: 2, size: 2 };
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let mut output = [f64::NAN; 8];
        add(&shape, &values, &[10.0, 20.0], &mut output);
        assert_eq!(output, [11.0, 12.0, 23.0, 24.0, 15.0, 16.0, 27.0, 28.0]);

        let mut grad_bias = [f64::NAN; 2];
        grad(&shape, &values, &mut grad_bias);
        assert_eq!(grad_bias, [14.0, 22.0]);
    }
}
