//! What every operation means, in plain f64 loops: the oracle the GPU kernels are measured against.
//!
//! Slices in, slices out. Activations are NCHW, convolution weights OIHW, linear weights (out, in), all row-major.
//! Outputs and gradients are overwritten, never accumulated. Work is split over threads only between values that do not
//! depend on each other, so a result has the same bits whatever the number of threads.

pub mod augment;
pub mod avg_pool2d;
pub mod bias;
pub mod conv2d;
pub mod dropout;
pub mod gather;
pub mod global_avg_pool2d;
pub mod linear;
pub mod matmul;
pub mod max_pool2d;
pub mod mean_loss;
pub mod nonfinite;
pub mod philox;
pub mod relu;
pub mod sgd;
pub mod softmax_cross_entropy;

use crate::geometry::Pool2d;

/// In a pooling window, the input under tap `k` of output `o` along one axis, unless it lies in the padding.
fn tap(shape: &Pool2d, axis: usize, o: usize, k: usize) -> Option<usize> {
    let [stride, padding, dilation] =
        [shape.window.stride, shape.window.padding, shape.window.dilation].map(|pair| pair[axis] as usize);
    (o * stride + k * dilation).checked_sub(padding).filter(|&position| position < shape.input[axis] as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Conv2d, Matmul, Window};

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let conv = Conv2d::new(3, 4, 5, [9, 8], Window::square(3).padding(1)).unwrap();
        let shape = Matmul { m: 12, k: 9, n: 32, transpose_a: false, transpose_b: false };
        let values = |length: usize| (0..length).map(|i| (i as f64 * 0.7).sin()).collect::<Vec<f64>>();
        let (input, weight) = (values(conv.input_len()), values(conv.weight_len()));
        let (bias, grad_output) = (values(5), values(conv.output_len()));
        let run = |threads: usize| {
            let mut results = [conv.output_len(), conv.input_len(), conv.weight_len(), 12 * 32].map(|n| vec![0.0; n]);
            let [output, grad_input, grad_weight, product] = &mut results;
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                conv2d::forward(&conv, &input, &weight, &bias, output);
                conv2d::grad_input(&conv, &weight, &grad_output, grad_input);
                conv2d::grad_weight(&conv, &input, &grad_output, grad_weight);
                matmul::forward(&shape, &input[..12 * 9], &grad_output[..9 * 32], product);
            });
            results.map(|result| result.into_iter().map(f64::to_bits).collect::<Vec<u64>>())
        };
        assert_eq!(run(1), run(7));
    }
}
