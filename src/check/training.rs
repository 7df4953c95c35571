//! A GPU and the reference training side by side: every tensor of every step, and the first one that parts company.
//!
//! Each step starts from the same state, the GPU's, so that rounding errors do not add up over steps. Within a step they can decide: a
//! value within rounding of 0 is on one side of ReLU here and on the other there, two values within rounding of each other swap as the
//! maximum of a window, and from there on gradients differ by whole terms. Where the values agree and only such a decision differs, a
//! flip, the reference takes the GPU's decision and goes on; flips are counted, and no tensor's bound is loosened for them.

mod inputs;

use std::collections::BTreeMap;
use std::ops::Range;

use inputs::Inputs;

use super::outcome::share;
use crate::cases::gamma;
use crate::error::Result;
use crate::machine::{CpuMachine, GpuMachine, Machine, Segment};
use crate::nn::{Phase, Plan, PlanStep, Tensor, TensorId};
use crate::ops::Argument;

/// A value may be off by so many roundings of the largest value of its tensor, which the sums behind it are made of: a few for each op
/// between the images and the last gradient. Where the sums of a tensor cancel, as gradients can over a batch, or are long, a value beyond that
/// gets a second look: γ of these and of the op's own roundings, of the largest sum of its terms' sizes; and the reference goes on from it.
pub const ROUNDINGS: u64 = 256;

/// How one step went.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    pub step: u64,
    pub gpu_loss: f32,
    pub reference_loss: f32,
    /// The tensor with the largest error as a share of its bound, and that share.
    pub worst: Option<(String, f64)>,
    /// Decisions that rounding has turned, by tensor.
    pub flips: BTreeMap<String, usize>,
    pub tensors: usize,
    /// The first tensor in plan order that is beyond its bound.
    pub parted: Option<Parted>,
    /// The op whose other results are the GPU's, because rounding has turned one of its decisions.
    turned: Option<String>,
}

/// Where GPU and reference part company.
#[derive(Clone, Debug)]
pub struct Parted {
    /// The op that wrote the tensor.
    pub label: String,
    pub tensor: String,
    pub index: usize,
    pub actual: f64,
    pub expected: f64,
    pub bound: f64,
}

/// Trains both on one batch, from the GPU's state, and compares what every op has written.
///
/// # Errors
/// A non-finite gradient; a lost or silent device.
pub fn step(gpu: &mut GpuMachine<'_>, reference: &mut CpuMachine<'_>, segment: &Segment<'_>) -> Result<StepReport> {
    let before = gpu.state()?;
    reference.set_state(&before)?;
    let on_gpu = gpu.train(segment, &mut |_| true)?;
    let inputs = Inputs::new(gpu, &before, segment);
    let mut report = StepReport { step: segment.first_step, ..StepReport::default() };
    let on_reference = reference.train_observed(segment, &mut |_| true, &mut |plan, step, id, values| {
        report.compare(&inputs, plan, step, id, values)
    })?;
    report.gpu_loss = on_gpu.first().copied().unwrap_or(f32::NAN);
    report.reference_loss = on_reference.first().copied().unwrap_or(f32::NAN);
    Ok(report)
}

impl StepReport {
    fn compare(
        &mut self,
        inputs: &Inputs<'_, '_>,
        plan: &Plan,
        step: &PlanStep,
        id: TensorId,
        values: Argument<'_>,
    ) -> Result<()> {
        let name = &plan.tensor(id).name;
        let Some(bits) = inputs.after(name)? else { return Ok(()) };
        match values {
            Argument::F64Mut(values) => {
                let actual: Vec<f64> = bits.iter().map(|&bits| f32::from_bits(bits).into()).collect();
                if self.turned.as_ref() == Some(&step.label) {
                    values.copy_from_slice(&actual);
                    return Ok(());
                }
                let mut bounds = None;
                for (name, range) in views(plan, id) {
                    let (actual, expected) = (&actual[range.clone()], &mut values[range.clone()]);
                    let bound = gamma(ROUNDINGS) * largest(expected);
                    let agrees = worst(actual, expected, bound).is_none_or(|(_, worst)| worst <= 1.0);
                    if agrees || !matches!(step.phase, Phase::Forward | Phase::Backward | Phase::Update) {
                        self.weigh(&step.label, &name, actual, expected, bound);
                        continue;
                    }
                    let bounds = match &mut bounds {
                        Some(bounds) => bounds,
                        None => bounds.insert(inputs.bounds(plan, step, id)?),
                    };
                    self.weigh(&step.label, &name, actual, expected, bound.max(largest(&bounds[range])));
                    if self.parted.is_none() {
                        // What the rounding of larger terms has left is nothing that the ops after it could be held to.
                        expected.copy_from_slice(actual);
                    }
                }
                if self.parted.is_none()
                    && let Some((place, range)) = step.op.rectified()
                    && step.operands.get(place) == Some(&id)
                    && self.adopt_masks(name, &actual[range.clone()], &mut values[range])
                {
                    self.turned = Some(step.label.clone());
                }
            }
            Argument::U32Mut(values) if step.op.name().ends_with("max_pool2d_forward") && self.parted.is_none() => {
                self.adopt_winners(inputs, plan, step, id, &bits, values)?;
            }
            Argument::U32Mut(values) => {
                let [actual, expected] = [&bits, &*values].map(|bits| bits.iter().map(|&bits| f64::from(bits)));
                let [actual, expected] = [actual.collect::<Vec<_>>(), expected.collect()];
                self.compare_exact(&step.label, name, &actual, &expected);
            }
            Argument::F64(_) | Argument::U32(_) => {}
        }
        Ok(())
    }

