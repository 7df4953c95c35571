//! A plan on a GPU: buffers, pipelines and bind groups made once, steps replayed many to a submit, two submits in flight.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::cpu::diverged;
use super::inference::{self, GpuInference};
use super::loader::Loader;
use super::memory::Memory;
use super::planned::{GpuOptions, MAX_STEPS, Planned};
use super::records::words;
use super::{Classifier, MAX_SEGMENT, Machine, Segment, Setup, State};
use crate::data::{Dataset, Split};
use crate::error::{Error, Result};
use crate::gpu::{Device, Program, StepRow, StepTable, Submission};
use crate::nn::{Images, Plan, Sharing, TensorId};
use crate::ops::nonfinite::FINITE;

/// What one submit should take: long enough to hide its cost, short enough for a responsive desktop and Ctrl-C.
const SUBMIT_TIME: Duration = Duration::from_millis(40);

/// Submits that the GPU has not finished.
const IN_FLIGHT: usize = 2;

/// Bytes of records that one upload takes along, from one record on, so that the staging memory stays small whatever the images are.
const UPLOAD_BYTES: usize = 4 << 20;

/// A GPU, training.
pub struct GpuMachine<'a> {
    device: Device,
    dataset: &'a Dataset,
    plan: Plan,
    memory: Memory,
    program: Program,
    table: StepTable,
    inference: GpuInference,
    /// Steps of the next submit; follows the measured time of a step.
    steps_per_submit: usize,
    /// Whether the images stay on the GPU.
    resident: bool,
    /// Batches that one submit may use.
    window: usize,
    rows: Vec<StepRow>,
    /// Of the images of a submit, where they stream.
    records: Vec<u32>,
    host_time: Duration,
}

impl<'a> GpuMachine<'a> {
    /// # Errors
    /// A layer that does not fit, a tensor over the adapter's limits, what the driver refuses.
    pub fn new(device: Device, setup: &Setup<'a>, options: &GpuOptions) -> Result<Self> {
        let dataset = setup.dataset;
        let Planned { layout, plan, fusion } = Planned::new(&device, setup, options)?;
        let max_bytes = device.max_binding_bytes();
        let sharing = if options.keep_tensors { Sharing::none(&plan) } else { Sharing::of(&plan, max_bytes) };
        let mut memory = Memory::new(&device, &plan, sharing, &[])?;
        let program = memory.program(&device, &plan, &options.selection)?;
        let window = inference::window(dataset.shape, plan.classes, dataset.test.len());
        let parameters = memory.buffer(&plan, "parameters");
        let inference =
            GpuInference::new(&device, setup.network, window, &options.selection, fusion, Some(parameters))?;
        // What is read at a printed line and for a checkpoint.
        device.prepare_reads(plan.parameter_length.max(MAX_SEGMENT as usize))?;
        let machine = Self {
            table: StepTable::new(&device, MAX_STEPS)?,
            device,
            dataset,
            plan,
            memory,
            program,
            inference,
            steps_per_submit: 1,
            resident: layout.resident,
            window: layout.window,
            rows: Vec::with_capacity(MAX_STEPS),
            records: Vec::new(),
            host_time: Duration::ZERO,
        };
        machine.device.write(machine.memory.buffer(&machine.plan, "status"), 0, &[FINITE; 2]);
        if layout.resident {
            machine.upload(&layout.images)?;
        }
        Ok(machine)
    }

