//! `shadegrad show`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use console::style;
use image::buffer::ConvertBuffer;
use image::{Rgba, RgbaImage, imageops};
use shadegrad::data::{Dataset, ImageShape, Split};
use shadegrad::random::{Purpose, Random};
use shadegrad::report::{Captioned, Tone, captioned_grid, picture};
use shadegrad::train::{Predictions, Settings, Trained, evaluate};
use shadegrad::{Error, Result};

use super::data::{self, DataArgs};
use super::device::DeviceArgs;
use super::print::{remark, say};
use super::terminal;

/// Columns between two pictures on a terminal.
const GAP: usize = 2;
/// Columns of a picture on a terminal at most.
const MAX_COLUMNS: usize = 32;
/// Pictures in a row of a PNG.
const PNG_COLUMNS: usize = 8;

/// Look at images and their labels, in the terminal and as a PNG; with a run, at what it takes them for.
#[derive(Args)]
#[command(after_help = "Examples:\n  shadegrad show\n  shadegrad show --data pictures/ --count 16 --out grid.png\n  \
    shadegrad show --run runs/lenet-1 --count 8")]
pub struct ShowArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Images to show
    #[arg(long, value_name = "N", default_value_t = 4)]
    count: usize,
    /// Draw them as a PNG
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Predict them too, with a run or weights under PyTorch's names
    #[arg(long, value_name = "RUN|FILE.safetensors")]
    run: Option<PathBuf>,
    /// Which images [default: test with --run, else train]
    #[arg(long)]
    split: Option<SplitName>,
    /// Decides which images [default: 0 for training images; test images come in their order]
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SplitName {
    Train,
    Test,
}

pub fn run(arguments: &ShowArgs) -> Result<()> {
    if arguments.count == 0 {
        return Err(Error::usage("--count must be at least 1 (got 0)"));
    }
    let trained = arguments.run.as_deref().map(|run| Trained::find(run, None)).transpose()?;
    let config = trained.as_ref().and_then(|trained| trained.config.as_ref());
    let settings = config.map_or_else(Settings::default, |config| config.settings.clone());
    let (spec, options) = arguments.data.over(&settings);
    // Standard output is for what was asked to be shown.
    let dataset = data::open(&spec, &options, remark)?.dataset;
    config.iter().try_for_each(|config| config.data.require_classes(&dataset))?;

    let default = if trained.is_some() { SplitName::Test } else { SplitName::Train };
    let split = arguments.split.unwrap_or(default);
    let images = chosen(&dataset, split, arguments.count, arguments.seed)?;
    if images.is_empty() {
        return Err(Error::data(format!("{} has no test images", dataset.source)).with_hint("--split train has some"));
    }
    let predictions = match &trained {
        None => None,
        Some(trained) => {
            let device = arguments.device.device(remark)?;
            let mut inference = trained.inference(device, dataset.shape, dataset.classes.len() as u32, images.len())?;
            evaluate(&mut inference, &images, &mut || true)?.map(|(_, predictions)| predictions)
        }
    };
    let shown = Shown { images, shape: dataset.shape, classes: dataset.classes, predictions };
    if terminal::shows_colours() {
        shown.pictures()?;
    } else {
        shown.words();
    }
    if let Some(right) = shown.right() {
        say(format!("{right} of {} right", shown.images.len()));
    }
    if let Some(path) = &arguments.out {
        std::fs::write(path, shown.png()?).map_err(Error::file("write", path))?;
    }
    Ok(())
}

/// As the tutorial: training images at random, test images from the first on.
fn chosen(dataset: &Dataset, split: SplitName, count: usize, seed: Option<u64>) -> Result<Split> {
    let (all, seed) = match split {
        SplitName::Train => (&dataset.train, Some(seed.unwrap_or(0))),
        SplitName::Test => (&dataset.test, seed),
    };
    let order = match seed {
        Some(seed) => Random::new(seed, Purpose::Show, 0).permutation(all.len() as u32),
        None => (0..all.len() as u32).collect(),
    };
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for image in order.into_iter().take(count).map(|image| image as usize) {
        labels.push(all.labels[image]);
        pixels.extend(all.image(image)?);
    }
    Ok(Split::new(labels, pixels))
}

