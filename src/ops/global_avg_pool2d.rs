//! Mean over a whole plane. Source: PyTorch nn.AdaptiveAvgPool2d(1).

use super::split::Slices;
use super::{Arguments, Lowering, Op, Operand, shader};
use crate::error::Result;
use crate::geometry::product;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("global_avg_pool2d");

params! {
    GlobalAvgPool2dParams {
        planes: u32,
        size: u32,
        slices: u32,
        slice_length: u32,
    }
}

/// input (P, S) → output (P); P = batch × channels, S = height × width.
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool2dForward {
    pub planes: u32,
    pub size: u32,
}

impl Op for GlobalAvgPool2dForward {
    fn name(&self) -> &'static str {
        "global_avg_pool2d_forward"
    }

    fn shape(&self) -> String {
        format!("{}×{} → {}", self.planes, self.size, self.planes)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", product(&[self.planes, self.size])), Operand::write("output", self.planes as usize)]
    }

    fn flops(&self) -> u64 {
        product(&[self.planes, self.size]) as u64
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let slices = Slices::new(self.size, 1);
        Ok(slices.lower([(self.planes as usize, 1)], 2, |[output]| {
            let Slices { slices, slice_length } = slices;
            let params = GlobalAvgPool2dParams { planes: self.planes, size: self.size, slices, slice_length };
            let bindings = [("input", 0), ("output", output)];
            let invocations = u64::from(slices) * u64::from(self.planes);
            Dispatch::new(&SHADER, "global_avg_pool2d_forward", &params, &bindings, invocations)
        }))
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [input, output] = arguments.take();
        let (planes, size) = (self.planes as usize, self.size as usize);
        reference::global_avg_pool2d::forward(planes, size, input.f64(), output.f64_mut());
    }
}

/// grad_output (P) → grad_input (P, S), overwritten.
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool2dBackward {
    pub planes: u32,
    pub size: u32,
}

impl Op for GlobalAvgPool2dBackward {
    fn name(&self) -> &'static str {
        "global_avg_pool2d_backward"
    }

    fn shape(&self) -> String {
        format!("{} → {}×{}", self.planes, self.planes, self.size)
    }

    fn operands(&self) -> Vec<Operand> {
        let input = product(&[self.planes, self.size]);
        vec![Operand::read("grad_output", self.planes as usize), Operand::write("grad_input", input)]
    }

    fn flops(&self) -> u64 {
        product(&[self.planes, self.size]) as u64
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let params = GlobalAvgPool2dParams { planes: self.planes, size: self.size, slices: 1, slice_length: self.size };
        let bindings = [("grad_output", 0), ("grad_input", 1)];
        let invocations = product(&[self.planes, self.size]) as u64;
        Ok(Dispatch::new(&SHADER, "global_avg_pool2d_backward", &params, &bindings, invocations).into())
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [grad_output, grad_input] = arguments.take();
        let (planes, size) = (self.planes as usize, self.size as usize);
        reference::global_avg_pool2d::backward(planes, size, grad_output.f64(), grad_input.f64_mut());
    }
}
