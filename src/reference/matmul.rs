//! Matrix products; all three products of a linear layer are one of these.

use rayon::prelude::*;

use crate::geometry::Matmul;

/// `output[m, n] = Σ over k of a[m, k] · b[k, n]`.
///
/// a (m, k), or stored (k, m) with `transpose_a`; b (k, n), or stored (n, k) with `transpose_b`; output (m, n). Every
/// size is at least 1. A linear layer with weight (out, in) is input · weightᵀ forward, grad_output · weight for its
/// input and grad_outputᵀ · input for its weight.
///
/// Source: PyTorch `torch.matmul`, `torch.nn.functional.linear`.
pub fn forward(shape: &Matmul, a: &[f64], b: &[f64], output: &mut [f64]) {
    let [m_size, k_size, n_size] = [shape.m, shape.k, shape.n].map(|size| size as usize);
    debug_assert_eq!(a.len(), m_size * k_size);
    debug_assert_eq!(b.len(), k_size * n_size);
    debug_assert_eq!(output.len(), m_size * n_size);
    output.par_chunks_mut(n_size).enumerate().for_each(|(m, output)| {
        let (start, step) = if shape.transpose_a { (m, m_size) } else { (m * k_size, 1) };
        let row = a[start..].iter().step_by(step).take(k_size);
        if shape.transpose_b {
            for (output, column) in output.iter_mut().zip(b.chunks_exact(k_size)) {
                *output = row.clone().zip(column).map(|(a, b)| a * b).sum();
            }
        } else {
            output.fill(0.0);
            for (a, b) in row.zip(b.chunks_exact(n_size)) {
                for (output, b) in output.iter_mut().zip(b) {
                    *output += a * b;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_storage_orders_agree() {
        // [1 2 3; 4 5 6] · [1 0; 2 1; 0 3] = [5 11; 14 23]
        let a = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]];
        let b = [[1.0, 0.0, 2.0, 1.0, 0.0, 3.0], [1.0, 2.0, 0.0, 0.0, 1.0, 3.0]];
        for transpose_a in [false, true] {
            for transpose_b in [false, true] {
                let shape = Matmul { m: 2, k: 3, n: 2, transpose_a, transpose_b };
                let mut output = [f64::NAN; 4];
                forward(&shape, &a[usize::from(transpose_a)], &b[usize::from(transpose_b)], &mut output);
                assert_eq!(output, [5.0, 11.0, 14.0, 23.0], "{shape:?}");
            }
        }
    }

    #[test]
    fn one_by_one() {
        let shape = Matmul { m: 1, k: 1, n: 1, transpose_a: true, transpose_b: true };
        let mut output = [f64::NAN];
        forward(&shape, &[3.0], &[-2.0], &mut output);
        assert_eq!(output, [-6.0]);
    }
}
