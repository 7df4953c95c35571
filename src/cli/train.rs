//! `shadegrad train`.

mod drawing;
mod sparkline;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use shadegrad::data::{DataSpec, Dataset, Loaded, Options};
use shadegrad::gpu::Adapter;
use shadegrad::machine::GpuOptions;
use shadegrad::nn::Network;
use shadegrad::ops::Selection;
use shadegrad::ops::custom::CustomKernel;
use shadegrad::train::{
    Config, DataRecord, Event, Init, Job, Outcome, Recipe, RunFolder, RunTarget, Settings, Stop, Trained, spawn,
};
use shadegrad::{Error, Result};

use super::data::{self, DataArgs};
use super::device::DeviceArgs;
use super::kernels::example;
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
    /// [default: 0.9]
    #[arg(long, allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Nesterov momentum
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    nesterov: Option<bool>,
    /// [default: 0]
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
    /// Run a kernel of your own in place of ours, once it has passed `check`; may be given for several ops
    #[arg(long = "kernel", value_name = "OP=FILE.wgsl")]
    kernels: Vec<String>,
    /// Stream the images from memory instead of keeping them on the GPU
    #[arg(long)]
    stream: bool,
}

pub fn run(arguments: &TrainArgs) -> Result<()> {
    let plan = match &arguments.resume {
        None => begin(arguments)?,
        Some(run) => resume(arguments, run)?,
    };
    plan.settings.check()?;
    let adapter = arguments.device.open()?;
    let resident_bytes = if arguments.stream { 0 } else { GpuOptions::default().resident_bytes };
    let gpu_options = GpuOptions { selection: Selection::new(plan.kernels), resident_bytes };
    match &adapter {
        Some(adapter) => accept(adapter, gpu_options.selection.custom())?,
        None if !gpu_options.selection.custom().is_empty() => {
            return Err(Error::usage("a kernel of your own needs an adapter (got the CPU reference)"));
        }
        None => {}
    }
    let spec = data::spec(&plan.settings.data);
    let asked = Options { inherited: arguments.data.inherits(), ..plan.settings.data_options() };
    let Loaded { dataset, options, .. } = data::open(&spec, &asked, say)?;
    if let Some(data) = plan.data.filter(|data| data.sha256 != DataRecord::new(&dataset).sha256) {
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

/// What to train and where to put it.
struct Request {
    settings: Settings,
    network: Network,
    kernels: Vec<CustomKernel>,
    run: RunTarget,
    /// The images that the settings are of.
    data: Option<DataRecord>,
}

fn begin(arguments: &TrainArgs) -> Result<Request> {
    let recipe = match (&arguments.config, &arguments.model) {
        (Some(config), _) => Recipe::load(config)?,
        (None, model) => Recipe::of_model(model.as_deref().unwrap_or("lenet"))?,
    };
    let network = match &arguments.model {
        Some(model) if arguments.config.is_some() => Network::load(model)?,
        _ => recipe.network.clone(),
    };
    // Before a data set is downloaded for it.
    arguments.out.as_deref().map_or(Ok(()), RunFolder::require_free)?;
    let base = recipe.settings.clone();
    let (_, Options { limit, image_size, test_share, split_seed, .. }) = arguments.data.over(&base);
    let settings = Settings {
        data: arguments.data.data.clone().unwrap_or(base.data),
        limit,
        image_size,
        test_share,
        split_seed,
        model: network.name.clone(),
        epochs: arguments.epochs.unwrap_or(base.epochs),
        batch: arguments.batch.unwrap_or(base.batch),
        lr: arguments.lr.unwrap_or(base.lr),
        schedule: arguments.schedule.as_deref().map_or(Ok(base.schedule), str::parse)?,
        warmup: arguments.warmup.unwrap_or(base.warmup),
        momentum: arguments.momentum.unwrap_or(base.momentum),
        weight_decay: arguments.weight_decay.unwrap_or(base.weight_decay),
        nesterov: arguments.nesterov.unwrap_or(base.nesterov),
        label_smoothing: arguments.label_smoothing.unwrap_or(base.label_smoothing),
        seed: arguments.seed.unwrap_or(base.seed),
        log_every: arguments.log_every.unwrap_or(base.log_every),
        init: arguments.init.as_deref().map(init).transpose()?.or(base.init),
        augment: arguments.augment.as_deref().map_or(Ok(base.augment), str::parse)?,
    };
    recipe.check(&settings)?;
    let kernels = arguments.kernels.iter().map(|kernel| match kernel.split_once('=') {
        Some((op, file)) => CustomKernel::load(Path::new(file), &*example(op)?.op),
        None => Err(Error::usage(format!("--kernel is OP=FILE.wgsl (got {kernel})"))),
    });
    let mut kernels: Vec<CustomKernel> = kernels.collect::<Result<_>>()?;
    for (op, file) in &recipe.kernels {
        if kernels.iter().all(|kernel| kernel.op() != op) {
            kernels.push(CustomKernel::load(file, &*example(op)?.op)?);
        }
    }
    let run = arguments.out.clone().map_or(RunTarget::Next, RunTarget::New);
    let same_data = arguments.data.data.is_none() && settings.data_options() == recipe.settings.data_options();
    Ok(Request { settings, network, kernels, run, data: recipe.data.filter(|_| same_data) })
}

/// The weights that `--init` names.
fn init(path: &Path) -> Result<Init> {
    Init::new(&Trained::find(path, None)?.file)
}

/// The settings of a run that continues: its own, but for a longer end, another learning rate and another place of the same images.
/// Of a schedule, another learning rate is the whole curve's, from the next step on.
fn resume(arguments: &TrainArgs, run: &Path) -> Result<Request> {
    let fixed = [
        ("--limit", arguments.data.limit.is_some()),
        ("--image-size", arguments.data.image_size.is_some()),
        ("--test-share", arguments.data.test_share.is_some()),
        ("--split-seed", arguments.data.split_seed.is_some()),
        ("--model", arguments.model.is_some()),
        ("--batch", arguments.batch.is_some()),
        ("--schedule", arguments.schedule.is_some()),
        ("--warmup", arguments.warmup.is_some()),
        ("--momentum", arguments.momentum.is_some()),
        ("--weight-decay", arguments.weight_decay.is_some()),
        ("--nesterov", arguments.nesterov.is_some()),
        ("--label-smoothing", arguments.label_smoothing.is_some()),
        ("--augment", arguments.augment.is_some()),
        ("--seed", arguments.seed.is_some()),
        ("--log-every", arguments.log_every.is_some()),
        ("--init", arguments.init.is_some()),
        ("--kernel", !arguments.kernels.is_empty()),
    ];
    if let Some((flag, _)) = fixed.iter().find(|(_, given)| *given) {
        return Err(Error::usage(format!("{flag} cannot change when a run is resumed")));
    }
    if run.is_file() {
        return Err(Error::usage(format!("{} is a file, expected a run folder", run.display()))
            .with_hint("name the folder that it lies in"));
    }
    let Config { mut settings, network, kernels, .. } = RunFolder::config(run)?;
    if let Some(epochs) = arguments.epochs.filter(|&epochs| epochs != settings.epochs) {
        settings.epochs = epochs;
        if settings.schedule.follows_end() {
            let schedule = settings.schedule;
            warn(format!(
                "the learning rate goes on as if the {schedule} schedule had been for {epochs} epochs from the start"
            ));
        }
    }
    if let Some(lr) = arguments.lr {
        settings.lr = lr;
    }
    if let Some(data) = &arguments.data.data {
        settings.data.clone_from(data);
    }
    let kernels = kernels.iter().map(|op| CustomKernel::load(&RunFolder::kernel(run, op), &*example(op)?.op));
    Ok(Request {
        settings,
        network,
        kernels: kernels.collect::<Result<_>>()?,
        run: RunTarget::Resume(run.into()),
        data: None,
    })
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
