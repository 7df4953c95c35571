//! A training run as it is asked for, how it ends, and how it is asked to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{Evaluation, Predictions, Settings};
use crate::data::Dataset;
use crate::gpu::{Adapter, Checks, DeviceOptions};
use crate::machine::GpuOptions;
use crate::nn::Network;
use crate::tune::Tuner;

/// What to train, where, and into which folder.
pub struct Job {
    pub settings: Settings,
    pub network: Network,
    pub dataset: Dataset,
    /// `None` for the CPU reference.
    pub adapter: Option<Adapter>,
    pub checks: Checks,
    pub gpu_options: GpuOptions,
    /// Chooses the kernels that `gpu_options` leaves open; without one the default ones run.
    pub tuner: Option<Tuner>,
    pub run: RunTarget,
    /// When whoever asks for it began, which the first step is timed from.
    pub begun: Instant,
}

impl Job {
    /// How the device is opened that it runs on.
    pub(super) fn device_options(&self) -> DeviceOptions {
        let Settings { precision, experimental, .. } = self.settings;
        DeviceOptions { checks: self.checks, precision, experimental }
    }

    /// Batches of an epoch, the short last one included.
    pub(super) fn batches(&self) -> u32 {
        self.dataset.train.len().div_ceil(self.settings.batch as usize) as u32
    }
}

/// Which run folder a job writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunTarget {
    /// A new one, `runs/MODEL-N` with the first N that is free.
    Next,
    /// A new one.
    New(PathBuf),
    /// One to continue.
    Resume(PathBuf),
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub run: PathBuf,
    pub evaluation: Evaluation,
    /// Of the test images.
    pub predictions: Predictions,
    pub weights_sha256: String,
    /// What had to be worked around, for a person to know.
    pub warning: Option<String>,
}

/// Asks a run to finish its step, save, and end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
