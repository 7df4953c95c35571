//! Multiply-adds and nothing else: what the arithmetic ceiling is read from, and what a clock is tried on.

use super::work::Work;
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Device, DeviceKind, Dispatch, Program, Shader, params};

static FMA: Shader = Shader::new("bench/fma", include_str!("shaders/fma.wgsl"), &[]);

params! {
    FmaParams {
        rounds: u32,
        factor: f32,
        term: f32,
    }
}

/// Below 1, so that no chain overflows or reaches subnormal numbers, which some processors compute slowly.
const FACTOR: f32 = 0.999;
const TERM: f32 = 0.001;
const ROUNDS: u32 = 256;

/// Invocations that a processor is full with.
pub(super) const FEW: usize = 1 << 13;

/// The same for a GPU; a small one takes a second or more for them.
const MANY: usize = 1 << 20;

/// Invocations that a device is full with.
pub(super) fn filling(device: &Device) -> usize {
    if device.info().kind == DeviceKind::Software { FEW } else { MANY }
}

/// The work of so many invocations, and the buffer that it writes.
pub(super) fn work(device: &Device, length: usize) -> Result<(Work, Buffer)> {
    let output = Buffer::new(device, "multiply-adds", length)?;
    let params = FmaParams { rounds: ROUNDS, factor: FACTOR, term: TERM };
    let dispatch = Dispatch::new(&FMA, "fma_rate", &params, &[("output", 0)], length as u64);
    let program = Program::new(device, &[(dispatch, vec![output.whole()])])?;
    Ok((Work::whole(program), output))
}

/// Multiply-adds of an execution whose output has so many bytes.
pub(super) fn per_execution(bytes: u64) -> f64 {
    (bytes / 4) as f64 * f64::from(ROUNDS) * f64::from(FMA.constant("FMA_PER_ROUND"))
}

/// A driver that stops long loops would seem infinitely fast.
pub(super) fn verify(device: &Device, output: &Buffer) -> Result<()> {
    let actual: Vec<f32> = device.read(output, 0, 64)?;
    let (factor, term) = (f64::from(FACTOR), f64::from(TERM));
    let power = factor.powi(4 * ROUNDS as i32);
    for (local, actual) in actual.into_iter().enumerate() {
        // 32 lanes that begin at local, local + 1 … local + 31.
        let begin = 32.0 * local as f64 + 496.0;
        let expected = power * begin + 32.0 * term * (1.0 - power) / (1.0 - factor);
        if (f64::from(actual) - expected).abs() > 1e-3 * expected {
            return Err(Error::gpu(format!(
                "the driver does not compute the multiply-adds it was asked for (got {actual}, expected {expected})"
            )));
        }
    }
    Ok(())
}
