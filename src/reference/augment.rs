//! What augmentation does to a training image, and how it is drawn.

use super::philox::{Purpose, below, key, philox, unit};
use crate::augmentation::Augmentation;

/// Which variation of its image a training step gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variation {
    pub augmentation: Augmentation,
    pub seed: u64,
    /// Counts from 1.
    pub epoch: u32,
}

/// What one image is turned into in one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Whether it is mirrored, left to right.
    pub flip: bool,
    /// Row and column of the padded image that the window begins at, each 0 to 2·crop.
    pub offset: [u32; 2],
    /// Row and column of the result that the cut-out square is centred on.
    pub centre: [u32; 2],
    /// 1 ± contrast.
    pub contrast: f64,
    /// 1 ± brightness.
    pub brightness: f64,
}

impl Draw {
    /// Keyed by seed, epoch and image, so the same whatever the batch, the order, and where the image comes from.
    /// `size` is (height, width).
    pub fn new(variation: &Variation, size: [u32; 2], image: u32) -> Self {
        let Variation { augmentation, seed, epoch } = *variation;
        let [first, second] = [0, 1].map(|draw| philox([image, epoch, draw, Purpose::Augment as u32], key(seed)));
        // As the kernel has it: an f32.
        let factor = |share: f64, word| 1.0 + f64::from(share as f32) * (2.0 * unit(word) - 1.0);
        let window = 2 * augmentation.crop + 1;
        Self {
            flip: augmentation.flip && first[0] >> 31 == 1,
            offset: [below(first[1], window), below(first[2], window)],
            centre: [below(second[0], size[0]), below(second[1], size[1])],
            contrast: factor(augmentation.contrast, second[2]),
            brightness: factor(augmentation.brightness, second[3]),
        }
    }
}

/// Where a pixel of the result comes from, and whether it is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Row and column of the image.
    Pixel([usize; 2]),
    /// The black border.
    Border,
    /// The square that is replaced by the mean.
    Cutout,
}

/// The origin of pixel (y, x) of the result: an image of `size` (height, width) is given a black border of `crop` pixels, a window of its
/// own size is taken out of that, mirrored, and a square of `cutout` pixels, centred on any pixel, is cut out of the result.
///
/// Source: torchvision `RandomCrop(size, padding=crop)`, `RandomHorizontalFlip`; DeVries and Taylor, "Improved Regularization of
/// Convolutional Neural Networks with Cutout", 2017.
pub fn origin(augmentation: &Augmentation, draw: &Draw, size: [usize; 2], [y, x]: [usize; 2]) -> Origin {
    let in_square = |at: usize, axis: usize| {
        let first = i64::from(draw.centre[axis]) - i64::from(augmentation.cutout / 2);
        (first..first + i64::from(augmentation.cutout)).contains(&(at as i64))
    };
    if in_square(y, 0) && in_square(x, 1) {
        return Origin::Cutout;
    }
    let x = if draw.flip { size[1] - 1 - x } else { x };
    let inside = |at: usize, axis: usize| {
        let at = (at + draw.offset[axis] as usize).checked_sub(augmentation.crop as usize);
        at.filter(|&at| at < size[axis])
    };
    match (inside(y, 0), inside(x, 1)) {
        (Some(y), Some(x)) => Origin::Pixel([y, x]),
        _ => Origin::Border,
    }
}

