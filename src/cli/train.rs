//! `shadegrad train`.

mod drawing;
mod request;
mod sparkline;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use shadegrad::cache_folder::cache_folder;
use shadegrad::data::{DataSpec, Dataset, Loaded, Options};
use shadegrad::gpu::{Adapter, DeviceKind, Precision};
use shadegrad::machine::GpuOptions;
use shadegrad::ops::custom::CustomKernel;
use shadegrad::ops::{Selection, Tuned};
use shadegrad::train::{DataRecord, Event, Job, Outcome, Settings, Stop, spawn};
use shadegrad::{Error, Result};

use super::data::{self, DataArgs};
use super::device::DeviceArgs;
use super::print::{fail, percent, say, warn};
use super::report;
use super::shader;
use super::watchdog::exit_at_once;
use drawing::Drawing;

/// Longest silence of a healthy trainer: one step on a slow adapter, or building its pipelines.
const PATIENCE: Duration = Duration::from_secs(900);

/// Train a network: by default the CIFAR-10 tutorial's, on the best GPU there is.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  shadegrad train\n  shadegrad train --data shapes --model wide --epochs 10 --seed 1\n  \
                        shadegrad train --augment flip,crop=4,brightness=0.2\n  \
                        shadegrad train --epochs 20 --batch 128 --lr 0.1 --schedule cosine --warmup 1\n  \
                        shadegrad train --config runs/lenet-1 --seed 1\n  \
                        shadegrad train --resume runs/lenet-1"
)]
pub struct TrainArgs {
    /// Train with the settings, the network and the kernels of a run, of its config.toml, or of a file like it; flags win
    #[arg(long, value_name = "RUN|FILE.toml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// lenet, wide, or a network file, which may hold settings as well [default: lenet]
    #[arg(long, value_name = "NAME|FILE.toml")]
    model: Option<String>,
    /// Passes over the training images [default: 2]
    #[arg(long)]
    epochs: Option<u32>,
    /// Images a step [default: 4]
    #[arg(long)]
    batch: Option<u32>,
    /// Learning rate [default: 0.001]
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// How the learning rate goes on from there: constant, step:EPOCHS[,GAMMA] (times GAMMA, else 0.1, after every so many epochs),
    /// cosine (down to 0 at the end), one-cycle[:SHARE] (up over that share of the steps, else 0.3, then down) [default: constant]
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<String>,
    /// Let the learning rate rise from nearly 0 over the first so many epochs, or a part of one [default: 0]
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    warmup: Option<f64>,
    /// Share of its velocity that a weight keeps from step to step [default: 0.9]
    #[arg(long, allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Times each weight, added to its gradient: pulls the weights towards 0 [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Nesterov momentum
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    nesterov: Option<bool>,
    /// Share of the target that is spread evenly over all classes [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// Vary the training images in every epoch: any of flip, crop=PIXELS, cutout=PIXELS, brightness=SHARE, contrast=SHARE
    #[arg(long, value_name = "WORD,…")]
    augment: Option<String>,
    /// Decides the initial weights, the order of the images and whatever else is drawn [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Batches between two loss lines [default: 2000]
    #[arg(long, value_name = "N")]
    log_every: Option<u32>,
    /// Start from these weights instead of drawn ones: a run, or a file under PyTorch's names
    #[arg(long, value_name = "RUN|FILE.safetensors")]
    init: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// The run folder [default: runs/MODEL-N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue a run; the end is the same bit for bit as without the interruption
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "config"])]
    resume: Option<PathBuf>,
    /// What the factors of products may be rounded to, where that is faster: f32, or f16; sums are f32 in any case [default: f32]
    #[arg(long, value_name = "f32|f16")]
    precision: Option<String>,
    /// Run a kernel of your own in place of ours, once it has passed `check`; may be given for several ops
    #[arg(long = "kernel", value_name = "OP=FILE.wgsl")]
    kernels: Vec<String>,
    /// Run the default kernel of every op; without this its variants are timed first, once for each shape and adapter, and the fastest runs
    #[arg(long)]
    no_tune: bool,
    /// Time the variants again, whatever was found before
    #[arg(long, conflicts_with = "no_tune")]
    retune: bool,
    /// Stream the images from memory instead of keeping them on the GPU; always so on a software adapter, which has no memory of its own
    #[arg(long)]
    stream: bool,
}

