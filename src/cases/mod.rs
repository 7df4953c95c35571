//! What every op is checked on: sizes around each tile and limit, inputs that bite, and how far a result may be from the reference.
//! One block an op, and the only list of ops there is: `check`, `bench` and the tests all start here. Inputs, reference values and bounds
//! are computed at their first use.

mod bound;
mod convolution;
mod dropout;
mod elementwise;
mod fill;
mod gather;
mod head;
mod linear;
mod loss;
mod pairwise;
mod pooled_grad_input;
mod pooling;
mod sizes;

use std::any::Any;
use std::sync::OnceLock;

pub use bound::{Bound, gamma};
pub use fill::Style;
use sizes::Sizes;
pub use sizes::Timed;

use crate::error::{Error, Result};
use crate::gpu::{Precision, StepRow};
use crate::ops::classifier_head::ClassifierHead;
use crate::ops::max_pool2d::NOWHERE;
use crate::ops::nonfinite::FINITE;
use crate::ops::{Access, Argument, Arguments, Element, Op, Operand};

/// An op with its inputs, and how far each result may be from the reference.
pub struct Case {
    pub op: Box<dyn Op>,
    pub step: StepRow,
    style: Style,
    /// Operands with values of their own, as bits.
    given: Vec<(&'static str, Vec<u32>)>,
    bound: Bound,
    seed: u64,
    truth: OnceLock<Truth>,
    half_bounds: OnceLock<Vec<Vec<f64>>>,
}

/// The values of a case, by operand.
pub struct Truth {
    /// The bits that the GPU and the reference start from; empty for what is only written.
    pub inputs: Vec<Vec<u32>>,
    /// The reference's results; empty for what is only read.
    pub expected: Vec<Vec<f64>>,
    /// How far each result may be from `expected` where nothing but f32 rounds.
    pub bounds: Vec<Vec<f64>>,
}

impl Case {
    fn new(op: impl Op + 'static, style: Style, bound: Bound) -> Self {
        let step = StepRow { step: 1, epoch: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.0 };
        Self::of_op(Box::new(op), step, style, Vec::new(), bound)
    }

    fn of_op(op: Box<dyn Op>, step: StepRow, style: Style, given: Vec<(&'static str, Vec<u32>)>, bound: Bound) -> Self {
        Self { op, step, style, given, bound, seed: 0, truth: OnceLock::new(), half_bounds: OnceLock::new() }
    }

    fn step(self, step: StepRow) -> Self {
        Self { step, ..self }
    }

    fn given(mut self, operand: &'static str, bits: Vec<u32>) -> Self {
        self.given.push((operand, bits));
        self
    }

    /// An op as it is in a plan, on small whole numbers: what the kernels add and multiply of them f32 holds exactly, and so they have to be
    /// right to the last bit. What is made of u32 is 0, a label and an index that there always are; a status flags nothing, and winners are
    /// nowhere, because 0 is in one window alone.
    pub fn planned(op: Box<dyn Op>, step: StepRow) -> Self {
        let given = op.operands().into_iter().filter(|operand| operand.element == Element::U32).map(|operand| {
            let value = match operand.name {
                "status" => FINITE,
                "winner" => NOWHERE,
                _ => 0,
            };
            (operand.name, vec![value; operand.length])
        });
        let given = given.collect();
        let bound = match (&*op as &dyn Any).downcast_ref::<ClassifierHead>() {
            Some(&head) => head::bound(head, Style::Integers),
            None => bound::whole_or_rounded(),
        };
        Self::of_op(op, step, Style::Integers, given, bound)
    }

    /// The op's sizes and what its inputs are like.
    pub fn shape(&self) -> String {
        format!("{} ({})", self.op.shape(), self.style.name())
    }

    pub fn truth(&self) -> &Truth {
        self.truth.get_or_init(|| {
            let inputs = self.inputs();
            let expected = evaluate(&*self.op, &self.step, &inputs, |value| value);
            let bounds = (self.bound)(self, &inputs, &expected, Precision::F32);
            Truth { inputs, expected, bounds }
        })
    }

    /// How far each result may be from the reference, by operand, where the factors of products are rounded to `factors`.
    pub fn bounds(&self, factors: Precision) -> &[Vec<f64>] {
        let Truth { inputs, expected, bounds } = self.truth();
        match factors {
            Precision::F32 => bounds,
            Precision::F16 => self.half_bounds.get_or_init(|| (self.bound)(self, inputs, expected, factors)),
        }
    }

    /// The bits that the GPU starts from, by operand; empty for what is only written. For who needs no more of the truth, which takes
    /// the reference's time.
    pub fn inputs(&self) -> Vec<Vec<u32>> {
        self.op.operands().iter().enumerate().map(|(place, operand)| self.bits(place, operand)).collect()
    }

    fn bits(&self, place: usize, operand: &Operand) -> Vec<u32> {
        if operand.access == Access::Write {
            return Vec::new();
        }
        let given = self.given.iter().find(|(name, _)| *name == operand.name);
        given.map_or_else(|| self.style.bits(operand.length, self.seed, place as u64), |(_, bits)| bits.clone())
    }
}

/// What a file here has to offer.
struct Block {
    cases: fn() -> Vec<Case>,
    timed: &'static [Timed],
}

static BLOCKS: [Block; 9] = [
    convolution::BLOCK,
    linear::BLOCK,
    pooling::BLOCK,
    elementwise::BLOCK,
    dropout::BLOCK,
    loss::BLOCK,
    head::BLOCK,
    pooled_grad_input::BLOCK,
    gather::BLOCK,
];

/// Every case of every op.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = BLOCKS.iter().flat_map(|block| (block.cases)()).collect();
    for (index, case) in cases.iter_mut().enumerate() {
        case.seed = index as u64;
    }
    cases
}

/// The cases of one op.
pub fn of(name: &str) -> Vec<Case> {
    all().into_iter().filter(|case| case.op.name() == name).collect()
}

/// Every op, by the sizes that it can be timed at.
pub fn timed() -> impl Iterator<Item = &'static Timed> {
    BLOCKS.iter().flat_map(|block| block.timed)
}

