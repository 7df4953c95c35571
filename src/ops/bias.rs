//! A bias per channel, and its gradient, which is also conv2d's grad_bias. Source: PyTorch nn.Linear, nn.Conv2d.

use super::split::Slices;
use super::{Arguments, Lowering, Op, Operand, shader};
use crate::error::Result;
use crate::geometry::Channels;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("bias");

params! {
    BiasParams {
        batch: u32,
        channels: u32,
        size: u32,
        slices: u32,
        slice_length: u32,
    }
}

fn params(shape: &Channels, slices: Slices) -> BiasParams {
    let Slices { slices, slice_length } = slices;
    BiasParams { batch: shape.batch, channels: shape.channels, size: shape.size, slices, slice_length }
}

fn describe(shape: &Channels) -> String {
    format!("{}×{}×{}", shape.batch, shape.channels, shape.size)
}

/// input (N, C, S), bias (C) → output (N, C, S).
#[derive(Clone, Copy, Debug)]
pub struct BiasAdd(pub Channels);

impl Op for BiasAdd {
    fn name(&self) -> &'static str {
        "bias_add"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        let length = self.0.len();
        vec![
            Operand::read("input", length),
            Operand::read("bias", self.0.channels as usize),
            Operand::write("output", length),
        ]
    }

    fn flops(&self) -> u64 {
        self.0.len() as u64
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let params = params(&self.0, Slices::new(1, 1));
        let bindings = [("input", 0), ("bias", 1), ("output", 2)];
        Ok(Dispatch::new(&SHADER, "bias_add", &params, &bindings, self.0.len() as u64).into())
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, bias, output] = arguments.take();
        reference::bias::add(&self.0, input.f64(), bias.f64(), output.f64_mut());
    }
}

/// grad_output (N, C, S) → grad_bias (C), overwritten.
#[derive(Clone, Copy, Debug)]
pub struct BiasGrad(pub Channels);

impl Op for BiasGrad {
    fn name(&self) -> &'static str {
        "bias_grad"
    }

    fn shape(&self) -> String {
        describe(&self.0)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("grad_output", self.0.len()), Operand::write("grad_bias", self.0.channels as usize)]
    }

    fn flops(&self) -> u64 {
        self.0.len() as u64
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let slices = Slices::new(self.0.batch.saturating_mul(self.0.size), 1);
        let channels = self.0.channels;
        Ok(slices.lower([(channels as usize, 1)], 2, |[output]| {
            let bindings = [("grad_output", 0), ("grad_bias", output)];
            let invocations = u64::from(slices.slices) * u64::from(channels);
            Dispatch::new(&SHADER, "bias_grad", &params(&self.0, slices), &bindings, invocations)
        }))
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [grad_output, grad_bias] = arguments.take();
        reference::bias::grad(&self.0, grad_output.f64(), grad_bias.f64_mut());
    }
}
