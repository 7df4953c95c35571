//! What the adapter can do at best: the roof that every kernel is held against.

use super::clock::{Clock, Timing};
use super::fma;
use super::statistics::Summary;
use super::work::Work;
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Device, Dispatch, Program, Shader, params};

static COPY: Shader = Shader::new("bench/copy", include_str!("shaders/copy.wgsl"), &[]);
static EMPTY: Shader = Shader::new("bench/empty", include_str!("shaders/empty.wgsl"), &[]);

params! {
    CopyParams {
        length: u32,
    }
}

params! {
    EmptyParams {
        value: u32,
    }
}

/// Elements of the copy: with its output 128 MiB, more than caches hold.
const COPY_LENGTH: usize = 16 << 20;

const SAMPLES: usize = 15;

/// A kernel that takes less than so many empty dispatches is bound by the dispatch.
const DISPATCHES: f64 = 5.0;

/// The best rates seen on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Multiply-adds, each counted as two operations: 10⁹ a second.
    pub fma_gflops: f64,
    /// Bytes read and bytes written: 10⁹ a second.
    pub copy_gbps: f64,
    /// Microseconds of a dispatch that does nothing.
    pub dispatch_us: f64,
}

/// Which resource a kernel runs out of first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Memory,
    Compute,
    /// Launching it takes a good part of its time: the time is the driver's as much as the kernel's.
    Dispatch,
}

impl Bound {
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Compute => "compute",
            Self::Dispatch => "dispatch",
        }
    }
}

impl Ceilings {
    /// # Errors
    /// What the driver refuses; a micro-kernel that does not compute what it should, whose rate would mean nothing.
    pub fn measure(clock: &Clock<'_>) -> Result<Self> {
        let (work, output) = fma::work(clock.device, fma::filling(clock.device))?;
        let fma_seconds = typical(clock, &work)?;
        fma::verify(clock.device, &output)?;
        let flops = 2.0 * fma::per_execution(output.size());
        drop((work, output));

        let length = COPY_LENGTH.min((clock.device.max_binding_bytes() / 4) as usize);
        let mut copy_seconds = f64::INFINITY;
        for entry_point in ["copy_vec4", "copy_scalar"] {
            copy_seconds = copy_seconds.min(copy(clock, entry_point, length)?);
        }
        let empty_seconds = typical(clock, &empty(clock.device)?)?;
        Ok(Self {
            fma_gflops: flops / fma_seconds * 1e-9,
            copy_gbps: 8.0 * length as f64 / copy_seconds * 1e-9,
            dispatch_us: 1e6 * empty_seconds,
        })
    }

    /// The least seconds that these operations and bytes take.
    pub fn least_seconds(&self, flops: u64, bytes: u64) -> f64 {
        let (compute, memory) = self.shares(flops, bytes);
        compute.max(memory)
    }

    /// What holds back a kernel with these operations and bytes that takes so many seconds: the dispatch, or the side of the ridge that it is
    /// on.
    pub fn bound(&self, flops: u64, bytes: u64, seconds: f64) -> Bound {
        let (compute, memory) = self.shares(flops, bytes);
        match () {
            () if 1e6 * seconds < DISPATCHES * self.dispatch_us => Bound::Dispatch,
            () if compute > memory => Bound::Compute,
            () => Bound::Memory,
        }
    }

    /// Operations a byte at which both take the same time.
    pub fn ridge(&self) -> f64 {
        self.fma_gflops / self.copy_gbps
    }

    fn shares(&self, flops: u64, bytes: u64) -> (f64, f64) {
        (flops as f64 / self.fma_gflops * 1e-9, bytes as f64 / self.copy_gbps * 1e-9)
    }
}

fn typical(clock: &Clock<'_>, work: &Work) -> Result<f64> {
    let executions = clock.warm_up(work)?;
    let samples: Vec<f64> = (0..SAMPLES).map(|_| clock.sample(work, executions)).collect::<Result<_>>()?;
    Ok(best(&samples, clock.timing()))
}

/// A ceiling is what the device can do, not what it did while busy; the very best sample may be a clock's error. What disturbs a slope makes it too
/// small, down to nothing, as easily as too large: of slopes it is the one in the middle.
fn best(samples: &[f64], timing: Timing) -> f64 {
    let summary = Summary::new(samples);
    match timing {
        Timing::Timestamps => summary.p5,
        Timing::Slope => summary.median,
    }
}

fn copy(clock: &Clock<'_>, entry_point: &'static str, length: usize) -> Result<f64> {
    let device = clock.device;
    let (input, output) = (Buffer::new(device, "copied", length)?, Buffer::new(device, "copy", length)?);
    let values: Vec<u32> = (0..length as u32).collect();
    device.write(&input, 0, &values);
    let (names, invocations) = match entry_point {
        "copy_vec4" => ([("input_vec4", 0), ("output_vec4", 1)], length / 4),
        _ => ([("input", 0), ("output", 1)], length),
    };
    let params = CopyParams { length: length as u32 };
    let dispatch = Dispatch::new(&COPY, entry_point, &params, &names, invocations as u64);
    let program = Program::new(device, &[(dispatch, vec![input.whole(), output.whole()])])?;
    let seconds = typical(clock, &Work::whole(program))?;
    let copied: Vec<u32> = device.read(&output, 0, length)?;
    if copied != values {
        return Err(Error::gpu(format!("{entry_point} does not copy")));
    }
    Ok(seconds)
}

fn empty(device: &Device) -> Result<Work> {
    let output = Buffer::new(device, "nothing", 1)?;
    let dispatch = Dispatch::new(&EMPTY, "empty", &EmptyParams { value: 1 }, &[("output", 0)], 1);
    Ok(Work::whole(Program::new(device, &[(dispatch, vec![output.whole()])])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_of_nothing_is_no_ceiling() {
        let mut samples = vec![1e-3; SAMPLES - 2];
        samples.extend([1e-12, 5e-3]);
        assert_eq!(best(&samples, Timing::Slope), 1e-3);
        samples[SAMPLES - 2] = 0.9e-3;
        assert!((0.9e-3..1e-3).contains(&best(&samples, Timing::Timestamps)));
    }
}
