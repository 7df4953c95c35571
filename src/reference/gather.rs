//! The images of a batch, picked from packed records and normalised, as they are or augmented.

use super::augment::{Draw, Origin, Variation, jitter, origin};
use crate::augmentation::Augmentation;

/// Words of a record before its pixels.
pub const HEADER_WORDS: usize = 2;

/// The label of the rows that fill up a short batch.
const NO_LABEL: u32 = u32::MAX;

/// How levels become input: `(level / 255 − mean) / deviation`. Source: torchvision `ToTensor` then `Normalize(mean, deviation)`.
#[derive(Clone, Copy, Debug)]
pub struct Normalise {
    pub mean: f64,
    pub deviation: f64,
}

impl Normalise {
    fn of(&self, level: f64) -> f64 {
        (level / 255.0 - self.mean) / self.deviation
    }
}

/// One image as it is packed.
struct Record<'a> {
    label: u32,
    /// The mean of the grey image, a whole level.
    grey: u32,
    /// Which image of the data set it is.
    image: u32,
    pixels: &'a [u32],
}

impl<'a> Record<'a> {
    fn new(words: &'a [u32]) -> Self {
        let (header, pixels) = words.split_at(HEADER_WORDS);
        Self { label: header[0] & 0xffff, grey: (header[0] >> 16) & 0xff, image: header[1], pixels }
    }

    fn levels(&self) -> impl Iterator<Item = u8> {
        self.pixels.iter().flat_map(|word| word.to_le_bytes())
    }
}

/// Row n of the batch is record `positions[n]`; rows from `positions.len()` on are zeros with the label `u32::MAX`:
///
/// ```text
/// input[n, i] = (pixel[positions[n], i] / 255 − mean) / deviation
/// labels[n] = label[positions[n]]
/// ```
///
/// A record is 2 + ⌈image_len / 4⌉ words: the label in the low half of the first and above it, in 8 bits, the mean of the grey image; the
/// image's index; then `image_len` = C·H·W pixels of 8 bits (CHW), four to a word, the first in the lowest bits. records (images, words),
/// positions (real rows), input (rows, image_len), labels (rows).
pub fn forward(
    image_len: usize,
    normalise: Normalise,
    records: &[u32],
    positions: &[u32],
    input: &mut [f64],
    labels: &mut [u32],
) {
    rows(image_len, records, positions, input, labels, |record, row| {
        for (value, level) in row.iter_mut().zip(record.levels()) {
            *value = normalise.of(level.into());
        }
    });
}

/// As [`forward`], of images of `shape` (C, H, W) as they are drawn for an epoch: contrast and brightness are changed, then a window is
/// taken out of the image and its black border, mirrored, normalised, and a square of it set to 0, which is the mean.
pub fn augmented(
    shape: [u32; 3],
    normalise: Normalise,
    variation: &Variation,
    records: &[u32],
    positions: &[u32],
    input: &mut [f64],
    labels: &mut [u32],
) {
    let [channels, height, width] = shape.map(|size| size as usize);
    rows(channels * height * width, records, positions, input, labels, |record, row| {
        let draw = Draw::new(variation, [shape[1], shape[2]], record.image);
        let levels: Vec<u8> = record.levels().collect();
        let (augmentation, grey) = (&variation.augmentation, record.grey.into());
        vary([height, width], normalise, augmentation, &draw, (&levels, grey), row);
    });
}

/// One image of `size` (height, width) as `draw` has it. levels (C, H, W) and the mean of their grey image, row (C, H, W).
pub fn vary(
    size: [usize; 2],
    normalise: Normalise,
    augmentation: &Augmentation,
    draw: &Draw,
    (levels, grey): (&[u8], f64),
    row: &mut [f64],
) {
    let [height, width] = size;
    for (i, value) in row.iter_mut().enumerate() {
        let (channel, y, x) = (i / (height * width), i / width % height, i % width);
        *value = match origin(augmentation, draw, size, [y, x]) {
            Origin::Cutout => 0.0,
            Origin::Border => normalise.of(0.0),
            Origin::Pixel([y, x]) => {
                let level = levels[(channel * height + y) * width + x];
                normalise.of(jitter(draw, level.into(), grey))
            }
        };
    }
}

