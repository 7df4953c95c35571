//! The gathering of a batch from packed records.

use super::bound::{Bound, of_magnitudes};
use super::{Block, Case, Style, Timed};
use crate::geometry::product;
use crate::gpu::StepRow;
use crate::ops::gather::{Gather, RECORD_BUFFERS, record_words};
use crate::random::{Purpose, Random};

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[Timed {
        op: "gather",
        defaults: &["batch=4,image_length=3072", "batch=128,image_length=3072"],
        // A batch from a window of streamed records.
        build: |sizes| {
            let (batch, image_length) = (sizes.get("batch")?, sizes.get("image_length")?);
            // Before the records are drawn.
            sizes.affordable("input", product(&[batch, image_length]))?;
            let records = [batch, 0, 0, 0];
            let op = Gather { batch, image_length, mean: 0.5, deviation: 0.5, records, order: 0 };
            Ok(gather(op, batch, 0, &mut Random::new(0, Purpose::Test, 1 << 32)))
        },
    }],
};

fn cases() -> Vec<Case> {
    const RECORDS: [[u32; RECORD_BUFFERS]; 4] = [[70, 0, 0, 0], [40, 27, 0, 0], [30, 30, 9, 0], [20, 20, 20, 7]];
    const IMAGE_LENGTHS: [u32; 6] = [1, 2, 3, 13, 64, 3 * 32 * 32];
    const BATCHES: [(u32, u32); 6] = [(1, 1), (4, 4), (4, 3), (5, 1), (65, 63), (16, 16)];
    let mut cases = Vec::new();
    for (index, [records, image_length, batch, streamed]) in
        super::pairwise::pairwise([RECORDS.len(), IMAGE_LENGTHS.len(), BATCHES.len(), 2]).into_iter().enumerate()
    {
        let (records, image_length, (batch, count)) = (RECORDS[records], IMAGE_LENGTHS[image_length], BATCHES[batch]);
        let images: u32 = records.iter().sum();
        let order = if streamed == 1 { 0 } else { images + 3 };
        let [mean, deviation] = [[0.5, 0.5], [0.0, 1.0], [0.4914, 0.247]][index % 3];
        let op = Gather { batch, image_length, mean, deviation, records, order };

        let mut random = Random::new(index as u64, Purpose::Test, 1 << 32);
        let last = if order == 0 { images - count } else { order - count };
        let order_offset = random.below(last + 1);
        cases.push(gather(op, count, order_offset, &mut random));
    }
    cases
}

/// Random records in a random order.
fn gather(op: Gather, count: u32, order_offset: u32, random: &mut Random) -> Case {
    let step = StepRow { step: 1, order_offset, count, slot: 0, learning_rate: 0.0 };
    let mut case = Case::new(op, Style::Uniform, normalised(op)).step(step);
    let words = record_words(op.image_length) as usize;
    for (name, count) in ["records_0", "records_1", "records_2", "records_3"].into_iter().zip(op.records) {
        // Whole random words: the bytes after the last pixel are not zero.
        let mut bits: Vec<u32> = (0..(count as usize * words).max(1)).map(|_| random.bits()).collect();
        for label in bits.iter_mut().step_by(words) {
            *label %= 10;
        }
        case = case.given(name, bits);
    }
    let images: u32 = op.records.iter().sum();
    case.given("order", (0..op.order.max(1)).map(|_| random.below(images)).collect())
}

/// scale and shift are rounded twice and once on the host; then a product and a sum. With the mean negated the magnitudes add up.
fn normalised(op: Gather) -> Bound {
    let added = Gather { mean: -op.mean, ..op };
    Box::new(move |case, inputs, _| {
        let mut bounds = of_magnitudes(&added, &case.step, inputs, 4);
        // Padding is 0 exactly.
        bounds[5][(case.step.count * added.image_length) as usize..].fill(0.0);
        bounds
    })
}
