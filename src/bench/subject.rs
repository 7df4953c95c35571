//! What is timed: an op with inputs, and how to tell whether a kernel still computes it.

use std::f64;
use std::sync::OnceLock;

use crate::cases::{evaluate, gamma};
use crate::check::{POISONS, Rig};
use crate::error::Result;
use crate::gpu::{Device, StepRow};
use crate::ops::{Access, Element, Lowering, Op, Operand};
use crate::random::{Purpose, Random};

/// How far a result may be from the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    /// Nothing is rounded.
    Exact,
    /// Sums whose terms are rounded so often at most: γ times the sum of their absolute values, as in `cases`.
    Roundings(u64),
    /// So much everywhere.
    Absolute(f64),
}

/// Subnormals may be flushed to zero.
const FLUSH: f64 = f32::MIN_POSITIVE as f64;

/// Longer operands repeat a block of this length, a prime: drawing is slow, repeating is not.
const BLOCK: usize = 1_048_573;

/// An op, its inputs, and its allowance.
pub struct Subject {
    pub op: Box<dyn Op>,
    pub step: StepRow,
    allowance: Allowance,
    given: Vec<(&'static str, Vec<u32>)>,
    truth: OnceLock<Truth>,
}

struct Truth {
    inputs: Vec<Vec<u32>>,
    expected: Vec<Vec<f64>>,
    bounds: Vec<Vec<f64>>,
}

impl Subject {
    /// Inputs are uniform in [−1, 1).
    pub fn new(op: impl Op + 'static, allowance: Allowance) -> Self {
        let step = StepRow { step: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.001 };
        Self { op: Box::new(op), step, allowance, given: Vec::new(), truth: OnceLock::new() }
    }

    /// Rows of the batch that are no padding.
    pub fn count(mut self, count: u32) -> Self {
        self.step.count = count;
        self
    }

    /// Bits of an operand that is not to be drawn.
    pub fn given(mut self, operand: &'static str, bits: Vec<u32>) -> Self {
        self.given.push((operand, bits));
        self
    }

    /// Bits by operand; empty for what is only written.
    pub fn inputs(&self) -> &[Vec<u32>] {
        &self.truth().inputs
    }

    fn truth(&self) -> &Truth {
        self.truth.get_or_init(|| {
            let operands = self.op.operands();
            let inputs: Vec<_> =
                operands.iter().enumerate().map(|(place, operand)| self.bits(place, operand)).collect();
            let expected = evaluate(&*self.op, &self.step, &inputs, |value| value);
            let bounds = match self.allowance {
                Allowance::Exact => expected.iter().map(|values| vec![FLUSH; values.len()]).collect(),
                Allowance::Absolute(bound) => expected.iter().map(|values| vec![bound; values.len()]).collect(),
                Allowance::Roundings(roundings) => {
                    // The optimiser subtracts; with the rate negated its absolute values add up.
                    let step = StepRow { learning_rate: -self.step.learning_rate, ..self.step };
                    let magnitudes = evaluate(&*self.op, &step, &inputs, f64::abs);
                    let floor = 4.0 * roundings as f64 * FLUSH;
                    let bound = |magnitude: f64| gamma(roundings) * magnitude + floor;
                    magnitudes.into_iter().map(|values| values.into_iter().map(bound).collect()).collect()
                }
            };
            Truth { inputs, expected, bounds }
        })
    }

    fn bits(&self, place: usize, operand: &Operand) -> Vec<u32> {
        if operand.access == Access::Write {
            return Vec::new();
        }
        if let Some((_, bits)) = self.given.iter().find(|(name, _)| *name == operand.name) {
            return bits.clone();
        }
        let mut random = Random::new(0, Purpose::Test, place as u64);
        let block: Vec<u32> = (0..operand.length.min(BLOCK)).map(|_| random.range(-1.0, 1.0).to_bits()).collect();
        block.iter().copied().cycle().take(operand.length).collect()
    }

    /// Runs a lowering twice, from poisoned outputs and between guard bands; returns what is wrong with it.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn verify(&self, device: &Device, lowering: &Lowering) -> Result<Option<String>> {
        let rig = Rig::with_lowering(device, &*self.op, lowering, &self.step)?;
        for poison in POISONS {
            let contents = rig.run(self.inputs(), poison)?;
            let failure = contents.touched.or_else(|| self.compare(&contents.operands));
            if failure.is_some() {
                return Ok(failure);
            }
        }
        Ok(None)
    }

    /// What is wrong with results, by operand; an empty operand is not looked at.
    pub fn compare(&self, actual: &[Vec<u32>]) -> Option<String> {
        let truth = self.truth();
        for (place, (operand, actual)) in self.op.operands().iter().zip(actual).enumerate() {
            if operand.access == Access::Read {
                if !actual.is_empty() && *actual != truth.inputs[place] {
                    return Some(format!("{} is an input and was overwritten", operand.name));
                }
                continue;
            }
            let results = actual.iter().zip(&truth.expected[place]).zip(&truth.bounds[place]);
            for (index, ((&bits, &expected), &bound)) in results.enumerate() {
                let value = match operand.element {
                    Element::F32 => f32::from_bits(bits).into(),
                    Element::U32 => f64::from(bits),
                };
                // Not `>`: a NaN is no smaller error.
                let within = (value - expected).abs() <= bound;
                if !within {
                    return Some(format!("{}[{index}] is {value:e}, expected {expected:e} ± {bound:e}", operand.name));
                }
            }
        }
        None
    }
}
