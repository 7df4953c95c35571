//! Timing the kernels of one case side by side: verified, warmed up, interleaved, verified again.

use std::time::Instant;

use super::clock::{Clock, Timing};
use super::statistics::Summary;
use super::work::Work;
use crate::cases::Case;
use crate::check;
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Device};
use crate::ops::{self, Access, Lowering};

/// Inputs are copied until all copies together hold this many bytes, more than the caches of most devices …
const ROTATED_BYTES: u64 = 128 << 20;

/// … but not more often than this: beyond it, the small kernels that would need more are those that find their inputs cached in training.
const MAX_SETS: u64 = 32;

/// Results take turns too where they have this many bytes. Smaller ones always go to the same place, so that a launch has to wait for the
/// one before it, as in a training step; otherwise a GPU would run several at once.
const ROTATED_RESULT_BYTES: usize = 4 << 20;

/// Times that every case comes round. A shared machine can lose a core for seconds, and a driver's threads can stay out of step for as long:
/// whatever holds for one stretch of a case's samples is outvoted by the others.
pub const ROUNDS: usize = 10;

/// Samples of a kernel in a round at most.
const MAX_RUNS: usize = 6;

/// Samples beyond the first are taken while a kernel's stay within this time in a round.
const SECONDS_A_KERNEL: f64 = 0.045;

/// A way to run a case: one of the op's variants, or anything else with the same operands.
pub struct Contender {
    pub label: String,
    pub lowering: Lowering,
    /// Whether its shader is one of this crate's; a user's keeps its checks whatever the device is asked for.
    pub is_ours: bool,
}

/// A kernel that computes what it should, and its times.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Seconds of one execution.
    pub time: Summary,
    /// Every sample, by round.
    pub rounds: Vec<Vec<f64>>,
    pub timing: Timing,
    /// Executions in one sample.
    pub executions: usize,
    /// Bytes of all the copies of operands that were used in turn.
    pub rotated_bytes: u64,
}

impl Measured {
    /// With the samples of another round.
    pub fn and(mut self, other: &Self) -> Self {
        self.rounds.extend_from_slice(&other.rounds);
        Self { time: Summary::of_rounds(&self.rounds), ..self }
    }
}

/// The time of a kernel, or what is wrong with it.
pub type Outcome = std::result::Result<Measured, String>;

/// The op's own variants as contenders: those named that the device runs, or else all that it may run fastest with.
///
/// # Errors
/// Sizes beyond what a kernel is made for.
pub fn variants(device: &Device, case: &Case, named: &[String]) -> Result<Vec<Contender>> {
    let contends = |variant: &&&str| match named {
        [] => ops::is_candidate(device, variant),
        named => named.iter().any(|name| name == **variant) && ops::runs_on(device, variant),
    };
    let variants = case.op.variants().iter().filter(contends);
    variants
        .map(|name| Ok(Contender { label: (*name).into(), lowering: case.op.lower(name)?, is_ours: true }))
        .collect()
}

/// One round: times the contenders in turn, a sample of each and then again, so that whatever disturbs the machine disturbs all alike. One
/// that fails before or after gets no time.
///
/// # Errors
/// What the driver refuses.
pub fn measure(clock: &mut Clock<'_>, case: &Case, contenders: &[Contender]) -> Result<Vec<Outcome>> {
    clock.set_step(&case.step);
    let sets = Sets::new(clock, case)?;
    let mut failures: Vec<Option<String>> = Vec::new();
    let mut racers: Vec<Option<Racer>> = Vec::new();
    for contender in contenders {
        let failure = check::run_lowering(clock.device, case, &contender.lowering)?.failure;
        racers.push(match failure {
            Some(_) => None,
            None => {
                let work = Work::of_op(clock.device, &contender.lowering, &sets.sets)?;
                let executions = clock.warm_up(&work)?;
                Some(Racer { work, executions, samples: Vec::new() })
            }
        });
        failures.push(failure);
    }

    let started = Instant::now();
    let patience = SECONDS_A_KERNEL * racers.iter().flatten().count() as f64;
    for run in 0..MAX_RUNS {
        if run > 0 && started.elapsed().as_secs_f64() > patience {
            break;
        }
        for racer in racers.iter_mut().flatten() {
            racer.samples.push(clock.sample(&racer.work, racer.executions)?);
        }
    }

    let mut outcomes = Vec::new();
    for ((contender, racer), failure) in contenders.iter().zip(racers).zip(failures) {
        outcomes.push(match (racer, failure) {
            (Some(racer), None) => match sets.verify(clock, case, contender, &racer.work)? {
                Some(failure) => Err(format!("after timing: {failure}")),
                None => Ok(Measured {
                    time: Summary::new(&racer.samples),
                    rounds: vec![racer.samples],
                    timing: clock.timing(),
                    executions: racer.executions,
                    rotated_bytes: sets.bytes,
                }),
            },
            (_, failure) => Err(failure.unwrap_or_default()),
        });
    }
    Ok(outcomes)
}

