//! MNIST (LeCun, Cortes, Burges), Fashion-MNIST (Xiao, Rasul, Vollgraf 2017) and sets in the same four IDX files: grey images, in as
//! many classes as there are labels.

use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::{Dataset, ImageShape, Loaded, Options, Progress, Split, classes, idx};
use crate::error::{Error, Result};

const TRAIN: Files = Files { images: "train-images-idx3-ubyte", labels: "train-labels-idx1-ubyte" };
const TEST: Files = Files { images: "t10k-images-idx3-ubyte", labels: "t10k-labels-idx1-ubyte" };
/// Where torchvision puts the files, within its folder.
const INNER: [&str; 4] = ["", "raw", "MNIST/raw", "FashionMNIST/raw"];

/// A set that is known by its first training labels, whatever its folder is called.
struct Known {
    name: &'static str,
    first_labels: [u8; 10],
    classes: [&'static str; 10],
}

const KNOWN: [Known; 2] = [
    Known {
        name: "mnist",
        first_labels: [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
        classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    },
    Known {
        name: "fashion-mnist",
        first_labels: [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
        classes: [
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
    },
];

struct Files {
    images: &'static str,
    labels: &'static str,
}

/// The layout of the four files.
pub(super) struct Mnist;

impl Layout for Mnist {
    fn title(&self) -> &'static str {
        "MNIST and Fashion-MNIST"
    }

    fn signs(&self) -> &'static str {
        "train-images-idx3-ubyte[.gz] … in it or in its MNIST/raw or FashionMNIST/raw"
    }

    /// Where the files are; one of them is enough, so that reading can name the missing ones.
    fn find(&self, folder: &Path) -> Option<PathBuf> {
        let has_files = |folder: &PathBuf| {
            [TRAIN.images, TRAIN.labels, TEST.images, TEST.labels].iter().any(|file| locate(folder, file).is_some())
        };
        INNER.iter().map(|inner| if inner.is_empty() { folder.into() } else { folder.join(inner) }).find(has_files)
    }

    /// Reads the four files.
    ///
    /// # Errors
    /// `Error::Data` for a missing or damaged file, images without pixels or of two sizes, and other numbers of labels than of images.
    fn read(&self, folder: &Path, _: &Options, _: &mut dyn FnMut(Progress)) -> Result<Loaded> {
        let (shape, train) = read_split(folder, &TRAIN)?;
        let (test_shape, test) = read_split(folder, &TEST)?;
        if shape != test_shape {
            let [train, test] = [shape, test_shape].map(|shape| format!("{}×{}", shape.height, shape.width));
            return Err(Error::data(format!("{} has images of {test}, expected {train} as in training", TEST.images)));
        }
        let known = KNOWN.iter().find(|known| train.labels.starts_with(&known.first_labels));
        let last = train.labels.iter().chain(&test.labels).max().copied().unwrap_or(0);
        let classes: Vec<String> = match known {
            Some(known) => known.classes.map(String::from).to_vec(),
            None => (0..=last).map(|label| label.to_string()).collect(),
        };
        if usize::from(last) >= classes.len() {
            return Err(Error::data(format!("a label is {last}, expected 0–{}", classes.len() - 1)));
        }
        let source = folder.display().to_string();
        classes::check(&source, &classes)?;
        let name = known.map_or("idx", |known| known.name).into();
        Ok(Loaded::fixed(Dataset { name, source, classes, shape, train, test }))
    }
}

fn read_split(folder: &Path, files: &Files) -> Result<(ImageShape, Split)> {
    let located = |file| {
        locate(folder, file).ok_or_else(|| {
            let needed = [TRAIN.images, TRAIN.labels, TEST.images, TEST.labels].join(", ");
            Error::data(format!("{} has no {file}, plain or .gz", folder.display()))
                .with_hint(format!("needed are {needed}"))
        })
    };
    let ([images, height, width], pixels) = idx::images(&located(files.images)?)?;
    let ([count], labels) = idx::read(&located(files.labels)?)?;
    if count != images {
        return Err(Error::data(format!("{} has {count} labels, expected {images}, one an image", files.labels)));
    }
    let shape = ImageShape { channels: 1, height, width };
    if images == 0 || shape.len() == 0 {
        return Err(Error::data(format!("{} has {images} images of {height}×{width}, expected some", files.images)));
    }
    Ok((shape, Split::in_parts(labels, shape.len(), vec![(images as usize, pixels)])))
}

/// The file, plain or gzipped, under its name of today or with a dot where some copies have one.
fn locate(folder: &Path, file: &str) -> Option<PathBuf> {
    let dotted = file.replacen("-idx", ".idx", 1);
    let names = [file.to_string(), format!("{file}.gz"), dotted.clone(), format!("{dotted}.gz")];
    names.into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}
