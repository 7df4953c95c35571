//! The candidates of one op side by side: verified, warmed up, a sample of each in turn. Who falls far behind is given up; where an execution
//! takes long, before it is verified, which would take longer. Nothing wins that was not.

use super::Contest;
use super::record::{Candidate, Record, winner};
use crate::bench::{Clock, MAX_EXECUTIONS, Timing, Work};
use crate::check::{self, Contents, Outcome, POISONS, Rig};
use crate::error::Result;
use crate::gpu::{Buffer, Device};
use crate::ops::Lowering;

/// A sample takes at least this long, as far as it can: many times what a submit costs.
const SAMPLE_SECONDS: f64 = 2e-3;

/// The first execution of all may hold what a driver does late, or a clock that has still to rise. One that takes longer than this is a
/// sample all the same.
const COLD_SECONDS: f64 = 0.05;

/// Samples of a candidate at most …
const MAX_SAMPLES: usize = 9;

/// … and at least, of one that is not given up, where they take longer together than an op may.
const MIN_SAMPLES: usize = 3;
const OP_SECONDS: f64 = 0.15;

/// How many times the best sample of all a candidate's best may be, after its first sample, its second, its third, and from then on.
const FAR_SLOWER: [f64; 4] = [3.0, 2.0, 2.0, 1.25];

struct Racer {
    candidate: Candidate,
    /// Absent once it is out of the race.
    work: Option<Work>,
    executions: usize,
}

/// # Errors
/// A lost or silent device.
pub fn run(clock: &mut Clock<'_>, contest: &Contest) -> Result<Record> {
    let op = &*contest.case.op;
    clock.set_step(&contest.case.step);
    let mut judge = Judge::new(clock.device, contest)?;
    let mut racers: Vec<Racer> = Vec::with_capacity(contest.candidates.len());
    for (place, (variant, lowering)) in contest.candidates.iter().enumerate() {
        let best = racers.iter().map(Racer::best_us).fold(f64::INFINITY, f64::min);
        let mut racer = match enter(clock, &mut judge, lowering, best) {
            Ok(racer) => racer,
            // What the driver refuses of the default it will refuse of the training; of the others, nobody needs it.
            Err(error) if place == 0 => return Err(error),
            Err(error) => Racer::out(error.to_string()),
        };
        racer.candidate.variant = (*variant).into();
        racers.push(racer);
        give_up(&mut racers);
    }

    for _ in 1..MAX_SAMPLES {
        let racing = racers.iter().filter(|racer| racer.work.is_some());
        let seconds: f64 = racing.clone().map(Racer::seconds).sum();
        let fewest = racing.clone().map(|racer| racer.candidate.samples_us.len()).min();
        if racing.count() < 2 || (seconds > OP_SECONDS && fewest >= Some(MIN_SAMPLES)) {
            break;
        }
        for racer in &mut racers {
            if let Some(work) = &racer.work {
                let total = clock.total(work, racer.executions)?;
                racer.add(total);
            }
        }
        give_up(&mut racers);
    }

    let candidates: Vec<Candidate> = racers.into_iter().map(|racer| racer.candidate).collect();
    Ok(Record {
        op: op.name().into(),
        element: contest.precision.name().into(),
        shape: op.shape(),
        kernels_sha256: contest.sha256(),
        default: contest.default.into(),
        winner: winner(&candidates, contest.default).into(),
        timing: match clock.timing() {
            Timing::Timestamps => Timing::Timestamps.name().into(),
            Timing::Slope => "wall clock".into(),
        },
        verified: judge.name(),
        candidates,
    })
}

impl Racer {
    fn out(failure: String) -> Self {
        let candidate = Candidate { failure: Some(failure), ..Candidate::default() };
        Self { candidate, work: None, executions: 0 }
    }

    fn best_us(&self) -> f64 {
        self.candidate.best_us().unwrap_or(f64::INFINITY)
    }

    /// Adds a sample, the seconds of all its executions, to the nanosecond of one.
    fn add(&mut self, total: f64) {
        self.candidate.samples_us.push((1e9 * total / self.executions as f64).round() / 1e3);
    }

