//! The images of a batch, picked from packed records and normalised.

/// The label of the rows that fill up a short batch.
const NO_LABEL: u32 = u32::MAX;

/// Row n of the batch is record `positions[n]`; rows from `positions.len()` on are zeros with the label `u32::MAX`:
///
/// ```text
/// input[n, i] = (pixel[positions[n], i] / 255 − mean) / deviation
/// labels[n] = label[positions[n]]
/// ```
///
/// A record is 1 + ⌈image_len / 4⌉ words: the label, then `image_len` = C·H·W pixels of 8 bits (CHW), four to a word,
/// the first in the lowest bits. records (images, words), positions (real rows), input (rows, image_len), labels
/// (rows).
///
/// Source: torchvision `ToTensor` then `Normalize(mean, deviation)`.
pub fn forward(
    image_len: usize,
    mean: f64,
    deviation: f64,
    records: &[u32],
    positions: &[u32],
    input: &mut [f64],
    labels: &mut [u32],
) {
    let words = 1 + image_len.div_ceil(4);
    debug_assert_eq!(records.len() % words, 0);
    debug_assert_eq!(input.len(), labels.len() * image_len);
    debug_assert!(positions.len() <= labels.len());
    for (n, (row, label)) in input.chunks_exact_mut(image_len).zip(labels).enumerate() {
        let Some(&position) = positions.get(n) else {
            row.fill(0.0);
            *label = NO_LABEL;
            continue;
        };
        let record = &records[position as usize * words..][..words];
        *label = record[0];
        let pixels = record[1..].iter().flat_map(|word| word.to_le_bytes());
        for (value, pixel) in row.iter_mut().zip(pixels) {
            *value = (f64::from(pixel) / 255.0 - mean) / deviation;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_unpacked_in_order_and_short_batches_filled_up() {
        // Five pixels, so that the second word of pixels is mostly padding.
        let records = [7, 0xff00_00ff, 0xaaaa_aaff, 3, 0x0000_ff00, 0xaaaa_aa00];
        let mut input = [f64::NAN; 15];
        let mut labels = [0; 3];
        forward(5, 0.5, 0.5, &records, &[1, 0], &mut input, &mut labels);
        assert_eq!(input[..5], [-1.0, 1.0, -1.0, -1.0, -1.0]);
        assert_eq!(input[5..10], [1.0, -1.0, -1.0, 1.0, 1.0]);
        assert_eq!(input[10..], [0.0; 5]);
        assert_eq!(labels, [3, 7, u32::MAX]);
    }
}
