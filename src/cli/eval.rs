//! `shadegrad eval`.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use clap::Args;
use shadegrad::Result;
use shadegrad::chart::shorten;
use shadegrad::train::{Evaluation, Settings, Trained, evaluate};

use super::data::{self, DataArgs};
use super::device::DeviceArgs;
use super::json;
use super::print::{percent, remark, say};
use super::table::{Align, lines};
use super::terminal;

/// Letters of a class over a column; the first that lets the matrix fit. With four, CIFAR-10's fits 80 columns.
const NAME_LETTERS: [usize; 3] = [usize::MAX, 6, 4];
/// Confusions that are listed where the matrix does not fit.
const WORST: usize = 15;

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
    let accuracies: Vec<String> = evaluation
        .per_class
        .iter()
        .zip(&evaluation.confusion)
        .map(|(accuracy, row)| if row.iter().any(|&count| count > 0) { percent(*accuracy) } else { "–".into() })
        .collect();
    let width = terminal::width();
    let matrices = NAME_LETTERS.map(|most| matrix(evaluation, classes, &accuracies, most));
    let fits = |lines: &&Vec<String>| lines.iter().all(|line| line.chars().count() <= width);
    if let Some(matrix) = matrices.iter().find(fits) {
        say("\nclass and its accuracy; how many of its images (row) were taken for which class (column)");
        matrix.iter().for_each(say);
        return;
    }
    say("\nclass and its accuracy");
    in_columns(classes, &accuracies, width).iter().for_each(say);
    let worst = worst_confusions(&evaluation.confusion);
    if !worst.is_empty() {
        say("\nmost frequent confusions");
        let heading = ["class", "taken for", "images", "of the class"].map(String::from).to_vec();
        let row = |&Confusion { label, prediction, images, share }: &Confusion| {
            vec![classes[label].clone(), classes[prediction].clone(), images.to_string(), percent(share)]
        };
        let rows: Vec<_> = std::iter::once(heading).chain(worst.iter().map(row)).collect();
        lines(&[Align::Left, Align::Left, Align::Right, Align::Right], &rows).iter().for_each(say);
    }
    say("\nthe whole confusion matrix: --json FILE");
}

/// Columns that are named in at most `most` letters.
fn matrix(evaluation: &Evaluation, classes: &[String], accuracies: &[String], most: usize) -> Vec<String> {
    let mut heading = vec!["".into(), "accuracy".into()];
    heading.extend(classes.iter().map(|class| shorten(class, most)));
    let mut rows = vec![heading];
    for ((class, accuracy), row) in classes.iter().zip(accuracies).zip(&evaluation.confusion) {
        let mut cells = vec![class.clone(), accuracy.clone()];
        cells.extend(row.iter().map(u32::to_string));
        rows.push(cells);
    }
    let mut alignment = vec![Align::Right; classes.len() + 2];
    alignment[0] = Align::Left;
    lines(&alignment, &rows)
}

/// Names and values one below the other, in as many columns as fit.
fn in_columns(names: &[String], values: &[String], width: usize) -> Vec<String> {
    let longest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let (name_width, value_width) = (longest(names), longest(values));
    let columns = ((width + 4) / (name_width + value_width + 6)).clamp(1, names.len().max(1));
    let rows = names.len().div_ceil(columns);
    let cell = |(name, value): (&String, &String)| vec![name.clone(), value.clone()];
    let row = |row: usize| {
        let cells = names.iter().zip(values).skip(row).step_by(rows.max(1)).map(cell);
        cells.collect::<Vec<_>>().join(&String::new())
    };
    let alignment: Vec<Align> =
        (0..3 * columns).map(|column| [Align::Left, Align::Right, Align::Left][column % 3]).collect();
    lines(&alignment, &(0..rows).map(row).collect::<Vec<_>>())
}

/// Images of one class that were taken for another.
struct Confusion {
    label: usize,
    prediction: usize,
    images: u32,
    /// Of the images of the class, 0 to 1.
    share: f64,
}

/// The most frequent, falling.
fn worst_confusions(confusion: &[Vec<u32>]) -> Vec<Confusion> {
    let mut all = Vec::new();
    for (label, row) in confusion.iter().enumerate() {
        let total = f64::from(row.iter().sum::<u32>());
        for (prediction, &images) in row.iter().enumerate() {
            if images > 0 && prediction != label {
                all.push(Confusion { label, prediction, images, share: f64::from(images) / total });
            }
        }
    }
    all.sort_by(|a, b| (b.images, b.share).partial_cmp(&(a.images, a.share)).unwrap_or(Ordering::Equal));
    all.truncate(WORST);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_classes_are_listed_in_columns() {
        let texts = |words: &str| words.split(' ').map(String::from).collect::<Vec<_>>();
        let list = in_columns(&texts("a bb c d e"), &texts("1 22 3 4 5"), 24);
        assert_eq!(list, ["a    1    d  4", "bb  22    e  5", "c    3"]);
        assert_eq!(in_columns(&texts("a b"), &texts("1 2"), 1), ["a  1", "b  2"]);
    }

    #[test]
    fn the_worst_confusions_come_first() {
        let worst = worst_confusions(&[vec![5, 2, 0], vec![2, 0, 0], vec![0, 3, 9]]);
        let found: Vec<_> = worst.iter().map(|it| (it.label, it.prediction, it.images, it.share)).collect();
        assert_eq!(found, [(2, 1, 3, 0.25), (1, 0, 2, 1.0), (0, 1, 2, 2.0 / 7.0)]);
    }
}
