//! `shadegrad predict`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use shadegrad::checksum::file_sha256;
use shadegrad::data::{ImageShape, PictureList, picture};
use shadegrad::machine::Inference;
use shadegrad::report::{Captioned, Tone, captioned_grid};
use shadegrad::train::{Predictions, Submission, Trained, predict};
use shadegrad::units::count;
use shadegrad::{Error, Result};

use super::device::DeviceArgs;
use super::json;
use super::plan::image_shape;
use super::print::{duration, percent, remark, say, warn};

/// Say what is on pictures: PNG or JPEG of any size, cropped around their centre and scaled as the network needs them.
#[derive(Args)]
#[command(after_help = "Examples:\n  shadegrad predict runs/lenet-1 cat.jpg dog.png\n  \
    shadegrad predict runs/lenet-1 holiday/ --top 1 --json holiday.json\n  \
    shadegrad predict runs/lenet-1 test/ --csv submission.csv")]
pub struct PredictArgs {
    /// A run folder, or weights under PyTorch's names
    #[arg(value_name = "RUN|FILE.safetensors")]
    weights: PathBuf,
    /// Pictures, and folders with pictures in and below them
    #[arg(required = true, value_name = "IMAGE|DIR")]
    pictures: Vec<PathBuf>,
    /// The N most probable classes of each
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    /// Write Kaggle's format, `id,label`, sorted by id; a run that was killed continues where it ended
    #[arg(long, value_name = "FILE.csv", conflicts_with = "json")]
    csv: Option<PathBuf>,
    /// Write the result as JSON; - for standard output, with nothing else on it
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Write each picture with what is on it as DIR/NAME.png
    #[arg(long, value_name = "DIR", conflicts_with = "csv")]
    annotate: Option<PathBuf>,
    /// Leave out, with a warning, what cannot be read
    #[arg(long)]
    skip_bad: bool,
    /// The network of a weights file [default: the run's it lies in, else lenet]
    #[arg(long, value_name = "NAME|FILE.toml")]
    model: Option<String>,
    /// Channels, height and width of the images of a weights file [default: the run's it lies in, else 3x32x32]
    #[arg(long, value_name = "C×H×W", value_parser = image_shape)]
    image: Option<[u32; 3]>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(arguments: &PredictArgs) -> Result<()> {
    if arguments.top == 0 {
        return Err(Error::usage("--top must be at least 1 (got 0)"));
    }
    let trained = Trained::find(&arguments.weights, arguments.model.as_deref())?;
    let mut list = PictureList::find(&arguments.pictures)?;
    if arguments.csv.is_some() {
        list.sort_by_id()?;
    }
    if let Some(folder) = &arguments.annotate {
        // Two pictures of one name would become one.
        list.clone().sort_by_id()?;
        std::fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        let real = |folder: &Path| Path::new(".").join(folder).canonicalize().ok();
        if list.folders().iter().any(|pictures| real(pictures) == real(folder)) {
            let message = format!("{} holds the pictures themselves, which --annotate would replace", folder.display());
            return Err(Error::usage(message).with_hint("give a folder of its own"));
        }
    }
    let is_quiet = arguments.json.as_deref() == Some(Path::new("-"));
    let device = arguments.device.device(if is_quiet { remark } else { say })?;
    let [channels, height, width] = arguments.image.unwrap_or([3, 32, 32]);
    let shape = match (arguments.image, trained.shape()) {
        (None, Some(shape)) => shape,
        _ => ImageShape { channels, height, width },
    };
    let classes = trained.classes()?;
    let mut work = Work {
        inference: trained.inference(device, shape, classes.len() as u32, list.len())?,
        shape,
        classes,
        list,
        annotate: arguments.annotate.clone(),
        skip_bad: arguments.skip_bad,
        skipped: 0,
    };
    match (&arguments.csv, &arguments.json) {
        (Some(path), _) => work.submission(path, &file_sha256(&trained.file)?)?,
        (None, Some(path)) => work.json(path, arguments.top)?,
        (None, None) => work.table(arguments.top)?,
    }
    if work.skipped > 0 {
        warn(format!("{} of {} pictures could not be read", count(work.skipped), count(work.list.len() as u64)));
    }
    Ok(())
}

/// What a script is told of a picture.
#[derive(Serialize)]
struct Picture<'a> {
    image: String,
    /// The most probable first.
    predictions: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    class: &'a str,
    /// 0 to 1.
    probability: f32,
}

/// Pictures and what looks at them.
struct Work {
    inference: Inference,
    shape: ImageShape,
    classes: Vec<String>,
    list: PictureList,
    /// Where pictures with their classes go.
    annotate: Option<PathBuf>,
    skip_bad: bool,
    skipped: u64,
}

