//! What is timed.

use crate::error::Result;
use crate::gpu::{Buffer, Device, Program};
use crate::ops::Lowering;

/// What is executed again and again: a program made of equal parts that differ only in their buffers, used in turn.
pub struct Work {
    pub program: Program,
    /// Dispatches of one execution.
    pub dispatches: usize,
}

impl Work {
    /// An op's kernels over some sets of its operands, used in turn.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn of_op(device: &Device, lowering: &Lowering, sets: &[Vec<Buffer>]) -> Result<Self> {
        let scratch = lowering.scratch.iter().map(|&length| Buffer::new(device, "scratch", length));
        let scratch: Vec<Buffer> = scratch.collect::<Result<_>>()?;
        let mut dispatches = Vec::new();
        for buffers in sets {
            let slices: Vec<_> = buffers.iter().chain(&scratch).map(Buffer::whole).collect();
            dispatches.extend(lowering.dispatches.iter().map(|dispatch| (dispatch.clone(), slices.clone())));
        }
        Ok(Self { program: Program::new(device, &dispatches)?, dispatches: lowering.dispatches.len() })
    }

    /// The program as one execution.
    pub fn whole(program: Program) -> Self {
        Self { dispatches: program.len(), program }
    }

    fn parts(&self) -> usize {
        (self.program.len() / self.dispatches.max(1)).max(1)
    }

    /// The dispatches of so many executions.
    pub(super) fn places(&self, executions: usize) -> impl Iterator<Item = usize> {
        let (parts, dispatches) = (self.parts(), self.dispatches);
        (0..executions).flat_map(move |execution| {
            let first = execution % parts * dispatches;
            first..first + dispatches
        })
    }
}
