//! A file whose images lie at fixed places, as they are: pixels that need not be kept in memory, because reading them again is as good.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use positioned_io::ReadAt;

use crate::error::{Error, Result};

/// Bytes that are read together where the whole file is gone through.
const CHUNK_BYTES: usize = 1 << 16;

/// Where the records of a file are, and the pixels in each.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordLayout {
    /// Bytes before the first record.
    pub header_bytes: usize,
    /// Bytes of a record before its pixels, which end it.
    pub label_bytes: usize,
    pub image_bytes: usize,
    pub records: usize,
}

impl RecordLayout {
    pub fn record_bytes(&self) -> usize {
        self.label_bytes + self.image_bytes
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.offset(self.records)
    }

    /// Of a record.
    fn offset(&self, record: usize) -> u64 {
        self.header_bytes as u64 + record as u64 * self.record_bytes() as u64
    }
}

/// Such a file, open. Reading says where, so that threads share it.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    file: File,
    layout: RecordLayout,
}

impl RecordFile {
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path, layout: RecordLayout) -> Result<Self> {
        let file = File::open(path).map_err(Error::file("read", path))?;
        Ok(Self { path: path.into(), file, layout })
    }

    /// Bytes that the file has now.
    ///
    /// # Errors
    /// A file system that does not say.
    pub fn bytes(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::file("read", &self.path))?.len())
    }

    /// Copies the pixels of a record to `pixels`, which has room for just them.
    ///
    /// # Errors
    /// `Error::File` where it cannot be read, `Error::Data` where it has become too short.
    pub fn read(&self, record: usize, pixels: &mut [u8]) -> Result<()> {
        self.read_at(self.layout.offset(record) + self.layout.label_bytes as u64, pixels)
    }

    /// Hands every record to `each`, label bytes and pixels, having read it.
    ///
    /// # Errors
    /// As `read`.
    pub fn for_each(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let layout = self.layout;
        let size = layout.record_bytes();
        let together = (CHUNK_BYTES / size).max(1);
        let mut chunk = vec![0; together * size];
        for first in (0..layout.records).step_by(together) {
            let records = &mut chunk[..together.min(layout.records - first) * size];
            self.read_at(layout.offset(first), records)?;
            records.chunks_exact(size).for_each(&mut *each);
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(offset, bytes).map_err(|error| match (error.kind(), self.bytes()) {
            (io::ErrorKind::UnexpectedEof, Ok(actual)) => Error::data(format!(
                "{} has become shorter since it was opened (got {actual} bytes, expected {})",
                self.path.display(),
                self.layout.file_bytes()
            )),
            _ => Error::file("read", &self.path)(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_where_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        // A header, then records of a label and two pixels; more than are read together.
        let layout = RecordLayout { header_bytes: 5, label_bytes: 1, image_bytes: 2, records: 50_000 };
        let record = |record: usize| [(record % 7) as u8, (record % 251) as u8, (record / 251) as u8];
        let bytes: Vec<u8> = [9; 5].into_iter().chain((0..layout.records).flat_map(record)).collect();
        assert_eq!(layout.file_bytes(), bytes.len() as u64);
        std::fs::write(&path, &bytes).unwrap();

        let file = RecordFile::open(&path, layout).unwrap();
        let mut all = Vec::new();
        file.for_each(&mut |record| all.extend_from_slice(record)).unwrap();
        assert!(all == bytes[5..]);
        let mut pixels = [0; 2];
        for place in [0, 1, 31_337, 49_999] {
            file.read(place, &mut pixels).unwrap();
            assert_eq!(pixels, record(place)[1..]);
        }

        File::options().write(true).open(&path).unwrap().set_len(60_004).unwrap();
        file.read(19_998, &mut pixels).unwrap();
        let expected =
            format!("{} has become shorter since it was opened (got 60004 bytes, expected 150005)", path.display());
        let error = file.read(19_999, &mut pixels).unwrap_err();
        assert_eq!((error.to_string(), error.exit_code()), (expected.clone(), 3));
        assert_eq!(file.for_each(&mut |_| {}).unwrap_err().to_string(), expected);
    }
}