    /// The plan of a step, as `new` makes a program of it.
    ///
    /// # Errors
    /// A layer that does not fit, a tensor over the adapter's limits.
    pub fn plan_step(device: &Device, setup: &Setup<'_>, options: &GpuOptions) -> Result<Plan> {
        Planned::new(device, setup, options).map(|planned| planned.plan)
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Dispatches of a training step.
    pub fn dispatches(&self) -> usize {
        self.program.len()
    }

    /// Whether the training images stay on the GPU rather than stream.
    pub fn is_resident(&self) -> bool {
        self.resident
    }

    /// The value of an f32 tensor of the last step, by name: `conv1.output`, `fc2.grad_weight` …
    ///
    /// # Errors
    /// As `bits`.
    pub fn tensor(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(id) = self.plan.find(name) else { return Ok(None) };
        Ok(Some(self.bits(id)?.into_iter().map(f32::from_bits).collect()))
    }

    /// The bits of a tensor of the last step, of whatever element.
    ///
    /// # Errors
    /// A tensor that was not kept, see [`GpuOptions::keep_tensors`]; a lost or silent device.
    pub fn bits(&self, id: TensorId) -> Result<Vec<u32>> {
        let tensor = self.plan.tensor(id);
        if self.memory.is_shared(&self.plan, id) {
            return Err(Error::usage(format!("{} was not kept", tensor.name)));
        }
        let (buffer, offset) = self.memory.locate(&self.plan, id);
        self.device.read(buffer, offset, tensor.length())
    }

    /// All training images, over as many buffers as they need.
    fn upload(&self, images: &Images) -> Result<()> {
        let together = (UPLOAD_BYTES / (4 * words(self.dataset.shape.len(), 1))).max(1);
        let mut first = 0;
        for (place, &count) in images.records.iter().enumerate() {
            let buffer = self.memory.buffer(&self.plan, &format!("records_{place}"));
            let images: Vec<u32> = (first..first + count).collect();
            std::thread::scope(|scope| -> Result<()> {
                let loader = Loader::spawn(scope, self.dataset, &images, together);
                for part in (0..images.len()).step_by(together) {
                    let offset = words(self.dataset.shape.len(), part);
                    loader.next(|records| self.device.write(buffer, offset, records))?;
                    // Frees the staging memory of this part.
                    let submission = self.device.submit(|_| {})?;
                    self.device.wait(&submission)?;
                }
                Ok(())
            })?;
            first += count;
        }
        Ok(())
    }

    /// Records and submits the next `steps` batches of a segment, of which `done` are already on their way.
    fn submit(
        &mut self,
        segment: &Segment<'_>,
        done: usize,
        steps: usize,
        loader: Option<&Loader>,
    ) -> Result<Submission> {
        let started = Instant::now();
        let batch = self.plan.batch as usize;
        let images = &segment.images[done * batch..segment.images.len().min((done + steps) * batch)];
        match loader {
            None => self.device.write(self.memory.buffer(&self.plan, "order"), 0, images),
            Some(loader) => {
                // Together: every write costs as much as several of these copies.
                self.records.clear();
                for _ in 0..steps {
                    loader.next(|records| self.records.extend_from_slice(records))?;
                }
                self.device.write(self.memory.buffer(&self.plan, "records_0"), 0, &self.records);
            }
        }
        self.rows.clear();
        self.rows.extend(images.chunks(batch).enumerate().map(|(index, images)| StepRow {
            step: (segment.first_step + (done + index) as u64) as u32,
            epoch: segment.epoch,
            order_offset: (index * batch) as u32,
            count: images.len() as u32,
            slot: (done + index) as u32,
            learning_rate: segment.learning_rates[done + index],
        }));
        self.table.write(&self.device, &self.rows);
        let prepared = started.elapsed();
        let submission = self.device.submit(|encoder| self.program.record(encoder, &self.table, steps))?;
        self.host_time += prepared + submission.host_time;
        Ok(submission)
    }

    /// Keeps the GPU busy with the steps of a segment; returns how many were done.
    fn pump(
        &mut self,
        segment: &Segment<'_>,
        loader: Option<&Loader>,
        proceed: &mut dyn FnMut(u32) -> bool,
    ) -> Result<usize> {
        let total = segment.images.len().div_ceil(self.plan.batch as usize);
        let mut in_flight: VecDeque<(Submission, usize)> = VecDeque::with_capacity(IN_FLIGHT + 1);
        let (mut submitted, mut done) = (0, 0);
        let mut wanted = true;
        let mut last = Instant::now();
        while done < submitted || (wanted && submitted < total) {
            if wanted && submitted < total && in_flight.len() < IN_FLIGHT {
                let steps = self.steps_per_submit.min(self.window).min(total - submitted);
                in_flight.push_back((self.submit(segment, submitted, steps, loader)?, steps));
                submitted += steps;
                continue;
            }
            let Some((submission, steps)) = in_flight.pop_front() else { break };
            self.device.wait(&submission)?;
            done += steps;
            // The first wait of a segment also holds the time before it; it only makes the next submit smaller.
            let step_time = last.elapsed() / steps as u32;
            last = Instant::now();
            let fitting = SUBMIT_TIME.as_nanos() / step_time.as_nanos().max(1);
            self.steps_per_submit = (fitting as usize).clamp(1, (2 * self.steps_per_submit).min(MAX_STEPS));
            wanted &= proceed(done as u32);
        }
        Ok(done)
    }
}

impl Classifier for GpuMachine<'_> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn logits(&mut self, split: &Split, range: Range<usize>) -> Result<Vec<f32>> {
        self.inference.logits(&self.device, split, range)
    }
}

impl Machine for GpuMachine<'_> {
    fn set_state(&mut self, state: &State) -> Result<()> {
        self.device.write(self.memory.buffer(&self.plan, "parameters"), 0, &state.parameters);
        self.device.write(self.memory.buffer(&self.plan, "momentum"), 0, &state.momentum);
        self.device.write(self.memory.buffer(&self.plan, "status"), 0, &[FINITE; 2]);
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        let length = self.plan.parameter_length;
        Ok(State {
            parameters: self.device.read(self.memory.buffer(&self.plan, "parameters"), 0, length)?,
            momentum: self.device.read(self.memory.buffer(&self.plan, "momentum"), 0, length)?,
        })
    }

    fn train(&mut self, segment: &Segment<'_>, proceed: &mut dyn FnMut(u32) -> bool) -> Result<Vec<f32>> {
        let dataset = self.dataset;
        let batch = self.plan.batch as usize;
        let done = if self.resident {
            self.pump(segment, None, proceed)?
        } else {
            std::thread::scope(|scope| {
                let loader = Loader::spawn(scope, dataset, segment.images, batch);
                self.pump(segment, Some(&loader), proceed)
            })?
        };
        let status: Vec<u32> = self.device.read(self.memory.buffer(&self.plan, "status"), 0, 2)?;
        if status[0] != FINITE {
            return Err(diverged(&self.plan, status[1], status[0].into()));
        }
        self.device.read(self.memory.buffer(&self.plan, "losses"), 0, done)
    }

    fn bytes(&self) -> u64 {
        self.memory.bytes(&[]) + self.inference.bytes()
    }

    fn host_seconds(&self) -> f64 {
        self.host_time.as_secs_f64()
    }
}
