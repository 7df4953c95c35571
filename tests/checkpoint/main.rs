//! Checkpoints through damage, kills at every step of a save, a full disk and files from elsewhere.

mod contents;
mod damage;
mod file;
mod mismatch;
mod model;
mod saving;

use std::path::Path;

use shadegrad::Error;
use shadegrad::random::{Purpose, Random};
use shadegrad::train::checkpoint::{Checkpoint, NamedTensor, Position, Restored, load};

const TEMPORARY: &str = "checkpoint.safetensors.tmp";

fn expected() -> Vec<(String, Vec<u32>)> {
    let shapes: [(&str, &[u32]); 4] =
        [("conv1.weight", &[6, 3, 5, 5]), ("conv1.bias", &[6]), ("fc1.weight", &[7, 11]), ("fc1.bias", &[7])];
    shapes.map(|(name, shape)| (name.to_string(), shape.to_vec())).to_vec()
}

fn tensors(seed: u64) -> Vec<NamedTensor> {
    let tensor = |(index, (name, shape)): (usize, (String, Vec<u32>))| {
        let mut random = Random::new(seed, Purpose::Test, index as u64);
        let values = (0..shape.iter().product()).map(|_| random.range(-1.0, 1.0)).collect();
        NamedTensor { name, shape, values }
    };
    expected().into_iter().enumerate().map(tensor).collect()
}

/// 0.1 + 0.2 is the classic that a rounded decimal loses.
fn checkpoint(step: u64) -> Checkpoint {
    let position = Position {
        epoch: 1 + (step / 12_500) as u32,
        batch: (step % 12_500) as u32,
        step,
        seed: u64::MAX,
        loss_sum: 0.1 + 0.2 + step as f64,
        loss_count: 3,
        seconds: 1.0 / 3.0,
    };
    Checkpoint { position, parameters: tensors(step), momentum: tensors(step + 1) }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn restore(run: &Path) -> Restored {
    load(run, &expected()).unwrap_or_else(|error| panic!("{error}"))
}

fn message(error: &Error) -> String {
    assert_eq!(error.exit_code(), 4);
    error.to_string()
}
