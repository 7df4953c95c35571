//! The two machines that run a plan: a GPU, and the CPU reference.

mod ahead;
mod cpu;
mod gpu;
mod inference;
mod loader;
mod memory;
mod planned;
mod records;

pub use ahead::CompileAhead;
pub use cpu::{CpuMachine, Observer};
pub use gpu::GpuMachine;
pub use inference::Inference;
pub(crate) use memory::Memory;
pub use planned::GpuOptions;
pub use records::augmented_image;

use crate::data::{Dataset, Split};
use crate::error::Result;
use crate::nn::{Network, Noise, Optimiser, Plan};

/// What to train, on which images, in batches of what size.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    pub network: &'a Network,
    pub dataset: &'a Dataset,
    pub batch: u32,
    pub optimiser: Optimiser,
    pub noise: Noise,
}

/// Images of an inference at a time; a tensor of the wide network stays near 40 MB.
const INFERENCE_BATCH: u32 = 64;

/// Losses kept between two reads, and so the most steps in one segment.
pub const MAX_SEGMENT: u32 = 2048;

/// What is trained: the flat buffers that `Plan::parameters` divides.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub parameters: Vec<f32>,
    pub momentum: Vec<f32>,
}

/// Consecutive steps with nothing for the host to look at in between.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Training images in the order they are used; a batch is the next `Plan::batch` of them, the last one may be short.
    pub images: &'a [u32],
    /// Number of the first step, counted from 1 over the whole run.
    pub first_step: u64,
    /// Counted from 1; decides how the images are augmented.
    pub epoch: u32,
    /// One a step.
    pub learning_rates: &'a [f32],
}

/// Something that turns images into logits.
pub trait Classifier {
    /// The plan that its parameters belong to: of a training step where it trains, else of an inference.
    fn plan(&self) -> &Plan;

    /// Logits (images, classes) of a range of a split.
    ///
    /// # Errors
    /// A lost or silent device, an image that cannot be read any more.
    fn logits(&mut self, split: &Split, range: std::ops::Range<usize>) -> Result<Vec<f32>>;
}

/// Something that trains.
pub trait Machine: Classifier {
    /// Replaces what is trained.
    ///
    /// # Errors
    /// A lost or silent device.
    fn set_state(&mut self, state: &State) -> Result<()>;

    /// Reads what is trained.
    ///
    /// # Errors
    /// A lost or silent device.
    fn state(&mut self) -> Result<State>;

    /// Trains up to [`MAX_SEGMENT`] steps and returns the mean loss of each. `proceed` is told now and then how many steps of the segment
    /// are done; when it returns false, the steps already begun are finished and no more are started, so the result may be shorter.
    ///
    /// # Errors
    /// A non-finite gradient, which leaves the parameters of the step before; a lost or silent device; an image that cannot be read any more.
    fn train(&mut self, segment: &Segment<'_>, proceed: &mut dyn FnMut(u32) -> bool) -> Result<Vec<f32>>;

    /// Bytes of buffers it holds on its device.
    fn bytes(&self) -> u64;

    /// Seconds the host itself has spent on preparing, recording and submitting steps, while the device may have been busy or not.
    fn host_seconds(&self) -> f64 {
        0.0
    }
}