pub fn run(arguments: &TrainArgs) -> Result<()> {
    let begun = Instant::now();
    let plan = match &arguments.resume {
        None => request::begin(arguments)?,
        Some(run) => request::resume(arguments, run)?,
    };
    plan.settings.check()?;
    let adapter = arguments.device.open()?;
    // A software adapter's memory is the host's own: a second copy of the images would only be one.
    let software = adapter.as_ref().is_some_and(|adapter| adapter.info.kind == DeviceKind::Software);
    let resident_bytes = if arguments.stream || software { 0 } else { GpuOptions::default().resident_bytes };
    let tuned = plan.choices.map_or_else(Tuned::default, |choices| choices.on(adapter.as_ref()));
    let selection = Selection::new(plan.kernels).with_tuned(tuned);
    let gpu_options = GpuOptions { selection, resident_bytes, cache_folder: cache_folder(), ..GpuOptions::default() };
    match &adapter {
        Some(adapter) => accept(adapter, gpu_options.selection.custom())?,
        None if !gpu_options.selection.custom().is_empty() => {
            return Err(Error::usage("a kernel of your own needs an adapter (got the CPU reference)"));
        }
        None if plan.settings.precision != Precision::F32 => {
            return Err(Error::usage("--precision needs an adapter (got the CPU reference, which is f64 throughout)"));
        }
        None => {}
    }
    let spec = data::spec(&plan.settings.data);
    let asked = Options { inherited: arguments.data.inherits(), ..plan.settings.data_options() };
    let Loaded { dataset, options, .. } = data::open(&spec, &asked, say)?;
    if let Some(data) = plan.data
        && data.sha256 != DataRecord::new(&dataset)?.sha256
    {
        warn(format!("{} holds other images than the run of --config was trained on: {}", dataset.source, data.source));
    }
    let Options { image_size, test_share, split_seed, .. } = options;
    let settings = Settings { data: settled(&dataset), image_size, test_share, split_seed, ..plan.settings };
    let job = Arc::new(Job {
        run: plan.run,
        settings,
        network: plan.network,
        dataset,
        adapter,
        checks: arguments.device.checks(),
        gpu_options,
        tuner: plan.tuner,
        begun,
    });
    let mut run = None;
    let result = watch(&job, &mut run);
    if let Ok(outcome) = &result {
        if let Some(warning) = &outcome.warning {
            warn(warning);
        }
        conclude(outcome, &job.dataset.classes);
    }
    if let Some(run) = run {
        report::leave(&run, &job.dataset, result.as_ref().ok());
    }
    result.map(drop)
}

/// Holds users' kernels against every case of their ops before anything is trained with them.
fn accept(adapter: &Adapter, kernels: &[CustomKernel]) -> Result<()> {
    for kernel in kernels {
        let (mut cases, mut failed) = (0, None);
        shader::check(adapter, kernel, &mut |row| {
            cases += 1;
            if let (None, Some(failure)) = (&failed, row.outcome.failure) {
                failed = Some(format!("{} fails on {}: {failure}", kernel.name(), row.shape));
            }
        })?;
        if let Some(failure) = failed {
            return Err(Error::check(failure).with_hint(format!(
                "shadegrad check {} --shader {}",
                kernel.op(),
                kernel.path().display()
            )));
        }
        say(format!("kernel: {} runs {}, {cases} cases passed", kernel.name(), kernel.op()));
    }
    Ok(())
}

/// The `--data` that finds the same images again, from any folder and whatever the environment says then.
fn settled(dataset: &Dataset) -> String {
    if dataset.name == "shapes" {
        return DataSpec::Shapes.to_string();
    }
    let folder = PathBuf::from(&dataset.source);
    let absolute = std::path::absolute(&folder).unwrap_or(folder);
    DataSpec::Folder(absolute).to_string()
}

/// Runs the job, drawing its events, until it ends. `run` becomes its folder once there is one.
fn watch(job: &Arc<Job>, run: &mut Option<PathBuf>) -> Result<Outcome> {
    let stop = Stop::default();
    let on_interrupt = stop.clone();
    let handler = ctrlc::set_handler(move || {
        if on_interrupt.is_requested() {
            // The second time: at once. The checkpoint on disk is whole at any moment.
            exit_at_once(130);
        }
        on_interrupt.request();
    });
    handler.map_err(|error| Error::usage(format!("could not listen for Ctrl-C: {error}")))?;

    let settings = &job.settings;
    let (sender, events) = flume::unbounded();
    let trainer = spawn(Arc::clone(job), sender, stop)?;
    let mut drawing = Drawing::new(settings);
    loop {
        match events.recv_timeout(PATIENCE) {
            Ok(event) => {
                if let Event::Start { run: folder, .. } = &event {
                    *run = Some(folder.clone());
                }
                drawing.draw(&event);
            }
            Err(flume::RecvTimeoutError::Disconnected) => break,
            Err(flume::RecvTimeoutError::Timeout) => {
                drawing.clear();
                let seconds = PATIENCE.as_secs();
                let error = Error::gpu(format!("the trainer has given no sign of life for {seconds} s"))
                    .with_hint("lower --batch or update the driver; then continue with --resume");
                fail(&error);
                // The trainer's thread never will return either.
                exit_at_once(error.exit_code().into());
            }
        }
    }
    drawing.clear();
    match trainer.join() {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(Error::gpu(format!("the trainer failed: {}", text.unwrap_or("no reason given"))))
        }
    }
}

fn conclude(outcome: &Outcome, classes: &[String]) {
    let evaluation = &outcome.evaluation;
    if evaluation.images > 0 {
        say(format!(
            "Accuracy of the network on the {} test images: {}",
            evaluation.images,
            percent(evaluation.accuracy)
        ));
        let images = evaluation.confusion.iter().map(|row| row.iter().sum::<u32>());
        for ((class, accuracy), images) in classes.iter().zip(&evaluation.per_class).zip(images) {
            let share = if images > 0 { percent(*accuracy) } else { "unknown, it has no test image".into() };
            say(format!("Accuracy for class: {class:5} is {share}"));
        }
    }
    say(format!("weights: sha256 {}", outcome.weights_sha256));
    say(format!("run: {}", outcome.run.display()));
}
