//! A bit test for NaN and infinity over the flat gradient buffer.

use super::{Arguments, Lowering, Op, Operand, elementwise, shader};
use crate::error::Result;
use crate::gpu::{Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("nonfinite");
static VEC4_SHADER: Shader = shader!("nonfinite_vec4");

/// Both words of a status that flags nothing.
pub const FINITE: u32 = u32::MAX;

params! {
    NonfiniteParams {
        length: u32,
    }
}

/// values (P) → status = [step, index] of the first non-finite value of the first such step; [`FINITE`] before that.
#[derive(Clone, Copy, Debug)]
pub struct Nonfinite {
    pub length: u32,
}

impl Op for Nonfinite {
    fn name(&self) -> &'static str {
        "nonfinite"
    }

    fn shape(&self) -> String {
        self.length.to_string()
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("values", self.length as usize), Operand::read_write("status", 2).of_u32()]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("VALUES", self.length)]
    }

    fn variants(&self) -> &'static [&'static str] {
        elementwise::variants(self.length)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let params = NonfiniteParams { length: self.length };
        let entry_points = [(&SHADER, "nonfinite"), (&VEC4_SHADER, "nonfinite_vec4")];
        elementwise::lower(self, variant, entry_points, &params, self.length)
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [values, status] = arguments.take();
        let status = status.u32_mut();
        if let (true, Some(index)) = (status[0] == FINITE, reference::nonfinite::first(values.f64())) {
            status.copy_from_slice(&[step.step, index as u32]);
        }
    }
}
