//! The python version: a file is a pickled dictionary with a list of labels and a numpy array of images, each 3×32×32 bytes,
//! channel by channel, row by row.

use std::path::Path;

use super::{Format, SHAPE, read_at_most};
use crate::data::pickle::Pickle;
use crate::data::split::Pixels;
use crate::error::{Error, Result};

pub(super) struct Python {
    /// Key of the labels.
    pub labels: &'static str,
    /// Key of the class names, in a file of their own.
    pub names: &'static str,
}

impl Format for Python {
    /// Pixels twice over, for the latin1 text that Python 3's protocol 2 makes of them; labels and file names; and the rest.
    fn max_bytes(&self, images: usize) -> u64 {
        (images * (2 * SHAPE.len() + 256) + (1 << 16)) as u64
    }

    fn check_length(&self, file: &str, bytes: u64, images: usize) -> Result<()> {
        let most = self.max_bytes(images);
        if bytes <= most {
            return Ok(());
        }
        Err(refuse(file, &format!("it has {bytes} bytes, expected at most {most}")))
    }

    fn read(&self, path: &Path, file: &str, images: usize) -> Result<(Vec<i64>, Pixels)> {
        let bytes = read_at_most(path, self.max_bytes(images))?;
        self.check_length(file, bytes.len() as u64, images)?;
        let refuse = |problem: &str| refuse(file, problem);
        let pickle = Pickle::read(&bytes).map_err(|problem| refuse(&problem))?;
        let key = self.labels;
        let labels = pickle.integers(key).ok_or_else(|| refuse(&format!("it has no list of integers {key}")))?;
        if labels.len() != images {
            return Err(refuse(&format!("it has {} {key}, expected {images}", labels.len())));
        }
        let (shape, values) = pickle.array("data").ok_or_else(|| refuse("it has no array data"))?;
        let expected = [images as u64, SHAPE.len() as u64];
        if shape != expected {
            return Err(refuse(&format!("its array data has shape {shape:?}, expected {expected:?}")));
        }
        Ok((labels, Pixels::Memory(values.to_vec())))
    }

    fn class_names(&self, file: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let pickle = Pickle::read(bytes).map_err(|problem| refuse(file, &problem))?;
        let key = self.names;
        pickle.texts(key).ok_or_else(|| refuse(file, &format!("it has no list of texts {key}")))
    }
}

fn refuse(file: &str, problem: &str) -> Error {
    Error::data(format!("{file} is not CIFAR's python version: {problem}"))
}