/// Labelled images, and what was predicted of them.
struct Shown {
    images: Split,
    shape: ImageShape,
    classes: Vec<String>,
    predictions: Option<Predictions>,
}

impl Shown {
    fn label(&self, i: usize) -> &str {
        &self.classes[usize::from(self.images.labels[i])]
    }

    /// The class that was predicted, and whether it is the right one.
    fn prediction(&self, i: usize) -> Option<(&str, bool)> {
        let (class, _) = self.predictions.as_ref()?.best(i);
        Some((&self.classes[class], class == usize::from(self.images.labels[i])))
    }

    /// How many predictions are right.
    fn right(&self) -> Option<usize> {
        self.predictions.as_ref()?;
        Some((0..self.images.len()).filter(|&i| self.prediction(i).is_some_and(|(_, right)| right)).count())
    }

    /// The tutorial's lines: `GroundTruth:  cat   ship  ship  plane`.
    fn words(&self) {
        let all: Vec<usize> = (0..self.images.len()).collect();
        let line = |start: &str, images: &[usize], name: &dyn Fn(usize) -> String| {
            let names: Vec<String> = images.iter().map(|&i| format!("{:5}", name(i))).collect();
            say(format!("{start}{}", names.join(" ")).trim_end());
        };
        for images in all.chunks(PNG_COLUMNS) {
            if self.predictions.is_none() {
                line("", images, &|i| self.label(i).into());
                continue;
            }
            let predicted = |i| self.prediction(i).map_or("", |(class, _)| class);
            let padded = |i: usize, name: &str| {
                let width = self.label(i).chars().count().max(predicted(i).chars().count());
                format!("{name:width$}")
            };
            line("GroundTruth:  ", images, &|i| padded(i, self.label(i)));
            line("Predicted:    ", images, &|i| padded(i, predicted(i)));
        }
    }

    fn pictures(&self) -> Result<()> {
        let columns = (self.shape.width as usize).clamp(8, MAX_COLUMNS);
        let in_a_row = ((terminal::width() + GAP) / (columns + GAP)).max(1);
        let all: Vec<usize> = (0..self.images.len()).collect();
        for images in all.chunks(in_a_row) {
            let (width, height) = (columns as u32, columns as u32 * self.shape.height / self.shape.width.max(1));
            let pitch = width + GAP as u32;
            let mut row = RgbaImage::from_pixel(pitch * images.len() as u32 - GAP as u32, height, Rgba([0; 4]));
            for (place, &i) in (0..).zip(images) {
                let picture = picture(&self.images.image(i)?, self.shape);
                let picture = imageops::resize(&picture, width, height, imageops::FilterType::CatmullRom);
                let picture: RgbaImage = picture.convert();
                imageops::replace(&mut row, &picture, i64::from(place * pitch), 0);
            }
            terminal::show(&row, row.width())?;
            let line = |cell: &dyn Fn(usize) -> String| {
                let cells: Vec<String> = images
                    .iter()
                    .map(|&i| console::pad_str(&cell(i), columns, console::Alignment::Center, Some("…")).into_owned())
                    .collect();
                say(cells.join(&" ".repeat(GAP)).trim_end());
            };
            line(&|i| self.label(i).into());
            if self.predictions.is_some() {
                line(&|i| match self.prediction(i) {
                    Some((class, true)) => style(format!("✓ {class}")).green().force_styling(true).to_string(),
                    Some((class, false)) => style(format!("✗ {class}")).red().force_styling(true).to_string(),
                    None => String::new(),
                });
            }
            say("");
        }
        Ok(())
    }

    fn png(&self) -> Result<Vec<u8>> {
        let tile = |i: usize| {
            let mut lines = vec![(self.label(i).to_string(), Tone::Plain)];
            let tone = |right| if right { Tone::Right } else { Tone::Wrong };
            lines.extend(self.prediction(i).map(|(class, right)| (class.to_string(), tone(right))));
            Ok(Captioned { picture: picture(&self.images.image(i)?, self.shape), lines })
        };
        let tiles: Vec<Captioned> = (0..self.images.len()).map(tile).collect::<Result<_>>()?;
        captioned_grid(&tiles, PNG_COLUMNS)
    }
}
