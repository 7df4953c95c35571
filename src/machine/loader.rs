//! A thread that packs batches ahead of the GPU, for data sets that do not fit on it.

use std::thread::Scope;

use super::records::{pack, words};
use crate::data::Dataset;

/// Batches packed ahead at most …
const AHEAD: usize = 64;

/// … and bytes, from two batches on.
const AHEAD_BYTES: usize = 16 << 20;

/// Packed batches in order, from a thread that ends when they are all taken or this is dropped.
pub struct Loader {
    full: flume::Receiver<Vec<u32>>,
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
                pack(&dataset.train, dataset.shape.channels, images, &mut records);
                if full_sender.send(records).is_err() {
                    break;
                }
            }
        });
        Self { full, empty }
    }

    /// Hands the next batch to `use_records`.
    pub fn next(&self, use_records: impl FnOnce(&[u32])) {
        if let Ok(records) = self.full.recv() {
            use_records(&records);
            // The thread may have ended: then nobody needs the buffer.
            self.empty.send(records).ok();
        }
    }
}
