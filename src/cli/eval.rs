//! `shadegrad eval`.

use std::path::{Path, PathBuf};

use clap::Args;
use shadegrad::data::DataSpec;
use shadegrad::gpu::Device;
use shadegrad::machine::{CpuMachine, GpuMachine, GpuOptions, Machine, Setup, State};
use shadegrad::nn::Network;
use shadegrad::train::{Evaluation, RunFolder, Settings, checkpoint, evaluate, expected, flatten};
use shadegrad::{Error, Result};

use super::data;
use super::device::DeviceArgs;
use super::print::{percent, remark, say};
use super::table::{Align, lines};

/// Measure a trained network on the test images: accuracy, loss, per class, confusion matrix.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  shadegrad eval runs/lenet-1\n  shadegrad eval model.safetensors --model lenet --data shapes"
)]
pub struct EvalArgs {
    /// A run folder, or weights under PyTorch's names
    #[arg(value_name = "RUN|FILE.safetensors")]
    weights: PathBuf,
    /// auto, cifar10, shapes, or a folder [default: what the run was trained on, else auto]
    #[arg(long)]
    data: Option<String>,
    /// The network of a weights file [default: the run's it lies in, else lenet]
    #[arg(long, value_name = "NAME|FILE.toml")]
    model: Option<String>,
    /// Use only the first N test images
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the result as JSON; - for standard output, with nothing else on it
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

pub fn run(arguments: &EvalArgs) -> Result<()> {
    let is_run = arguments.weights.is_dir();
    let file = if is_run { arguments.weights.join("model.safetensors") } else { arguments.weights.clone() };
    if is_run && !file.is_file() && arguments.weights.join("config.toml").is_file() {
        let run = arguments.weights.display();
        return Err(Error::checkpoint(format!("{run} has no model.safetensors: the run is not finished"))
            .with_hint(format!("shadegrad train --resume {run}")));
    }
    // Before a data set is downloaded for it.
    std::fs::metadata(&file).map_err(Error::file("read", &file))?;
    let folder = if is_run { Some(arguments.weights.as_path()) } else { file.parent() };
    let config = folder.filter(|folder| folder.join("config.toml").is_file()).map(RunFolder::config).transpose()?;
    let network = match (&arguments.model, &config) {
        (Some(model), _) => Network::load(model)?,
        (None, Some(config)) => config.network.clone(),
        (None, None) => Network::load("lenet")?,
    };
    let trained_on = config.as_ref().map(|config| config.data.classes.clone());
    let settings = config.map_or_else(Settings::default, |config| config.settings);
    let spec: DataSpec = arguments.data.as_ref().unwrap_or(&settings.data).parse().unwrap_or_default();

    let to_standard_output = arguments.json.as_deref() == Some(Path::new("-"));
    let header: fn(String) = if to_standard_output { remark } else { say };
    let adapter = arguments.device.open_with(header)?;
    let dataset = data::open(&spec, arguments.limit.or(settings.limit), header)?;
    if let Some(classes) = trained_on.filter(|classes| *classes != dataset.classes) {
        return Err(Error::data(format!(
            "{} has other classes than the run was trained on (got {}, expected {})",
            dataset.name,
            dataset.classes.join(", "),
            classes.join(", ")
        )));
    }
    let optimiser = settings.optimiser();
    let setup = Setup { network: &network, dataset: &dataset, batch: 1, optimiser };
    let evaluation = match adapter {
        Some(adapter) => {
            let device = Device::open(&adapter, arguments.device.checks())?;
            // Nothing is trained: no training image has to be on the device.
            measure(
                GpuMachine::new(device, &setup, &GpuOptions { resident_bytes: 0, ..GpuOptions::default() })?,
                &file,
                &setup,
            )?
        }
        None => measure(CpuMachine::new(&setup)?, &file, &setup)?,
    };
    match &arguments.json {
        None => report(&evaluation, &dataset.classes),
        Some(path) => write_json(&evaluation, path)?,
    }
    Ok(())
}

fn measure(mut machine: impl Machine, file: &Path, setup: &Setup<'_>) -> Result<Evaluation> {
    let tensors = checkpoint::load_model(file, &expected(machine.plan()))?;
    let parameters = flatten(machine.plan(), &tensors);
    let momentum = vec![0.0; parameters.len()];
    machine.set_state(&State { parameters, momentum })?;
    match evaluate(&mut machine, &setup.dataset.test, &mut || true)? {
        Some((evaluation, _)) => Ok(evaluation),
        None => unreachable!("nobody stops it"),
    }
}

fn report(evaluation: &Evaluation, classes: &[String]) {
    say(format!("accuracy: {} of {} test images", percent(evaluation.accuracy), evaluation.images));
    say(format!("loss: {:.4}", evaluation.loss));
    let mut heading = vec!["".into(), "accuracy".into()];
    heading.extend(classes.iter().map(|class| class.chars().take(6).collect()));
    let mut rows = vec![heading];
    for ((class, accuracy), row) in classes.iter().zip(&evaluation.per_class).zip(&evaluation.confusion) {
        let mut cells = vec![class.clone(), percent(*accuracy)];
        cells.extend(row.iter().map(u32::to_string));
        rows.push(cells);
    }
    let mut alignment = vec![Align::Right; classes.len() + 2];
    alignment[0] = Align::Left;
    say("\nclass and its accuracy; how many of its images (row) were taken for which class (column)");
    lines(&alignment, &rows).iter().for_each(say);
}

fn write_json(evaluation: &Evaluation, path: &Path) -> Result<()> {
    let failed = |error: serde_json::Error| Error::usage(format!("could not write JSON: {error}"));
    let text = serde_json::to_string_pretty(evaluation).map_err(failed)?;
    if path == Path::new("-") {
        say(text);
        return Ok(());
    }
    std::fs::write(path, text + "\n").map_err(Error::file("write", path))
}
