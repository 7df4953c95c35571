//! A thread that decodes pictures ahead of whoever looks at them, a batch at a time, over all cores.

use std::ops::Range;
use std::thread::Scope;

use rayon::prelude::*;

use super::{ImageShape, PictureList, Split, picture};
use crate::error::Result;

/// Pictures in a batch at most …
const BATCH: usize = 256;

/// … and bytes of them, from one picture on.
const BATCH_BYTES: usize = 16 << 20;

/// Pictures decoded together.
pub struct Batch {
    /// Place of the first in the list.
    pub first: usize,
    /// Whether each could be read.
    pub read: Vec<Result<()>>,
    /// Those that could; their labels mean nothing.
    pub images: Split,
}

/// Decodes a range of `list` to images of `shape`, in order, with at most three batches in memory. The thread ends when all are taken or
/// the receiver is dropped.
pub fn decode<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    list: &'env PictureList,
    range: Range<usize>,
    shape: ImageShape,
) -> flume::Receiver<Batch> {
    let size = (BATCH_BYTES / shape.len().max(1)).clamp(1, BATCH);
    // One waits here, one is being decoded, one is being looked at.
    let (sender, receiver) = flume::bounded(1);
    scope.spawn(move || {
        for first in range.clone().step_by(size) {
            let places = first..range.end.min(first + size);
            let decoded: Vec<Result<Vec<u8>>> =
                places.into_par_iter().map(|place| picture::read(&list.path(place), shape)).collect();
            let (mut labels, mut all) = (Vec::new(), Vec::new());
            let mut keep = |pixels: Vec<u8>| {
                labels.push(0);
                all.extend(pixels);
            };
            let read = decoded.into_iter().map(|image| image.map(&mut keep)).collect();
            let images = Split::new(labels, all);
            if sender.send(Batch { first, read, images }).is_err() {
                return;
            }
        }
    });
    receiver
}
