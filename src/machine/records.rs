//! Images as the gather kernel reads them: two words about an image, then its pixels four to a word.

use crate::data::{Dataset, Split};
use crate::error::Result;
use crate::nn::{Images, Noise};
use crate::ops::gather::record_words;
use crate::reference::augment::Variation;
use crate::reference::gather::{HEADER_WORDS, Normalise, augmented};

/// Weights of red, green and blue in a grey image, in thousandths. Source: ITU-R BT.601, as PIL's `convert("L")`.
const LUMA: [u64; 3] = [299, 587, 114];

/// Appends the records of `images` of a split whose images have so many channels.
///
/// # Errors
/// An image that cannot be read any more.
pub fn pack(
    split: &Split,
    channels: u32,
    images: impl IntoIterator<Item = usize>,
    records: &mut Vec<u32>,
) -> Result<()> {
    let size = split.image_bytes();
    for image in images {
        let first = records.len();
        records.resize(first + words(size, 1), 0);
        let (about, words) = records[first..].split_at_mut(HEADER_WORDS);
        let pixels = &mut bytemuck::cast_slice_mut(words)[..size];
        split.read(image, pixels)?;
        let mean = grey_mean(pixels, channels as usize);
        about.copy_from_slice(&[u32::from(split.labels[image]) | u32::from(mean) << 16, image as u32]);
        // The kernel takes a word's pixels from its low end on.
        words.iter_mut().for_each(|word| *word = u32::from_le(*word));
    }
    Ok(())
}

/// The mean of an image's grey version as a whole level, which contrast is changed about: here, because a kernel would have to read the
/// whole image for every pixel. Source: PIL's ImageEnhance.Contrast, which torchvision's ColorJitter calls.
fn grey_mean(pixels: &[u8], channels: usize) -> u8 {
    let size = pixels.len() / channels;
    let weight = |channel: usize| if channels == LUMA.len() { LUMA[channel] } else { 1 };
    let planes = pixels.chunks_exact(size).map(|plane| plane.iter().map(|&level| u64::from(level)).sum::<u64>());
    let sum: u64 = planes.enumerate().map(|(channel, sum)| weight(channel) * sum).sum();
    let total = size as u64 * (0..channels).map(weight).sum::<u64>();
    ((sum + total / 2) / total) as u8
}

/// Words of `count` records of images of `image_length` pixels.
pub fn words(image_length: usize, count: usize) -> usize {
    record_words(image_length as u32) as usize * count
}

/// A training image as a step of an epoch (counted from 1) sees it: C×H×W levels, for people to look at.
///
/// # Errors
/// An augmentation that does not fit the images, an image that cannot be read any more.
pub fn augmented_image(dataset: &Dataset, image: usize, noise: &Noise, epoch: u32) -> Result<Vec<u8>> {
    let Noise { seed, augmentation } = *noise;
    let shape = [dataset.shape.channels, dataset.shape.height, dataset.shape.width];
    augmentation.fits(shape[1], shape[2])?;
    let mut records = Vec::new();
    pack(&dataset.train, shape[0], [image], &mut records)?;
    let Images { mean, deviation, .. } = Images::streamed(shape, 0, 1);
    let normalise = Normalise { mean: mean.into(), deviation: deviation.into() };
    let (mut input, mut label) = (vec![0.0; dataset.shape.len()], [0]);
    augmented(shape, normalise, &Variation { augmentation, seed, epoch }, &records, &[0], &mut input, &mut label);
    let level = |value: f64| (255.0 * (value * normalise.deviation + normalise.mean)).round() as u8;
    Ok(input.into_iter().map(level).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augmentation::Augmentation;
    use crate::data::shapes;

    #[test]
    fn a_record_is_what_is_known_of_an_image_and_its_pixels() {
        let split = Split::new(vec![7, 2], vec![1, 2, 3, 4, 5, 10, 20, 30, 40, 50]);
        let mut records = Vec::new();
        pack(&split, 1, [1, 0], &mut records).unwrap();
        assert_eq!(records, [2 | 30 << 16, 1, 0x281e_140a, 50, 7 | 3 << 16, 0, 0x0403_0201, 5]);
        assert_eq!(records.len(), words(5, 2));
    }

    #[test]
    fn a_grey_image_weighs_its_colours() {
        assert_eq!(grey_mean(&[255, 255, 0, 0, 0, 0], 3), 76);
        assert_eq!(grey_mean(&[0, 0, 255, 0, 0, 0], 3), 75);
        assert_eq!(grey_mean(&[0, 0, 0, 0, 0, 255], 3), 15);
        assert_eq!(grey_mean(&[255; 12], 3), 255);
        assert_eq!((grey_mean(&[1, 2], 1), grey_mean(&[10, 11, 12, 14], 2)), (2, 12));
    }

    #[test]
    fn an_augmented_image_can_be_looked_at() {
        let dataset = shapes(1, 2, 1);
        let look = |augmentation, epoch| {
            augmented_image(&dataset, 1, &Noise { seed: 3, augmentation }, epoch).map_err(|error| error.to_string())
        };
        let image = dataset.train.image(1).unwrap();
        assert_eq!(look(Augmentation::default(), 1).unwrap(), image);
        let flip = Augmentation { flip: true, ..Augmentation::default() };
        let mirrored: Vec<u8> = image.chunks(32).flat_map(|row| row.iter().rev()).copied().collect();
        let seen: Vec<_> = (1..=9).map(|epoch| look(flip, epoch).unwrap()).collect();
        assert!(seen.iter().all(|image_seen| *image_seen == image || *image_seen == mirrored));
        assert!(seen.contains(&image) && seen.contains(&mirrored));
        let gone = look(Augmentation { cutout: 31, ..flip }, 1).unwrap();
        assert!(gone.iter().filter(|&&level| level == 128).count() >= 3 * 16 * 16);
        assert!(look(Augmentation { crop: u32::MAX, ..flip }, 1).unwrap_err().contains("crop must be smaller"));
    }
}
