//! What the peers in Rust have in common: what they are asked to do, the batches and weights that all train on, and the lines by which
//! `run` times them.

use std::io::Write;

use safetensors::{Dtype, SafeTensors};

pub const LEARNING_RATE: f64 = 0.001;
pub const MOMENTUM: f64 = 0.9;

/// A tensor as a file holds it.
pub struct Values<T> {
    pub shape: Vec<usize>,
    pub values: Vec<T>,
}

/// What one process does until it is stopped, with a line of output every so many steps.
pub enum Task {
    /// Training on the batches of a file, again and again.
    Train { file: Workload, every: usize },
    /// Products of two square matrices of f32.
    Matmul { size: usize, every: usize },
}

impl Task {
    /// Of the command line: `train FILE EVERY` or `matmul SIZE EVERY`.
    pub fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let number = |text: &str| text.parse().ok().filter(|&number| number > 0).unwrap_or_else(|| usage());
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["train", file, every] => Self::Train { file: Workload::read(file), every: number(every) },
            ["matmul", size, every] => Self::Matmul { size: number(size), every: number(every) },
            _ => usage(),
        }
    }
}

fn usage() -> ! {
    eprintln!("usage: train FILE.safetensors EVERY | matmul SIZE EVERY");
    std::process::exit(2)
}

/// Batches and initial weights, as `batches` wrote them.
pub struct Workload(Vec<u8>);

impl Workload {
    fn read(file: &str) -> Self {
        Self(std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}")))
    }

    /// A parameter under PyTorch's name, in PyTorch's layout.
    pub fn parameter(&self, name: &str) -> Values<f32> {
        self.tensor(name, Dtype::F32, f32::from_le_bytes)
    }

    /// The weight of a linear layer as (in, out).
    pub fn transposed(&self, name: &str) -> Values<f32> {
        let Values { shape, values } = self.parameter(name);
        let (outputs, inputs) = (shape[0], shape[1]);
        let transposed = (0..inputs * outputs).map(|at| values[at % outputs * inputs + at / outputs]);
        Values { shape: vec![inputs, outputs], values: transposed.collect() }
    }

    /// Each batch: normalised images (N, C, H, W) and labels (N).
    pub fn batches(&self) -> Vec<(Values<f32>, Vec<i64>)> {
        let images = self.tensor("images", Dtype::F32, f32::from_le_bytes);
        let labels = self.tensor("labels", Dtype::I64, i64::from_le_bytes).values;
        let (batches, shape) = (images.shape[0], &images.shape[1..]);
        let parts = images.values.chunks(images.values.len() / batches).zip(labels.chunks(labels.len() / batches));
        parts.map(|(images, labels)| (Values { shape: shape.into(), values: images.into() }, labels.into())).collect()
    }

    fn tensor<const BYTES: usize, T>(&self, name: &str, dtype: Dtype, read: fn([u8; BYTES]) -> T) -> Values<T> {
        let tensors = SafeTensors::deserialize(&self.0).expect("a safetensors file");
        let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tensor.dtype(), dtype, "{name}");
        let values = tensor.data().as_chunks().0.iter().map(|&bytes| read(bytes)).collect();
        Values { shape: tensor.shape().into(), values }
    }
}

/// The two factors of `Task::Matmul`, (size, size): a reflection A = I − 2·v·vᵀ/size with v of ±1, so that A·(A·B) = B and products may
/// go on forever without overflow, and some B in ±1.
pub fn factors(size: usize) -> (Vec<f32>, Vec<f32>) {
    let mut state = 1u32;
    // Numerical Recipes' generator, its high bits.
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let signs: Vec<f32> = (0..size).map(|_| 1f32.copysign(random())).collect();
    let reflection = (0..size * size).map(|at| {
        let (row, column) = (at / size, at % size);
        f32::from(row == column) - 2.0 * signs[row] * signs[column] / size as f32
    });
    (reflection.collect(), (0..size * size).map(|_| random()).collect())
}

/// Says which device it is.
pub fn announce(device: &str) {
    say(&format!("device: {device}"));
}

/// Does step after step until the process is stopped. Every so many steps the value of the last one is waited for, read and printed, in
/// the words of `shadegrad train`; in between nothing is.
pub fn repeat<T>(every: usize, mut step: impl FnMut(usize) -> T, read: impl Fn(T) -> f32) -> ! {
    for done in 1.. {
        let value = step(done - 1);
        if done % every == 0 {
            say(&format!("[1, {done}] loss: {:?}", read(value)));
        }
    }
    unreachable!("steps without end")
}

/// A line at once, whatever standard output is.
fn say(line: &str) {
    let mut output = std::io::stdout();
    // Nobody listens any more: nothing is left to do.
    if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reflection_undoes_itself() {
        let size = 16;
        let (a, b) = factors(size);
        let multiply = |b: &[f32]| -> Vec<f32> {
            let dot = |at: usize| (0..size).map(|k| a[at / size * size + k] * b[k * size + at % size]).sum();
            (0..size * size).map(dot).collect()
        };
        let once = multiply(&b);
        assert!(once.iter().zip(&b).any(|(x, y)| (x - y).abs() > 0.1));
        assert!(multiply(&once).iter().zip(&b).all(|(x, y)| (x - y).abs() < 1e-5));
    }
}