/// A contender verified and ready to be timed, its operands rotated as in [`measure`].
///
/// # Errors
/// A kernel that does not compute what it should, as [`Error::Check`]; what the driver refuses.
pub fn prepare(clock: &mut Clock<'_>, case: &Case, contender: &Contender) -> Result<Work> {
    clock.set_step(&case.step);
    if let Some(failure) = check::run_lowering(clock.device, case, &contender.lowering)?.failure {
        return Err(Error::check(format!("{} {}: {failure}", case.op.name(), contender.label)));
    }
    Work::of_op(clock.device, &contender.lowering, &Sets::new(clock, case)?.sets)
}

struct Racer {
    work: Work,
    executions: usize,
    /// Seconds of one execution, in each.
    samples: Vec<f64>,
}

/// Copies of the operands that take turns.
struct Sets {
    /// Buffers by set and operand; one that does not take turns is the same in all.
    sets: Vec<Vec<Buffer>>,
    bytes: u64,
}

impl Sets {
    fn new(clock: &Clock<'_>, case: &Case) -> Result<Self> {
        let device = clock.device;
        let operands = case.op.operands();
        let turns = |access: Access, length: usize| match access {
            Access::Read => true,
            Access::Write => 4 * length >= ROTATED_RESULT_BYTES,
            // State: it has to be the same that the last execution left.
            Access::ReadWrite => false,
        };
        let bytes: u64 = operands
            .iter()
            .filter(|operand| turns(operand.access, operand.length))
            .map(|operand| 4 * operand.length as u64)
            .sum();
        let count = ROTATED_BYTES.div_ceil(bytes.max(1)).clamp(2, MAX_SETS);
        let mut sets: Vec<Vec<Buffer>> = Vec::new();
        for set in 0..count as usize {
            let mut buffers = Vec::new();
            for (place, (operand, input)) in operands.iter().zip(&case.truth().inputs).enumerate() {
                buffers.push(if set > 0 && !turns(operand.access, operand.length) {
                    sets[0][place].clone()
                } else {
                    let buffer = Buffer::new(device, operand.name, operand.length)?;
                    if set == 0 {
                        device.write(&buffer, 0, input);
                    } else {
                        let first = &sets[0][place];
                        let submission =
                            device.submit(|encoder| buffer.copy_from(encoder, 0, first, 0, operand.length))?;
                        device.wait(&submission)?;
                    }
                    buffer
                });
            }
            sets.push(buffers);
        }
        Ok(Self { sets, bytes: count * bytes })
    }

    /// What is wrong with the kernel now. What it wrote while it was timed is looked at where it depends on nothing but the inputs.
    fn verify(&self, clock: &Clock<'_>, case: &Case, contender: &Contender, work: &Work) -> Result<Option<String>> {
        let operands = case.op.operands();
        if operands.iter().any(|operand| operand.access == Access::ReadWrite) {
            return Ok(check::run_lowering(clock.device, case, &contender.lowering)?.failure);
        }
        // Another contender was the last to write here: once more, with the first set.
        clock.sample(work, 1)?;
        if let Some(buffers) = self.sets.first() {
            let contents =
                operands.iter().zip(buffers).map(|(operand, buffer)| clock.device.read(buffer, 0, operand.length));
            let failure =
                check::Outcome::of(case, contender.lowering.factors, &contents.collect::<Result<Vec<_>>>()?).failure;
            if failure.is_some() {
                return Ok(failure);
            }
        }
        Ok(None)
    }
}