    /// Of all its samples.
    fn seconds(&self) -> f64 {
        1e-6 * self.candidate.samples_us.iter().sum::<f64>() * self.executions as f64
    }
}

/// A candidate with its first sample; out at once where it is wrong. `best` is the best sample so far, in microseconds.
fn enter(clock: &Clock<'_>, judge: &mut Judge<'_>, lowering: &Lowering, best: f64) -> Result<Racer> {
    if judge.contest.is_small() {
        if let Some(failure) = judge.failure(clock.device, lowering)? {
            return Ok(Racer::out(failure));
        }
        return first(clock, judge, lowering);
    }
    let racer = first(clock, judge, lowering)?;
    if racer.best_us() > FAR_SLOWER[0] * best {
        return Ok(racer);
    }
    Ok(judge.failure(clock.device, lowering)?.map_or(racer, Racer::out))
}

fn first(clock: &Clock<'_>, judge: &Judge<'_>, lowering: &Lowering) -> Result<Racer> {
    let work = Work::of_op(clock.device, lowering, std::slice::from_ref(&judge.operands))?;
    let mut executions = 1;
    let mut total = clock.total(&work, executions)?;
    if total < COLD_SECONDS {
        total = clock.total(&work, executions)?;
    }
    while total < SAMPLE_SECONDS && executions < MAX_EXECUTIONS {
        // Not in one leap: the first executions are the slow ones.
        let factor = (SAMPLE_SECONDS * 1.2 / total.max(1e-9)).min(8.0);
        executions = ((executions as f64 * factor).ceil() as usize).clamp(executions + 1, MAX_EXECUTIONS);
        total = clock.total(&work, executions)?;
    }
    let mut racer = Racer { candidate: Candidate::default(), work: Some(work), executions };
    racer.add(total);
    Ok(racer)
}

/// The default stays whatever its samples say: on a busy machine its first one may be the slow one, and it takes all of them to replace it.
fn give_up(racers: &mut [Racer]) {
    let best = racers.iter().map(Racer::best_us).fold(f64::INFINITY, f64::min);
    for racer in racers.iter_mut().skip(1).filter(|racer| racer.work.is_some()) {
        let samples = racer.candidate.samples_us.len().min(FAR_SLOWER.len());
        if racer.best_us() > FAR_SLOWER[samples - 1] * best {
            (racer.candidate.dropped, racer.work) = (true, None);
        }
    }
}

/// What the candidates of an op are held against, and the operands that they are timed on.
struct Judge<'a> {
    contest: &'a Contest,
    inputs: Vec<Vec<u32>>,
    operands: Vec<Buffer>,
    /// What the default left behind, where the reference would take too long.
    default: Option<Contents>,
}

impl<'a> Judge<'a> {
    fn new(device: &Device, contest: &'a Contest) -> Result<Self> {
        let inputs = contest.case.inputs();
        let mut operands = Vec::with_capacity(inputs.len());
        for (operand, input) in contest.case.op.operands().iter().zip(&inputs) {
            let buffer = Buffer::new(device, operand.name, operand.length)?;
            device.write(&buffer, 0, input);
            operands.push(buffer);
        }
        Ok(Self { contest, inputs, operands, default: None })
    }

    /// What is wrong with a candidate. The default is the first to be asked about.
    fn failure(&mut self, device: &Device, lowering: &Lowering) -> Result<Option<String>> {
        let case = &self.contest.case;
        if self.contest.is_small() {
            return Ok(check::run_lowering(device, case, lowering)?.failure);
        }
        let rig = Rig::with_lowering(device, &*case.op, lowering, &case.step)?;
        let contents = rig.run(&self.inputs, POISONS[0])?;
        let default = self.default.as_ref().unwrap_or(&contents);
        let failure = Outcome::beside(&*case.op, &contents, default).failure;
        self.default.get_or_insert(contents);
        Ok(failure)
    }

    fn name(&self) -> String {
        match self.contest.is_small() {
            true => "f64 reference".into(),
            false => format!("the bits of {}", self.contest.default),
        }
    }
}
