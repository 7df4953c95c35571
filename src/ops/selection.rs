//! Which kernel runs an op: the one place where that is decided.

use super::custom::CustomKernel;
use super::{Lowering, Op, PLAIN};
use crate::error::Result;

/// A choice for every op: a user's own kernel where one was given, else the best of our variants.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    custom: Vec<CustomKernel>,
}

impl Selection {
    pub fn new(custom: Vec<CustomKernel>) -> Self {
        Self { custom }
    }

    /// The users' kernels in it.
    pub fn custom(&self) -> &[CustomKernel] {
        &self.custom
    }

    /// The name of what runs `op`, for tables: a variant or a file.
    pub fn name(&self, op: &dyn Op) -> String {
        self.custom_kernel(op).map_or_else(|| choose(op).into(), CustomKernel::name)
    }

    /// The kernels that run `op`.
    ///
    /// # Errors
    /// Sizes beyond what the kernel is made for.
    pub fn lower(&self, op: &dyn Op) -> Result<Lowering> {
        self.custom_kernel(op).map_or_else(|| op.lower(choose(op)), |kernel| kernel.lower(op))
    }

    fn custom_kernel(&self, op: &dyn Op) -> Option<&CustomKernel> {
        self.custom.iter().find(|kernel| kernel.op() == op.name())
    }
}

/// Ours that an op runs unless told otherwise.
pub fn choose(op: &dyn Op) -> &'static str {
    // The last one listed is the fastest on every adapter measured so far.
    op.variants().last().copied().unwrap_or(PLAIN)
}
