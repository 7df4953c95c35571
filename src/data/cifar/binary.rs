//! The binary version: a file is records of one or two label bytes and 3×32×32 pixel bytes, channel by channel, row by row:
//! the layout of a split's pixels as it is.

use super::{Format, SHAPE};
use crate::error::{Error, Result};

pub(super) struct Binary {
    /// The last of them is the label.
    pub label_bytes: usize,
}

impl Binary {
    fn record_bytes(&self) -> usize {
        self.label_bytes + SHAPE.len()
    }
}

impl Format for Binary {
    fn max_bytes(&self, images: usize) -> u64 {
        (images * self.record_bytes()) as u64
    }

    fn check_length(&self, file: &str, bytes: u64, images: usize) -> Result<()> {
        let expected = self.max_bytes(images);
        if bytes == expected {
            return Ok(());
        }
        Err(Error::data(format!("{file} has {bytes} bytes, expected {expected}")).with_hint(
            "the file is cut short or is not CIFAR's binary version; `shadegrad download` fetches a good CIFAR-10",
        ))
    }

    fn read(&self, _: &str, bytes: &[u8], _: usize, pixels: &mut Vec<u8>) -> Result<Vec<i64>> {
        let records = bytes.chunks_exact(self.record_bytes()).map(|record| {
            pixels.extend_from_slice(&record[self.label_bytes..]);
            record[self.label_bytes - 1].into()
        });
        Ok(records.collect())
    }

    fn class_names(&self, _: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let text = String::from_utf8_lossy(bytes);
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect())
    }
}
