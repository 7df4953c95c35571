//! max(input, 0). Source: PyTorch nn.ReLU.

use std::ops::Range;

use super::{Arguments, Lowering, Op, Operand, elementwise, shader};
use crate::error::Result;
use crate::gpu::{Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("relu");
static VEC4_SHADER: Shader = shader!("relu_vec4");

params! {
    ReluParams {
        length: u32,
    }
}

/// input → output, both of `length` elements.
#[derive(Clone, Copy, Debug)]
pub struct ReluForward {
    pub length: u32,
}

impl Op for ReluForward {
    fn name(&self) -> &'static str {
        "relu_forward"
    }

    fn shape(&self) -> String {
        self.length.to_string()
    }

    fn operands(&self) -> Vec<Operand> {
        let length = self.length as usize;
        vec![Operand::read("input", length), Operand::write("output", length)]
    }

    fn flops(&self) -> u64 {
        u64::from(self.length)
    }

    fn variants(&self) -> &'static [&'static str] {
        elementwise::variants(self.length)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let params = ReluParams { length: self.length };
        let entry_points = [(&SHADER, "relu_forward"), (&VEC4_SHADER, "relu_forward_vec4")];
        elementwise::lower(self, variant, entry_points, &params, self.length)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, output] = arguments.take();
        reference::relu::forward(input.f64(), output.f64_mut());
    }

    fn rectified(&self) -> Option<(usize, Range<usize>)> {
        Some((1, 0..self.length as usize))
    }
}

/// activation (the forward output), grad_output → grad_input (overwritten), each of `length` elements.
#[derive(Clone, Copy, Debug)]
pub struct ReluBackward {
    pub length: u32,
}

impl Op for ReluBackward {
    fn name(&self) -> &'static str {
        "relu_backward"
    }

    fn shape(&self) -> String {
        self.length.to_string()
    }

    fn operands(&self) -> Vec<Operand> {
        let length = self.length as usize;
        vec![
            Operand::read("activation", length),
            Operand::read("grad_output", length),
            Operand::write("grad_input", length),
        ]
    }

    fn flops(&self) -> u64 {
        u64::from(self.length)
    }

    fn variants(&self) -> &'static [&'static str] {
        elementwise::variants(self.length)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let params = ReluParams { length: self.length };
        let entry_points = [(&SHADER, "relu_backward"), (&VEC4_SHADER, "relu_backward_vec4")];
        elementwise::lower(self, variant, entry_points, &params, self.length)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [activation, grad_output, grad_input] = arguments.take();
        reference::relu::backward(activation.f64(), grad_output.f64(), grad_input.f64_mut());
    }
}
