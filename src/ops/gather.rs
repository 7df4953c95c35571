//! A training batch out of the images that live on the GPU as bytes, as they are or augmented. Source: torchvision ToTensor, Normalize,
//! ColorJitter, RandomCrop, RandomHorizontalFlip; DeVries and Taylor, Cutout, 2017.

use super::{Arguments, Lowering, Op, Operand, PLAIN, VEC4, bindings_of, shader, unknown_variant};
use crate::augmentation::Augmentation;
use crate::error::Result;
use crate::geometry::product;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;
use crate::reference::augment::Variation;
use crate::reference::gather::{HEADER_WORDS, Normalise};

static SHADER: Shader = shader!("gather", "gather_pixels");
static VEC4_SHADER: Shader = shader!("gather", "gather_fours");

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
        height: u32,
        width: u32,
        flip: u32,
        crop: u32,
        cutout: u32,
        brightness: f32,
        contrast: f32,
        seed_low: u32,
        seed_high: u32,
    }
}

/// Words of a record: label and grey mean, the image's index, then the pixels four to a word.
pub fn record_words(image_length: u32) -> u32 {
    HEADER_WORDS as u32 + image_length.div_ceil(4)
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

    fn variants(&self) -> &'static [&'static str] {
        if self.image_length.is_multiple_of(4) { &[PLAIN, VEC4] } else { &[PLAIN] }
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let shader = Self::shader(self, variant)?;
        Ok(self.dispatch(shader, "gather", &self.params(), SHADER.constant("WORDS")).into())
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        self.with_records(arguments, step, |records, positions, input, labels| {
            reference::gather::forward(self.image_length as usize, self.normalise(), records, positions, input, labels);
        });
    }
}

impl Gather {
    fn params(&self) -> GatherParams {
        GatherParams {
            batch: self.batch,
            image_length: self.image_length,
            record_words: record_words(self.image_length),
            records_per_buffer: self.records[0].max(1),
            streamed: u32::from(self.order == 0),
            scale: 1.0 / (255.0 * self.deviation),
            shift: -self.mean / self.deviation,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// The shader of a variant of either op.
    fn shader(op: &dyn Op, variant: &str) -> Result<&'static Shader> {
        match variant {
            PLAIN => Ok(&SHADER),
            VEC4 if op.variants().contains(&VEC4) => Ok(&VEC4_SHADER),
            _ => Err(unknown_variant(op, variant)),
        }
    }

    /// Each invocation does so many `words`.
    fn dispatch(
        &self,
        shader: &'static Shader,
        entry_point: &'static str,
        params: &GatherParams,
        words: u32,
    ) -> Dispatch {
        let bindings = bindings_of(&self.operands());
        let all = u64::from(self.batch) * u64::from(self.image_length.div_ceil(4));
        let invocations = all.div_ceil(words.into());
        let buffers = self.records.iter().filter(|&&records| records > 0).count().max(1) as u32;
        Dispatch::specialised(shader, entry_point, params, &bindings, invocations, &[("BUFFERS", buffers)])
    }

    fn normalise(&self) -> Normalise {
        Normalise { mean: self.mean.into(), deviation: self.deviation.into() }
    }

    /// Calls `fill` with the records of the step in a row, their positions, and what is to be written.
    fn with_records(
        &self,
        arguments: Arguments<'_>,
        step: &StepRow,
        fill: impl FnOnce(&[u32], &[u32], &mut [f64], &mut [u32]),
    ) {
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
        fill(&records, &positions, input.f64_mut(), labels.u32_mut());
    }
}

/// As [`Gather`], of the images as they are drawn for the step's epoch.
#[derive(Clone, Copy, Debug)]
pub struct GatherAugmented {
    pub gather: Gather,
    /// (channels, height, width), `image_length` together.
    pub shape: [u32; 3],
    pub augmentation: Augmentation,
    pub seed: u64,
}

impl Op for GatherAugmented {
    fn name(&self) -> &'static str {
        "gather_augmented"
    }

    fn shape(&self) -> String {
        let Self { gather: Gather { batch, .. }, shape: [channels, height, width], augmentation, .. } = self;
        format!("{batch}×{channels}×{height}×{width}, {augmentation}")
    }

    fn operands(&self) -> Vec<Operand> {
        self.gather.operands()
    }

    fn flops(&self) -> u64 {
        // Contrast is three, brightness one.
        self.gather.flops() + 4 * product(&[self.gather.batch, self.gather.image_length]) as u64
    }

    fn bytes(&self) -> u64 {
        self.gather.bytes()
    }

    fn variants(&self) -> &'static [&'static str] {
        self.gather.variants()
    }

    fn lower(&self, variant: &str) -> Result<Lowering> {
        let shader = Gather::shader(self, variant)?;
        let ([_, height, width], augmentation) = (self.shape, &self.augmentation);
        let [seed_low, seed_high] = reference::philox::key(self.seed);
        let params = GatherParams {
            height,
            width,
            flip: augmentation.flip.into(),
            crop: augmentation.crop,
            cutout: augmentation.cutout,
            brightness: augmentation.brightness as f32,
            contrast: augmentation.contrast as f32,
            seed_low,
            seed_high,
            ..self.gather.params()
        };
        Ok(self.gather.dispatch(shader, "gather_augmented", &params, 1).into())
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let variation = Variation { augmentation: self.augmentation, seed: self.seed, epoch: step.epoch };
        self.gather.with_records(arguments, step, |records, positions, input, labels| {
            reference::gather::augmented(
                self.shape,
                self.gather.normalise(),
                &variation,
                records,
                positions,
                input,
                labels,
            );
        });
    }
}
