//! A network's logits, with nothing of training beside it.

use std::ops::Range;

use super::cpu::CpuInference;
use super::memory::Memory;
use super::records::pack;
use super::{Classifier, INFERENCE_BATCH};
use crate::data::{ImageShape, Split};
use crate::error::Result;
use crate::geometry::product;
use crate::gpu::{Buffer, Device, Program, StepRow, StepTable, Submission};
use crate::nn::{Fusion, Images, Network, Plan, PlanRequest, Sharing};
use crate::ops::Selection;

/// A network on a GPU or on the CPU reference, for its logits alone.
pub struct Inference(Engine);

enum Engine {
    Gpu(Box<Device>, Box<GpuInference>),
    Cpu(CpuInference),
}

impl Inference {
    /// Without a device, the CPU reference; with one, the kernels of `selection`. `images` is how many it is given at most at a time.
    ///
    /// # Errors
    /// A layer that does not fit, a tensor over the adapter's limits, what the driver refuses.
    pub fn new(
        device: Option<Device>,
        selection: &Selection,
        network: &Network,
        shape: ImageShape,
        classes: u32,
        images: usize,
    ) -> Result<Self> {
        let images = window(shape, classes, images);
        Ok(Self(match device {
            Some(device) => {
                let inference = GpuInference::new(&device, network, images, selection, Fusion::Full, None)?;
                Engine::Gpu(Box::new(device), Box::new(inference))
            }
            None => Engine::Cpu(CpuInference::new(network, images)?),
        }))
    }

    /// Replaces the parameters, the flat buffer that `Plan::parameters` divides.
    pub fn set_parameters(&mut self, parameters: &[f32]) {
        match &mut self.0 {
            Engine::Gpu(device, inference) => inference.set_parameters(device, parameters),
            Engine::Cpu(inference) => {
                inference.set_parameters(parameters.iter().copied().map(f64::from).collect());
            }
        }
    }
}

impl Classifier for Inference {
    fn plan(&self) -> &Plan {
        match &self.0 {
            Engine::Gpu(_, inference) => inference.plan(),
            Engine::Cpu(inference) => inference.plan(),
        }
    }

    fn logits(&mut self, split: &Split, range: Range<usize>) -> Result<Vec<f32>> {
        match &mut self.0 {
            Engine::Gpu(device, inference) => inference.logits(device, split, range),
            Engine::Cpu(inference) => inference.logits(split, range),
        }
    }
}

/// The forward ops alone.
pub(super) struct GpuInference {
    plan: Plan,
    memory: Memory,
    program: Program,
    table: StepTable,
}

impl GpuInference {
    /// `images` is the window of records that it passes images through, made smaller where the adapter has not the room for so many at a
    /// time; `parameters` the buffer to take them from, where it exists.
    pub fn new(
        device: &Device,
        network: &Network,
        images: Images,
        selection: &Selection,
        fusion: Fusion,
        parameters: Option<&Buffer>,
    ) -> Result<Self> {
        let max_bytes = device.max_binding_bytes();
        let mut images = images;
        let outputs = network.classifier(images.shape, images.classes)?;
        let largest =
            outputs.iter().map(|activation| product(&activation.output)).chain([product(&images.shape)]).max();
        let room = max_bytes / (4 * largest.unwrap_or(1) as u64).max(1);
        images.records[0] = images.records[0].min(u32::try_from(room).unwrap_or(u32::MAX)).max(1);
        let plan = PlanRequest { network, images, batch: images.records[0], max_bytes, fusion }.inference()?;
        let given: Vec<_> = parameters.map(|buffer| ("parameters", buffer)).into_iter().collect();
        let mut memory = Memory::new(device, &plan, Sharing::of(&plan, max_bytes), &given)?;
        let program = memory.program(device, &plan, selection)?;
        Ok(Self { plan, memory, program, table: StepTable::new(device, 1)? })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of its buffers, the parameters not counted.
    pub fn bytes(&self) -> u64 {
        self.memory.bytes(&["parameters"])
    }

    pub fn set_parameters(&self, device: &Device, parameters: &[f32]) {
        device.write(self.memory.buffer(&self.plan, "parameters"), 0, parameters);
    }

    /// Logits (images, classes) of a range of a split.
    pub fn logits(&mut self, device: &Device, split: &Split, range: Range<usize>) -> Result<Vec<f32>> {
        let Self { plan, memory, program, table } = self;
        let (batch, classes) = (plan.batch as usize, plan.classes as usize);
        let (output, offset) = memory.locate(plan, plan.logits);
        let results = Buffer::new(device, "logits of the split", range.len() * classes)?;
        let mut records = Vec::new();
        let mut before: Option<Submission> = None;
        for first in range.clone().step_by(batch) {
            let count = batch.min(range.end - first);
            records.clear();
            pack(split, plan.channels, first..first + count, &mut records)?;
            device.write(memory.buffer(plan, "records_0"), 0, &records);
            table.write(
                device,
                &[StepRow { step: 0, epoch: 0, order_offset: 0, count: count as u32, slot: 0, learning_rate: 0.0 }],
            );
            let submission = device.submit(|encoder| {
                program.record(encoder, table, 1);
                results.copy_from(encoder, (first - range.start) * classes, output, offset, count * classes);
            })?;
            if let Some(before) = before.replace(submission) {
                device.wait(&before)?;
            }
        }
        device.read(&results, 0, range.len() * classes)
    }
}

/// The records of as many images as are looked at a time, when there are `images` of them.
pub(super) fn window(shape: ImageShape, classes: u32, images: usize) -> Images {
    let batch = INFERENCE_BATCH.min(images.max(1) as u32);
    Images::streamed([shape.channels, shape.height, shape.width], classes, batch)
}
