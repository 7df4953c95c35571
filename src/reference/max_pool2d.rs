//! Max pooling.

use super::tap;
use crate::geometry::Pool2d;

/// The largest input of each window, and where it was; padding counts as −∞:
///
/// ```text
/// output[p, oh, ow] = max over kh, kw of input[p, h, w]
/// h = oh·stride − padding + kh·dilation, w likewise
/// ```
///
/// argmax is the position h·W + w of that input in its plane: the first of equals in row-major window order. A NaN in
/// the window is its maximum (the last one, if several). `Pool2d::new` refuses windows that cover no input.
///
/// input (planes, H, W), output and argmax (planes, OH, OW).
///
/// Source: PyTorch `torch.nn.functional.max_pool2d` with `return_indices=True`.
pub fn forward(shape: &Pool2d, input: &[f64], output: &mut [f64], argmax: &mut [u32]) {
    debug_assert_eq!(input.len(), shape.input_len());
    debug_assert_eq!(output.len(), shape.output_len());
    debug_assert_eq!(argmax.len(), shape.output_len());
    let [height, width] = shape.input.map(|size| size as usize);
    let [output_height, output_width] = shape.output.map(|size| size as usize);
    let [kernel_height, kernel_width] = shape.window.kernel_size.map(|size| size as usize);
    let mut outputs = output.iter_mut().zip(argmax);
    for plane in input.chunks_exact(height * width) {
        for oh in 0..output_height {
            for ow in 0..output_width {
                let mut maximum = f64::NEG_INFINITY;
                let mut position = None;
                for h in (0..kernel_height).filter_map(|kh| tap(shape, 0, oh, kh)) {
                    for w in (0..kernel_width).filter_map(|kw| tap(shape, 1, ow, kw)) {
                        let value = plane[h * width + w];
                        if value > maximum || value.is_nan() || position.is_none() {
                            maximum = value;
                            position = Some((h * width + w) as u32);
                        }
                    }
                }
                if let (Some((output, argmax)), Some(position)) = (outputs.next(), position) {
                    *output = maximum;
                    *argmax = position;
                }
            }
        }
    }
}

/// What [`forward`] gives after a ReLU, from what it gives without: max(output, 0), and `u32::MAX` for argmax where that is 0. The maximum
/// of max(x, 0) is max(maximum of x, 0), and no gradient passes a ReLU that gives 0.
///
/// output and argmax (planes, OH, OW).
pub fn rectify(output: &mut [f64], argmax: &mut [u32]) {
    for (output, argmax) in output.iter_mut().zip(argmax) {
        if *output <= 0.0 {
            *output = 0.0;
            *argmax = u32::MAX;
        }
    }
}

/// `grad_input[p, i] = Σ of grad_output[p, o] over the outputs o with argmax[p, o] = i`.
///
/// argmax and grad_output (planes, OH, OW), grad_input (planes, H, W), overwritten. An argmax of `u32::MAX` is nowhere.
///
/// Source: PyTorch autograd of `torch.nn.functional.max_pool2d`.
pub fn backward(shape: &Pool2d, argmax: &[u32], grad_output: &[f64], grad_input: &mut [f64]) {
    debug_assert_eq!(argmax.len(), shape.output_len());
    debug_assert_eq!(grad_output.len(), shape.output_len());
    debug_assert_eq!(grad_input.len(), shape.input_len());
    let input_plane = shape.input[0] as usize * shape.input[1] as usize;
    let output_plane = shape.output[0] as usize * shape.output[1] as usize;
    grad_input.fill(0.0);
    let outputs = argmax.chunks_exact(output_plane).zip(grad_output.chunks_exact(output_plane));
    for (grad_input, (argmax, grad_output)) in grad_input.chunks_exact_mut(input_plane).zip(outputs) {
        for (&position, grad_output) in argmax.iter().zip(grad_output) {
            if position != u32::MAX {
                grad_input[position as usize] += grad_output;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Window;

    fn pool(shape: &Pool2d, input: &[f64]) -> (Vec<f64>, Vec<u32>) {
        let mut output = vec![0.0; shape.output_len()];
        let mut argmax = vec![0; shape.output_len()];
        forward(shape, input, &mut output, &mut argmax);
        (output, argmax)
    }

    #[test]
    fn overlapping_windows_share_a_maximum() {
        let shape = Pool2d::new(1, [3, 3], Window::square(2)).unwrap();
        let (output, argmax) = pool(&shape, &[1.0, 2.0, 3.0, 4.0, 9.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(output, [9.0; 4]);
        assert_eq!(argmax, [4; 4]);
        let mut grad_input = [f64::NAN; 9];
        backward(&shape, &argmax, &[1.0, 2.0, 4.0, 8.0], &mut grad_input);
        assert_eq!(grad_input, [0.0, 0.0, 0.0, 0.0, 15.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_first_of_equals_wins_and_padding_never_does() {
        let shape = Pool2d::new(1, [2, 2], Window::square(2).stride(2).padding(1)).unwrap();
        assert_eq!(pool(&shape, &[-1.0, -2.0, -3.0, -4.0]), (vec![-1.0, -2.0, -3.0, -4.0], vec![0, 1, 2, 3]));
        let shape = Pool2d::new(2, [2, 2], Window::square(2)).unwrap();
        let infinity = f64::NEG_INFINITY;
        let (output, argmax) = pool(&shape, &[0.0, 5.0, 5.0, 5.0, infinity, infinity, infinity, infinity]);
        assert_eq!((output, argmax), (vec![5.0, infinity], vec![1, 0]));
    }

    #[test]
    fn nan_propagates() {
        let shape = Pool2d::new(1, [1, 4], Window { kernel_size: [1, 4], ..Window::square(1) }).unwrap();
        let (output, argmax) = pool(&shape, &[1.0, f64::NAN, 9.0, 2.0]);
        assert!(output[0].is_nan());
        assert_eq!(argmax, [1]);
    }
}
