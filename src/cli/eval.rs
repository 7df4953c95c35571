//! `shadegrad eval`.

use std::path::{Path, PathBuf};

use clap::Args;
use shadegrad::Result;
use shadegrad::train::{Evaluation, Settings, Trained, evaluate};

use super::data::{self, DataArgs};
use super::device::DeviceArgs;
use super::json;
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
    #[command(flatten)]
    data: DataArgs,
    /// The network of a weights file [default: the run's it lies in, else lenet]
    #[arg(long, value_name = "NAME|FILE.toml")]
    model: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the result as JSON; - for standard output, with nothing else on it
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

pub fn run(arguments: &EvalArgs) -> Result<()> {
    let trained = Trained::find(&arguments.weights, arguments.model.as_deref())?;
    let settings = trained.config.as_ref().map_or_else(Settings::default, |config| config.settings.clone());
    let (spec, options) = arguments.data.over(&settings);

    let to_standard_output = arguments.json.as_deref() == Some(Path::new("-"));
    let header: fn(String) = if to_standard_output { remark } else { say };
    let device = arguments.device.device(header)?;
    let dataset = data::open(&spec, &options, header)?.dataset;
    trained.config.iter().try_for_each(|config| config.data.require_classes(&dataset))?;
    let classes = dataset.classes.len() as u32;
    let mut inference = trained.inference(device, dataset.shape, classes, dataset.test.len())?;
    let Some((evaluation, _)) = evaluate(&mut inference, &dataset.test, &mut || true)? else {
        unreachable!("nobody stops it")
    };
    match &arguments.json {
        None => report(&evaluation, &dataset.classes),
        Some(path) => json::write(&evaluation, path)?,
    }
    Ok(())
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
