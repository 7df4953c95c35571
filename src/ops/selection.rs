//! Which kernel runs an op: the one place where that is decided.

use super::custom::CustomKernel;
use super::{Lowering, Op, PLAIN, SUBGROUP, SUBGROUP_LANES};
use crate::error::Result;
use crate::gpu::Device;

/// A choice for every op: a user's own kernel where one was given, else the best of our variants.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    custom: Vec<CustomKernel>,
}

impl Selection {
    pub fn new(custom: Vec<CustomKernel>) -> Self {
        Self { custom }
    }

    /// The users' kernels in it.
    pub fn custom(&self) -> &[CustomKernel] {
        &self.custom
    }

    /// The kernels that run `op` on a device.
    ///
    /// # Errors
    /// Sizes beyond what the kernel is made for.
    pub fn lower(&self, op: &dyn Op, device: &Device) -> Result<Lowering> {
        self.custom_kernel(op).map_or_else(|| op.lower(choose(op, Some(device))), |kernel| kernel.lower(op))
    }

    fn custom_kernel(&self, op: &dyn Op) -> Option<&CustomKernel> {
        self.custom.iter().find(|kernel| kernel.op() == op.name())
    }
}

/// Ours that an op runs on a device unless told otherwise; without one, what runs on all.
pub fn choose(op: &dyn Op, device: Option<&Device>) -> &'static str {
    let runs = |variant: &&&str| device.map_or(**variant != SUBGROUP, |device| runs_on(device, variant));
    // The last one listed is the fastest on every adapter measured so far.
    op.variants().iter().rfind(runs).copied().unwrap_or(PLAIN)
}

/// Whether a device has what a variant needs.
pub fn runs_on(device: &Device, variant: &str) -> bool {
    variant != SUBGROUP || device.subgroup_lanes() >= SUBGROUP_LANES
}
