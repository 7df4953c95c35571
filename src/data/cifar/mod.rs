//! CIFAR-10 and CIFAR-100: 60,000 labelled 32×32 RGB photographs each, in 10 or 100 classes (Krizhevsky 2009,
//! <https://www.cs.toronto.edu/~kriz/cifar.html>), in their binary and their python version.

mod binary;
mod python;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use self::binary::Binary;
use self::python::Python;
use super::layout::Layout;
use super::split::Pixels;
use super::{Dataset, ImageShape, Loaded, Options, Progress, Split, classes};
use crate::error::{Error, Result};

const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// A class-names file larger than this is something else.
pub(super) const NAMES_BYTES: u64 = 4096;

/// One of the four archives: where its files are, and what is in them.
pub(super) struct Cifar {
    title: &'static str,
    signs: &'static str,
    name: &'static str,
    /// The folder inside the official archive.
    pub folder: &'static str,
    /// Name and images of each file of training images.
    train: &'static [(&'static str, usize)],
    test: (&'static str, usize),
    /// Names of the classes.
    pub names: &'static str,
    /// The names where that file is absent; empty where it must not be.
    default_names: &'static [&'static str],
    classes: usize,
    format: &'static dyn Format,
}

/// How the files are written.
trait Format: Sync {
    /// Most bytes a file of so many images may have.
    fn max_bytes(&self, images: usize) -> u64;

    /// # Errors
    /// A length that no file of so many images has.
    fn check_length(&self, file: &str, bytes: u64, images: usize) -> Result<()>;

    /// The labels of so many images, and their pixels. The file may have changed since its length was checked.
    ///
    /// # Errors
    /// A file that cannot be read, or is none of these.
    fn read(&self, path: &Path, file: &str, images: usize) -> Result<(Vec<i64>, Pixels)>;

    /// # Errors
    /// Bytes that are no file of class names.
    fn class_names(&self, file: &str, bytes: &[u8]) -> Result<Vec<String>>;
}

pub(super) const CIFAR10_BINARY: Cifar = Cifar {
    title: "CIFAR-10 binary",
    signs: "data_batch_1.bin … in it or in its cifar-10-batches-bin",
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    train: &[
        ("data_batch_1.bin", 10_000),
        ("data_batch_2.bin", 10_000),
        ("data_batch_3.bin", 10_000),
        ("data_batch_4.bin", 10_000),
        ("data_batch_5.bin", 10_000),
    ],
    test: ("test_batch.bin", 10_000),
    names: "batches.meta.txt",
    default_names: &CIFAR10_CLASSES,
    classes: 10,
    format: &Binary { label_bytes: 1 },
};

pub(super) const CIFAR10_PYTHON: Cifar = Cifar {
    title: "CIFAR-10 python",
    signs: "data_batch_1 … in it or in its cifar-10-batches-py",
    name: "cifar10",
    folder: "cifar-10-batches-py",
    train: &[
        ("data_batch_1", 10_000),
        ("data_batch_2", 10_000),
        ("data_batch_3", 10_000),
        ("data_batch_4", 10_000),
        ("data_batch_5", 10_000),
    ],
    test: ("test_batch", 10_000),
    names: "batches.meta",
    default_names: &CIFAR10_CLASSES,
    classes: 10,
    format: &Python { labels: "labels", names: "label_names" },
};

/// Its labels are the 100 fine ones.
pub(super) const CIFAR100_BINARY: Cifar = Cifar {
    title: "CIFAR-100 binary",
    signs: "train.bin and test.bin in it or in its cifar-100-binary",
    name: "cifar100",
    folder: "cifar-100-binary",
    train: &[("train.bin", 50_000)],
    test: ("test.bin", 10_000),
    names: "fine_label_names.txt",
    default_names: &[],
    classes: 100,
    // The coarse label, then the fine one.
    format: &Binary { label_bytes: 2 },
};

/// Its labels are the 100 fine ones.
pub(super) const CIFAR100_PYTHON: Cifar = Cifar {
    title: "CIFAR-100 python",
    signs: "the files train and test in it or in its cifar-100-python",
    name: "cifar100",
    folder: "cifar-100-python",
    train: &[("train", 50_000)],
    test: ("test", 10_000),
    names: "meta",
    default_names: &[],
    classes: 100,
    format: &Python { labels: "fine_labels", names: "fine_label_names" },
};