/// The level of a pixel, 0 to 255, after contrast and then brightness. Contrast moves it away from `grey`, the mean of the grey image
/// before anything was done to it, or towards it.
///
/// Source: torchvision `adjust_contrast` and `adjust_brightness`, in this of ColorJitter's orders, and without rounding to whole levels.
pub fn jitter(draw: &Draw, level: f64, grey: f64) -> f64 {
    let contrasted = (grey + draw.contrast * (level - grey)).clamp(0.0, 255.0);
    (draw.brightness * contrasted).clamp(0.0, 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Draw = Draw { flip: false, offset: [0; 2], centre: [0; 2], contrast: 1.0, brightness: 1.0 };

    /// 2 × 3 pixels by their origin: `.` for the border, `#` for the cutout, else the pixel's number.
    fn picture(augmentation: &Augmentation, draw: Draw) -> String {
        let pixel = |at: usize| match origin(augmentation, &draw, [2, 3], [at / 3, at % 3]) {
            Origin::Pixel([y, x]) => char::from(b'0' + (3 * y + x) as u8),
            Origin::Border => '.',
            Origin::Cutout => '#',
        };
        (0..6).map(pixel).collect()
    }

    #[test]
    fn pixels_come_from_where_they_should() {
        let none = Augmentation::default();
        assert_eq!(picture(&none, STILL), "012345");
        assert_eq!(picture(&none, Draw { flip: true, ..STILL }), "210543");
        let crop = Augmentation { crop: 1, ..none };
        assert_eq!(picture(&crop, STILL), "....01");
        assert_eq!(picture(&crop, Draw { offset: [1, 1], ..STILL }), "012345");
        assert_eq!(picture(&crop, Draw { offset: [2, 1], ..STILL }), "345...");
        assert_eq!(picture(&crop, Draw { offset: [1, 2], flip: true, ..STILL }), ".21.54");
        let cutout = Augmentation { cutout: 2, ..none };
        assert_eq!(picture(&cutout, STILL), "#12345");
        assert_eq!(picture(&cutout, Draw { centre: [1, 2], ..STILL }), "0##3##");
        assert_eq!(
            picture(&Augmentation { cutout: 1, ..none }, Draw { centre: [1, 1], flip: true, ..STILL }),
            "2105#3"
        );
    }

    #[test]
    fn levels_are_moved_and_kept_in_range() {
        let draw = Draw { contrast: 0.5, brightness: 1.5, ..STILL };
        assert_eq!(jitter(&draw, 200.0, 100.0), 225.0);
        assert_eq!(jitter(&draw, 0.0, 100.0), 75.0);
        assert_eq!(jitter(&Draw { contrast: 2.0, brightness: 0.5, ..STILL }, 200.0, 100.0), 127.5);
        assert_eq!(jitter(&Draw { contrast: 2.0, ..STILL }, 20.0, 100.0), 0.0);
    }

    #[test]
    fn draws_are_uniform_and_independent_of_each_other() {
        const DRAWS: u32 = 20_000;
        let augmentation = Augmentation { flip: true, crop: 2, cutout: 8, brightness: 0.5, contrast: 1.0 };
        let variation = Variation { augmentation, seed: 1, epoch: 1 };
        let draw = |n: u32| Draw::new(&Variation { epoch: 1 + n % 3, ..variation }, [7, 5], n / 3);
        let draws: Vec<Draw> = (0..DRAWS).map(draw).collect();
        // Within five standard deviations of a binomial count.
        let likely = |name: &str, probability: f64, is: &dyn Fn(&Draw) -> bool| {
            let count = draws.iter().filter(|draw| is(draw)).count() as f64;
            let expected = probability * f64::from(DRAWS);
            let allowed = 5.0 * (expected * (1.0 - probability)).sqrt();
            assert!((count - expected).abs() < allowed, "{name}: {count}, expected {expected} ± {allowed:.0}");
        };
        likely("flip", 0.5, &|draw| draw.flip);
        for y in 0..5 {
            for x in 0..5 {
                likely("offset", 1.0 / 25.0, &|draw| draw.offset == [y, x]);
                likely("offset and flip", 1.0 / 50.0, &|draw| draw.offset == [y, x] && draw.flip);
            }
        }
        for y in 0..7 {
            for x in 0..5 {
                likely("centre", 1.0 / 35.0, &|draw| draw.centre == [y, x]);
            }
        }
        for tenth in 0..10 {
            let [low, high] = [tenth, tenth + 1].map(|tenth| f64::from(tenth) / 10.0);
            likely("brightness", 0.1, &|draw| (0.5 + low..0.5 + high).contains(&draw.brightness));
            likely("contrast", 0.1, &|draw| (2.0 * low..2.0 * high).contains(&draw.contrast));
        }
        let inside = |draw: &Draw| (0.5..1.5).contains(&draw.brightness) && (0.0..2.0).contains(&draw.contrast);
        assert!(draws.iter().all(inside));
        let differs =
            |other: Variation, image| Draw::new(&other, [99, 99], image) != Draw::new(&variation, [99, 99], 0);
        assert!(!differs(variation, 0) && differs(variation, 1));
        assert!(differs(Variation { epoch: 2, ..variation }, 0));
        assert!([2, 1 << 32 | 1].into_iter().all(|seed| differs(Variation { seed, ..variation }, 0)));
    }
}
