//! Stochastic gradient descent over the flat parameter buffer. Source: PyTorch torch.optim.SGD with dampening=0.

use super::{Arguments, Lowering, Op, Operand, elementwise, shader};
use crate::error::Result;
use crate::gpu::{Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("sgd");
static VEC4_SHADER: Shader = shader!("sgd_vec4");
static GUARDED_SHADER: Shader = shader!("guarded_sgd");
static GUARDED_VEC4_SHADER: Shader = shader!("guarded_sgd_vec4");

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
        elementwise::lower(self, variant, [(&SHADER, "sgd"), (&VEC4_SHADER, "sgd_vec4")], &self.params(), self.length)
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [gradients, status, parameters, momentum_buffer] = arguments.take();
        if status.u32()[0] <= step.step {
            return;
        }
        reference::sgd::step(&self.settings(step), gradients.f64(), parameters.f64_mut(), momentum_buffer.f64_mut());
    }
}

impl Sgd {
    fn params(&self) -> SgdParams {
        SgdParams {
            length: self.length,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            nesterov: self.nesterov.into(),
        }
    }

    fn settings(&self, step: &StepRow) -> reference::sgd::Settings {
        reference::sgd::Settings {
            learning_rate: step.learning_rate.into(),
            momentum: self.momentum.into(),
            weight_decay: self.weight_decay.into(),
            nesterov: self.nesterov,
        }
    }
}

/// gradients (P) → parameters (P), momentum_buffer (P), updated in place with the step's learning rate, and status (2) as
/// [`Nonfinite`](super::nonfinite::Nonfinite) leaves it, unless status flags a step before this one. Where a gradient is not finite,
/// or the parameter would not be in f32, it stays, and the step is flagged.
#[derive(Clone, Copy, Debug)]
pub struct GuardedSgd(pub Sgd);

impl Op for GuardedSgd {
    fn name(&self) -> &'static str {
        "guarded_sgd"
    }

    fn shape(&self) -> String {
        self.0.shape()
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = self.0.operands();
        operands[1] = Operand::read_write("status", 2).of_u32();
        operands
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        vec![("PARAMETERS", self.0.length)]
    }

    fn variants(&self) -> &'static [&'static str] {
        self.0.variants()
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let entry_points = [(&GUARDED_SHADER, "guarded_sgd"), (&GUARDED_VEC4_SHADER, "guarded_sgd_vec4")];
        elementwise::lower(self, variant, entry_points, &self.0.params(), self.0.length)
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [gradients, status, parameters, momentum_buffer] = arguments.take();
        let (gradients, status) = (gradients.f64(), status.u32_mut());
        if status[0] < step.step {
            return;
        }
        let (parameters, momentum_buffer) = (parameters.f64_mut(), momentum_buffer.f64_mut());
        let before = (parameters.to_vec(), momentum_buffer.to_vec());
        reference::sgd::step(&self.0.settings(step), gradients, parameters, momentum_buffer);
        for index in (0..gradients.len()).rev() {
            if !gradients[index].is_finite() || !(parameters[index] as f32).is_finite() {
                (parameters[index], momentum_buffer[index]) = (before.0[index], before.1[index]);
                let first = if status[0] == step.step { status[1].min(index as u32) } else { index as u32 };
                status.copy_from_slice(&[step.step, first]);
            }
        }
    }
}
