//! How training images lie in memory.

use crate::geometry::product;
use crate::ops::gather::{RECORD_BUFFERS, record_words};

/// How the images reach a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Images {
    /// (channels, height, width).
    pub shape: [u32; 3],
    pub classes: u32,
    pub mean: f32,
    pub deviation: f32,
    /// Images in each buffer of records.
    pub records: [u32; RECORD_BUFFERS],
    /// Entries of the order in which they are used; 0 when the records of a batch lie in a row.
    pub order: u32,
}

impl Images {
    /// A window of `count` records that the host fills again and again.
    pub fn streamed(shape: [u32; 3], classes: u32, count: u32) -> Self {
        Self { shape, classes, mean: 0.5, deviation: 0.5, records: [count, 0, 0, 0], order: 0 }
    }

    /// `count` records that stay, spread over buffers of at most `max_bytes`, used in an order of `order` entries. `None` when
    /// they do not fit.
    pub fn resident(shape: [u32; 3], classes: u32, count: u32, order: u32, max_bytes: u64) -> Option<Self> {
        let record_bytes = 4 * u64::from(record_words(u32::try_from(product(&shape)).ok()?));
        let most = u32::try_from(max_bytes / record_bytes).unwrap_or(u32::MAX);
        let mut left = count;
        let records = [(); RECORD_BUFFERS].map(|()| {
            let here = left.min(most);
            left -= here;
            here
        });
        (left == 0).then_some(Self { records, order, ..Self::streamed(shape, classes, 0) })
    }
}
