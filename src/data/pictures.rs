//! Many picture files, read in parallel.

use std::path::PathBuf;

use rayon::prelude::*;

use super::{ImageShape, Options, Progress, Split, memory, picture};
use crate::error::Result;

/// Pictures between two reports of progress.
const REPORT: usize = 512;

/// A picture file and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labelled {
    pub path: PathBuf,
    pub label: u8,
}

/// The square RGB image that pictures are scaled and cropped to; grey ones too, so that a set of both is of one shape.
pub(super) fn shape(options: &Options) -> ImageShape {
    let side = options.image_size.unwrap_or(Options::IMAGE_SIZE);
    ImageShape { channels: 3, height: side, width: side }
}

/// Reads the pictures of both splits, in their order, as many as the limit allows.
///
/// # Errors
/// The first picture that cannot be read; images that do not fit into memory.
pub(super) fn read(
    source: &str,
    mut splits: [Vec<Labelled>; 2],
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<[Split; 2]> {
    if let Some(limit) = options.limit {
        splits.iter_mut().for_each(|split| split.truncate(limit as usize));
    }
    let shape = shape(options);
    let total = splits.iter().map(Vec::len).sum();
    memory::require(source, total as u64, shape.len() as u64)?;
    let mut done = 0;
    let mut read_split = |pictures: &[Labelled]| {
        let mut pixels = vec![0; pictures.len() * shape.len()];
        let blocks = pixels.chunks_mut(REPORT * shape.len()).zip(pictures.chunks(REPORT));
        for (pixels, pictures) in blocks {
            progress(Progress::Decoding { done, total });
            let each = pixels.par_chunks_exact_mut(shape.len()).zip(pictures);
            // The first failure in order, whichever thread is the fastest.
            let failure = each.map(|(pixels, labelled)| {
                picture::read(&labelled.path, shape).map(|read| pixels.copy_from_slice(&read)).err()
            });
            if let Some(Some(error)) = failure.find_first(Option::is_some) {
                return Err(error);
            }
            done += pictures.len();
        }
        Ok(Split::new(pictures.iter().map(|picture| picture.label).collect(), pixels))
    };
    let [train, test] = &splits;
    Ok([read_split(train)?, read_split(test)?])
}

/// An order in which each beginning holds every class in proportion, whatever classes follow each other on disk: what a limit
/// keeps is as mixed as the whole. Within a class the order stays.
pub(super) fn interleave(pictures: Vec<Labelled>) -> Vec<Labelled> {
    let mut totals = [0u64; 256];
    pictures.iter().for_each(|picture| totals[usize::from(picture.label)] += 1);
    let mut seen = [0u64; 256];
    // The i-th of n sits at (2i + 1) / 2n of the way.
    let mut placed: Vec<(u64, u64, Labelled)> = Vec::with_capacity(pictures.len());
    for picture in pictures {
        let class = usize::from(picture.label);
        placed.push((2 * seen[class] + 1, totals[class], picture));
        seen[class] += 1;
    }
    placed.sort_by(|(a, n, left), (b, m, right)| (a * m).cmp(&(b * n)).then(left.label.cmp(&right.label)));
    placed.into_iter().map(|(_, _, picture)| picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_holds_the_classes_in_proportion() {
        let class = |label: u8, count: usize| {
            (0..count).map(move |place| Labelled { path: format!("{label}/{place}").into(), label })
        };
        let even = interleave(class(0, 3).chain(class(1, 3)).chain(class(2, 3)).collect());
        let order: Vec<String> = even.iter().map(|picture| picture.path.display().to_string()).collect();
        assert_eq!(order, ["0/0", "1/0", "2/0", "0/1", "1/1", "2/1", "0/2", "1/2", "2/2"]);

        let uneven = interleave(class(0, 1000).chain(class(1, 100)).chain(class(2, 1)).collect());
        for length in 1..=uneven.len() {
            let ones = uneven[..length].iter().filter(|picture| picture.label == 1).count();
            assert!((ones as f64 - length as f64 * 100.0 / 1101.0).abs() < 1.0, "{ones} of {length}");
        }
    }
}
