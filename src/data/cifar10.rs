//! CIFAR-10, binary version: 60,000 labelled 32×32 RGB photographs in ten classes (Krizhevsky 2009,
//! <https://www.cs.toronto.edu/~kriz/cifar.html>).
//!
//! A batch file is 10,000 records of one label byte and 3×32×32 pixel bytes, channel by channel, row by row: the layout of
//! [`Split::pixels`] as it is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Dataset, ImageShape, Split};
use crate::error::{Error, Result};

pub const TRAIN_FILES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
pub const TEST_FILE: &str = "test_batch.bin";
/// Class names, one a line; optional.
pub const CLASSES_FILE: &str = "batches.meta.txt";
/// The folder inside the official archive.
pub const FOLDER: &str = "cifar-10-batches-bin";
/// Bytes in each batch file.
pub const BATCH_BYTES: u64 = (RECORDS * RECORD_BYTES) as u64;
/// A class-names file larger than this is something else.
pub const CLASSES_BYTES: u64 = 4096;

const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
const RECORDS: usize = 10_000;
const RECORD_BYTES: usize = 1 + 3 * 32 * 32;
const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Where CIFAR-10 is: `folder` itself, or [`FOLDER`] inside it. One batch file is enough to be taken for CIFAR-10, so that
/// reading can name the missing ones.
pub fn find(folder: &Path) -> Option<PathBuf> {
    let has_batches = |folder: &PathBuf| batch_files().any(|file| folder.join(file).is_file());
    [folder.to_path_buf(), folder.join(FOLDER)].into_iter().find(has_batches)
}

/// Whether all six batch files are there, whatever is in them.
pub fn is_complete(folder: &Path) -> bool {
    batch_files().all(|file| folder.join(file).is_file())
}

/// Reads the six batch files in `folder`.
///
/// # Errors
/// `Error::Data` for a missing file, a wrong length, or a label above 9; records count from 0.
pub fn read(folder: &Path) -> Result<Dataset> {
    // Every length is checked before the first byte is read: a truncated last file is known at once.
    for file in batch_files() {
        check_length(folder, file)?;
    }
    Ok(Dataset {
        name: "cifar10".into(),
        source: folder.display().to_string(),
        classes: read_classes(folder)?,
        shape: SHAPE,
        train: read_batches(folder, &TRAIN_FILES)?,
        test: read_batches(folder, &[TEST_FILE])?,
    })
}

fn batch_files() -> impl Iterator<Item = &'static str> {
    TRAIN_FILES.into_iter().chain([TEST_FILE])
}

fn check_length(folder: &Path, file: &str) -> Result<()> {
    let path = folder.join(file);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() == BATCH_BYTES => Ok(()),
        Ok(metadata) => Err(wrong_length(file, metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::data(format!("{} has no {file}", folder.display()))
                .with_hint(format!("CIFAR-10 needs {}, and {TEST_FILE}", TRAIN_FILES.join(", "))))
        }
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

fn wrong_length(file: &str, bytes: u64) -> Error {
    Error::data(format!("{file} has {bytes} bytes, expected {BATCH_BYTES}"))
        .with_hint("the file is cut short or is not CIFAR-10's binary version; `shadegrad download` fetches a good one")
}

fn read_batches(folder: &Path, files: &[&str]) -> Result<Split> {
    let mut split = Split {
        labels: Vec::with_capacity(files.len() * RECORDS),
        pixels: Vec::with_capacity(files.len() * RECORDS * SHAPE.len()),
    };
    let mut batch = Vec::with_capacity(BATCH_BYTES as usize);
    for file in files {
        let path = folder.join(file);
        batch.clear();
        File::open(&path)
            .and_then(|opened| opened.take(BATCH_BYTES).read_to_end(&mut batch))
            .map_err(Error::file("read", &path))?;
        // The file may have shrunk since its length was checked.
        if batch.len() as u64 != BATCH_BYTES {
            return Err(wrong_length(file, batch.len() as u64));
        }
        for (i, record) in batch.chunks_exact(RECORD_BYTES).enumerate() {
            if usize::from(record[0]) >= CLASSES.len() {
                return Err(Error::data(format!("{file} record {i}: label {}, expected 0–9", record[0])));
            }
            split.labels.push(record[0]);
            split.pixels.extend_from_slice(&record[1..]);
        }
    }
    Ok(split)
}

/// The names in [`CLASSES_FILE`], or CIFAR-10's own where the file is absent.
fn read_classes(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join(CLASSES_FILE);
    let mut text = Vec::new();
    match File::open(&path).and_then(|file| file.take(CLASSES_BYTES + 1).read_to_end(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(CLASSES.map(String::from).to_vec()),
        Err(error) => return Err(Error::file("read", path)(error)),
    }
    let text = String::from_utf8_lossy(&text);
    let classes: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if classes.len() != CLASSES.len() {
        return Err(Error::data(format!("{CLASSES_FILE} has {} class names, expected 10", classes.len())));
    }
    Ok(classes)
}
