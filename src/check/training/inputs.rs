//! What the ops of a step have read on the GPU, for a second look where their results are not what the reference has.

use std::any::Any;

use super::{ROUNDINGS, largest};
use crate::cases::{evaluate, gamma};
use crate::error::Result;
use crate::gpu::StepRow;
use crate::machine::{Classifier, GpuMachine, Segment, State};
use crate::nn::{Plan, PlanStep, Role, TensorId};
use crate::ops::conv2d_pool::Conv2dReluMaxPool2dForward;
use crate::ops::max_pool2d::NOWHERE;
use crate::ops::{Access, MAX_TERMS};

/// A GPU that has done a step, and what the step has replaced.
pub struct Inputs<'a, 'd> {
    gpu: &'a GpuMachine<'d>,
    before: &'a State,
    row: StepRow,
}

impl<'a, 'd> Inputs<'a, 'd> {
    /// `before` is the state that the one step of `segment` began with.
    pub fn new(gpu: &'a GpuMachine<'d>, before: &'a State, segment: &Segment<'_>) -> Self {
        let row = StepRow {
            step: segment.first_step as u32,
            epoch: segment.epoch,
            order_offset: 0,
            count: segment.images.len() as u32,
            slot: 0,
            learning_rate: segment.learning_rates.first().copied().unwrap_or_default(),
        };
        Self { gpu, before, row }
    }

    /// The bits of a tensor after the step. The two plans may keep their images in other places; every tensor that an op writes is in both.
    pub fn after(&self, name: &str) -> Result<Option<Vec<u32>>> {
        self.gpu.plan().find(name).map(|id| self.gpu.bits(id)).transpose()
    }

    /// The bits that an op has read, by operand; empty for what it only writes.
    fn of(&self, plan: &Plan, step: &PlanStep) -> Result<Vec<Vec<u32>>> {
        let operands = step.op.operands().into_iter().zip(&step.operands);
        let inputs = operands.map(|(operand, &id)| {
            let tensor = plan.tensor(id);
            let replaced = match tensor.role {
                _ if operand.access == Access::Write => return Ok(Vec::new()),
                Role::Parameter => &self.before.parameters,
                Role::Momentum => &self.before.momentum,
                _ => return Ok(self.after(&tensor.name)?.unwrap_or_default()),
            };
            let values = &replaced[tensor.offset..tensor.offset + tensor.length()];
            Ok(values.iter().map(|value| value.to_bits()).collect())
        });
        inputs.collect()
    }

    /// For each result of an op whose results are sums of products of what it reads, the sum of its terms' sizes.
    fn sizes(&self, plan: &Plan, step: &PlanStep, result: TensorId) -> Result<Vec<f64>> {
        // The optimiser subtracts; with the rate negated its absolute values add up.
        let row = StepRow { learning_rate: -self.row.learning_rate, ..self.row };
        let Some(place) = step.operands.iter().position(|&id| id == result) else {
            unreachable!("{} has this operand", step.label)
        };
        Ok(evaluate(&*step.op, &row, &self.of(plan, step)?, f64::abs).swap_remove(place))
    }

    /// How far such a result may be off: by as many roundings of these sizes as a value may have behind it, and those of its own sum, which is
    /// cut into slices where it is long.
    pub fn bounds(&self, plan: &Plan, step: &PlanStep, result: TensorId) -> Result<Vec<f64>> {
        let sizes = self.sizes(plan, step, result)?;
        let terms = step.op.flops() / sizes.len().max(1) as u64;
        let bound = gamma(ROUNDINGS + terms.min(2 * u64::from(MAX_TERMS)));
        Ok(sizes.into_iter().map(|size| bound * size).collect())
    }

    /// The winners of the windows of what the GPU has taken maxima of, where its own are `winners`. What a convolution pools in the same kernel
    /// the GPU does not keep: there they are those of the reference's convolution of the GPU's values, once the GPU's winners have been given
    /// what rounding may have given them.
    pub fn winners(&self, plan: &Plan, step: &PlanStep, winners: &[u32]) -> Result<Vec<u32>> {
        let inputs = self.of(plan, step)?;
        let values =
            |place: usize| -> Vec<f64> { inputs[place].iter().map(|&bits| f32::from_bits(bits).into()).collect() };
        let (maxima, mut own, allowance) = match (&*step.op as &dyn Any).downcast_ref::<Conv2dReluMaxPool2dForward>() {
            Some(op) => {
                let mut planes = op.planes(&values(0), &values(1), &values(2));
                // Of the winner and of the one that it has beaten.
                let allowance = 2.0 * gamma(ROUNDINGS) * largest(&self.sizes(plan, step, step.operands[3])?);
                let [whole, pooled] = op.plane_lengths();
                let places = winners.iter().enumerate().filter(|(_, winner)| (**winner as usize) < whole);
                places.for_each(|(index, &winner)| planes[index / pooled * whole + winner as usize] += allowance);
                let (mut maxima, mut own) = (vec![0.0; winners.len()], vec![0; winners.len()]);
                op.maxima(&planes, &mut maxima, &mut own);
                (maxima, own, allowance)
            }
            None => {
                let mut results = evaluate(&*step.op, &self.row, &inputs, |value| value);
                let own = std::mem::take(&mut results[2]).into_iter().map(|winner| winner as u32).collect();
                // A driver may flush what is smaller to 0.
                (results.swap_remove(1), own, f32::MIN_POSITIVE.into())
            }
        };
        // A window without a winner has no value above 0.
        for ((own, &winner), &maximum) in own.iter_mut().zip(winners).zip(&maxima) {
            if winner == NOWHERE && maximum <= allowance {
                *own = NOWHERE;
            }
        }
        Ok(own)
    }
}
