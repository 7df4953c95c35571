//! The operations a plan is made of. Each says what it reads and writes, how it runs on the GPU and what it means: one file an op,
//! beside `shaders/<op>.wgsl` and `reference/<op>.rs`.

pub mod argument;
pub mod avg_pool2d;
pub mod bias;
pub mod classifier_head;
pub mod contract;
pub mod conv2d;
mod conv2d_kernel;
pub mod conv2d_pool;
pub mod custom;
pub mod dropout;
mod elementwise;
pub mod gather;
pub mod global_avg_pool2d;
pub mod linear;
mod linear_kernel;
pub mod matmul;
pub mod max_pool2d;
pub mod mean_loss;
pub mod nonfinite;
pub mod pooled_grad_input;
pub mod relu;
mod selection;
pub mod sgd;
mod shared_tile;
pub mod softmax_cross_entropy;
mod split;

use std::any::Any;
use std::fmt;
use std::ops::Range;

pub use argument::{Access, Argument, Arguments, Element, Operand};
pub use selection::{Selection, Tuned, choose, choose_unseen, is_candidate, is_experimental, runs_on};
pub use split::MAX_TERMS;

use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Precision, StepRow};

/// The name of the variant that every op has: the one to read, and the oracle for the others.
pub const PLAIN: &str = "plain";

/// The name of variants whose lanes share registers: for devices whose subgroups have at least [`SUBGROUP_LANES`] lanes.
pub const SUBGROUP: &str = "subgroup";

/// The smallest subgroup that a [`SUBGROUP`] variant runs on.
pub const SUBGROUP_LANES: u32 = 8;

/// The name of variants that treat four adjacent elements at a time.
pub const VEC4: &str = "vec4";

/// One step of a plan.
pub trait Op: Any + fmt::Debug + Send + Sync {
    /// The op's name in tables and on the command line, e.g. `conv2d_forward`.
    fn name(&self) -> &'static str;

    /// The sizes, for tables: `4×3×32×32 → 4×6×28×28`.
    fn shape(&self) -> String;

    /// What it reads and writes, in the order of `lower`'s bindings and `reference`'s arguments.
    fn operands(&self) -> Vec<Operand>;

    /// Floating-point operations, a multiply-add counted as two.
    fn flops(&self) -> u64;

    /// The axes of its output and their sizes, for kernels that own a tile of it; all elements in a row unless the op says otherwise.
    fn axes(&self) -> Vec<(&'static str, u32)> {
        let written = self.operands().into_iter().find(|operand| operand.access != Access::Read);
        vec![("OUTPUT", written.map_or(0, |operand| operand.length as u32))]
    }

    /// The ways it can run on a GPU, [`PLAIN`] first, the fastest last; a device may not have what one of them needs ([`runs_on`]), or be
    /// of a kind that it is not made for ([`is_candidate`]).
    fn variants(&self) -> &'static [&'static str] {
        &[PLAIN]
    }

    /// The kernels of one of its variants.
    ///
    /// # Errors
    /// Sizes beyond what the kernel is made for.
    fn lower(&self, variant: &str) -> Result<Lowering>;

    /// What it means: the f64 reference, called with the operands in order.
    fn reference(&self, arguments: Arguments<'_>, step: &StepRow);

    /// What comes out of a ReLU of its own and masks the gradient: an operand, by place, and the elements of it. Not where a max pooling
    /// follows, whose winners say as much.
    fn rectified(&self) -> Option<(usize, Range<usize>)> {
        None
    }

    /// Bytes that have to move at least: every operand once, one that is read and written twice.
    fn bytes(&self) -> u64 {
        let traffic =
            |operand: &Operand| 4 * operand.length as u64 * (1 + u64::from(operand.access == Access::ReadWrite));
        self.operands().iter().map(traffic).sum()
    }
}

/// The kernels of an op. Bindings refer to the op's operands by place, then to its scratch buffers.
#[derive(Clone, Debug)]
pub struct Lowering {
    pub dispatches: Vec<Dispatch>,
    /// Elements of each scratch buffer.
    pub scratch: Vec<usize>,
    /// What they round the factors of products to.
    pub factors: Precision,
}

impl Lowering {
    /// The same kernels in an op that has their operands at other `places`, and their scratch buffers from `scratch` on.
    fn over(mut self, places: &[usize], scratch: usize) -> Self {
        for binding in self.dispatches.iter_mut().flat_map(|dispatch| &mut dispatch.bindings) {
            binding.1 = places.get(binding.1).copied().unwrap_or(scratch + binding.1.saturating_sub(places.len()));
        }
        self
    }
}

impl From<Dispatch> for Lowering {
    fn from(dispatch: Dispatch) -> Self {
        Self { dispatches: vec![dispatch], scratch: Vec::new(), factors: Precision::F32 }
    }
}

/// For `lower`: every operand at its place.
fn bindings_of(operands: &[Operand]) -> Vec<(&'static str, usize)> {
    operands.iter().enumerate().map(|(place, operand)| (operand.name, place)).collect()
}

/// For `lower`: a name that the op does not list.
fn unknown_variant(op: &dyn Op, variant: &str) -> Error {
    Error::usage(format!("{} has no variant {variant} (expected {})", op.name(), op.variants().join(", ")))
}

/// The shader of an op: its file, and those that it is made with.
macro_rules! shader {
    ($name:literal $(, $part:literal)*) => {
        $crate::gpu::Shader::new(
            concat!($name $(, "+", $part)*),
            include_str!(concat!("../../shaders/", $name, ".wgsl")),
            &[$($crate::gpu::Part {
                name: $part,
                text: include_str!(concat!("../../shaders/", $part, ".wgsl")),
            }),*],
        )
    };
}
use shader;
