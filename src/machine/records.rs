//! Images as the gather kernel reads them: one word of label, then the pixels four to a word.

use crate::data::Split;
use crate::ops::gather::record_words;

/// Appends the records of `images` of a split.
pub fn pack(split: &Split, images: impl IntoIterator<Item = usize>, records: &mut Vec<u32>) {
    for image in images {
        records.push(split.labels[image].into());
        let (words, rest) = split.image(image).as_chunks::<4>();
        records.extend(words.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        if !rest.is_empty() {
            let mut bytes = [0; 4];
            bytes[..rest.len()].copy_from_slice(rest);
            records.push(u32::from_le_bytes(bytes));
        }
    }
}

/// Words of `count` records of images of `image_length` pixels.
pub fn words(image_length: usize, count: usize) -> usize {
    record_words(image_length as u32) as usize * count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_label_and_its_pixels() {
        let split = Split { labels: vec![7, 2], pixels: vec![1, 2, 3, 4, 5, 10, 20, 30, 40, 50] };
        let mut records = Vec::new();
        pack(&split, [1, 0], &mut records);
        assert_eq!(records, [2, 0x281e_140a, 50, 7, 0x0403_0201, 5]);
        assert_eq!(records.len(), words(5, 2));
    }
}
