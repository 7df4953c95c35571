//! The gradient of what a layer takes, through the 2 × 2 max pooling before it, in one kernel. Source: PyTorch nn.Conv2d, nn.Linear,
//! nn.MaxPool2d.

use super::conv2d::Conv2dGradInput;
use super::linear::LinearGradInput;
use super::max_pool2d::MaxPool2dBackward;
use super::split::MAX_TILE_TERMS;
use super::{Arguments, Lowering, Op, Operand};
use crate::error::Result;
use crate::geometry::{Conv2d, Linear, Pool2d, Window, product};
use crate::gpu::StepRow;
use crate::reference;

/// Whether the windows of a pooling are 2 × 2 and cover its planes, whose elements so have one window each.
fn covers(pool: &Pool2d) -> bool {
    pool.window == Window::square(2).stride(2) && pool.input == pool.output.map(|size| 2 * size)
}

/// The operands of the gradient before the pooling, but the last of them; the pooling's winners; its gradient.
fn operands(before: Vec<Operand>, pool: &Pool2d) -> Vec<Operand> {
    let kept = before.len() - 1;
    let own = [Operand::read("winner", pool.output_len()).of_u32(), Operand::write("grad_planes", pool.input_len())];
    before.into_iter().take(kept).chain(own).collect()
}

/// weight (O, C, KH, KW), grad_output (N, O, OH, OW), winner (N, C, H, W) → grad_planes (N, C, 2H, 2W), overwritten: the gradient of the
/// convolution's input at each window's winner, 0 elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dGradInputMaxPool2d {
    conv: Conv2d,
    pool: Pool2d,
}

impl Conv2dGradInputMaxPool2d {
    /// `None` where the kernels are not made for the shapes: `conv` is over what `pool` makes.
    pub fn new(conv: Conv2d, pool: Pool2d) -> Option<Self> {
        let [height, width] = conv.window.kernel_size;
        let terms = product(&[conv.out_channels, height, width]);
        (covers(&pool) && conv.window.stride == [1; 2] && terms <= MAX_TILE_TERMS as usize)
            .then_some(Self { conv, pool })
    }
}

impl Op for Conv2dGradInputMaxPool2d {
    fn name(&self) -> &'static str {
        "conv2d_grad_input_max_pool2d"
    }

    fn shape(&self) -> String {
        let [height, width] = self.pool.input;
        format!("{height}×{width} → {}", Conv2dGradInput(self.conv).shape())
    }

    fn operands(&self) -> Vec<Operand> {
        operands(Conv2dGradInput(self.conv).operands(), &self.pool)
    }

    fn flops(&self) -> u64 {
        Conv2dGradInput(self.conv).flops() + MaxPool2dBackward(self.pool).flops()
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        Conv2dGradInput(self.conv).axes()
    }

    fn variants(&self) -> &'static [&'static str] {
        Conv2dGradInput(self.conv).variants()
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        if let Some(together) = Conv2dGradInput(self.conv).lower_through_pool(self, variant) {
            return Ok(together);
        }
        // One after the other.
        let mut lowering = Conv2dGradInput(self.conv).lower(variant)?.over(&[0, 1, 4], 5);
        lowering.scratch.insert(0, self.conv.input_len());
        let pool = MaxPool2dBackward(self.pool);
        lowering.dispatches.extend(pool.lower(super::choose_unseen(&pool, false))?.over(&[2, 4, 3], 5).dispatches);
        Ok(lowering)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [weight, grad_output, winner, grad_planes] = arguments.take();
        let mut grad_input = vec![0.0; self.conv.input_len()];
        reference::conv2d::grad_input(&self.conv, weight.f64(), grad_output.f64(), &mut grad_input);
        reference::max_pool2d::backward(&self.pool, winner.u32(), &grad_input, grad_planes.f64_mut());
    }
}

/// grad_output (N, O), weight (O, I), winner (N, I) → grad_planes (N, 4I), overwritten: the gradient of the linear layer's input at each
/// window's winner, 0 elsewhere. A row of the input is planes one after the other.
#[derive(Clone, Copy, Debug)]
pub struct LinearGradInputMaxPool2d {
    linear: Linear,
    pool: Pool2d,
}

impl LinearGradInputMaxPool2d {
    /// `None` where the kernels are not made for the shapes: `linear` is over what `pool` makes.
    pub fn new(linear: Linear, pool: Pool2d) -> Option<Self> {
        (covers(&pool) && super::linear::fits(&linear)).then_some(Self { linear, pool })
    }

    fn before(&self) -> LinearGradInput {
        LinearGradInput { shape: self.linear, relu: false }
    }
}

impl Op for LinearGradInputMaxPool2d {
    fn name(&self) -> &'static str {
        "linear_grad_input_max_pool2d"
    }

    fn shape(&self) -> String {
        let [height, width] = self.pool.input;
        format!("{height}×{width} → {}", self.before().shape())
    }

    fn operands(&self) -> Vec<Operand> {
        operands(self.before().operands(), &self.pool)
    }

    fn flops(&self) -> u64 {
        self.before().flops() + MaxPool2dBackward(self.pool).flops()
    }

    fn axes(&self) -> Vec<(&'static str, u32)> {
        self.before().axes()
    }

    fn variants(&self) -> &'static [&'static str] {
        self.before().variants()
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        self.before().lower_through_pool(self, self.pool.output, variant)
    }

    fn reference(&self, arguments: Arguments<'_>, _: &StepRow) {
        let [grad_output, weight, winner, grad_planes] = arguments.take();
        let mut grad_input = vec![0.0; self.linear.input_len()];
        reference::linear::grad_input(&self.linear, grad_output.f64(), weight.f64(), &mut grad_input);
        reference::max_pool2d::backward(&self.pool, winner.u32(), &grad_input, grad_planes.f64_mut());
    }
}