fn rows(
    image_len: usize,
    records: &[u32],
    positions: &[u32],
    input: &mut [f64],
    labels: &mut [u32],
    fill: impl Fn(&Record<'_>, &mut [f64]),
) {
    let words = HEADER_WORDS + image_len.div_ceil(4);
    debug_assert_eq!(records.len() % words, 0);
    debug_assert_eq!(input.len(), labels.len() * image_len);
    debug_assert!(positions.len() <= labels.len());
    for (n, (row, label)) in input.chunks_exact_mut(image_len).zip(labels).enumerate() {
        let Some(&position) = positions.get(n) else {
            row.fill(0.0);
            *label = NO_LABEL;
            continue;
        };
        let record = Record::new(&records[position as usize * words..][..words]);
        *label = record.label;
        fill(&record, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMALISE: Normalise = Normalise { mean: 0.5, deviation: 0.5 };

    #[test]
    fn records_are_unpacked_in_order_and_short_batches_filled_up() {
        // Five pixels, so that the second word of pixels is mostly padding.
        let records = [0xaa00_0007, 1, 0xff00_00ff, 0xaaaa_aaff, 3, 0, 0x0000_ff00, 0xaaaa_aa00];
        let mut input = [f64::NAN; 15];
        let mut labels = [0; 3];
        forward(5, NORMALISE, &records, &[1, 0], &mut input, &mut labels);
        assert_eq!(input[..5], [-1.0, 1.0, -1.0, -1.0, -1.0]);
        assert_eq!(input[5..10], [1.0, -1.0, -1.0, 1.0, 1.0]);
        assert_eq!(input[10..], [0.0; 5]);
        assert_eq!(labels, [3, 7, u32::MAX]);
    }

    #[test]
    fn the_image_and_the_epoch_decide_and_not_the_row() {
        let augmentation = Augmentation { flip: true, crop: 1, cutout: 1, brightness: 0.3, contrast: 0.3 };
        // Three images of 1×2×2 with the same pixels; the first two are the same image of the data set.
        let records = [0x0080_0001, 9, 0xff40_2010, 0x0080_0002, 9, 0xff40_2010, 0x0080_0003, 10, 0xff40_2010];
        let gather = |epoch, positions: &[u32]| {
            let mut input = [f64::NAN; 12];
            let mut labels = [0; 3];
            let variation = Variation { augmentation, seed: 5, epoch };
            augmented([1, 2, 2], NORMALISE, &variation, &records, positions, &mut input, &mut labels);
            (input, labels)
        };
        let (input, labels) = gather(1, &[0, 1, 2]);
        assert_eq!(labels, [1, 2, 3]);
        assert_eq!(input[..4], input[4..8]);
        assert_ne!(input[..4], input[8..]);
        assert_ne!(input[..4], gather(2, &[0]).0[..4]);
        let (alone, labels) = gather(1, &[2]);
        assert_eq!((&alone[..4], &alone[4..], labels), (&input[8..], &[0.0; 8][..], [3, u32::MAX, u32::MAX]));
    }

    #[test]
    fn no_augmentation_leaves_an_image_as_it_is() {
        let records = [0x0080_0001, 9, 0xff40_2010];
        let mut inputs = [[f64::NAN; 4]; 2];
        let [plain, still] = &mut inputs;
        let mut labels = [0];
        forward(4, NORMALISE, &records, &[0], plain, &mut labels);
        let variation = Variation { augmentation: Augmentation::default(), seed: 5, epoch: 1 };
        augmented([1, 2, 2], NORMALISE, &variation, &records, &[0], still, &mut labels);
        assert_eq!(plain, still);
    }
}
