//! Two-dimensional convolution (cross-correlation, as every framework means it).

use std::ops::Range;

use rayon::prelude::*;

use crate::geometry::Conv2d;

/// The convolution plus its bias; the input is zero outside its plane:
///
/// ```text
/// output[n, o, oh, ow] = bias[o] + Σ over c, kh, kw of weight[o, c, kh, kw] · input[n, c, h, w]
/// h = oh·stride − padding + kh·dilation, w likewise
/// ```
///
/// input (N, C, H, W), weight (O, C, KH, KW), bias (O), output (N, O, OH, OW).
///
/// Source: PyTorch `torch.nn.functional.conv2d`.
pub fn forward(shape: &Conv2d, input: &[f64], weight: &[f64], bias: &[f64], output: &mut [f64]) {
    debug_assert_eq!(input.len(), shape.input_len());
    debug_assert_eq!(weight.len(), shape.weight_len());
    debug_assert_eq!(bias.len(), shape.out_channels as usize);
    debug_assert_eq!(output.len(), shape.output_len());
    let sizes = Sizes::new(shape);
    output.par_chunks_mut(sizes.output).enumerate().for_each(|(plane, output)| {
        let (n, o) = (plane / sizes.out_channels, plane % sizes.out_channels);
        output.fill(bias[o]);
        for c in 0..sizes.in_channels {
            let input = &input[sizes.input_plane(n, c)];
            let weight = &weight[sizes.kernel_plane(o, c)];
            for_each_row(shape, |tap, row, start| {
                add_scaled(weight[tap], &input[start..], sizes.stride, &mut output[row], 1);
            });
        }
    });
}

/// The gradient of the input, a sum over every o, kh, kw, oh, ow that reads it, with h and w as in [`forward`]:
///
/// ```text
/// grad_input[n, c, h, w] = Σ weight[o, c, kh, kw] · grad_output[n, o, oh, ow]
/// ```
///
/// weight (O, C, KH, KW), grad_output (N, O, OH, OW), grad_input (N, C, H, W), overwritten.
///
/// Source: PyTorch `torch.nn.grad.conv2d_input`.
pub fn grad_input(shape: &Conv2d, weight: &[f64], grad_output: &[f64], grad_input: &mut [f64]) {
    debug_assert_eq!(weight.len(), shape.weight_len());
    debug_assert_eq!(grad_output.len(), shape.output_len());
    debug_assert_eq!(grad_input.len(), shape.input_len());
    let sizes = Sizes::new(shape);
    grad_input.par_chunks_mut(sizes.input).enumerate().for_each(|(plane, grad_input)| {
        let (n, c) = (plane / sizes.in_channels, plane % sizes.in_channels);
        grad_input.fill(0.0);
        for o in 0..sizes.out_channels {
            let weight = &weight[sizes.kernel_plane(o, c)];
            let grad_output = &grad_output[sizes.output_plane(n, o)];
            for_each_row(shape, |tap, row, start| {
                add_scaled(weight[tap], &grad_output[row], 1, &mut grad_input[start..], sizes.stride);
            });
        }
    });
}

/// The gradient of the weight, with h and w as in [`forward`]; that of the bias is [`bias::grad`](super::bias::grad):
///
/// ```text
/// grad_weight[o, c, kh, kw] = Σ over n, oh, ow of grad_output[n, o, oh, ow] · input[n, c, h, w]
/// ```
///
/// input (N, C, H, W), grad_output (N, O, OH, OW), grad_weight (O, C, KH, KW), overwritten.
///
/// Source: PyTorch `torch.nn.grad.conv2d_weight`.
pub fn grad_weight(shape: &Conv2d, input: &[f64], grad_output: &[f64], grad_weight: &mut [f64]) {
    debug_assert_eq!(input.len(), shape.input_len());
    debug_assert_eq!(grad_output.len(), shape.output_len());
    debug_assert_eq!(grad_weight.len(), shape.weight_len());
    let sizes = Sizes::new(shape);
    grad_weight.par_chunks_mut(sizes.kernel).enumerate().for_each(|(plane, grad_weight)| {
        let (o, c) = (plane / sizes.in_channels, plane % sizes.in_channels);
        grad_weight.fill(0.0);
        for n in 0..sizes.batch {
            let input = &input[sizes.input_plane(n, c)];
            let grad_output = &grad_output[sizes.output_plane(n, o)];
            for_each_row(shape, |tap, row, start| {
                grad_weight[tap] += dot(&grad_output[row], &input[start..], sizes.stride);
            });
        }
    });
}

/// A shape's sizes as `usize`; `input`, `output` and `kernel` are the lengths of one plane.
struct Sizes {
    batch: usize,
    in_channels: usize,
    out_channels: usize,
    input: usize,
    output: usize,
    kernel: usize,
    /// The stride along a row.
    stride: usize,
}

impl Sizes {
    fn new(shape: &Conv2d) -> Self {
        let plane = |[height, width]: [u32; 2]| height as usize * width as usize;
        Self {
            batch: shape.batch as usize,
            in_channels: shape.in_channels as usize,
            out_channels: shape.out_channels as usize,
            input: plane(shape.input),
            output: plane(shape.output),
            kernel: plane(shape.window.kernel_size),
            stride: shape.window.stride[1] as usize,
        }
    }

    fn input_plane(&self, n: usize, c: usize) -> Range<usize> {
        let start = (n * self.in_channels + c) * self.input;
        start..start + self.input
    }

