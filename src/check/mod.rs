//! Does a kernel compute the right numbers? Runs an op between guard bands, from poisoned outputs, against the f64 reference; then looks
//! for what no single result shows: relations between results, the same bits every time, a NaN that stays where it belongs.

mod outcome;
pub mod relation;
mod rig;
mod suite;
pub mod training;

use std::collections::BTreeMap;

pub use outcome::{Outcome, Worst};
pub use relation::{Kind, Relation};
pub use rig::{Contents, POISONS, Rig};
pub use suite::{Row, Selection, Suite};

use crate::cases::{self, Case};
use crate::error::{Error, Result};
use crate::gpu::Device;
use crate::ops::{self, Lowering};

/// Runs one variant of a case, twice.
///
/// # Errors
/// A variant that the op does not have; what the driver refuses. A wrong result is no error: see [`Outcome::failure`].
pub fn run(device: &Device, case: &Case, variant: &str) -> Result<Outcome> {
    run_lowering(device, case, &case.op.lower(variant)?)
}

/// Runs a case through kernels that need not be its op's own.
///
/// # Errors
/// What the driver refuses. A wrong result is no error: see [`Outcome::failure`].
pub fn run_lowering(device: &Device, case: &Case, lowering: &Lowering) -> Result<Outcome> {
    let truth = case.truth();
    let rig = Rig::with_lowering(device, &*case.op, lowering, &case.step)?;
    let first = rig.run(&truth.inputs, POISONS[0])?;
    let second = rig.run(&truth.inputs, POISONS[1])?;

    let mut outcome = Outcome::default();
    for contents in [&first, &second] {
        outcome.compare_all(case, lowering.factors, &contents.operands);
    }
    for (operand, (first, second)) in case.op.operands().iter().zip(first.operands.iter().zip(&second.operands)) {
        if let Some(index) = outcome::first_difference(first, second) {
            outcome.fail(format!(
                "{}[{index}] depends on what memory held before: {:#010x} after one poison, {:#010x} after another",
                operand.name, first[index], second[index]
            ));
        }
    }
    for touched in [first.touched, second.touched].into_iter().flatten() {
        outcome.fail(touched);
    }
    Ok(outcome)
}

/// Runs one small case of every op in the variant that training uses; returns how many passed.
///
/// # Errors
/// The first case that fails, as [`Error::Check`]; or what the driver refuses.
pub fn self_test(device: &Device) -> Result<usize> {
    // The largest of the small: more than one tile, less than a millisecond.
    let size = |case: &Case| case.op.operands().iter().map(|operand| operand.length).sum::<usize>();
    let mut chosen: BTreeMap<&str, (usize, Case)> = BTreeMap::new();
    for case in cases::all() {
        let size = size(&case);
        let best = chosen.get(case.op.name()).map_or(0, |(best, _)| *best);
        if size <= 2000 && size > best {
            chosen.insert(case.op.name(), (size, case));
        }
    }
    for (name, (_, case)) in &chosen {
        let variant = ops::choose(&*case.op, device);
        if let Some(failure) = run(device, case, variant)?.failure {
            return Err(Error::check(format!("{name} {variant} {}: {failure}", case.shape())));
        }
    }
    Ok(chosen.len())
}
