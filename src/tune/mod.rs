//! Which of its variants runs an op of a plan fastest on this device? Those that can be are held against the f64 reference on the exact
//! shape, then timed in turn. What was found is kept for the next run, every sample of it.

mod cache;
mod race;
mod record;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::bench::Clock;
use crate::cases::Case;
use crate::error::Result;
use crate::gpu::{COMMON, Device, Precision, StepRow};
use crate::nn::Plan;
use crate::ops::{Lowering, Op, PLAIN, Selection, Tuned, choose, is_candidate};
use crate::units::hexadecimal;
use cache::Cache;
pub use record::{Candidate, MARGIN, Record, winner};

/// Operations of an op up to which the plain kernel, which no larger one has ever run fastest with, is a candidate, and the reference worth
/// its time …
pub const MAX_REFERENCE_FLOPS: u64 = 50_000_000;

/// … where there are at most so many elements to compare as well.
pub const MAX_REFERENCE_ELEMENTS: usize = 1 << 20;

/// How kernels are chosen by their times.
#[derive(Clone, Debug, Default)]
pub struct Tuner {
    /// The folder for what was found; without one it is found out every time.
    pub cache: Option<PathBuf>,
    /// Whether everything is timed again, whatever was found before.
    pub retune: bool,
}

/// The choice for a plan, and how it came about.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// A variant for every op that has several, the default one included.
    pub tuned: Tuned,
    /// Ops of different shapes among them. The rest of them were chosen before, by the run that is repeated or continued.
    pub ops: usize,
    /// Those that were timed now.
    pub timed: usize,
    /// Those whose times are of an earlier run.
    pub cached: usize,
    /// Those that do not run their default variant.
    pub changed: usize,
    pub seconds: f64,
    /// What a person should know; nothing that stops anybody.
    pub warnings: Vec<String>,
}

/// The op that is about to be timed.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub op: &'a dyn Op,
    /// How many have been timed, of how many.
    pub done: usize,
    pub of: usize,
}

/// An op and the variants that may run it.
struct Contest {
    case: Case,
    /// What the candidates may round the factors of products to.
    precision: Precision,
    /// Runs where nothing has been timed.
    default: &'static str,
    /// The default first.
    candidates: Vec<(&'static str, Lowering)>,
}

impl Contest {
    /// `None` where there is no choice.
    fn new(op: Box<dyn Op>, step: StepRow, device: &Device) -> Result<Option<Self>> {
        let default = choose(&*op, device);
        let has_plain = op.flops() <= MAX_REFERENCE_FLOPS;
        let others =
            op.variants().iter().copied().filter(|&variant| {
                variant != default && is_candidate(device, variant) && (has_plain || variant != PLAIN)
            });
        let variants: Vec<_> = std::iter::once(default).chain(others).collect();
        if variants.len() < 2 {
            return Ok(None);
        }
        let lowered = variants.into_iter().map(|variant| Ok((variant, op.lower(variant)?)));
        let candidates = lowered.collect::<Result<_>>()?;
        Ok(Some(Self { case: Case::planned(op, step), precision: device.precision(), default, candidates }))
    }

    /// Whether the reference is worth its time.
    fn is_small(&self) -> bool {
        let op = &*self.case.op;
        let elements = op.operands().iter().map(|operand| operand.length).sum::<usize>();
        op.flops() <= MAX_REFERENCE_FLOPS && elements <= MAX_REFERENCE_ELEMENTS
    }

    /// SHA-256 of what the candidates run.
    fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for (variant, lowering) in &self.candidates {
            hasher.update(variant);
            for dispatch in &lowering.dispatches {
                let constants = format!("{} {:?}", dispatch.entry_point, dispatch.constants);
                hasher.update(constants);
                hasher.update(dispatch.shader.text());
            }
        }
        hexadecimal(&hasher.chain_update(COMMON).finalize())
    }

    fn has(&self, variant: &str) -> bool {
        self.candidates.iter().any(|(name, _)| *name == variant)
    }
}

