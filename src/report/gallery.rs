//! The test images behind each cell of the confusion matrix, as many of them as a page has room for.

use std::collections::BTreeMap;

use super::Tested;
use super::sprite::Sprite;
use crate::error::Result;

/// Bytes of all sprites of the cells, as text.
const BUDGET: usize = 2_300_000;
/// Images of a cell at most, and the JPEG quality; the first pair that keeps to the budget is taken.
const LADDER: [(usize, u8); 7] = [(24, 92), (24, 85), (24, 70), (16, 70), (8, 65), (3, 60), (1, 55)];
/// Images on a page at most, so that no data set makes one that cannot be opened.
const MAX_IMAGES: usize = 6000;
/// How many of the most confident mistakes are shown.
const MISTAKES: usize = 24;
const MISTAKE_QUALITY: u8 = 90;

/// One test image and its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Its number in the test images, from 0.
    pub image: usize,
    pub label: usize,
    pub prediction: usize,
    /// Of the prediction, 0 to 1.
    pub probability: f32,
    pub sprite: usize,
    /// In its sprite.
    pub place: usize,
}

/// The pictures of a page.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    pub sprites: Vec<Sprite>,
    /// By label and prediction; the most confident first.
    pub cells: BTreeMap<(usize, usize), Vec<Shown>>,
    /// The most confident first.
    pub mistakes: Vec<Shown>,
}

impl Gallery {
    /// # Errors
    /// What an encoder refuses, an image that cannot be read any more.
    pub fn new(tested: &Tested<'_>) -> Result<Self> {
        let all = by_confidence(tested);
        let mut gallery = Self::default();
        for (most, quality) in LADDER {
            gallery = Self::cells(tested, &all, most, quality)?;
            if gallery.sprites.iter().map(|sprite| sprite.url.len()).sum::<usize>() <= BUDGET {
                break;
            }
        }
        let mistakes = all.into_iter().filter(|it| it.label != it.prediction).take(MISTAKES);
        let sprite = gallery.sprites.len();
        gallery.mistakes = mistakes.enumerate().map(|(place, it)| Shown { sprite, place, ..it }).collect();
        if !gallery.mistakes.is_empty() {
            let images: Vec<usize> = gallery.mistakes.iter().map(|it| it.image).collect();
            gallery.sprites.push(Sprite::new(tested.images, tested.shape, &images, MISTAKE_QUALITY)?);
        }
        Ok(gallery)
    }

    /// A sprite for each label, with up to `most` images of each cell.
    fn cells(tested: &Tested<'_>, all: &[Shown], most: usize, quality: u8) -> Result<Self> {
        let mut cells: BTreeMap<(usize, usize), Vec<Shown>> = BTreeMap::new();
        let mut room = MAX_IMAGES;
        for shown in all {
            let cell = cells.entry((shown.label, shown.prediction)).or_default();
            if room > 0 && cell.len() < most {
                cell.push(*shown);
                room -= 1;
            }
        }
        let mut sprites: Vec<Vec<usize>> = Vec::new();
        let mut label_before = None;
        for (&(label, _), cell) in &mut cells {
            if label_before.replace(label) != Some(label) {
                sprites.push(Vec::new());
            }
            let sprite = sprites.len() - 1;
            for shown in cell {
                (shown.sprite, shown.place) = (sprite, sprites[sprite].len());
                sprites[sprite].push(shown.image);
            }
        }
        let sprites = sprites.iter().map(|images| Sprite::new(tested.images, tested.shape, images, quality));
        Ok(Self { sprites: sprites.collect::<Result<_>>()?, cells, mistakes: Vec::new() })
    }
}

/// Every test image, the one whose prediction is surest first.
fn by_confidence(tested: &Tested<'_>) -> Vec<Shown> {
    let mut all: Vec<Shown> = (0..tested.predictions.len().min(tested.images.len()))
        .map(|image| {
            let (prediction, probability) = tested.predictions.best(image);
            let label = usize::from(tested.images.labels[image]);
            Shown { image, label, prediction, probability, sprite: 0, place: 0 }
        })
        .collect();
    all.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.image.cmp(&b.image)));
    all
}
