//! Stochastic gradient descent over the flat parameter buffer. Source: PyTorch torch.optim.SGD with dampening=0.

use super::{Arguments, Lowering, Op, Operand, elementwise, shader};
use crate::error::Result;
use crate::gpu::{Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("sgd");
static VEC4_SHADER: Shader = shader!("sgd_vec4");

params! {
    SgdParams {
        length: u32,
        momentum: f32,
        weight_decay: f32,
        nesterov: u32,
    }
}

/// gradients (P), status (2) → parameters (P), momentum_buffer (P), updated in place with the step's learning rate, unless status
/// flags this step or one before.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    pub length: u32,
    pub momentum: f32,
    pub weight_decay: f32,
    pub nesterov: bool,
}

impl Op for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn shape(&self) -> String {
        self.length.to_string()
    }

    fn operands(&self) -> Vec<Operand> {
        let length = self.length as usize;
        vec![
            Operand::read("gradients", length),
            Operand::read("status", 2).of_u32(),
            Operand::read_write("parameters", length),
            Operand::read_write("momentum_buffer", length),
        ]
    }

    fn flops(&self) -> u64 {
        8 * u64::from(self.length)
    }

    fn variants(&self) -> &'static [&'static str] {
        elementwise::variants(self.length)
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let params = SgdParams {
            length: self.length,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            nesterov: self.nesterov.into(),
        };
        elementwise::lower(self, variant, [(&SHADER, "sgd"), (&VEC4_SHADER, "sgd_vec4")], &params, self.length)
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [gradients, status, parameters, momentum_buffer] = arguments.take();
        if status.u32()[0] <= step.step {
            return;
        }
        let settings = reference::sgd::Settings {
            learning_rate: step.learning_rate.into(),
            momentum: self.momentum.into(),
            weight_decay: self.weight_decay.into(),
            nesterov: self.nesterov,
        };
        reference::sgd::step(&settings, gradients.f64(), parameters.f64_mut(), momentum_buffer.f64_mut());
    }
}