/// Chooses a variant for every op of a plan that has several: the one that `selection` has already, else by `tuner`, else none, which is
/// the default. An op with a user's kernel is left alone. `proceed` is told of every op that is about to be timed; when it returns false,
/// no more are.
///
/// # Errors
/// A lost or silent device. A candidate that is wrong or that the driver refuses is no error: it is not chosen.
pub fn tune(
    tuner: Option<&Tuner>,
    device: &Device,
    plan: Plan,
    selection: &Selection,
    proceed: &mut dyn FnMut(Progress<'_>) -> bool,
) -> Result<Tuning> {
    let started = Instant::now();
    let step = StepRow { step: 1, epoch: 1, order_offset: 0, count: plan.batch, slot: 0, learning_rate: 0.001 };
    let mut tuning = Tuning::default();
    let mut contests = Vec::new();
    let (mut seen, mut absent) = (BTreeSet::new(), 0);
    for op in plan.steps.into_iter().map(|step| step.op) {
        if selection.custom_kernel(&*op).is_some() || !seen.insert((op.name(), op.shape())) {
            continue;
        }
        if let Some(variant) = selection.tuned().choice(&*op, device) {
            tuning.choose(&*op, choose(&*op, device), variant);
        } else if tuner.is_some() {
            contests.extend(Contest::new(op, step, device)?);
        } else if selection.tuned().get(op.name(), &op.shape()).is_some() {
            absent += 1;
        }
    }
    if absent > 0 {
        tuning.warnings.push(format!(
            "{absent} of the {} kernels that the run was tuned to do not run on {}: the default ones do in their place, which round \
             otherwise",
            absent + tuning.ops,
            device.info().name
        ));
    }
    if let Some(tuner) = tuner.filter(|_| !contests.is_empty()) {
        tuner.settle(device, contests, &mut tuning, proceed)?;
    }
    tuning.seconds = started.elapsed().as_secs_f64();
    Ok(tuning)
}

impl Tuner {
    /// Contests whose outcome is known are not held again.
    fn settle(
        &self,
        device: &Device,
        mut contests: Vec<Contest>,
        tuning: &mut Tuning,
        proceed: &mut dyn FnMut(Progress<'_>) -> bool,
    ) -> Result<()> {
        let mut cache = self.cache.as_ref().map(|folder| Cache::open(folder, device.info(), &mut tuning.warnings));
        if !self.retune {
            contests.retain(|contest| {
                let known = cache.as_ref().and_then(|cache| cache.find(contest));
                if let Some(record) = known {
                    tuning.choose(&*contest.case.op, contest.default, &record.winner);
                    tuning.cached += 1;
                }
                known.is_none()
            });
        }
        if contests.is_empty() {
            return Ok(());
        }
        let mut clock = Clock::new(device)?;
        let (mut records, of) = (Vec::new(), contests.len());
        for (done, contest) in contests.into_iter().enumerate() {
            if !proceed(Progress { op: &*contest.case.op, done, of }) {
                break;
            }
            let record = race::run(&mut clock, &contest)?;
            tuning.choose(&*contest.case.op, contest.default, &record.winner);
            tuning.timed += 1;
            match record.failure(contest.default) {
                // Not kept: the next run has to be told as well.
                Some(failure) => tuning.warnings.push(format!(
                    "{} {} at {} does not compute what it should on {}: {failure}; {} runs in its place",
                    record.op,
                    contest.default,
                    record.shape,
                    device.info().name,
                    record.winner
                )),
                None => records.push(record),
            }
        }
        if let Some(cache) = &mut cache {
            cache.keep(records, &mut tuning.warnings);
        }
        Ok(())
    }
}

impl Tuning {
    fn choose(&mut self, op: &dyn Op, default: &str, variant: &str) {
        self.tuned.insert(op.name(), &op.shape(), variant);
        self.ops += 1;
        self.changed += usize::from(variant != default);
    }
}
