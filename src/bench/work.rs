//! What is timed.

use crate::gpu::Program;

/// What is executed again and again: a program made of equal parts that differ only in their buffers, used in turn.
pub struct Work {
    pub program: Program,
    /// Dispatches of one execution.
    pub dispatches: usize,
}

impl Work {
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
