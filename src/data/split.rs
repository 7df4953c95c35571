//! Labelled images, in memory or left in the files that they came from.

use std::sync::Arc;

use super::record_file::RecordFile;
use crate::error::Result;

/// Labelled images, all of one shape.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// One class index an image.
    pub labels: Vec<u8>,
    image_bytes: usize,
    /// The number of the first image, and the pixels of it and of those that follow.
    parts: Vec<(usize, Pixels)>,
}

/// Pixels of images that follow each other, N×C×H×W, 0 to 255.
#[derive(Clone, Debug)]
pub(super) enum Pixels {
    Memory(Vec<u8>),
    /// Read from there whenever they are needed, so that no data set is too large for memory.
    File(Arc<RecordFile>),
}

impl Split {
    /// Of pixels in memory, N×C×H×W, 0 to 255.
    pub fn new(labels: Vec<u8>, pixels: Vec<u8>) -> Self {
        let image_bytes = pixels.len() / labels.len().max(1);
        Self { labels, image_bytes, parts: vec![(0, Pixels::Memory(pixels))] }
    }

    /// Of pixels in several places: how many images are in each, and where.
    pub(super) fn in_parts(labels: Vec<u8>, image_bytes: usize, pixels: Vec<(usize, Pixels)>) -> Self {
        let mut first = 0;
        let parts = pixels.into_iter().map(|(images, pixels)| {
            first += images;
            (first - images, pixels)
        });
        Self { labels, image_bytes, parts: parts.collect() }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of the pixels of an image.
    pub fn image_bytes(&self) -> usize {
        self.image_bytes
    }

    /// Copies the C×H×W pixels of image `i` to `pixels`, which has room for just them; `i` must be below `len`.
    ///
    /// # Errors
    /// A file that cannot be read any more, or has become shorter.
    pub fn read(&self, i: usize, pixels: &mut [u8]) -> Result<()> {
        let (first, part) = &self.parts[self.parts.partition_point(|(first, _)| *first <= i) - 1];
        match part {
            Pixels::Memory(all) => pixels.copy_from_slice(&all[(i - first) * self.image_bytes..][..self.image_bytes]),
            Pixels::File(file) => file.read(i - first, pixels)?,
        }
        Ok(())
    }

    /// The C×H×W pixels of image `i`; `i` must be below `len`.
    ///
    /// # Errors
    /// As `read`.
    pub fn image(&self, i: usize) -> Result<Vec<u8>> {
        let mut pixels = vec![0; self.image_bytes];
        self.read(i, &mut pixels)?;
        Ok(pixels)
    }

    /// The pixels of every image in order.
    pub fn images(&self) -> impl Iterator<Item = Result<Vec<u8>>> {
        (0..self.len()).map(|i| self.image(i))
    }

    /// Keeps the first `n` images, or all of them when there are fewer.
    pub fn truncate(&mut self, n: usize) {
        self.labels.truncate(n);
        self.parts.retain(|(first, _)| *first < n);
        if let Some((first, Pixels::Memory(pixels))) = self.parts.last_mut() {
            pixels.truncate((n - *first).saturating_mul(self.image_bytes));
            pixels.shrink_to_fit();
        }
    }
}
