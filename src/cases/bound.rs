//! How far a kernel may be from the reference: theory, not taste.
//!
//! WGSL rounds every operation of f32 correctly but lets the driver choose the direction: u = 2⁻²³. A sum in which no term is rounded
//! more than k times is within γ_k · Σ|terms|, γ_k = k·u/(1 − k·u), whatever its order (Higham, "Accuracy and Stability of Numerical
//! Algorithms", §3.1). Subnormals may be flushed to zero, before and after every operation.

use super::{Case, Style, evaluate};
use crate::gpu::{Precision, StepRow};
use crate::ops::{Element, Op};

/// From a case, its inputs (bits), its expected results and what kernels may round the factors of products to, to the bounds of those results.
pub type Bound = Box<dyn Fn(&Case, &[Vec<u32>], &[Vec<f64>], Precision) -> Vec<Vec<f64>> + Send + Sync>;

pub(super) const U: f64 = 1.0 / (1 << 23) as f64;

/// The smallest normal f32, 2⁻¹²⁶: what a flush to zero may cost.
pub(super) const FLUSH: f64 = f32::MIN_POSITIVE as f64;

/// WGSL's division is off by 2.5 ULP at most: three roundings.
pub(super) const DIVISION: u64 = 3;

/// γ_k.
pub fn gamma(roundings: u64) -> f64 {
    let error = roundings as f64 * U;
    error / (1.0 - error)
}

/// Nothing is rounded: a copy, a choice, or a sum of small integers.
pub(super) fn exact() -> Bound {
    Box::new(|_, _, expected, _| {
        let flush = |&value: &f64| if value != 0.0 && value.abs() < FLUSH { FLUSH } else { 0.0 };
        expected.iter().map(|values| values.iter().map(flush).collect()).collect()
    })
}

/// For inputs that are whole numbers. Results that are whole as well were not rounded; others are sums whose terms were rounded as often as
/// the op has operations for a result.
pub(super) fn whole_or_rounded() -> Bound {
    Box::new(|case, inputs, expected, _| {
        let exact = exact()(case, inputs, expected, Precision::F32);
        let is_whole = |values: &Vec<f64>| values.iter().all(|value| value.fract() == 0.0);
        if expected.iter().all(is_whole) {
            return exact;
        }
        let results = expected.iter().map(Vec::len).sum::<usize>().max(1) as u64;
        let rounded = of_magnitudes(&*case.op, &case.step, inputs, case.op.flops() / results + 2 * DIVISION);
        let bounds = expected.iter().zip(exact.into_iter().zip(rounded));
        bounds.map(|(values, (exact, rounded))| if is_whole(values) { exact } else { rounded }).collect()
    })
}

/// Sums whose terms are rounded `roundings` times at most.
pub(super) fn sums(roundings: u64) -> Bound {
    Box::new(move |case, inputs, _, _| of_magnitudes(&*case.op, &case.step, inputs, roundings))
}

/// Sums of products: small integers are summed without rounding, whatever the length and the precision.
pub(super) fn products(style: Style, roundings: u64) -> Bound {
    if style == Style::Integers {
        return exact();
    }
    Box::new(move |case, inputs, _, factors| {
        let bounds = of_magnitudes(&*case.op, &case.step, inputs, roundings);
        match factors {
            Precision::F32 => bounds,
            Precision::F16 => of_halves(&*case.op, &case.step, inputs, roundings, &bounds),
        }
    })
}

/// Half precision: u = 2⁻¹⁰, what a flush of a subnormal may cost, and the smallest of them, which the smallest f32 may be rounded to.
const HALF_U: f64 = 1.0 / 1024.0;
const HALF_FLUSH: f64 = 1.0 / (1 << 14) as f64;
const HALF_SMALLEST: f64 = 1.0 / (1 << 24) as f64;

/// `bounds` where every factor may be rounded to half precision before: at most Σ|a|·δb + |b|·δa + δa·δb more, by which each sum's own error grows
/// as well. Cooperative matrices may cut digits where f32 rounds, and align a sum's terms before they add them: each term counts twice.
fn of_halves(op: &dyn Op, step: &StepRow, inputs: &[Vec<u32>], roundings: u64, bounds: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let widened = |value: f64| match value.abs() {
        0.0 => 0.0,
        small if small < HALF_FLUSH => small + small.max(HALF_SMALLEST),
        size => size + size * HALF_U,
    };
    let magnitudes = evaluate(op, step, inputs, f64::abs);
    let widened = evaluate(op, step, inputs, widened);
    let bounds = bounds.iter().zip(magnitudes.iter().zip(&widened));
    bounds
        .map(|(bounds, (magnitudes, widened))| {
            let factors = magnitudes.iter().zip(widened).map(|(magnitude, widened)| widened - magnitude);
            let grown = 1.0 + 2.0 * gamma(roundings);
            bounds.iter().zip(factors).map(|(bound, factors)| 2.0 * bound + factors * grown).collect()
        })
        .collect()
}

/// γ times the sums of absolute values: `op` itself, run over the absolute values of its inputs.
pub(super) fn of_magnitudes(op: &dyn Op, step: &StepRow, inputs: &[Vec<u32>], roundings: u64) -> Vec<Vec<f64>> {
    let operands = op.operands();
    // The optimiser subtracts; with the rate negated its absolute values add up.
    let step = StepRow { learning_rate: -step.learning_rate, ..*step };
    let magnitudes = evaluate(op, &step, inputs, f64::abs);
    let floats = operands.iter().zip(inputs).filter(|(operand, _)| operand.element == Element::F32);
    let largest = floats
        .flat_map(|(_, bits)| bits)
        .map(|&bits| f64::from(f32::from_bits(bits).abs()))
        .filter(|value| value.is_finite())
        .fold(1.0, f64::max);
    // A term may lose each of its two factors, itself and the sum so far.
    let floor = 4.0 * roundings as f64 * FLUSH * largest;
    let bounds = operands.iter().zip(magnitudes).map(|(operand, magnitudes)| match operand.element {
        Element::U32 => vec![0.0; magnitudes.len()],
        Element::F32 => magnitudes.into_iter().map(|magnitude| gamma(roundings) * magnitude + floor).collect(),
    });
    bounds.collect()
}
