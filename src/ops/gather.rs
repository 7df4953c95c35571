//! A training batch out of the images that live on the GPU as bytes. Source: torchvision ToTensor, Normalize.

use super::{Arguments, Lowering, Op, Operand, shader};
use crate::error::Result;
use crate::geometry::product;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("gather");

/// Buffers that the images may be spread over.
pub const RECORD_BUFFERS: usize = 4;

params! {
    GatherParams {
        batch: u32,
        image_length: u32,
        record_words: u32,
        records_per_buffer: u32,
        streamed: u32,
        scale: f32,
        shift: f32,
    }
}

/// Words of a record: the label, then the pixels four to a word.
pub fn record_words(image_length: u32) -> u32 {
    1 + image_length.div_ceil(4)
}

/// records, order → input (N, image_length) normalised, labels (N), both overwritten; rows past the step's `count` are zeros with label
/// `u32::MAX`.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    pub batch: u32,
    pub image_length: u32,
    pub mean: f32,
    pub deviation: f32,
    /// Images in each buffer of records; only the last may hold fewer. Buffers that are not needed have 0.
    pub records: [u32; RECORD_BUFFERS],
    /// Entries of `order`; 0 when the images of a batch lie in a row: a window of streamed records.
    pub order: u32,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn shape(&self) -> String {
        format!("{}×{}", self.batch, self.image_length)
    }

    fn operands(&self) -> Vec<Operand> {
        let words = record_words(self.image_length);
        // An empty buffer still needs something to bind.
        let records = |name, count: u32| Operand::read(name, product(&[count, words]).max(1)).of_u32();
        vec![
            records("records_0", self.records[0]),
            records("records_1", self.records[1]),
            records("records_2", self.records[2]),
            records("records_3", self.records[3]),
            Operand::read("order", self.order.max(1) as usize).of_u32(),
            Operand::write("input", product(&[self.batch, self.image_length])),
            Operand::write("labels", self.batch as usize).of_u32(),
        ]
    }

    fn flops(&self) -> u64 {
        2 * product(&[self.batch, self.image_length]) as u64
    }

    fn bytes(&self) -> u64 {
        // One batch of bytes in, one batch of floats out; not the whole data set.
        5 * product(&[self.batch, self.image_length]) as u64
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        let record_words = record_words(self.image_length);
        let params = GatherParams {
            batch: self.batch,
            image_length: self.image_length,
            record_words,
            records_per_buffer: self.records[0].max(1),
            streamed: u32::from(self.order == 0),
            scale: 1.0 / (255.0 * self.deviation),
            shift: -self.mean / self.deviation,
        };
        let bindings: Vec<_> =
            self.operands().iter().enumerate().map(|(place, operand)| (operand.name, place)).collect();
        let invocations = u64::from(self.batch) * u64::from(record_words - 1);
        Ok(Dispatch::new(&SHADER, "gather", &params, &bindings, invocations).into())
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [records_0, records_1, records_2, records_3, order, input, labels] = arguments.take();
        let words = record_words(self.image_length) as usize;
        let buffers = [records_0.u32(), records_1.u32(), records_2.u32(), records_3.u32()];
        let order = order.u32();
        let first = step.order_offset as usize;
        let mut records = Vec::with_capacity(step.count as usize * words);
        let rows = first..first + step.count as usize;
        let images: Vec<usize> =
            if self.order == 0 { rows.collect() } else { order[rows].iter().map(|&image| image as usize).collect() };
        for image in images {
            let (buffer, place) = (image / self.records[0] as usize, image % self.records[0] as usize);
            records.extend_from_slice(&buffers[buffer][place * words..(place + 1) * words]);
        }
        let positions: Vec<u32> = (0..step.count).collect();
        reference::gather::forward(
            self.image_length as usize,
            self.mean.into(),
            self.deviation.into(),
            &records,
            &positions,
            input.f64_mut(),
            labels.u32_mut(),
        );
    }
}
