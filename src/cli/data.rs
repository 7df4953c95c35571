//! `--data`: loading a data set, with what takes long drawn as it goes.

use indicatif::{ProgressBar, ProgressStyle};
use shadegrad::data::{DataSpec, Dataset, Loaded, Progress, load};
use shadegrad::units::count;
use shadegrad::{Error, Result};

use super::print::warn;

/// Loads a data set and describes it through `header`.
pub fn open(spec: &DataSpec, limit: Option<u32>, header: fn(String)) -> Result<Dataset> {
    let bar = ProgressBar::no_length();
    let loaded = load(spec, limit, &mut |progress| draw(&bar, progress));
    bar.finish_and_clear();
    let Loaded { dataset, fallback } = loaded?;
    if let Some(why) = fallback {
        warn(why);
        warn("NO CIFAR-10: using the built-in shapes instead; with a network, `shadegrad download` fetches it");
    }
    if dataset.train.is_empty() {
        return Err(Error::data(format!("{} has no training images", dataset.source)));
    }
    let shape = dataset.shape;
    header(format!(
        "data: {} ({}), {} training and {} test images of {}×{}×{}, {} classes",
        dataset.name,
        dataset.source,
        count(dataset.train.len() as u64),
        count(dataset.test.len() as u64),
        shape.channels,
        shape.height,
        shape.width,
        dataset.classes.len()
    ));
    Ok(dataset)
}

/// Draws progress on standard error, when that is a terminal.
pub fn draw(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Downloading { done, total } => {
            if bar.length() != Some(total) {
                bar.set_length(total);
                let template = "downloading [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
            }
            bar.set_position(done);
        }
        other => {
            let text = match other {
                Progress::Verifying => "verifying the archive",
                Progress::Extracting { .. } => "extracting",
                Progress::Drawing => "drawing the shapes",
                _ => "reading",
            };
            bar.set_style(ProgressStyle::default_spinner());
            bar.set_message(text);
            bar.tick();
        }
    }
}
