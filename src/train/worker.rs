//! The thread that owns the machine: it chooses the kernels, makes the machine, and lets the trainer have it.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::trainer::{Facts, Trainer};
use super::{AdapterRecord, DataRecord, Event, Job, Outcome, Stop};
use crate::error::{Error, Result};
use crate::gpu::{Adapter, Checks, Device, DeviceKind, DeviceOptions};
use crate::machine::{CompileAhead, CpuMachine, GpuMachine, GpuOptions, Setup};
use crate::tune::{self, Progress, Tuning};

/// Starts the thread. Events end when it does; a listener that goes away does not stop it. Who still needs the job afterwards
/// gives a shared one.
///
/// # Errors
/// No thread to be had.
pub fn spawn(
    job: impl Into<Arc<Job>>,
    events: flume::Sender<Event>,
    stop: Stop,
) -> Result<JoinHandle<Result<Outcome>>> {
    let job = job.into();
    std::thread::Builder::new()
        .name("trainer".into())
        .spawn(move || train(&job, &events, &stop))
        .map_err(|error| Error::gpu(format!("could not start the trainer: {error}")))
}

fn train(job: &Job, events: &flume::Sender<Event>, stop: &Stop) -> Result<Outcome> {
    job.settings.check()?;
    let setup = Setup {
        network: &job.network,
        dataset: &job.dataset,
        batch: job.settings.batch,
        optimiser: job.settings.optimiser(),
        noise: job.settings.noise(),
    };
    match &job.adapter {
        Some(adapter) => {
            let record = AdapterRecord::new(&adapter.info);
            let mut device = Device::open_with(adapter, job.device_options())?;
            if let Some(folder) = &job.gpu_options.cache_folder {
                device.cache_pipelines(folder);
            }
            let mut compiler = match adapter.info.kind {
                DeviceKind::Software => compile_ahead(job, adapter, &device, &setup).ok(),
                _ => None,
            };
            let tuning = tune(job, adapter, &device, &setup, &mut compiler, events, stop)?;
            let selection = job.gpu_options.selection.clone().with_tuned(tuning.tuned.clone());
            let options = GpuOptions { selection, ..job.gpu_options.clone() };
            // The images are hashed while they are uploaded.
            let (machine, data) = std::thread::scope(|scope| {
                let data = scope.spawn(|| DataRecord::new(&job.dataset));
                (GpuMachine::new(device, &setup, &options), data.join())
            });
            let (machine, data) = (machine?, data.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            let (dispatches, resident) = (machine.dispatches(), machine.is_resident());
            let facts = Facts { data, dispatches, resident, tuning };
            Trainer::new(job, machine, record, facts, events, stop)?.run()
        }
        None => {
            let record = AdapterRecord::reference();
            let data = DataRecord::new(&job.dataset)?;
            let facts = Facts { data, dispatches: 0, resident: false, tuning: Tuning::default() };
            Trainer::new(job, CpuMachine::new(&setup)?, record, facts, events, stop)?.run()
        }
    }
}

/// Half of the first step's wait on two cores.
fn compile_ahead(job: &Job, adapter: &Adapter, device: &Device, setup: &Setup<'_>) -> Result<CompileAhead> {
    let plan = GpuMachine::plan_step(device, setup, &job.gpu_options)?;
    CompileAhead::start(adapter, device, &plan, &job.gpu_options.selection)
}

/// Kernels for the ops of a step, and a warning about each of the user's own that none of them runs.
fn tune(
    job: &Job,
    adapter: &Adapter,
    device: &Device,
    setup: &Setup<'_>,
    compiler: &mut Option<CompileAhead>,
    events: &flume::Sender<Event>,
    stop: &Stop,
) -> Result<Tuning> {
    let plan = GpuMachine::plan_step(device, setup, &job.gpu_options)?;
    let selection = &job.gpu_options.selection;
    let idle = selection.custom().iter().filter(|kernel| plan.steps.iter().all(|step| step.op.name() != kernel.op()));
    let idle: Vec<String> = idle
        .map(|kernel| format!("{} never runs: no step of this training has the op {}", kernel.name(), kernel.op()))
        .collect();
    // Bounds checks take their time, but are to change no bit of a training.
    let unchecked = match (job.checks, &job.tuner) {
        (Checks::Checked, Some(_)) => {
            let options = DeviceOptions { checks: Checks::Unchecked, ..job.device_options() };
            Some(Device::open_with(adapter, options)?)
        }
        _ => None,
    };
    let device = unchecked.as_ref().unwrap_or(device);
    let mut tuning = tune::tune(job.tuner.as_ref(), device, plan, selection, &mut |progress| {
        // What compiles beside a kernel is in its time. It is a help, not a need.
        if let Some(compiler) = compiler.take() {
            compiler.finish(device, &mut || !stop.is_requested()).ok();
        }
        let Progress { op, done, of } = progress;
        events.send(Event::Tuning { op: op.name(), shape: op.shape(), done, of }).ok();
        !stop.is_requested()
    })?;
    tuning.warnings.extend(idle);
    Ok(tuning)
}
