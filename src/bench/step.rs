//! A whole training step: how long it takes, and which of its ops take the time.

use serde_json::{Value, json};

use super::clock::{Clock, Timing};
use super::statistics::Summary;
use super::work::Work;
use crate::error::Result;
use crate::geometry::product;
use crate::gpu::{Device, Program, Span, StepRow};
use crate::machine::Memory;
use crate::nn::{Fusion, Images, Network, Noise, Optimiser, Plan, PlanRequest, PlanStep, Sharing, initialise};
use crate::ops::gather::record_words;
use crate::ops::nonfinite::FINITE;
use crate::ops::{self, Selection};
use crate::random::{Purpose, Random};

const RUNS: usize = 21;

/// Times an op of a step is looked at, each in a step of its own so that it finds the caches as they are in training.
const STEPS_TRACED: usize = 15;

/// What a step takes.
#[derive(Clone, Debug)]
pub struct StepReport {
    pub batch: u32,
    /// Seconds of a step among others in one submit, all its ops in one pass.
    pub time: Summary,
    pub timing: Timing,
    pub flops: u64,
    /// In order.
    pub parts: Vec<Part>,
}

/// An op of the step.
#[derive(Clone, Debug)]
pub struct Part {
    /// `conv1.forward`, `conv1.grad_weight` …
    pub label: String,
    pub op: &'static str,
    pub variant: &'static str,
    pub shape: String,
    pub flops: u64,
    pub bytes: u64,
    pub dispatches: usize,
    /// Seconds by itself. Where timestamps are not to be believed, from the slope of the op repeated, which finds its operands cached.
    pub time: Summary,
    /// From the beginning of one step, in nanoseconds.
    pub span: Span,
}

impl StepReport {
    pub fn steps_per_second(&self) -> f64 {
        1.0 / self.time.median
    }

    pub fn images_per_second(&self) -> f64 {
        f64::from(self.batch) / self.time.median
    }

    pub fn gflops(&self) -> f64 {
        self.flops as f64 / self.time.median * 1e-9
    }

    /// Seconds of all parts one by one; more than the step takes where the device overlaps them or a pass has a price.
    pub fn parts_seconds(&self) -> f64 {
        self.parts.iter().map(|part| part.time.median).sum()
    }

    pub fn to_json(&self) -> Value {
        let parts = self.parts.iter().map(|part| {
            json!({
                "label": part.label, "op": part.op, "variant": part.variant, "shape": part.shape,
                "dispatches": part.dispatches, "flops": part.flops, "bytes": part.bytes,
                "median_us": 1e6 * part.time.median, "p5_us": 1e6 * part.time.p5, "p95_us": 1e6 * part.time.p95,
            })
        });
        json!({
            "batch": self.batch,
            "median_us": 1e6 * self.time.median,
            "p5_us": 1e6 * self.time.p5,
            "p95_us": 1e6 * self.time.p95,
            "runs": self.time.runs,
            "steps_per_second": self.steps_per_second(),
            "images_per_second": self.images_per_second(),
            "gflops": self.gflops(),
            "timing": self.timing.name(),
            "parts": parts.collect::<Vec<_>>(),
        })
    }
}

/// Times training steps of a network on random images of the given shape (channels, height, width), with a plan of so much fusion.
///
/// # Errors
/// A network that does not fit the images or the device; what the driver refuses.
pub fn step(
    clock: &mut Clock<'_>,
    network: &Network,
    image: [u32; 3],
    classes: u32,
    batch: u32,
    fusion: Fusion,
    optimiser: &Optimiser,
) -> Result<StepReport> {
    let images = Images::streamed(image, classes, batch);
    let max_bytes = clock.device.max_binding_bytes();
    let plan = PlanRequest { network, images, batch, max_bytes, fusion }.training(optimiser, &Noise::default(), 1)?;
    plan.fits(max_bytes)?;
    clock.set_step(&StepRow { step: 1, epoch: 1, order_offset: 0, count: batch, slot: 0, learning_rate: 0.001 });
    let selection = Selection::default();
    let work = Work::whole(program(clock.device, &plan, &selection, image)?);

    let executions = clock.warm_up(&work)?;
    let samples: Vec<f64> = (0..RUNS).map(|_| clock.sample(&work, executions)).collect::<Result<_>>()?;
    let dispatches = |step: &PlanStep| Ok(selection.lower(&*step.op, clock.device)?.dispatches.len());
    let counts: Vec<usize> = plan.steps.iter().map(dispatches).collect::<Result<_>>()?;
    let traces = clock.trace(&work, &counts, STEPS_TRACED)?;
    let parts = plan.steps.iter().zip(&counts).enumerate().map(|(place, (step, &dispatches))| {
        let samples: Vec<f64> = traces.iter().map(|spans| spans[place].seconds()).collect();
        Part {
            label: step.label.clone(),
            op: step.op.name(),
            variant: ops::choose(&*step.op, clock.device),
            shape: step.op.shape(),
            flops: step.op.flops(),
            bytes: step.op.bytes(),
            dispatches,
            time: Summary::new(&samples),
            span: traces[traces.len() / 2][place],
        }
    });
    Ok(StepReport {
        batch,
        time: Summary::new(&samples),
        timing: clock.timing(),
        flops: plan.flops(),
        parts: parts.collect(),
    })
}

/// The plan over buffers of its own, filled: random images, initial parameters.
fn program(device: &Device, plan: &Plan, selection: &Selection, image: [u32; 3]) -> Result<Program> {
    let mut memory = Memory::new(device, plan, Sharing::none(plan), &[])?;
    device.write(memory.buffer(plan, "parameters"), 0, &initialise(plan, 0));
    device.write(memory.buffer(plan, "status"), 0, &[FINITE; 2]);
    let mut random = Random::new(0, Purpose::Test, 0);
    let words = record_words(product(&image) as u32) as usize;
    let mut records: Vec<u32> = (0..plan.batch as usize * words).map(|_| random.bits()).collect();
    for label in records.iter_mut().step_by(words) {
        *label %= plan.classes;
    }
    device.write(memory.buffer(plan, "records_0"), 0, &records);
    memory.program(device, plan, selection)
}

/// One step of each report in the format of chrome://tracing and ui.perfetto.dev, a process a batch size.
pub fn chrome_trace(network: &str, adapter: &str, reports: &[StepReport]) -> Value {
    let mut events = Vec::new();
    for report in reports {
        let process = report.batch;
        events.push(json!({
            "name": "process_name", "ph": "M", "pid": process,
            "args": { "name": format!("{network}, batch {process}, {adapter}") },
        }));
        for part in &report.parts {
            events.push(json!({
                "name": part.label, "cat": part.op, "ph": "X", "pid": process, "tid": 0,
                "ts": part.span.begin * 1e-3, "dur": (part.span.end - part.span.begin) * 1e-3,
                "args": { "op": part.op, "variant": part.variant, "shape": part.shape, "flops": part.flops, "bytes": part.bytes },
            }));
        }
    }
    json!({ "traceEvents": events, "displayTimeUnit": "ns" })
}
