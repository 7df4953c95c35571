//! The CPU reference walking a plan in f64: the oracle, the replay for debugging, the fallback with no adapter.

use std::ops::Range;

use super::records::{pack, words};
use super::{Classifier, MAX_SEGMENT, Machine, Segment, Setup, State, inference};
use crate::data::{Dataset, Split};
use crate::error::{Error, Result};
use crate::gpu::StepRow;
use crate::nn::{Fusion, Images, Network, Phase, Plan, PlanRequest, PlanStep, Role, Storage, Tensor, TensorId};
use crate::ops::nonfinite::FINITE;
use crate::ops::{Access, Argument, Arguments, Element};

/// A storage on the CPU; what is f32 on the GPU is f64 here.
enum Values {
    F64(Vec<f64>),
    U32(Vec<u32>),
}

impl Values {
    fn f64(&self) -> &[f64] {
        match self {
            Self::F64(values) => values,
            Self::U32(_) => unreachable!("an f32 storage"),
        }
    }

    fn f64_mut(&mut self) -> &mut Vec<f64> {
        match self {
            Self::F64(values) => values,
            Self::U32(_) => unreachable!("an f32 storage"),
        }
    }

    fn u32_mut(&mut self) -> &mut Vec<u32> {
        match self {
            Self::U32(values) => values,
            Self::F64(_) => unreachable!("a u32 storage"),
        }
    }

    fn part(&self, range: Range<usize>) -> Self {
        match self {
            Self::F64(values) => Self::F64(values[range].to_vec()),
            Self::U32(values) => Self::U32(values[range].to_vec()),
        }
    }

    fn replace(&mut self, range: Range<usize>, part: &Self) {
        match (self, part) {
            (Self::F64(values), Self::F64(part)) => values[range].copy_from_slice(part),
            (Self::U32(values), Self::U32(part)) => values[range].copy_from_slice(part),
            _ => unreachable!("a part of this storage"),
        }
    }
}

/// Where in its storage a tensor is.
fn range(tensor: &Tensor) -> Range<usize> {
    tensor.offset..tensor.offset + tensor.length()
}

/// A plan and its storages.
struct Walk {
    plan: Plan,
    storages: Vec<Values>,
}

impl Walk {
    fn new(plan: Plan) -> Result<Self> {
        let storages = plan.storages.iter().map(|storage| match storage.element {
            Element::F32 => zeros(storage, 0.0).map(Values::F64),
            Element::U32 => zeros(storage, 0).map(Values::U32),
        });
        Ok(Self { storages: storages.collect::<Result<_>>()?, plan })
    }

    fn storage(&mut self, name: &str) -> &mut Values {
        match self.plan.storages.iter().position(|storage| storage.name == name) {
            Some(place) => &mut self.storages[place],
            None => unreachable!("the plan has a storage {name}"),
        }
    }

    fn tensor(&self, id: TensorId) -> &[f64] {
        let tensor = self.plan.tensor(id);
        &self.storages[tensor.storage].f64()[range(tensor)]
    }

    /// Runs every op once; `observe` is told of each tensor that one has written.
    fn step(&mut self, row: &StepRow, observe: Observer<'_>) -> Result<()> {
        for step in &self.plan.steps {
            let operands = step.op.operands();
            let tensors: Vec<_> = step.operands.iter().map(|&id| self.plan.tensor(id)).collect();
            // What is written is a copy, so that it can be borrowed beside what is read and what else is written: a weight's gradient and a bias's
            // are parts of one storage.
            let written = operands.iter().zip(&tensors).filter(|(operand, _)| operand.access != Access::Read);
            let mut copies: Vec<Values> =
                written.clone().map(|(_, tensor)| self.storages[tensor.storage].part(range(tensor))).collect();
            let mut outputs = copies.iter_mut();
            let arguments = operands.iter().zip(&tensors).map(|(operand, tensor)| {
                if operand.access == Access::Read {
                    return match &self.storages[tensor.storage] {
                        Values::F64(values) => Argument::F64(&values[range(tensor)]),
                        Values::U32(values) => Argument::U32(&values[range(tensor)]),
                    };
                }
                match outputs.next() {
                    Some(Values::F64(values)) => Argument::F64Mut(values),
                    Some(Values::U32(values)) => Argument::U32Mut(values),
                    None => unreachable!("every written operand has a copy"),
                }
            });
            step.op.reference(Arguments(arguments.collect()), row);
            for ((_, tensor), values) in written.zip(&copies) {
                self.storages[tensor.storage].replace(range(tensor), values);
            }
            // What a checkpoint keeps as f32 is f32 here too, so that a resumed run gives the same bits.
            for tensor in tensors.iter().filter(|tensor| matches!(tensor.role, Role::Parameter | Role::Momentum)) {
                if step.phase == Phase::Update {
                    self.storages[tensor.storage]
                        .f64_mut()
                        .iter_mut()
                        .for_each(|value| *value = f64::from(*value as f32));
                }
            }
            for (operand, &id) in operands.iter().zip(&step.operands) {
                if operand.access != Access::Read {
                    let tensor = self.plan.tensor(id);
                    let values = match &mut self.storages[tensor.storage] {
                        Values::F64(values) => Argument::F64Mut(&mut values[range(tensor)]),
                        Values::U32(values) => Argument::U32Mut(&mut values[range(tensor)]),
                    };
                    observe(&self.plan, step, id, values)?;
                }
            }
        }
        Ok(())
    }
}

