//! A network on picture files.

use std::ops::Range;

use super::Predictions;
use crate::data::{Batch, ImageShape, PictureList, decode};
use crate::error::Result;
use crate::machine::Classifier;

/// Classifies a range of `list`, in order and in memory that does not grow with it, while the next pictures are decoded. `each` is told of
/// every picture's place in the list and what was predicted of it, or why it could not be read; its error ends the work.
///
/// # Errors
/// That of `each`, a lost device, logits that are not finite.
pub fn predict(
    classifier: &mut impl Classifier,
    list: &PictureList,
    range: Range<usize>,
    shape: ImageShape,
    each: &mut dyn FnMut(usize, Result<Predictions>) -> Result<()>,
) -> Result<()> {
    let classes = classifier.plan().classes as usize;
    std::thread::scope(|scope| {
        for Batch { first, read, images } in decode(scope, list, range, shape) {
            let logits = match images.len() {
                0 => Vec::new(),
                count => classifier.logits(&images, 0..count)?,
            };
            let mut rows = logits.chunks_exact(classes);
            for (place, outcome) in (first..).zip(read) {
                let mut predictions = Predictions::new(classes);
                if outcome.is_ok() {
                    predictions.push(rows.next().unwrap_or_default(), &list.path(place).display())?;
                }
                each(place, outcome.map(|()| predictions))?;
            }
        }
        Ok(())
    })
}
