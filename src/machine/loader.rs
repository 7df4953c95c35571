//! A thread that packs batches ahead of the GPU, for data sets that do not fit on it.

use std::thread::Scope;

use super::records::{pack, words};
use crate::data::Dataset;
use crate::error::Result;

/// Batches packed ahead at most …
const AHEAD: usize = 64;

/// … and bytes, from two batches on.
const AHEAD_BYTES: usize = 16 << 20;

/// Packed batches in order, from a thread that ends when they are all taken, one cannot be read, or this is dropped.
pub struct Loader {
    full: flume::Receiver<Result<Vec<u32>>>,
    /// Buffers going back, so that nothing is allocated once all are in use.
    empty: flume::Sender<Vec<u32>>,
}

impl Loader {
    /// Packs `images` of the training images in batches of `batch`.
    pub fn spawn<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        dataset: &'env Dataset,
        images: &'env [u32],
        batch: usize,
    ) -> Self {
        let batch_bytes = 4 * words(dataset.shape.len(), batch);
        let (full_sender, full) = flume::bounded((AHEAD_BYTES / batch_bytes.max(1)).clamp(2, AHEAD));
        let (empty, empty_receiver) = flume::unbounded::<Vec<u32>>();
        scope.spawn(move || {
            for batch in images.chunks(batch) {
                let mut records = empty_receiver.try_recv().unwrap_or_default();
                records.clear();
                let images = batch.iter().map(|&image| image as usize);
                let packed = pack(&dataset.train, dataset.shape.channels, images, &mut records);
                let failed = packed.is_err();
                if full_sender.send(packed.map(|()| records)).is_err() || failed {
                    break;
                }
            }
        });
        Self { full, empty }
    }

    /// Hands the next batch to `use_records`.
    ///
    /// # Errors
    /// An image that cannot be read any more.
    pub fn next(&self, use_records: impl FnOnce(&[u32])) -> Result<()> {
        if let Ok(packed) = self.full.recv() {
            let records = packed?;
            use_records(&records);
            // The thread may have ended: then nobody needs the buffer.
            self.empty.send(records).ok();
        }
        Ok(())
    }
}
