//! An augmented image is the image where nothing is asked for, and the same wherever it lies in a batch.

use super::{Kind, Outcome, Relation, STEP, contents, uniform};
use crate::augmentation::Augmentation;
use crate::error::Result;
use crate::gpu::{Device, StepRow};
use crate::ops::Op;
use crate::ops::gather::{Gather, GatherAugmented, RECORD_BUFFERS, record_words};
use crate::random::{Purpose, Random};

const IMAGES: u32 = 6;
const SHAPE: [u32; 3] = [3, 5, 7];
const GATHER: Gather = Gather {
    batch: IMAGES,
    image_length: 3 * 5 * 7,
    mean: 0.4914,
    deviation: 0.247,
    records: [IMAGES, 0, 0, 0],
    order: IMAGES,
};
const WHOLE: StepRow = StepRow { count: IMAGES, ..STEP };

pub fn relations() -> Vec<Relation> {
    let none = GatherAugmented { gather: GATHER, shape: SHAPE, augmentation: Augmentation::default(), seed: 1 };
    let augmentation = Augmentation { flip: true, crop: 2, cutout: 3, brightness: 0.4, contrast: 0.4 };
    let all = GatherAugmented { augmentation, ..none };
    none.variants()
        .iter()
        .flat_map(|&variant| {
            let still = move |device: &Device, variant: &str| equal(device, &none, &GATHER, variant, |row| row);
            let turned = move |device: &Device, variant: &str| {
                equal(device, &all, &all, variant, |row| (row + 2) % IMAGES as usize)
            };
            [
                Relation::new(Kind::Metamorphic, "no augmentation = gather", &none, variant, still),
                Relation::new(Kind::Metamorphic, "an image is drawn alike in every row", &all, variant, turned),
            ]
        })
        .collect()
}

/// Row `n` of `op` is row `other_row(n)` of `other` when the images are used in that order, bit for bit.
fn equal(
    device: &Device,
    op: &dyn Op,
    other: &dyn Op,
    variant: &str,
    other_row: fn(usize) -> usize,
) -> Result<Outcome> {
    let mut inputs = uniform(op, 9);
    let mut random = Random::new(9, Purpose::Test, 0);
    inputs[0] = (0..IMAGES * record_words(GATHER.image_length)).map(|_| random.bits()).collect();
    inputs[RECORD_BUFFERS] = (0..IMAGES).collect();
    let actual = contents(device, op, variant, &WHOLE, &inputs)?;
    for image in 0..IMAGES {
        inputs[RECORD_BUFFERS][other_row(image as usize)] = image;
    }
    let expected = contents(device, other, variant, &WHOLE, &inputs)?;
    let mut outcome = Outcome::default();
    for (place, operand) in op.operands().iter().enumerate().skip(RECORD_BUFFERS + 1) {
        let length = operand.length / IMAGES as usize;
        for (row, actual) in actual[place].chunks_exact(length).enumerate() {
            let expected = &expected[place][other_row(row) * length..][..length];
            outcome.equal(operand, actual, expected, false);
        }
    }
    Ok(outcome)
}
