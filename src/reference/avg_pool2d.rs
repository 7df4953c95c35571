//! Average pooling.

use super::tap;
use crate::geometry::Pool2d;

/// The mean of each window; the input is zero outside its plane, and that padding counts in the divisor:
///
/// ```text
/// output[p, oh, ow] = 1/(KH·KW) · Σ over kh, kw of input[p, h, w]
/// h = oh·stride − padding + kh·dilation, w likewise
/// ```
///
/// input (planes, H, W), output (planes, OH, OW).
///
/// Source: PyTorch `torch.nn.functional.avg_pool2d` with its defaults `ceil_mode=False`, `count_include_pad=True`.
/// PyTorch has no dilation here; with dilation 1 the two agree.
pub fn forward(shape: &Pool2d, input: &[f64], output: &mut [f64]) {
    debug_assert_eq!(input.len(), shape.input_len());
    debug_assert_eq!(output.len(), shape.output_len());
    let divisor = divisor(shape);
    let planes = input.chunks_exact(plane(shape.input)).zip(output.chunks_exact_mut(plane(shape.output)));
    for (input, output) in planes {
        output.fill(0.0);
        for_each_tap(shape, |from, to| output[to] += input[from]);
        for output in output {
            *output /= divisor;
        }
    }
}

/// `grad_input[p, h, w] = 1/(KH·KW) · Σ of grad_output[p, oh, ow]` over the windows that cover h, w.
///
/// grad_output (planes, OH, OW), grad_input (planes, H, W), overwritten.
///
/// Source: PyTorch autograd of `torch.nn.functional.avg_pool2d`.
pub fn backward(shape: &Pool2d, grad_output: &[f64], grad_input: &mut [f64]) {
    debug_assert_eq!(grad_output.len(), shape.output_len());
    debug_assert_eq!(grad_input.len(), shape.input_len());
    let divisor = divisor(shape);
    let planes = grad_input.chunks_exact_mut(plane(shape.input)).zip(grad_output.chunks_exact(plane(shape.output)));
    for (grad_input, grad_output) in planes {
        grad_input.fill(0.0);
        for_each_tap(shape, |to, from| grad_input[to] += grad_output[from] / divisor);
    }
}

fn plane([height, width]: [u32; 2]) -> usize {
    height as usize * width as usize
}

fn divisor(shape: &Pool2d) -> f64 {
    plane(shape.window.kernel_size) as f64
}

/// Visits every pair (input position, output position) of one plane where the output's window covers the input.
fn for_each_tap(shape: &Pool2d, mut visit: impl FnMut(usize, usize)) {
    let [output_height, output_width] = shape.output.map(|size| size as usize);
    let [kernel_height, kernel_width] = shape.window.kernel_size.map(|size| size as usize);
    let width = shape.input[1] as usize;
    for oh in 0..output_height {
        for ow in 0..output_width {
            for h in (0..kernel_height).filter_map(|kh| tap(shape, 0, oh, kh)) {
                for w in (0..kernel_width).filter_map(|kw| tap(shape, 1, ow, kw)) {
                    visit(h * width + w, oh * output_width + ow);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Window;

    #[test]
    fn padding_counts_in_the_divisor() {
        let shape = Pool2d::new(1, [2, 2], Window::square(2).stride(2).padding(1)).unwrap();
        let mut output = [f64::NAN; 4];
        forward(&shape, &[4.0, 8.0, 12.0, 16.0], &mut output);
        assert_eq!(output, [1.0, 2.0, 3.0, 4.0]);
        let mut grad_input = [f64::NAN; 4];
        backward(&shape, &[4.0, 8.0, 12.0, 16.0], &mut grad_input);
        assert_eq!(grad_input, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn overlapping_windows_add_up() {
        let shape = Pool2d::new(2, [1, 3], Window { kernel_size: [1, 2], ..Window::square(1) }).unwrap();
        let mut output = [f64::NAN; 4];
        forward(&shape, &[1.0, 3.0, 5.0, 2.0, 4.0, 8.0], &mut output);
        assert_eq!(output, [2.0, 4.0, 3.0, 6.0]);
        let mut grad_input = [f64::NAN; 6];
        backward(&shape, &[2.0, 4.0, 6.0, 8.0], &mut grad_input);
        assert_eq!(grad_input, [1.0, 3.0, 2.0, 3.0, 7.0, 4.0]);
    }
}
