//! How far results are from what was expected.

use super::Contents;
use crate::cases::Case;
use crate::gpu::Precision;
use crate::ops::{Access, Element, Op, Operand};

/// How a kernel did on a case.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The largest error as a share of its bound; at most 1 to pass.
    pub error_of_bound: f64,
    /// The largest distance from the rounded reference, in representable f32 values.
    pub max_ulp: u64,
    /// The element with the largest share of its bound, where there is an error at all.
    pub worst: Option<Worst>,
    /// What is wrong, unless everything is right.
    pub failure: Option<String>,
}

/// The element that is furthest off.
#[derive(Clone, Debug)]
pub struct Worst {
    pub operand: &'static str,
    pub index: usize,
    pub actual: f64,
    pub expected: f64,
    pub bound: f64,
}

impl Outcome {
    /// Keeps the first thing that is wrong.
    pub(super) fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }

    /// What memory holds, as bits by operand, against what a case expects there of kernels that round to `factors`.
    pub fn of(case: &Case, factors: Precision, contents: &[Vec<u32>]) -> Self {
        let mut outcome = Self::default();
        outcome.compare_all(case, factors, contents);
        outcome
    }

    /// What one kernel of an op left behind against what another did: the same bits, but that the two zeros are one value.
    pub fn beside(op: &dyn Op, contents: &Contents, others: &Contents) -> Self {
        let mut outcome = Self::default();
        for (operand, (actual, expected)) in op.operands().iter().zip(contents.operands.iter().zip(&others.operands)) {
            outcome.equal(operand, actual, expected, operand.element == Element::F32);
        }
        contents.touched.iter().for_each(|touched| outcome.fail(touched.clone()));
        outcome
    }

    pub(super) fn compare_all(&mut self, case: &Case, factors: Precision, contents: &[Vec<u32>]) {
        let (truth, bounds) = (case.truth(), case.bounds(factors));
        for (place, (operand, actual)) in case.op.operands().iter().zip(contents).enumerate() {
            if operand.access == Access::Read {
                if let Some(index) = first_difference(actual, &truth.inputs[place]) {
                    self.fail(format!("{}[{index}] is an input and was overwritten", operand.name));
                }
            } else {
                self.compare(operand, actual, &truth.expected[place], &bounds[place]);
            }
        }
    }

    pub(super) fn compare(&mut self, operand: &Operand, actual: &[u32], expected: &[f64], bounds: &[f64]) {
        for (index, ((&bits, &expected), &bound)) in actual.iter().zip(expected).zip(bounds).enumerate() {
            let (actual, ulp) = match operand.element {
                Element::F32 => (f64::from(f32::from_bits(bits)), ulps(f32::from_bits(bits), expected as f32)),
                Element::U32 => (f64::from(bits), (f64::from(bits) - expected).abs() as u64),
            };
            // Where everything is allowed, a distance says nothing.
            self.max_ulp = self.max_ulp.max(if bound.is_finite() { ulp } else { 0 });
            self.weigh(Worst { operand: operand.name, index, actual, expected, bound });
        }
    }

    /// Every bit has to be the same; the two zeros are one value where `zeros` says so.
    pub(super) fn equal(&mut self, operand: &Operand, actual: &[u32], expected: &[u32], zeros: bool) {
        let same = |a: u32, b: u32| a == b || (zeros && (a | b) & 0x7fff_ffff == 0);
        for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
            if same(actual, expected) {
                continue;
            }
            let [actual, expected] = [actual, expected].map(|bits| match operand.element {
                Element::F32 => f64::from(f32::from_bits(bits)),
                Element::U32 => f64::from(bits),
            });
            self.max_ulp = self.max_ulp.max(ulps(actual as f32, expected as f32)).max(1);
            self.error_of_bound = f64::INFINITY;
            self.worst.get_or_insert(Worst { operand: operand.name, index, actual, expected, bound: 0.0 });
            self.fail(format!("{}[{index}] is {actual:e}, expected the bits of {expected:e}", operand.name));
        }
    }

    /// One more number beside its bound.
    pub(super) fn weigh(&mut self, number: Worst) {
        let share = share(number.actual, number.expected, number.bound);
        if share <= self.error_of_bound {
            return;
        }
        let Worst { operand, index, actual, expected, bound } = number;
        // The worst one is named, so one that is worse replaces what an earlier one has said.
        if share > 1.0 && (self.failure.is_none() || self.error_of_bound > 1.0) {
            self.failure = Some(format!("{operand}[{index}] is {actual:e}, expected {expected:e} ± {bound:e}"));
        }
        self.error_of_bound = share;
        self.worst = Some(number);
    }
}

/// The error as a share of its bound; infinite where there is an error and no allowance.
pub(super) fn share(actual: f64, expected: f64, bound: f64) -> f64 {
    let error = (actual - expected).abs();
    if actual == expected || (actual.is_nan() && expected.is_nan()) {
        0.0
    } else if bound > 0.0 && error.is_finite() {
        error / bound
    } else {
        f64::INFINITY
    }
}

/// Representable values between two numbers; none between the two zeros.
fn ulps(a: f32, b: f32) -> u64 {
    let place = |value: f32| {
        let magnitude = i64::from(value.to_bits() & 0x7fff_ffff);
        if value.is_sign_negative() { -magnitude } else { magnitude }
    };
    place(a).abs_diff(place(b))
}

pub(super) fn first_difference(a: &[u32], b: &[u32]) -> Option<usize> {
    if a == b { None } else { a.iter().zip(b).position(|(a, b)| a != b).or(Some(a.len().min(b.len()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_element_is_named() {
        let mut outcome = Outcome::default();
        let operand = Operand::write("output", 3);
        let actual = [1.0f32, 2.5, 4.0].map(f32::to_bits);
        outcome.compare(&operand, &actual, &[1.0, 2.0, 3.0], &[0.1; 3]);
        assert_eq!(outcome.failure.as_deref(), Some("output[2] is 4e0, expected 3e0 ± 1e-1"));
        assert!((outcome.error_of_bound - 10.0).abs() < 1e-9);
        assert_eq!(outcome.worst.map(|worst| worst.index), Some(2));
    }

    #[test]
    fn bits_differ_where_values_do_not() {
        let operand = Operand::write("output", 1);
        let signs = [[0.0f32.to_bits()], [(-0.0f32).to_bits()]];
        for (zeros, passes) in [(true, true), (false, false)] {
            let mut outcome = Outcome::default();
            outcome.equal(&operand, &signs[0], &signs[1], zeros);
            assert_eq!(outcome.failure.is_none(), passes);
        }
    }
}
