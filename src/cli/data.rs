//! `--data`: loading a data set, with what takes long drawn as it goes.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use shadegrad::data::{DataSpec, Loaded, Options, Progress, load};
use shadegrad::train::Settings;
use shadegrad::units::count;
use shadegrad::{Error, Result};

use super::print::warn;

/// Which images, and how they are read.
#[derive(Args, Default)]
pub struct DataArgs {
    /// auto, cifar10, shapes, or a folder: CIFAR-10 or CIFAR-100 (binary or python), MNIST's or Fashion-MNIST's IDX files, Kaggle's
    /// CIFAR-10, or folders of pictures (CLASS/*, or train/CLASS/* and test/CLASS/*) [default: auto]
    #[arg(long, value_name = "auto|cifar10|shapes|DIR")]
    pub data: Option<String>,
    /// Use only the first N training and N test images
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Pictures in folders are scaled and cropped to this many pixels a side, in colour [default: 32]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<u32>,
    /// Share of each class held out for testing, where a folder has no test images [default: 0.2]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub test_share: Option<f64>,
    /// Decides which images are held out [default: 0]
    #[arg(long, value_name = "SEED")]
    pub split_seed: Option<u64>,
}

impl DataArgs {
    /// The data of a run, or other data read as the run's was, but for what the flags say.
    pub fn over(&self, settings: &Settings) -> (DataSpec, Options) {
        let run = settings.data_options();
        let options = Options {
            limit: self.limit.or(run.limit),
            image_size: self.image_size.or(run.image_size),
            // The same pictures in another place are split as the run split them: no image it was trained on is one to test it with.
            test_share: self.test_share.or(run.test_share),
            split_seed: self.split_seed.or(run.split_seed),
            inherited: self.inherits(),
        };
        (spec(self.data.as_ref().unwrap_or(&settings.data)), options)
    }

    /// Whether other data is read with the options of a run, none of them given here.
    pub fn inherits(&self) -> bool {
        self.data.is_some() && self.image_size.is_none() && self.test_share.is_none() && self.split_seed.is_none()
    }
}

/// Every text names some data, if only a folder.
pub fn spec(text: &str) -> DataSpec {
    let Ok(spec) = text.parse();
    spec
}

/// Loads a data set and describes it through `header`.
pub fn open(spec: &DataSpec, options: &Options, header: fn(String)) -> Result<Loaded> {
    let bar = ProgressBar::no_length();
    let loaded = load(spec, options, &mut |progress| draw(&bar, progress));
    bar.finish_and_clear();
    let loaded = loaded?;
    let Loaded { dataset, notes, warnings, fallback, .. } = &loaded;
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
    notes.iter().for_each(|note| header(note.clone()));
    warnings.iter().for_each(warn);
    Ok(loaded)
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
        Progress::Decoding { done, total } => {
            let total = total as u64;
            if bar.length() != Some(total) {
                bar.set_length(total);
                if let Ok(style) = ProgressStyle::with_template("reading pictures [{bar:30}] {pos}/{len} {eta} left") {
                    bar.set_style(style.progress_chars("=> "));
                }
            }
            bar.set_position(done as u64);
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
