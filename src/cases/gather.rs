//! The gathering of a batch from packed records, as they are and augmented.

use super::bound::{Bound, FLUSH, gamma, of_magnitudes};
use super::pairwise::pairwise;
use super::{Block, Case, Style, Timed};
use crate::augmentation::Augmentation;
use crate::geometry::product;
use crate::gpu::StepRow;
use crate::ops::gather::{Gather, GatherAugmented, RECORD_BUFFERS, record_words};
use crate::random::{Purpose, Random};
use crate::reference::augment::{Draw, Origin, Variation, origin};
use crate::reference::gather::HEADER_WORDS;

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[
        Timed {
            op: "gather",
            defaults: &["batch=4,image_length=3072", "batch=128,image_length=3072"],
            // A batch from a window of streamed records.
            build: |sizes| {
                let (batch, image_length) = (sizes.get("batch")?, sizes.get("image_length")?);
                // Before the records are drawn.
                sizes.affordable("input", product(&[batch, image_length]))?;
                Ok(plain(window(batch, image_length), batch, 0, &mut Random::new(0, Purpose::Test, 1 << 32)))
            },
        },
        Timed {
            op: "gather_augmented",
            defaults: &["batch=4,channels=3,height=32,width=32", "batch=128,channels=3,height=32,width=32"],
            build: |sizes| {
                let batch = sizes.get("batch")?;
                let shape = [sizes.get("channels")?, sizes.get("height")?, sizes.get("width")?];
                sizes.affordable("input", product(&[batch]).saturating_mul(product(&shape)))?;
                let most = shape[1].min(shape[2]) - 1;
                let (crop, cutout) = (most.min(4), most.min(8));
                let augmentation = Augmentation { flip: true, crop, cutout, brightness: 0.2, contrast: 0.2 };
                let gather = window(batch, product(&shape) as u32);
                let op = GatherAugmented { gather, shape, augmentation, seed: 0 };
                Ok(augmented(op, batch, 0, &mut Random::new(0, Purpose::Test, 1 << 32)))
            },
        },
    ],
};

/// Where the images lie: the last of the buffers may hold fewer.
const RECORDS: [[u32; RECORD_BUFFERS]; 4] = [[70, 0, 0, 0], [40, 27, 0, 0], [30, 30, 9, 0], [20, 20, 20, 7]];

/// Rows and real images among them.
const BATCHES: [(u32, u32); 6] = [(1, 1), (4, 4), (4, 3), (5, 1), (65, 63), (16, 16)];

/// Means and deviations.
const NORMALISE: [[f32; 2]; 3] = [[0.5, 0.5], [0.0, 1.0], [0.4914, 0.247]];

fn cases() -> Vec<Case> {
    const IMAGE_LENGTHS: [u32; 6] = [1, 2, 3, 13, 64, 3 * 32 * 32];
    let mut cases = Vec::new();
    for (index, [records, image_length, batch, streamed]) in
        pairwise([RECORDS.len(), IMAGE_LENGTHS.len(), BATCHES.len(), 2]).into_iter().enumerate()
    {
        let (op, count) = gather(index, records, IMAGE_LENGTHS[image_length], batch, streamed);
        let (order_offset, mut random) = place(index, &op, count);
        cases.push(plain(op, count, order_offset, &mut random));
    }

    // (channels, height, width): one pixel, one row, one column, images whose last word is not full and whose words go on in the next
    // row and channel, and the tutorial's.
    const SHAPES: [[u32; 3]; 7] = [[1, 1, 1], [1, 1, 7], [3, 6, 1], [1, 5, 5], [3, 3, 7], [2, 9, 4], [3, 32, 32]];
    // From the seeds one per word, and one of both.
    const SEEDS: [u64; 3] = [0, 7, 3 << 32 | 5];
    let augmentations: [&dyn Fn(u32) -> Augmentation; 7] = [
        &|_| Augmentation::default(),
        &|_| Augmentation { flip: true, ..Augmentation::default() },
        // A border as wide as it can be leaves a corner of the image.
        &|most| Augmentation { crop: most.min(4), ..Augmentation::default() },
        &|most| Augmentation { cutout: most.min(5), ..Augmentation::default() },
        &|most| Augmentation { cutout: most.min(8), flip: true, crop: most, ..Augmentation::default() },
        &|_| Augmentation { brightness: 1.0, contrast: 0.3, ..Augmentation::default() },
        &|most| Augmentation { flip: true, crop: most.min(2), cutout: most.min(3), brightness: 0.4, contrast: 1.0 },
    ];
    let levels = [SHAPES.len(), augmentations.len(), SEEDS.len(), RECORDS.len(), BATCHES.len(), 2];
    for (index, [shape, augmentation, seed, records, batch, streamed]) in pairwise(levels).into_iter().enumerate() {
        let shape = SHAPES[shape];
        let (gather, count) = gather(index, records, product(&shape) as u32, batch, streamed);
        let augmentation = augmentations[augmentation](shape[1].min(shape[2]) - 1);
        let op = GatherAugmented { gather, shape, augmentation, seed: SEEDS[seed] };
        let (order_offset, mut random) = place(index, &gather, count);
        cases.push(augmented(op, count, order_offset, &mut random));
    }
    cases
}

/// A window of streamed records.
fn window(batch: u32, image_length: u32) -> Gather {
    Gather { batch, image_length, mean: 0.5, deviation: 0.5, records: [batch, 0, 0, 0], order: 0 }
}

