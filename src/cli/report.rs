//! `shadegrad report`, and the page that `train` leaves behind.

use std::path::{Path, PathBuf};

use clap::Args;
use shadegrad::data::Dataset;
use shadegrad::machine::{Classifier, Inference};
use shadegrad::report::{self, Tested, tensorboard};
use shadegrad::train::{Config, Latest, Outcome, RunFolder, evaluate, flatten};
use shadegrad::{Error, Result};

use super::data::{self, DataArgs};
use super::device::DeviceArgs;
use super::print::{say, warn};

/// Write a run's report.html again: one page with its curves, confusion matrix, mistakes and filters.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  shadegrad report runs/lenet-1\n  shadegrad report runs/lenet-1 --out lenet.html\n  \
                         shadegrad report runs/lenet-1 --tensorboard tensorboard/lenet-1"
)]
pub struct ReportArgs {
    /// A run folder, finished or not
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Where the page goes [default: report.html in the run folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the run's scalars and confusion matrix as an event file for TensorBoard instead
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    tensorboard: Option<PathBuf>,
}

pub fn run(arguments: &ReportArgs) -> Result<()> {
    let run = &arguments.run;
    if let Some(folder) = &arguments.tensorboard {
        say(format!("events: {}", tensorboard::write(run, folder)?.display()));
        return Ok(());
    }
    let config = RunFolder::config(run)?;
    let path = arguments.out.clone().unwrap_or_else(|| run.join(report::FILE));
    let (spec, options) = arguments.data.over(&config.settings);
    match data::open(&spec, &options, say) {
        Ok(loaded) => {
            config.data.require_classes(&loaded.dataset)?;
            test(arguments, &config, &loaded.dataset, &path)?;
        }
        Err(error @ (Error::Data { .. } | Error::File { .. })) if arguments.data.data.is_none() => {
            warn(format!("{error}; the report has no images: --data names where they are"));
            report::write(run, None, &path)?;
        }
        Err(error) => return Err(error),
    }
    say(format!("report: {}", path.display()));
    Ok(())
}

/// Looks at the test images again with the run's latest weights, and writes the page.
fn test(arguments: &ReportArgs, config: &Config, dataset: &Dataset, path: &Path) -> Result<()> {
    let device = arguments.device.device(say)?;
    let (classes, images) = (dataset.classes.len() as u32, &dataset.test);
    let selection = config.selection(device.as_ref());
    let mut inference = Inference::new(device, &selection, &config.network, dataset.shape, classes, images.len())?;
    let latest = Latest::read(&arguments.run, inference.plan())?;
    inference.set_parameters(&flatten(inference.plan(), &latest.parameters));
    let (evaluation, predictions) = match evaluate(&mut inference, images, &mut || true) {
        Ok(Some(evaluated)) => evaluated,
        Ok(None) => unreachable!("nobody stops it"),
        // The weights of a run that diverged.
        Err(error @ Error::NonFinite { .. }) => {
            warn(format!("{error}; the report has no images"));
            return report::write(&arguments.run, None, path);
        }
        Err(error) => return Err(error),
    };
    let shape = dataset.shape;
    let tested = Tested { images, shape, evaluation: &evaluation, predictions: &predictions, step: latest.step };
    report::write(&arguments.run, Some(&tested), path)
}

/// Leaves the page in the folder of a run that has just ended, well or not; the run does not depend on it.
pub fn leave(run: &Path, dataset: &Dataset, outcome: Option<&Outcome>) {
    let tested = outcome.map(|outcome| Tested {
        images: &dataset.test,
        shape: dataset.shape,
        evaluation: &outcome.evaluation,
        predictions: &outcome.predictions,
        step: None,
    });
    let path = run.join(report::FILE);
    match report::write(run, tested.as_ref(), &path) {
        Ok(()) => say(format!("report: {}", path.display())),
        Err(error) => warn(format!("no report: {error}")),
    }
}