    fn compare_exact(&mut self, label: &str, name: &str, actual: &[f64], expected: &[f64]) {
        self.weigh(label, name, actual, expected, 0.0);
    }

    fn weigh(&mut self, label: &str, name: &str, actual: &[f64], expected: &[f64], bound: f64) {
        self.tensors += 1;
        let Some((index, worst)) = worst(actual, expected, bound) else { return };
        if self.worst.as_ref().is_none_or(|(_, most)| worst > *most) {
            self.worst = Some((name.into(), worst));
        }
        if worst > 1.0 && self.parted.is_none() {
            let (actual, expected) = (actual[index], expected[index]);
            self.parted = Some(Parted { label: label.into(), tensor: name.into(), index, actual, expected, bound });
        }
    }

    /// The values agree: where one is positive and the other is not, both are 0 within rounding. Whether there was one.
    fn adopt_masks(&mut self, name: &str, actual: &[f64], values: &mut [f64]) -> bool {
        let mut flipped = false;
        for (value, &actual) in values.iter_mut().zip(actual) {
            if (*value > 0.0) != (actual > 0.0) {
                *value = actual;
                *self.flips.entry(name.into()).or_default() += 1;
                flipped = true;
            }
        }
        flipped
    }

    /// The maxima agree: the winners have to be those of what the GPU itself has taken the maxima of.
    fn adopt_winners(
        &mut self,
        inputs: &Inputs<'_, '_>,
        plan: &Plan,
        step: &PlanStep,
        id: TensorId,
        bits: &[u32],
        values: &mut [u32],
    ) -> Result<()> {
        self.tensors += 1;
        if bits == values {
            return Ok(());
        }
        let name = &plan.tensor(id).name;
        let own = inputs.winners(plan, step, bits)?;
        if let Some(index) = own.iter().zip(bits).position(|(own, winner)| own != winner) {
            self.part(&step.label, name, index, bits[index].into(), own[index].into());
            return Ok(());
        }
        *self.flips.entry(name.clone()).or_default() +=
            values.iter().zip(bits).filter(|(value, winner)| value != winner).count();
        values.copy_from_slice(bits);
        Ok(())
    }

    /// Where a decision differs that rounding has not turned.
    fn part(&mut self, label: &str, tensor: &str, index: usize, actual: f64, expected: f64) {
        self.worst = Some((tensor.into(), f64::INFINITY));
        let (label, tensor) = (label.into(), tensor.into());
        self.parted = Some(Parted { label, tensor, index, actual, expected, bound: 0.0 });
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The largest error as a share of its bound, and where it is.
fn worst(actual: &[f64], expected: &[f64], bound: f64) -> Option<(usize, f64)> {
    let shares = actual.iter().zip(expected).map(|(&actual, &expected)| share(actual, expected, bound));
    shares.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))
}

/// A tensor, or the smallest named parts of one that holds several.
fn views(plan: &Plan, id: TensorId) -> Vec<(String, Range<usize>)> {
    let range = |tensor: &Tensor| tensor.offset..tensor.offset + tensor.length();
    let within = |part: &Tensor, whole: &Tensor| {
        let (inner, outer) = (range(part), range(whole));
        part.storage == whole.storage
            && inner.len() < outer.len()
            && outer.start <= inner.start
            && inner.end <= outer.end
    };
    let whole = plan.tensor(id);
    let is_smallest = |part: &&Tensor| !plan.tensors.iter().any(|other| within(other, part));
    let parts = plan.tensors.iter().filter(|part| within(part, whole)).filter(is_smallest);
    let parts: Vec<_> = parts
        .map(|part| (part.name.clone(), part.offset - whole.offset..part.offset - whole.offset + part.length()))
        .collect();
    if parts.is_empty() { vec![(whole.name.clone(), 0..whole.length())] } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    #[test]
    fn what_a_relu_gives_is_never_negative() {
        for name in ["relu_forward", "linear_forward", "classifier_head"] {
            let rectified = cases::of(name).into_iter().filter_map(|case| Some((case.op.rectified()?, case)));
            let mut found = 0;
            for ((place, range), case) in rectified {
                found += 1;
                let values = &case.truth().expected[place][range];
                assert!(values.iter().all(|&value| value >= 0.0), "{name} {}", case.shape());
            }
            assert!(found > 0, "{name}");
        }
    }

    #[test]
    fn a_mask_turned_by_rounding_is_adopted_and_counted() {
        let mut report = StepReport::default();
        let actual = [1.0, 0.0, 3e-9, 0.0];
        let mut values = [1.0, 2e-9, 0.0, 0.0];
        report.weigh("relu1.forward", "relu1.output", &actual, &values, gamma(ROUNDINGS));
        assert!(report.parted.is_none());
        report.adopt_masks("relu1.output", &actual, &mut values);
        assert_eq!((values, report.flips["relu1.output"]), ([1.0, 0.0, 3e-9, 0.0], 2));
    }

    #[test]
    fn the_first_tensor_beyond_its_bound_stays_named() {
        let mut report = StepReport::default();
        report.weigh("a.forward", "a.output", &[1.0, 2.0001], &[1.0, 2.0], 2.0 * gamma(ROUNDINGS));
        report.weigh("b.forward", "b.output", &[f64::NAN], &[1.0], gamma(ROUNDINGS));
        let parted = report.parted.unwrap();
        assert_eq!((&*parted.tensor, parted.index), ("a.output", 1));
        assert_eq!(report.worst, Some(("b.output".into(), f64::INFINITY)));
    }
}