impl Work {
    /// Looks at the pictures from the `first` on; `each` is given the list, the place in it and what was predicted.
    fn predict(
        &mut self,
        first: usize,
        bar: &ProgressBar,
        each: &mut dyn FnMut(&PictureList, usize, &Predictions) -> Result<()>,
    ) -> Result<()> {
        let Self { inference, shape, list, skip_bad, skipped, .. } = self;
        predict(inference, list, first..list.len(), *shape, &mut |place, outcome| {
            bar.inc(1);
            match outcome {
                Ok(predictions) => each(list, place, &predictions),
                Err(error) if *skip_bad => {
                    *skipped += 1;
                    bar.suspend(|| warn(format!("{error}: left out")));
                    Ok(())
                }
                Err(error) if list.len() > 1 => Err(error.with_hint("--skip-bad leaves out what cannot be read")),
                Err(error) => Err(error),
            }
        })
    }

    /// A line a picture, as soon as it is known.
    fn table(&mut self, top: usize) -> Result<()> {
        let classes = self.classes.clone();
        let names = (0..self.list.len()).map(|place| self.list.path(place).display().to_string().chars().count());
        let name_width = names.max().unwrap_or(0);
        let class_width = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0);
        let folder = self.annotate.clone();
        self.predict(0, &ProgressBar::hidden(), &mut |list, place, predictions| {
            let ranked = predictions.ranked(0, top);
            annotate(folder.as_deref(), list, place, &ranked, &classes)?;
            let cell = |(class, probability): (usize, f32)| {
                format!("  {:<class_width$} {:>7}", classes[class], percent(probability.into()))
            };
            let cells: String = ranked.into_iter().map(cell).collect();
            say(format!("{:<name_width$}{cells}", list.path(place).display()));
            Ok(())
        })
    }

    /// A list with an object a picture, written as it grows.
    fn json(&mut self, path: &Path, top: usize) -> Result<()> {
        let is_quiet = path == Path::new("-");
        let mut output: Box<dyn Write> = match is_quiet {
            true => Box::new(io::stdout()),
            false => Box::new(BufWriter::new(File::create(path).map_err(Error::file("write", path))?)),
        };
        let written = |result: io::Result<()>| match is_quiet {
            true => json::written(result),
            false => result.map_err(Error::file("write", path)),
        };
        let mut write = |text: String| written(output.write_all(text.as_bytes()));
        let classes = self.classes.clone();
        let bar = if is_quiet { ProgressBar::hidden() } else { progress_bar(self.list.len()) };
        let folder = self.annotate.clone();
        let mut before = "[\n";
        self.predict(0, &bar, &mut |list, place, predictions| {
            let ranked = predictions.ranked(0, top);
            annotate(folder.as_deref(), list, place, &ranked, &classes)?;
            let class = |(class, probability): (usize, f32)| Class { class: &classes[class], probability };
            let predictions = ranked.into_iter().map(class).collect();
            let picture = Picture { image: list.path(place).display().to_string(), predictions };
            write(format!("{before}{}", json::line(&picture)?))?;
            before = ",\n";
            Ok(())
        })?;
        write(if before == "[\n" { "[]\n".into() } else { "\n]\n".into() })?;
        bar.finish_and_clear();
        written(output.flush())
    }

    fn submission(&mut self, path: &Path, model: &str) -> Result<()> {
        let list = &self.list;
        let mut submission = Submission::open(path, model, list.len(), &|place| list.id(place), self.skip_bad)?;
        let first = submission.next();
        if first > 0 {
            say(format!("continuing {} after {} pictures", submission.partial().display(), count(first as u64)));
        }
        let classes = self.classes.clone();
        let bar = progress_bar(list.len());
        bar.set_position(first as u64);
        bar.reset_eta();
        let started = Instant::now();
        self.predict(first, &bar, &mut |list, place, predictions| {
            submission.row(&list.id(place), &classes[predictions.best(0).0])
        })?;
        submission.finish()?;
        bar.finish_and_clear();
        let (seconds, done) = (started.elapsed().as_secs_f64(), self.list.len() - first);
        say(format!(
            "{}: {} pictures in {}, {} a second",
            path.display(),
            count(done as u64),
            duration(seconds),
            count((done as f64 / seconds) as u64)
        ));
        Ok(())
    }
}

/// Writes the picture with its classes under it into `folder`, where there is one.
fn annotate(
    folder: Option<&Path>,
    list: &PictureList,
    place: usize,
    ranked: &[(usize, f32)],
    classes: &[String],
) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    let line = |&(class, probability): &(usize, f32)| {
        (format!("{} {}", classes[class], percent(probability.into())), Tone::Plain)
    };
    let tile = Captioned { picture: picture::open(&list.path(place))?, lines: ranked.iter().map(line).collect() };
    let path = folder.join(format!("{}.png", list.id(place)));
    std::fs::write(&path, captioned_grid(&[tile], 1)?).map_err(Error::file("write", &path))
}

/// On standard error, when that is a terminal.
fn progress_bar(pictures: usize) -> ProgressBar {
    let bar = ProgressBar::new(pictures as u64);
    let template = "[{bar:30}] {human_pos}/{human_len} pictures, {rate} a second, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            text.write_str(&count(state.per_sec() as u64)).ok();
        };
        bar.set_style(style.progress_chars("=> ").with_key("rate", rate));
    }
    bar
}
