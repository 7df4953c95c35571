//! Elements set to 0 at random in training. Source: PyTorch nn.Dropout.

use super::{Arguments, Lowering, Op, Operand, shader};
use crate::error::Result;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;
use crate::reference::dropout::{Mask, threshold};

static SHADER: Shader = shader!("dropout");

params! {
    DropoutParams {
        length: u32,
        layer: u32,
        threshold: u32,
        scale: f32,
        seed_low: u32,
        seed_high: u32,
    }
}

/// input → output (overwritten), both of `length` elements. Forward over activations, backward over the gradient of the output: in one
/// step both keep the same elements.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    pub length: u32,
    /// The probability that an element is dropped, at least 0 and below 1.
    pub p: f32,
    /// Which layer of the network it is.
    pub layer: u32,
    pub seed: u64,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn shape(&self) -> String {
        format!("{}, p {}", self.length, self.p)
    }

    fn operands(&self) -> Vec<Operand> {
        let length = self.length as usize;
        vec![Operand::read("input", length), Operand::write("output", length)]
    }

    fn flops(&self) -> u64 {
        u64::from(self.length)
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let [seed_low, seed_high] = reference::philox::key(self.seed);
        let params = DropoutParams {
            length: self.length,
            layer: self.layer,
            threshold: threshold(self.p),
            scale: (1.0 / (1.0 - f64::from(self.p))) as f32,
            seed_low,
            seed_high,
        };
        let invocations = self.length.div_ceil(4).into();
        Ok(Dispatch::new(&SHADER, "dropout", &params, &[("input", 0), ("output", 1)], invocations).into())
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [input, output] = arguments.take();
        let mask = Mask { p: self.p, seed: self.seed, layer: self.layer, step: step.step };
        reference::dropout::apply(self.p.into(), |i| mask.keeps(i), input.f64(), output.f64_mut());
    }
}