/// Told of each tensor that an op of a step has written: the plan, its step, the tensor and its values, which it may replace before the
/// next op reads them. An error ends the step.
pub type Observer<'o> = &'o mut dyn FnMut(&Plan, &PlanStep, TensorId, Argument<'_>) -> Result<()>;

fn unobserved(_: &Plan, _: &PlanStep, _: TensorId, _: Argument<'_>) -> Result<()> {
    Ok(())
}

/// A storage's values, or an error where the memory for them is not to be had.
fn zeros<T: Clone>(storage: &Storage, zero: T) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(storage.length).map_err(|_| {
        let bytes = storage.length as u64 * size_of::<T>() as u64;
        let needed = crate::units::bytes(bytes);
        Error::usage(format!("{} needs {needed}, more than there is memory", storage.name)).with_hint("lower --batch")
    })?;
    values.resize(storage.length, zero);
    Ok(values)
}

/// The CPU reference, training.
pub struct CpuMachine<'a> {
    dataset: &'a Dataset,
    training: Walk,
    inference: CpuInference,
}

/// The forward ops alone.
pub(super) struct CpuInference(Walk);

impl<'a> CpuMachine<'a> {
    /// With every layer's output and gradient a tensor of its own.
    ///
    /// # Errors
    /// A layer that does not fit.
    pub fn new(setup: &Setup<'a>) -> Result<Self> {
        Self::planned(setup, Fusion::None)
    }

    /// With the ops of a plan of so much fusion.
    ///
    /// # Errors
    /// A layer that does not fit.
    pub fn planned(setup: &Setup<'a>, fusion: Fusion) -> Result<Self> {
        let (dataset, batch) = (setup.dataset, setup.batch);
        let images = Images::streamed(image_shape(dataset), dataset.classes.len() as u32, batch);
        let request = PlanRequest { network: setup.network, images, batch, max_bytes: u64::MAX, fusion };
        let window = inference::window(dataset.shape, images.classes, dataset.test.len());
        Ok(Self {
            dataset,
            training: Walk::new(request.training(&setup.optimiser, &setup.noise, MAX_SEGMENT)?)?,
            inference: CpuInference::new(setup.network, window)?,
        })
    }

    /// The value of a tensor of the last step, by name: `conv1.output`, `fc2.grad_weight` …
    pub fn tensor(&self, name: &str) -> Option<&[f64]> {
        let id = self.training.plan.find(name)?;
        (self.training.plan.storages[self.training.plan.tensor(id).storage].element == Element::F32)
            .then(|| self.training.tensor(id))
    }

