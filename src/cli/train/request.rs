//! What flags and files ask for.

use std::path::Path;

use shadegrad::cache_folder::cache_folder;
use shadegrad::data::Options;
use shadegrad::gpu::Adapter;
use shadegrad::nn::Network;
use shadegrad::ops::Tuned;
use shadegrad::ops::custom::CustomKernel;
use shadegrad::train::{AdapterRecord, Config, DataRecord, Init, Recipe, RunFolder, RunTarget, Settings, Trained};
use shadegrad::tune::Tuner;
use shadegrad::{Error, Result};

use super::TrainArgs;
use crate::cli::kernels::example;
use crate::cli::print::warn;

/// What to train and where to put it.
pub struct Request {
    pub settings: Settings,
    pub network: Network,
    pub kernels: Vec<CustomKernel>,
    pub run: RunTarget,
    /// The images that the settings are of.
    pub data: Option<DataRecord>,
    /// The variants that a run was tuned to.
    pub choices: Option<Choices>,
    pub tuner: Option<Tuner>,
}

/// What a run was tuned to, and on which adapter that holds.
pub struct Choices {
    tuned: Tuned,
    /// `None` for any: a run that continues keeps its kernels.
    adapter: Option<AdapterRecord>,
}

impl Choices {
    /// What of them is to run on an adapter.
    pub fn on(self, adapter: Option<&Adapter>) -> Tuned {
        let here = adapter.map(|adapter| AdapterRecord::new(&adapter.info));
        if self.adapter.is_none() || self.adapter == here { self.tuned } else { Tuned::default() }
    }
}

/// A new run: the defaults, over them a file's settings, over them the flags.
pub fn begin(arguments: &TrainArgs) -> Result<Request> {
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
        precision: arguments.precision.as_deref().map_or(Ok(base.precision), str::parse)?,
        experimental: arguments.device.experimental || base.experimental,
        tune: !arguments.no_tune && (base.tune || arguments.retune),
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
    // Other kernels contend where more or less is allowed to them.
    let same_contest =
        (settings.precision, settings.experimental) == (recipe.settings.precision, recipe.settings.experimental);
    let choices = (settings.tune && !arguments.retune && same_contest)
        .then_some(Choices { tuned: recipe.tuned, adapter: recipe.adapter });
    let tuner = settings.tune.then(|| Tuner { cache: cache_folder(), retune: arguments.retune });
    let data = recipe.data.filter(|_| same_data);
    Ok(Request { settings, network, kernels, run, data, choices, tuner })
}

/// The weights that `--init` names.
fn init(path: &Path) -> Result<Init> {
    Init::new(&Trained::find(path, None)?.file)
}

/// The settings of a run that continues: its own, but for a longer end, another learning rate and another place of the same images.
/// Of a schedule, another learning rate is the whole curve's, from the next step on.
pub fn resume(arguments: &TrainArgs, run: &Path) -> Result<Request> {
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
        ("--precision", arguments.precision.is_some()),
        ("--experimental", arguments.device.experimental),
        ("--log-every", arguments.log_every.is_some()),
        ("--init", arguments.init.is_some()),
        ("--kernel", !arguments.kernels.is_empty()),
        ("--no-tune", arguments.no_tune),
        ("--retune", arguments.retune),
    ];
    if let Some((flag, _)) = fixed.iter().find(|(_, given)| *given) {
        return Err(Error::usage(format!("{flag} cannot change when a run is resumed")));
    }
    if run.is_file() {
        return Err(Error::usage(format!("{} is a file, expected a run folder", run.display()))
            .with_hint("name the folder that it lies in"));
    }
    let Config { mut settings, network, kernels, tuned, .. } = RunFolder::config(run)?;
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
        choices: Some(Choices { tuned, adapter: None }),
        tuner: None,
    })
}
