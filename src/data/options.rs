//! How a data set is read, where its files leave that open.

use crate::error::{Error, Result};

/// Largest `image_size`.
const MAX_IMAGE_SIZE: u32 = 4096;

/// What a person may choose about reading a data set. `None` is the default where the choice arises.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The first so many training images and test images only.
    pub limit: Option<u32>,
    /// Pixels a side of the square that pictures of any size are scaled and cropped to.
    pub image_size: Option<u32>,
    /// Share of each class that is held out for testing, where there are no test images; 0 holds out none.
    pub test_share: Option<f64>,
    /// Decides which images are held out. Not the seed of the training: a second run must not train on the first one's test images.
    pub split_seed: Option<u64>,
    /// They are those of a run that read other data: one that has no say about this data is passed over, not refused.
    pub inherited: bool,
}

impl Options {
    pub const IMAGE_SIZE: u32 = 32;
    pub const TEST_SHARE: f64 = 0.2;
    pub const SPLIT_SEED: u64 = 0;

    /// # Errors
    /// The first flag that cannot be used.
    pub fn check(&self) -> Result<()> {
        if self.limit == Some(0) {
            return Err(Error::setting("limit", "must be at least 1 (got 0)"));
        }
        if let Some(size) = self.image_size.filter(|size| !(1..=MAX_IMAGE_SIZE).contains(size)) {
            return Err(Error::setting("image_size", format!("must be 1 to {MAX_IMAGE_SIZE} (got {size})")));
        }
        if let Some(share) = self.test_share.filter(|share| !(0.0..1.0).contains(share)) {
            return Err(Error::setting("test_share", format!("must be at least 0 and below 1 (got {share})")));
        }
        Ok(())
    }
}