/// How one op is asked for by its sizes.
///
/// # Errors
/// An op that there is not, with the list of those there are.
pub fn timed_op(name: &str) -> Result<&'static Timed> {
    timed().find(|timed| timed.op == name).ok_or_else(|| unknown_op(name))
}

/// That there is no such op, with the list of those there are.
pub fn unknown_op(name: &str) -> Error {
    let mut names: Vec<_> = timed().map(|timed| timed.op).collect();
    names.sort_unstable();
    Error::usage(format!("no op {name}")).with_hint(format!("the ops are {}", names.join(", ")))
}

/// An op of the given sizes: `m=512,k=512,n=512`.
///
/// # Errors
/// An op that there is not; sizes that it does not have.
pub fn sized(op: &str, sizes: &str) -> Result<Case> {
    timed_op(op)?.case(sizes)
}

enum Values {
    F64(Vec<f64>),
    U32(Vec<u32>),
}

/// What the reference makes of `inputs` (bits, by operand) seen through `view`; empty for what is only read.
pub fn evaluate(op: &dyn Op, step: &StepRow, inputs: &[Vec<u32>], view: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    let operands = op.operands();
    let mut values: Vec<Values> = operands
        .iter()
        .zip(inputs)
        .map(|(operand, bits)| match (operand.element, operand.access) {
            (Element::F32, Access::Write) => Values::F64(vec![f64::NAN; operand.length]),
            (Element::U32, Access::Write) => Values::U32(vec![0xdead_beef; operand.length]),
            (Element::F32, _) => Values::F64(bits.iter().map(|&bits| view(f32::from_bits(bits).into())).collect()),
            (Element::U32, _) => Values::U32(bits.clone()),
        })
        .collect();
    let arguments = operands.iter().zip(&mut values).map(|(operand, values)| match (values, operand.access) {
        (Values::F64(values), Access::Read) => Argument::F64(values),
        (Values::F64(values), _) => Argument::F64Mut(values),
        (Values::U32(values), Access::Read) => Argument::U32(values),
        (Values::U32(values), _) => Argument::U32Mut(values),
    });
    op.reference(Arguments(arguments.collect()), step);
    let results = operands.iter().zip(values).map(|(operand, values)| match values {
        _ if operand.access == Access::Read => Vec::new(),
        Values::F64(values) => values,
        Values::U32(values) => values.into_iter().map(f64::from).collect(),
    });
    results.collect()
}
