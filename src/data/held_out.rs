//! Test images for a data set that has none: a share of each class, chosen by a seed.

use super::Options;
use crate::random::{Purpose, Random};
use crate::units::count;

/// Splits labelled things into training and test, both in their old order. Of each class the share is held out, rounded, but for a
/// class of at least two images at least one and never all; of a share of 0, none.
pub(super) fn hold_out<T>(labelled: Vec<T>, label: impl Fn(&T) -> u8, options: &Options) -> (Vec<T>, Vec<T>) {
    let share = options.test_share.unwrap_or(Options::TEST_SHARE);
    let seed = options.split_seed.unwrap_or(Options::SPLIT_SEED);
    let mut by_class = vec![Vec::new(); 256];
    for (place, thing) in labelled.iter().enumerate() {
        by_class[usize::from(label(thing))].push(place);
    }
    let mut is_test = vec![false; labelled.len()];
    for (class, places) in by_class.iter().enumerate() {
        let images = places.len() as u32;
        let most = images.saturating_sub(1);
        let held = if share > 0.0 { ((share * f64::from(images)).round() as u32).max(1).min(most) } else { 0 };
        let order = Random::new(seed, Purpose::Split, class as u64).permutation(images);
        order.iter().take(held as usize).for_each(|&place| is_test[places[place as usize]] = true);
    }
    let mut is_test = is_test.into_iter();
    let (test, train) = labelled.into_iter().partition(|_| is_test.next() == Some(true));
    (train, test)
}

/// The options that reading pictures and holding out took, with what they came to.
pub(super) fn resolved(options: &Options) -> Options {
    Options {
        limit: options.limit,
        image_size: Some(options.image_size.unwrap_or(Options::IMAGE_SIZE)),
        test_share: Some(options.test_share.unwrap_or(Options::TEST_SHARE)),
        split_seed: Some(options.split_seed.unwrap_or(Options::SPLIT_SEED)),
        inherited: options.inherited,
    }
}

/// What was held out, for people.
pub(super) fn note(train: usize, test: usize, options: &Options) -> String {
    if test == 0 {
        return "split: no test images; --test-share above 0 holds some out".into();
    }
    format!(
        "split: {} of {} images are held out for testing (--test-share {}, --split-seed {})",
        count(test as u64),
        count((train + test) as u64),
        options.test_share.unwrap_or(Options::TEST_SHARE),
        options.split_seed.unwrap_or(Options::SPLIT_SEED)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A label and its place.
    type Thing = (u8, usize);

    fn split(labels: &[u8], share: f64, seed: u64) -> (Vec<Thing>, Vec<Thing>) {
        let things = labels.iter().enumerate().map(|(place, &label)| (label, place)).collect();
        let options = Options { test_share: Some(share), split_seed: Some(seed), ..Options::default() };
        hold_out(things, |thing| thing.0, &options)
    }

    #[test]
    fn each_class_gives_its_share() {
        let labels: Vec<u8> = (0..100).map(|place| if place % 10 < 7 { 0 } else { 200 }).collect();
        let (train, test) = split(&labels, 0.2, 0);
        let of = |split: &[Thing], label| split.iter().filter(|thing| thing.0 == label).count();
        assert_eq!((of(&train, 0), of(&test, 0), of(&train, 200), of(&test, 200)), (56, 14, 24, 6));
        for split in [&train, &test] {
            assert!(split.windows(2).all(|pair| pair[0].1 < pair[1].1), "the order is kept");
        }
        assert_eq!(split(&labels, 0.2, 0), (train.clone(), test));
        assert_ne!(split(&labels, 0.2, 1).0, train);
    }

    #[test]
    fn small_classes_keep_an_image_for_each_side() {
        let counts = |labels: &[u8], share| {
            let (train, test) = split(labels, share, 0);
            (train.len(), test.len())
        };
        assert_eq!(counts(&[0, 0, 1, 2, 2, 2], 0.01), (4, 2));
        assert_eq!(counts(&[0, 0, 1, 2, 2, 2], 0.99), (3, 3));
        assert_eq!(counts(&[0, 0, 1, 2, 2, 2], 0.0), (6, 0));
        assert_eq!(counts(&[], 0.5), (0, 0));
    }
}
