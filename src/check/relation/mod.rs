//! What holds between results, whatever the right numbers are.

mod adjoint;
mod augment;
mod batch;
mod determinism;
mod nonfinite;
mod padding;
mod variants;

use super::{Outcome, POISONS, Rig};
use crate::error::Result;
use crate::geometry::{Conv2d, GeometryError, Pool2d, Window};
use crate::gpu::{Device, StepRow};
use crate::ops::{Access, Element, Op};
use crate::random::{Purpose, Random};

/// What a check compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The f64 reference.
    Reference,
    /// Another result that has to agree.
    Metamorphic,
    /// The same run again.
    Determinism,
    /// The same run without a NaN or an infinity in its inputs.
    Nonfinite,
}

impl Kind {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Metamorphic => "metamorphic",
            Self::Determinism => "determinism",
            Self::Nonfinite => "nonfinite",
        }
    }
}

type Run = Box<dyn Fn(&Device) -> Result<Outcome>>;

/// One check that needs no right answer.
pub struct Relation {
    pub kind: Kind,
    pub name: &'static str,
    pub op: &'static str,
    pub variant: &'static str,
    pub shape: String,
    run: Run,
}

impl Relation {
    /// `run` is told the variant.
    fn new(
        kind: Kind,
        name: &'static str,
        op: &dyn Op,
        variant: &'static str,
        run: impl Fn(&Device, &'static str) -> Result<Outcome> + 'static,
    ) -> Self {
        let run = Box::new(move |device: &Device| run(device, variant));
        Self { kind, name, op: op.name(), variant, shape: op.shape(), run }
    }

    /// # Errors
    /// What the driver refuses. A relation that does not hold is no error: see [`Outcome::failure`].
    pub fn run(&self, device: &Device) -> Result<Outcome> {
        (self.run)(device)
    }
}

/// Every relation of every op and variant.
pub fn all() -> Vec<Relation> {
    let mut relations = batch::relations();
    relations.extend(padding::relations());
    relations.extend(adjoint::relations());
    relations.extend(augment::relations());
    relations.extend(variants::relations());
    relations.extend(determinism::relations());
    relations.extend(nonfinite::relations());
    relations
}

/// The step that relations run at.
const STEP: StepRow = StepRow { step: 1, epoch: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.1 };

fn conv2d(batch: u32, in_channels: u32, out_channels: u32, input: [u32; 2], window: Window) -> Conv2d {
    valid(Conv2d::new(batch, in_channels, out_channels, input, window))
}

fn pool2d(planes: u32, input: [u32; 2], window: Window) -> Pool2d {
    valid(Pool2d::new(planes, input, window))
}

/// Sizes that are written in this folder.
fn valid<T>(shape: Result<T, GeometryError>) -> T {
    match shape {
        Ok(shape) => shape,
        Err(error) => unreachable!("{error}"),
    }
}

/// Uniform values for what is read, small labels for what is made of u32, which for a status flags nothing.
fn uniform(op: &dyn Op, seed: u64) -> Vec<Vec<u32>> {
    let operands = op.operands().into_iter().enumerate();
    let bits = operands.map(|(place, operand)| {
        let mut random = Random::new(seed, Purpose::Test, place as u64);
        match (operand.access, operand.element, operand.name) {
            (Access::Write, ..) => Vec::new(),
            (_, Element::U32, "status") => vec![u32::MAX; operand.length],
            (_, Element::U32, _) => (0..operand.length).map(|_| random.below(10)).collect(),
            (_, Element::F32, _) => (0..operand.length).map(|_| random.range(-1.0, 1.0).to_bits()).collect(),
        }
    });
    bits.collect()
}

/// The same, −7 to 7: sums of products that f32 holds exactly.
fn integers(op: &dyn Op, seed: u64) -> Vec<Vec<u32>> {
    let mut inputs = uniform(op, seed);
    for (operand, bits) in op.operands().iter().zip(&mut inputs) {
        if operand.element == Element::F32 {
            bits.iter_mut().for_each(|bits| *bits = (f32::from_bits(*bits) * 8.0).trunc().to_bits());
        }
    }
    inputs
}

/// The bits of every operand after a run.
fn contents(device: &Device, op: &dyn Op, variant: &str, step: &StepRow, inputs: &[Vec<u32>]) -> Result<Vec<Vec<u32>>> {
    Ok(Rig::new(device, op, variant, step)?.run(inputs, POISONS[0])?.operands)
}

/// The bits of the op's last operand after a run.
fn result(device: &Device, op: &dyn Op, variant: &str, inputs: &[Vec<u32>]) -> Result<Vec<u32>> {
    Ok(contents(device, op, variant, &STEP, inputs)?.swap_remove(op.operands().len() - 1))
}

fn floats(bits: &[u32]) -> impl Iterator<Item = f64> + '_ {
    bits.iter().map(|&bits| f32::from_bits(bits).into())
}