    /// [`Machine::train`], with every op observed.
    ///
    /// # Errors
    /// A non-finite gradient, an image that cannot be read any more, or what the observer returns.
    pub fn train_observed(
        &mut self,
        segment: &Segment<'_>,
        proceed: &mut dyn FnMut(u32) -> bool,
        observe: Observer<'_>,
    ) -> Result<Vec<f32>> {
        let batch = self.training.plan.batch as usize;
        let mut losses = Vec::new();
        for (slot, (images, &learning_rate)) in segment.images.chunks(batch).zip(segment.learning_rates).enumerate() {
            let records = images.iter().map(|&image| image as usize);
            fill(&mut self.training, &self.dataset.train, records)?;
            let step = segment.first_step + slot as u64;
            let row = StepRow {
                step: step as u32,
                epoch: segment.epoch,
                order_offset: 0,
                count: images.len() as u32,
                slot: slot as u32,
                learning_rate,
            };
            self.training.step(&row, &mut *observe)?;
            let status = self.training.storage("status").u32_mut().clone();
            if status[0] != FINITE {
                return Err(diverged(&self.training.plan, status[1], step));
            }
            losses.push(self.training.storage("losses").f64()[slot] as f32);
            if !proceed(losses.len() as u32) {
                break;
            }
        }
        Ok(losses)
    }
}

/// Fills the window of records with some images of a split.
fn fill(walk: &mut Walk, split: &Split, images: impl IntoIterator<Item = usize>) -> Result<()> {
    let channels = walk.plan.channels;
    let window = walk.storage("records_0").u32_mut();
    let capacity = window.len();
    window.clear();
    pack(split, channels, images, window)?;
    window.resize(capacity, 0);
    Ok(())
}

pub(super) fn image_shape(dataset: &Dataset) -> [u32; 3] {
    [dataset.shape.channels, dataset.shape.height, dataset.shape.width]
}

impl CpuInference {
    /// `images` is the window of records that it passes images through.
    pub fn new(network: &Network, images: Images) -> Result<Self> {
        let request =
            PlanRequest { network, images, batch: images.records[0], max_bytes: u64::MAX, fusion: Fusion::None };
        Ok(Self(Walk::new(request.inference()?)?))
    }

    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    pub fn set_parameters(&mut self, parameters: Vec<f64>) {
        *self.0.storage("parameters").f64_mut() = parameters;
    }

    /// Logits (images, classes) of a range of a split.
    pub fn logits(&mut self, split: &Split, range: Range<usize>) -> Result<Vec<f32>> {
        let walk = &mut self.0;
        let (batch, classes) = (walk.plan.batch as usize, walk.plan.classes as usize);
        let mut logits = Vec::with_capacity(range.len() * classes);
        for first in range.clone().step_by(batch) {
            let count = batch.min(range.end - first);
            fill(walk, split, first..first + count)?;
            let row = StepRow { step: 0, epoch: 0, order_offset: 0, count: count as u32, slot: 0, learning_rate: 0.0 };
            walk.step(&row, &mut unobserved)?;
            let output = walk.tensor(walk.plan.logits);
            logits.extend(output[..count * classes].iter().map(|&value| value as f32));
        }
        Ok(logits)
    }
}

impl Classifier for CpuMachine<'_> {
    fn plan(&self) -> &Plan {
        &self.training.plan
    }

    fn logits(&mut self, split: &Split, range: Range<usize>) -> Result<Vec<f32>> {
        self.inference.set_parameters(self.training.storage("parameters").f64().to_vec());
        self.inference.logits(split, range)
    }
}

impl Machine for CpuMachine<'_> {
    fn set_state(&mut self, state: &State) -> Result<()> {
        let widen = |values: &[f32]| values.iter().copied().map(f64::from).collect();
        *self.training.storage("parameters").f64_mut() = widen(&state.parameters);
        *self.training.storage("momentum").f64_mut() = widen(&state.momentum);
        self.training.storage("status").u32_mut().fill(FINITE);
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        Ok(State {
            parameters: narrow(self.training.storage("parameters").f64()),
            momentum: narrow(self.training.storage("momentum").f64()),
        })
    }

    fn train(&mut self, segment: &Segment<'_>, proceed: &mut dyn FnMut(u32) -> bool) -> Result<Vec<f32>> {
        self.train_observed(segment, proceed, &mut unobserved)
    }

    fn bytes(&self) -> u64 {
        2 * (self.training.plan.bytes() + self.inference.plan().bytes())
            + 4 * words(self.dataset.shape.len(), self.training.plan.batch as usize) as u64
    }
}

/// The error for a flagged gradient.
pub(super) fn diverged(plan: &Plan, element: u32, step: u64) -> Error {
    let tensor = plan.parameter_at(element as usize).map_or("the parameters", |parameter| &parameter.name);
    Error::NonFinite { what: format!("gradient in {tensor}"), step: Some(step), last_good: None }
}
