//! Every variant agrees with the plain one: bit for bit where nothing is rounded, within both bounds where something is.

use std::rc::Rc;

use super::{Kind, Outcome, Relation, contents, integers, result};
use crate::cases::{self, Case};
use crate::error::Result;
use crate::gpu::Device;
use crate::ops::{Access, Element, PLAIN};

/// Elements of the cases that are compared; larger ones have been compared with the reference.
const LARGEST: usize = 4000;

/// How many cases of an op.
const CASES: usize = 6;

pub fn relations() -> Vec<Relation> {
    let size = |case: &Case| case.op.operands().iter().map(|operand| operand.length).sum::<usize>();
    let mut cases: Vec<Case> = cases::all();
    cases.retain(|case| case.op.variants().len() > 1 && size(case) <= LARGEST);
    cases.sort_by_key(|case| (case.op.name(), std::cmp::Reverse(size(case))));
    let mut relations: Vec<Relation> = Vec::new();
    let (mut name, mut taken) = ("", 0);
    for case in cases.into_iter().map(Rc::new) {
        taken = if case.op.name() == name { taken + 1 } else { 1 };
        name = case.op.name();
        if taken > CASES {
            continue;
        }
        for &variant in case.op.variants().iter().filter(|variant| **variant != PLAIN) {
            let held = Rc::clone(&case);
            let run = move |device: &Device, variant: &str| exact(device, &held, variant);
            relations.push(Relation::new(Kind::Metamorphic, "variant = plain, exact", &*case.op, variant, run));
            let held = Rc::clone(&case);
            let run = move |device: &Device, variant: &str| within(device, &held, variant);
            relations.push(Relation::new(Kind::Metamorphic, "variant = plain, rounded", &*case.op, variant, run));
        }
    }
    relations
}

fn exact(device: &Device, case: &Case, variant: &str) -> Result<Outcome> {
    let inputs = integers(&*case.op, 6);
    let [actual, expected] = [result(device, &*case.op, variant, &inputs)?, result(device, &*case.op, PLAIN, &inputs)?];
    let mut outcome = Outcome::default();
    if let Some(operand) = case.op.operands().last() {
        outcome.equal(operand, &actual, &expected, true);
    }
    Ok(outcome)
}

fn within(device: &Device, case: &Case, variant: &str) -> Result<Outcome> {
    let (truth, factors) = (case.truth(), case.op.lower(variant)?.factors);
    let run = |variant: &str| contents(device, &*case.op, variant, &case.step, &truth.inputs);
    let (actual, expected) = (run(variant)?, run(PLAIN)?);
    let mut outcome = Outcome::default();
    let written = case.op.operands().into_iter().zip(actual.iter().zip(&expected)).zip(case.bounds(factors));
    for ((operand, (actual, expected)), bounds) in written.filter(|((operand, _), _)| operand.access != Access::Read) {
        let expected: Vec<f64> = match operand.element {
            Element::F32 => super::floats(expected).collect(),
            Element::U32 => expected.iter().copied().map(f64::from).collect(),
        };
        let bounds: Vec<f64> = bounds.iter().map(|bound| 2.0 * bound).collect();
        outcome.compare(&operand, actual, &expected, &bounds);
    }
    Ok(outcome)
}
