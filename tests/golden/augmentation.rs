//! Augmentation.

use shadegrad::augmentation::Augmentation;
use shadegrad::reference::augment::Draw;
use shadegrad::reference::gather;

use crate::case::Golden;
use crate::{U, poisoned};

/// What is drawn is chance; what becomes of the image is not.
#[test]
fn augmentation_agrees_given_the_draw() {
    let golden = Golden::open("augment");
    let names = ["as_it_is", "flipped", "shifted", "cut_at_an_edge", "pale", "stark", "grey", "everything"];
    for case in golden.cases(&names) {
        let shape = case.shape("levels");
        let levels: Vec<u8> = case.integers("levels").iter().map(|&level| level as u8).collect();
        let [flip, crop, top, left, cutout, y, x] = case.integers("draw").try_into().unwrap();
        let [contrast, brightness, mean, deviation] = case.floats("factors").try_into().unwrap();
        let [grey] = case.floats("grey").try_into().unwrap();
        let augmentation = Augmentation { crop, cutout, ..Augmentation::default() };
        let draw = Draw { flip: flip == 1, offset: [top, left], centre: [y, x], contrast, brightness };
        let mut input = poisoned(levels.len());
        let size = [shape[1] as usize, shape[2] as usize];
        let normalise = gather::Normalise { mean, deviation };
        gather::vary(size, normalise, &augmentation, &draw, (&levels, grey), &mut input);
        // A dozen roundings there and here; before the last division no number is above brightness · (1 + 2 · contrast) + mean.
        let largest = (brightness * (1.0 + 2.0 * contrast) + mean) / deviation;
        case.assert_within("input", &input, &vec![24.0 * U * largest; levels.len()]);
    }
}
