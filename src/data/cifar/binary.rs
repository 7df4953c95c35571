//! The binary version: a file is records of one or two label bytes and 3×32×32 pixel bytes, channel by channel, row by row:
//! the layout of a split's pixels as it is.

use std::path::Path;
use std::sync::Arc;

use super::{Format, SHAPE};
use crate::data::record_file::{RecordFile, RecordLayout};
use crate::data::split::Pixels;
use crate::error::{Error, Result};

pub(super) struct Binary {
    /// The last of them is the label.
    pub label_bytes: usize,
}

impl Binary {
    fn layout(&self, images: usize) -> RecordLayout {
        RecordLayout { header_bytes: 0, label_bytes: self.label_bytes, image_bytes: SHAPE.len(), records: images }
    }
}

impl Format for Binary {
    fn max_bytes(&self, images: usize) -> u64 {
        self.layout(images).file_bytes()
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

    /// The pixels stay in the file.
    fn read(&self, path: &Path, file: &str, images: usize) -> Result<(Vec<i64>, Pixels)> {
        let records = RecordFile::open(path, self.layout(images))?;
        self.check_length(file, records.bytes()?, images)?;
        let mut labels = Vec::with_capacity(images);
        records.for_each(&mut |record| labels.push(record[self.label_bytes - 1].into()))?;
        Ok((labels, Pixels::File(Arc::new(records))))
    }

    fn class_names(&self, _: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let text = String::from_utf8_lossy(bytes);
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect())
    }
}
