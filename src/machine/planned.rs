//! How a GPU is to train, and the plan and the layout of the images that follow from it.

use std::path::PathBuf;

use super::cpu::image_shape;
use super::records::words;
use super::{MAX_SEGMENT, Setup};
use crate::error::Result;
use crate::gpu::Device;
use crate::nn::{Fusion, Images, Plan, PlanRequest};
use crate::ops::Selection;
use crate::ops::custom::CustomKernel;

/// Steps in one submit at most.
pub const MAX_STEPS: usize = 128;

/// Images that the steps of one submit use at most, unless one step alone uses more.
const MAX_SUBMIT_IMAGES: usize = 1 << 20;

/// Bytes of the window that streamed records pass through.
const WINDOW_BYTES: usize = 16 << 20;

/// How a GPU runs a plan.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// The kernel of every op.
    pub selection: Selection,
    /// The most that a kernel may do. It does less where that leaves more to a user's own.
    pub fusion: Fusion,
    /// Images stay on the GPU when they take no more bytes than this; else they stream from a loader thread.
    pub resident_bytes: u64,
    /// Where compiled kernels are kept between two starts, if they are.
    pub cache_folder: Option<PathBuf>,
    /// Every tensor of a step can be read after it: what is not needed together does not share its memory.
    pub keep_tensors: bool,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            fusion: Fusion::Full,
            resident_bytes: 1 << 30,
            cache_folder: None,
            keep_tensors: false,
        }
    }
}

/// How the training images are laid out on the GPU, and how many batches of them a submit may use.
pub struct Layout {
    pub images: Images,
    /// Whether they stay on the GPU.
    pub resident: bool,
    /// Batches that one submit may use.
    pub window: usize,
}

impl Layout {
    fn new(setup: &Setup<'_>, max_bytes: u64, options: &GpuOptions) -> Self {
        let (dataset, batch) = (setup.dataset, setup.batch as usize);
        let (shape, classes) = (image_shape(dataset), dataset.classes.len() as u32);
        let record_bytes = 4 * words(dataset.shape.len(), 1);
        let total = record_bytes as u64 * dataset.train.len() as u64;
        let window = (MAX_SUBMIT_IMAGES / batch).clamp(1, MAX_STEPS);
        let order = setup.batch.saturating_mul(window as u32);
        if total <= options.resident_bytes
            && let Some(images) = Images::resident(shape, classes, dataset.train.len() as u32, order, max_bytes)
        {
            return Self { images, resident: true, window };
        }
        let window = (WINDOW_BYTES / record_bytes.saturating_mul(batch)).clamp(1, window);
        let records = setup.batch.saturating_mul(window as u32);
        Self { images: Images::streamed(shape, classes, records), resident: false, window }
    }
}

/// A step as it is trained.
pub struct Planned {
    pub layout: Layout,
    pub plan: Plan,
    pub fusion: Fusion,
}

impl Planned {
    /// # Errors
    /// A layer that does not fit, a tensor over the adapter's limits.
    pub fn new(device: &Device, setup: &Setup<'_>, options: &GpuOptions) -> Result<Self> {
        let max_bytes = device.max_binding_bytes();
        let layout = Layout::new(setup, max_bytes, options);
        let planned = |fusion| {
            let request =
                PlanRequest { network: setup.network, images: layout.images, batch: setup.batch, max_bytes, fusion };
            Ok((fusion, request.training(&setup.optimiser, &setup.noise, MAX_SEGMENT)?))
        };
        let allowed = Fusion::ALL.into_iter().skip_while(|fusion| *fusion != options.fusion);
        let plans: Vec<(Fusion, Plan)> = match options.selection.custom() {
            [] => vec![planned(options.fusion)?],
            _ => allowed.map(planned).collect::<Result<_>>()?,
        };
        let (fusion, plan) = with_most_of(options.selection.custom(), plans);
        plan.fits(max_bytes)?;
        Ok(Self { layout, plan, fusion })
    }
}

/// The plan in which the most of some kernels run, and they for the most ops; the first of such.
fn with_most_of(kernels: &[CustomKernel], plans: Vec<(Fusion, Plan)>) -> (Fusion, Plan) {
    let runs = |(_, plan): &(Fusion, Plan)| {
        let ops = |kernel: &CustomKernel| plan.steps.iter().filter(|step| step.op.name() == kernel.op()).count();
        let counts = kernels.iter().map(ops).filter(|&count| count > 0);
        (counts.clone().count(), counts.sum::<usize>())
    };
    let most = plans.iter().map(runs).max();
    match plans.into_iter().find(|plan| Some(runs(plan)) == most) {
        Some(plan) => plan,
        None => unreachable!("there is a plan of every fusion"),
    }
}