impl Cifar {
    /// Whether all files of images are there, whatever is in them.
    pub fn is_complete(&self, folder: &Path) -> bool {
        self.files().all(|(file, _)| folder.join(file).is_file())
    }

    /// Reads all its files in `folder`.
    ///
    /// # Errors
    /// `Error::Data` for a missing or damaged file, or a label out of range; records count from 0.
    pub fn dataset(&self, folder: &Path) -> Result<Dataset> {
        // Every length is checked before the first byte is read: a truncated last file is known at once.
        for (file, images) in self.files() {
            self.check_length(folder, file, images)?;
        }
        Ok(Dataset {
            name: self.name.into(),
            source: folder.display().to_string(),
            classes: self.class_names(folder)?,
            shape: SHAPE,
            train: self.read_files(folder, self.train)?,
            test: self.read_files(folder, &[self.test])?,
        })
    }

    /// Name and images of every file of images.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.train.iter().copied().chain([self.test])
    }

    /// Most bytes a file of so many images may have; in the binary version exactly its bytes.
    pub fn max_bytes(&self, images: usize) -> u64 {
        self.format.max_bytes(images)
    }

    fn check_length(&self, folder: &Path, file: &str, images: usize) -> Result<()> {
        let path = folder.join(file);
        let bytes = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let files: Vec<&str> = self.files().map(|(file, _)| file).collect();
                return Err(Error::data(format!("{} has no {file}", folder.display())).with_hint(format!(
                    "{} needs {}",
                    self.name,
                    files.join(", ")
                )));
            }
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        self.format.check_length(file, bytes, images)
    }

    fn read_files(&self, folder: &Path, files: &[(&str, usize)]) -> Result<Split> {
        let (mut labels, mut parts) = (Vec::new(), Vec::new());
        for &(file, images) in files {
            let (read, pixels) = self.format.read(&folder.join(file), file, images)?;
            for (record, label) in read.into_iter().enumerate() {
                let known = u8::try_from(label).ok().filter(|&label| usize::from(label) < self.classes);
                labels.push(known.ok_or_else(|| {
                    let last = self.classes - 1;
                    Error::data(format!("{file} record {record}: label {label}, expected 0–{last}"))
                })?);
            }
            parts.push((images, pixels));
        }
        Ok(Split::in_parts(labels, SHAPE.len(), parts))
    }

    fn class_names(&self, folder: &Path) -> Result<Vec<String>> {
        let path = folder.join(self.names);
        let bytes = match read_at_most(&path, NAMES_BYTES) {
            Err(Error::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !self.default_names.is_empty() =>
            {
                return Ok(self.default_names.iter().map(|name| name.to_string()).collect());
            }
            bytes => bytes?,
        };
        let names = self.format.class_names(self.names, &bytes)?;
        if names.len() != self.classes {
            let (actual, expected) = (names.len(), self.classes);
            return Err(Error::data(format!("{} has {actual} class names, expected {expected}", self.names)));
        }
        classes::check(self.names, &names)?;
        Ok(names)
    }
}

impl Layout for Cifar {
    fn title(&self) -> &'static str {
        self.title
    }

    fn signs(&self) -> &'static str {
        self.signs
    }

    /// Where it is: `folder` itself, or its own folder inside that. One file of images is enough, so that reading can name the
    /// missing ones.
    fn find(&self, folder: &Path) -> Option<PathBuf> {
        let has_images = |folder: &PathBuf| self.files().any(|(file, _)| folder.join(file).is_file());
        [folder.to_path_buf(), folder.join(self.folder)].into_iter().find(has_images)
    }

    fn read(&self, folder: &Path, _: &Options, _: &mut dyn FnMut(Progress)) -> Result<Loaded> {
        self.dataset(folder).map(Loaded::fixed)
    }
}

/// The file's first `limit` bytes, and one more where there are more.
fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(Error::file("read", path))?;
    Ok(bytes)
}
