//! The mean of a batch's losses, kept in a ring until the host reads it.

use super::{Arguments, Lowering, MAX_TERMS, Op, Operand, shader};
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("mean_loss");

params! {
    MeanLossParams {
        rows: u32,
    }
}

/// row_loss (N) → `losses[slot]` = Σ row_loss / count, with the step's slot and count; the other slots stay.
#[derive(Clone, Copy, Debug)]
pub struct MeanLoss {
    pub rows: u32,
    pub slots: u32,
}

impl MeanLoss {
    /// Rows that one workgroup adds in a loop that is short enough.
    pub fn most_rows() -> u32 {
        MAX_TERMS * SHADER.constant("WORKGROUP_SIZE")
    }
}

impl Op for MeanLoss {
    fn name(&self) -> &'static str {
        "mean_loss"
    }

    fn shape(&self) -> String {
        self.rows.to_string()
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("row_loss", self.rows as usize), Operand::read_write("losses", self.slots as usize)]
    }

    fn flops(&self) -> u64 {
        u64::from(self.rows)
    }

    /// One slot is written, whatever the ring holds.
    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("OUTPUT", 1)]
    }

    fn bytes(&self) -> u64 {
        4 * (u64::from(self.rows) + 1)
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let most = Self::most_rows();
        if self.rows > most {
            return Err(Error::usage(format!("--batch must be at most {most} (got {})", self.rows)));
        }
        let params = MeanLossParams { rows: self.rows };
        // One workgroup, whatever the batch.
        Ok(Dispatch::new(&SHADER, "mean_loss", &params, &[("row_loss", 0), ("losses", 1)], 1).into())
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [row_loss, losses] = arguments.take();
        losses.f64_mut()[step.slot as usize] = reference::mean_loss::rows(step.count as usize, row_loss.f64());
    }
}
