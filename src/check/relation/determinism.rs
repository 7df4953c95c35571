//! The same input a hundred times, the same bits.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Kind, Outcome, Relation};
use crate::cases::{self, Case};
use crate::check::{POISONS, Rig};
use crate::error::Result;
use crate::gpu::Device;

const RUNS: usize = 100;

/// Elements of the largest case of an op that is taken: enough for several workgroups and, where a sum can be split, several slices.
const LARGEST: usize = 20_000;

pub fn relations() -> Vec<Relation> {
    let mut largest: BTreeMap<&'static str, (usize, Case)> = BTreeMap::new();
    for case in cases::all() {
        let size: usize = case.op.operands().iter().map(|operand| operand.length).sum();
        // Work before size: a longer sum has more orders to be added in.
        let work = case.op.flops() as usize + size;
        if size <= LARGEST && largest.get(case.op.name()).is_none_or(|(most, _)| work > *most) {
            largest.insert(case.op.name(), (work, case));
        }
    }
    let mut relations = Vec::new();
    for (_, case) in largest.into_values() {
        let case = Rc::new(case);
        for &variant in case.op.variants() {
            let held = Rc::clone(&case);
            let run = move |device: &Device, variant: &str| run(device, &held, variant);
            relations.push(Relation::new(Kind::Determinism, "100 runs, the same bits", &*case.op, variant, run));
        }
    }
    relations
}

fn run(device: &Device, case: &Case, variant: &str) -> Result<Outcome> {
    let inputs = &case.truth().inputs;
    let rig = Rig::new(device, &*case.op, variant, &case.step)?;
    let first = rig.run(inputs, POISONS[0])?.operands;
    let mut outcome = Outcome::default();
    for run in 1..RUNS {
        let again = rig.run(inputs, POISONS[run % 2])?.operands;
        if again == first {
            continue;
        }
        for (operand, (again, first)) in case.op.operands().iter().zip(again.iter().zip(&first)) {
            outcome.equal(operand, again, first, false);
        }
        break;
    }
    Ok(outcome)
}