fn gather(index: usize, records: usize, image_length: u32, batch: usize, streamed: usize) -> (Gather, u32) {
    let (records, (batch, count)) = (RECORDS[records], BATCHES[batch]);
    let order = if streamed == 1 { 0 } else { records.iter().sum::<u32>() + 3 };
    let [mean, deviation] = NORMALISE[index % NORMALISE.len()];
    (Gather { batch, image_length, mean, deviation, records, order }, count)
}

/// Where in the order or the window the batch begins.
fn place(index: usize, op: &Gather, count: u32) -> (u32, Random) {
    let mut random = Random::new(index as u64, Purpose::Test, 1 << 32);
    let last = if op.order == 0 { op.records.iter().sum::<u32>() - count } else { op.order - count };
    (random.below(last + 1), random)
}

fn plain(op: Gather, count: u32, order_offset: u32, random: &mut Random) -> Case {
    let step = StepRow { step: 1, epoch: 1, order_offset, count, slot: 0, learning_rate: 0.0 };
    with_records(Case::new(op, Style::Uniform, normalised(op)).step(step), op, random)
}

fn augmented(op: GatherAugmented, count: u32, order_offset: u32, random: &mut Random) -> Case {
    let epoch = 1 + random.below(3);
    let step = StepRow { step: 1, epoch, order_offset, count, slot: 0, learning_rate: 0.0 };
    with_records(Case::new(op, Style::Uniform, varied(op)).step(step), op.gather, random)
}

/// Random records in a random order.
fn with_records(mut case: Case, op: Gather, random: &mut Random) -> Case {
    let words = record_words(op.image_length) as usize;
    for (name, count) in ["records_0", "records_1", "records_2", "records_3"].into_iter().zip(op.records) {
        // Whole random words: the bytes around the label and after the last pixel are not zero, and every image has its own index.
        let mut bits: Vec<u32> = (0..(count as usize * words).max(1)).map(|_| random.bits()).collect();
        for header in bits.iter_mut().step_by(words) {
            *header = (*header & !0xffff) | (*header % 10);
        }
        case = case.given(name, bits);
    }
    let images: u32 = op.records.iter().sum();
    case.given("order", (0..op.order.max(1)).map(|_| random.below(images)).collect())
}

/// scale and shift are rounded twice and once on the host; then a product and a sum. With the mean negated the magnitudes add up.
fn normalised(op: Gather) -> Bound {
    let added = Gather { mean: -op.mean, ..op };
    Box::new(move |case, inputs, _, _| {
        let mut bounds = of_magnitudes(&added, &case.step, inputs, 4);
        // Padding is 0 exactly.
        bounds[5][(case.step.count * added.image_length) as usize..].fill(0.0);
        bounds
    })
}

/// brightness · (grey + contrast · (level − grey)) · scale + shift, in which each factor is 1 + share · number: rounded twice, and its
/// terms add up to 1 + share · |number|. The difference of two levels is exact. The term with both factors is rounded most: contrast's
/// two, its product, the sum with grey, brightness's two, its product, scale's two, its product, the sum with shift. Clamping moves two
/// numbers no further apart and makes none larger.
fn varied(op: GatherAugmented) -> Bound {
    const ROUNDINGS: u64 = 11;
    let GatherAugmented { gather, shape: [_, height, width], augmentation, seed } = op;
    let [scale, shift] = [1.0 / (255.0 * gather.deviation), gather.mean / gather.deviation].map(f64::from);
    Box::new(move |case, inputs, _, _| {
        let step = &case.step;
        let mut bounds: Vec<Vec<f64>> = case.op.operands().iter().map(|operand| vec![0.0; operand.length]).collect();
        let images = product(&[gather.image_length]);
        for (n, row) in bounds[5].chunks_exact_mut(images).take(step.count as usize).enumerate() {
            let record = record(&gather, inputs, step.order_offset as usize + n);
            let (grey, image) = (f64::from((record[0] >> 16) & 0xff), record[1]);
            let levels: Vec<u8> = record[HEADER_WORDS..].iter().flat_map(|word| word.to_le_bytes()).collect();
            let draw = Draw::new(&Variation { augmentation, seed, epoch: step.epoch }, [height, width], image);
            let magnitude = |factor: f64| 1.0 + (factor - 1.0).abs();
            let size = [height, width].map(|size| size as usize);
            for (i, bound) in row.iter_mut().enumerate() {
                let (channel, y, x) = (i / (size[0] * size[1]), i / size[1] % size[0], i % size[1]);
                *bound = match origin(&augmentation, &draw, size, [y, x]) {
                    Origin::Cutout => 0.0,
                    Origin::Border => gamma(4) * shift,
                    Origin::Pixel([y, x]) => {
                        let level = f64::from(levels[(channel * size[0] + y) * size[1] + x]);
                        let contrasted = grey + magnitude(draw.contrast) * (level - grey).abs();
                        let sum = magnitude(draw.brightness) * contrasted * scale + shift;
                        gamma(ROUNDINGS) * sum + 4.0 * ROUNDINGS as f64 * FLUSH * 255.0
                    }
                };
            }
        }
        bounds
    })
}

/// The record behind a place in the order or the window.
fn record<'a>(gather: &Gather, inputs: &'a [Vec<u32>], place: usize) -> &'a [u32] {
    let image = if gather.order == 0 { place } else { inputs[4][place] as usize };
    let (words, most) = (record_words(gather.image_length) as usize, gather.records[0] as usize);
    &inputs[image / most][image % most * words..][..words]
}
