//! Does a kernel compute the right numbers? Runs an op between guard bands, from poisoned outputs, against the f64 reference.

use std::collections::BTreeMap;

use crate::cases::{self, Case};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Device, Program, StepRow, StepTable};
use crate::ops::{self, Access, Element, Lowering, Op, Operand};

/// Elements before and after every operand that no kernel may touch.
const GUARD: usize = 256;

/// What outputs, scratch memory and guard bands hold before a run. Two patterns, because a kernel that leaves an element out, or reads
/// one before it writes it, could be right by chance: a NaN, and −6·10¹⁸.
pub const POISONS: [u32; 2] = [0x7fc0_dead, 0xdead_beef];

/// How a kernel did on a case.
#[derive(Clone, Debug)]
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

/// Runs one variant of a case, twice.
///
/// # Errors
/// What the driver refuses. A wrong result is no error: see [`Outcome::failure`].
pub fn run(device: &Device, case: &Case, variant: &str) -> Result<Outcome> {
    run_lowering(device, case, &case.op.lower(variant)?)
}

/// As `run`, with kernels that need not be ours.
///
/// # Errors
/// As `run`.
pub fn run_lowering(device: &Device, case: &Case, lowering: &Lowering) -> Result<Outcome> {
    let operands = case.op.operands();
    let truth = case.truth();
    let rig = Rig::with_lowering(device, &*case.op, lowering, &case.step)?;
    let first = rig.run(&truth.inputs, POISONS[0])?;
    let second = rig.run(&truth.inputs, POISONS[1])?;

    let mut outcome = Outcome { error_of_bound: 0.0, max_ulp: 0, worst: None, failure: None };
    for contents in [&first, &second] {
        for (place, operand) in operands.iter().enumerate() {
            let actual = &contents.operands[place];
            if operand.access == Access::Read {
                if let Some(index) = first_difference(actual, &truth.inputs[place]) {
                    outcome.fail(format!("{}[{index}] is an input and was overwritten", operand.name));
                }
            } else {
                outcome.compare(operand, actual, &truth.expected[place], &truth.bounds[place]);
            }
        }
    }
    for (operand, (first, second)) in operands.iter().zip(first.operands.iter().zip(&second.operands)) {
        if let Some(index) = first_difference(first, second) {
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
        let variant = ops::choose(&*case.op);
        if let Some(failure) = run(device, case, variant)?.failure {
            return Err(Error::Check(format!("{name} {variant} {}: {failure}", case.shape())));
        }
    }
    Ok(chosen.len())
}

impl Outcome {
    fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }

    fn compare(&mut self, operand: &Operand, actual: &[u32], expected: &[f64], bounds: &[f64]) {
        for (index, ((&bits, &expected), &bound)) in actual.iter().zip(expected).zip(bounds).enumerate() {
            let (actual, ulp) = match operand.element {
                Element::F32 => (f64::from(f32::from_bits(bits)), ulps(f32::from_bits(bits), expected as f32)),
                Element::U32 => (f64::from(bits), (f64::from(bits) - expected).abs() as u64),
            };
            self.max_ulp = self.max_ulp.max(ulp);
            let share = share(actual, expected, bound);
            if share > self.error_of_bound {
                self.error_of_bound = share;
                self.worst = Some(Worst { operand: operand.name, index, actual, expected, bound });
            }
        }
        if let (true, Some(Worst { operand, index, actual, expected, bound })) =
            (self.error_of_bound > 1.0, &self.worst)
        {
            let failure = format!("{operand}[{index}] is {actual:e}, expected {expected:e} ± {bound:e}");
            self.fail(failure);
        }
    }
}

/// The error as a share of its bound; infinite where there is an error and no allowance.
fn share(actual: f64, expected: f64, bound: f64) -> f64 {
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

fn first_difference(a: &[u32], b: &[u32]) -> Option<usize> {
    if a == b { None } else { a.iter().zip(b).position(|(a, b)| a != b).or(Some(a.len().min(b.len()))) }
}

/// One variant of an op on a device, with buffers of its own: operands, then scratch, each between guard bands.
pub struct Rig<'a> {
    device: &'a Device,
    operands: usize,
    buffers: Vec<(Buffer, usize)>,
    program: Program,
    table: StepTable,
}

/// What a run left behind.
pub struct Contents {
    /// Bits, by operand.
    pub operands: Vec<Vec<u32>>,
    /// A guard band that was written to.
    pub touched: Option<String>,
}

impl<'a> Rig<'a> {
    /// # Errors
    /// A variant that the op does not have, or what the driver refuses.
    pub fn new(device: &'a Device, op: &dyn Op, variant: &str, step: &StepRow) -> Result<Self> {
        Self::with_lowering(device, op, &op.lower(variant)?, step)
    }

    /// # Errors
    /// What the driver refuses.
    pub fn with_lowering(device: &'a Device, op: &dyn Op, lowering: &Lowering, step: &StepRow) -> Result<Self> {
        let operands = op.operands();
        let names = operands.iter().map(|operand| (operand.name, operand.length));
        let buffers = names.chain(lowering.scratch.iter().map(|&length| ("scratch", length)));
        let buffers = buffers
            .map(|(name, length)| Ok((Buffer::new(device, name, length + 2 * GUARD)?, length)))
            .collect::<Result<Vec<_>>>()?;
        // A binding reaches over the band behind its operand: the driver's own bounds checks would hide what the band is there to show.
        let slices: Vec<_> = buffers.iter().map(|(buffer, length)| buffer.slice(GUARD, length + GUARD)).collect();
        let dispatches: Vec<_> =
            lowering.dispatches.iter().map(|dispatch| (dispatch.clone(), slices.clone())).collect();
        let program = Program::new(device, &dispatches)?;
        let mut table = StepTable::new(device, 1)?;
        table.write(device, &[*step]);
        Ok(Self { device, operands: operands.len(), buffers, program, table })
    }

    /// Runs once from `inputs`, bits by operand, empty for what is only written; everything else starts as `poison`.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn run(&self, inputs: &[Vec<u32>], poison: u32) -> Result<Contents> {
        for (place, (buffer, length)) in self.buffers.iter().enumerate() {
            let mut bits = vec![poison; length + 2 * GUARD];
            if let Some(input) = inputs.get(place).filter(|input| !input.is_empty()) {
                bits[GUARD..GUARD + length].copy_from_slice(input);
            }
            self.device.write(buffer, 0, &bits);
        }
        self.device.submit(|encoder| self.program.record(encoder, &self.table, 1))?;

        let mut contents = Contents { operands: Vec::with_capacity(self.operands), touched: None };
        for (place, (buffer, length)) in self.buffers.iter().enumerate() {
            let mut bits: Vec<u32> = self.device.read(buffer, 0, length + 2 * GUARD)?;
            if let Some(at) = (0..GUARD).chain(GUARD + length..bits.len()).find(|&at| bits[at] != poison) {
                let distance = at as i64 - GUARD as i64;
                contents.touched.get_or_insert(format!("{}[{distance}] of {length} was written to", buffer.name()));
            }
            if place < self.operands {
                bits.truncate(GUARD + length);
                bits.drain(..GUARD);
                contents.operands.push(bits);
            }
        }
        Ok(contents)
    }
}