    fn output_plane(&self, n: usize, o: usize) -> Range<usize> {
        let start = (n * self.out_channels + o) * self.output;
        start..start + self.output
    }

    fn kernel_plane(&self, o: usize, c: usize) -> Range<usize> {
        let start = (o * self.in_channels + c) * self.kernel;
        start..start + self.kernel
    }
}

/// Visits every (kernel tap, output row) pair that touches the input: the tap kh·KW + kw, the part of the output row
/// (as positions in its plane) whose tap lies inside the input, and the input position under the first of them.
/// Neighbours in the row are `stride[1]` inputs apart.
fn for_each_row(shape: &Conv2d, mut visit: impl FnMut(usize, Range<usize>, usize)) {
    let [kernel_height, kernel_width] = shape.window.kernel_size.map(|size| size as usize);
    let input_width = shape.input[1] as usize;
    let output_width = shape.output[1] as usize;
    let stride = shape.window.stride[0] as usize;
    for kh in 0..kernel_height {
        let (rows, top) = inside(shape, 0, kh);
        for kw in 0..kernel_width {
            let (columns, left) = inside(shape, 1, kw);
            if columns.is_empty() {
                continue;
            }
            for (i, oh) in rows.clone().enumerate() {
                let row = oh * output_width;
                let start = (top + i * stride) * input_width + left;
                visit(kh * kernel_width + kw, row + columns.start..row + columns.end, start);
            }
        }
    }
}

/// Along one axis: the outputs whose tap `k` falls inside the input, and the input under the first of them.
fn inside(shape: &Conv2d, axis: usize, k: usize) -> (Range<usize>, usize) {
    let [stride, padding, dilation] =
        [shape.window.stride, shape.window.padding, shape.window.dilation].map(|pair| pair[axis] as usize);
    let offset = k * dilation;
    let end = (shape.input[axis] as usize + padding).saturating_sub(offset).div_ceil(stride);
    let end = end.min(shape.output[axis] as usize);
    let start = padding.saturating_sub(offset).div_ceil(stride);
    if start < end { (start..end, start * stride + offset - padding) } else { (0..0, 0) }
}

/// `sums[i · sums_stride] += factor · values[i · values_stride]`, as far as both reach.
fn add_scaled(factor: f64, values: &[f64], values_stride: usize, sums: &mut [f64], sums_stride: usize) {
    // `step_by(1)` does not become vector instructions; most convolutions have stride 1.
    if values_stride == 1 && sums_stride == 1 {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += factor * value;
        }
    } else {
        for (sum, value) in sums.iter_mut().step_by(sums_stride).zip(values.iter().step_by(values_stride)) {
            *sum += factor * value;
        }
    }
}

/// `Σ a[i] · b[i · b_stride]`.
fn dot(a: &[f64], b: &[f64], b_stride: usize) -> f64 {
    if b_stride == 1 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    } else {
        a.iter().zip(b.iter().step_by(b_stride)).map(|(a, b)| a * b).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Window;

    #[test]
    fn a_two_by_two_kernel_by_hand() {
        let shape = Conv2d::new(1, 1, 1, [3, 3], Window::square(2)).unwrap();
        let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let weight = [1.0, 10.0, 100.0, 1000.0];
        let mut output = [f64::NAN; 4];
        forward(&shape, &input, &weight, &[0.5], &mut output);
        assert_eq!(output, [5421.5, 6532.5, 8754.5, 9865.5]);

        let grad_output = [1.0, 0.0, 0.0, 2.0];
        let mut actual = [f64::NAN; 9];
        grad_input(&shape, &weight, &grad_output, &mut actual);
        assert_eq!(actual, [1.0, 10.0, 0.0, 100.0, 1002.0, 20.0, 0.0, 200.0, 2000.0]);

        let mut actual = [f64::NAN; 4];
        grad_weight(&shape, &input, &grad_output, &mut actual);
        assert_eq!(actual, [11.0, 14.0, 20.0, 23.0]);
    }

    #[test]
    fn channels_and_images_do_not_mix() {
        let shape = Conv2d::new(2, 2, 3, [1, 1], Window::square(1)).unwrap();
        let weight = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        let mut output = [f64::NAN; 6];
        forward(&shape, &[1.0, 2.0, 3.0, 4.0], &weight, &[0.0; 3], &mut output);
        assert_eq!(output, [21.0, 42.0, 63.0, 43.0, 86.0, 129.0]);
    }

    #[test]
    fn stride_padding_and_dilation_by_hand() {
        // Along the row: positions −2, 0 and 2 for the first output, 1, 3 and 5 for the second (stride 3, dilation 2).
        let window = Window { kernel_size: [1, 3], stride: [1, 3], padding: [0, 2], dilation: [1, 2] };
        let shape = Conv2d::new(1, 1, 1, [1, 5], window).unwrap();
        let mut output = [f64::NAN; 2];
        forward(&shape, &[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0, 10.0, 100.0], &[0.0], &mut output);
        assert_eq!(output, [310.0, 42.0]);
    }

    #[test]
    fn a_window_of_padding_alone_gives_the_bias() {
        let shape = Conv2d::new(1, 1, 1, [1, 1], Window::square(1).padding(2).stride(2)).unwrap();
        let mut output = [f64::NAN; 9];
        forward(&shape, &[1.0], &[1.0], &[7.0], &mut output);
        assert_eq!(output, [7.0, 7.0, 7.0, 7.0, 8.0, 7.0, 7.0, 7.0, 7.0]);
    }
}
