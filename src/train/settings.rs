//! What a person chooses about a run.

use serde::{Deserialize, Serialize};

use super::{Init, LearningRates, Schedule};
use crate::augmentation::Augmentation;
use crate::data::Options;
use crate::error::{Error, Result};
use crate::gpu::Precision;
use crate::nn::{Noise, Optimiser};

/// The flags of `train` that decide its result, and the keys of `[train]` in a file; what is left out is as by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What `--data` takes.
    pub data: String,
    /// The first so many training images and test images only; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Side of the pictures that folders hold, once scaled and cropped; absent where no picture was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
    /// Share of each class held out for testing, and the seed that chooses it; absent where the data has test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// Preset name or the name in the network file.
    pub model: String,
    pub epochs: u32,
    pub batch: u32,
    /// Where the schedule starts from, or rises to.
    pub lr: f64,
    pub schedule: Schedule,
    /// Epochs, or a part of one, over which the learning rate rises to the schedule's.
    pub warmup: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
    pub label_smoothing: f64,
    pub seed: u64,
    /// Batches between two loss lines.
    pub log_every: u32,
    /// Weights to start from; drawn from the seed when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    #[serde(skip_serializing_if = "Augmentation::is_none")]
    pub augment: Augmentation,
    /// What kernels may round the factors of products to.
    pub precision: Precision,
    /// Whether kernels may use what wgpu calls experimental.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub experimental: bool,
    /// Whether the kernels are chosen by their times, which may differ from day to day; else by default.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub tune: bool,
}

impl Default for Settings {
    /// The tutorial's settings.
    fn default() -> Self {
        Self {
            data: "auto".into(),
            limit: None,
            image_size: None,
            test_share: None,
            split_seed: None,
            model: "lenet".into(),
            epochs: 2,
            batch: 4,
            lr: 0.001,
            schedule: Schedule::Constant,
            warmup: 0.0,
            momentum: 0.9,
            weight_decay: 0.0,
            nesterov: false,
            label_smoothing: 0.0,
            seed: 0,
            log_every: 2000,
            init: None,
            augment: Augmentation::default(),
            precision: Precision::F32,
            experimental: false,
            tune: true,
        }
    }
}

impl Settings {
    /// # Errors
    /// The first flag that cannot be used.
    pub fn check(&self) -> Result<()> {
        let counts = [("epochs", self.epochs), ("batch", self.batch), ("log_every", self.log_every)];
        for (setting, value) in counts {
            if value == 0 {
                return Err(Error::setting(setting, "must be at least 1 (got 0)"));
            }
        }
        self.data_options().check()?;
        // As the kernels see it.
        let lr = self.lr as f32;
        if !(lr.is_finite() && lr > 0.0) {
            return Err(Error::setting("lr", format!("must be finite and above 0 (got {})", self.lr)));
        }
        self.check_warmup()?;
        for (setting, value) in [("momentum", self.momentum), ("label_smoothing", self.label_smoothing)] {
            if !(0.0..1.0).contains(&(value as f32)) {
                return Err(Error::setting(setting, format!("must be at least 0 and below 1 (got {value})")));
            }
        }
        if !((self.weight_decay as f32).is_finite() && self.weight_decay >= 0.0) {
            let problem = format!("must be finite and at least 0 (got {})", self.weight_decay);
            return Err(Error::setting("weight_decay", problem));
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::setting("nesterov", "needs --momentum above 0 (got 0)"));
        }
        self.augment.check()
    }

    fn check_warmup(&self) -> Result<()> {
        let Self { warmup, epochs, .. } = *self;
        if !(0.0..=f64::from(epochs)).contains(&warmup) {
            return Err(Error::setting(
                "warmup",
                format!("must be 0 to --epochs (got {warmup}, expected at most {epochs})"),
            ));
        }
        if warmup > 0.0 && matches!(self.schedule, Schedule::OneCycle { .. }) {
            return Err(Error::setting("warmup", "is for the other schedules: one-cycle begins with its own")
                .with_hint("--schedule one-cycle:SHARE says for which share of the steps the rate rises"));
        }
        Ok(())
    }

    /// How the data is read.
    pub fn data_options(&self) -> Options {
        let &Self { limit, image_size, test_share, split_seed, .. } = self;
        Options { limit, image_size, test_share, split_seed, inherited: false }
    }

    /// Of every step, where an epoch has so many batches.
    pub fn learning_rates(&self, batches: u32) -> LearningRates {
        LearningRates::new(self.lr, self.schedule, self.warmup, batches, self.epochs)
    }

    pub fn optimiser(&self) -> Optimiser {
        Optimiser {
            momentum: self.momentum as f32,
            weight_decay: self.weight_decay as f32,
            nesterov: self.nesterov,
            label_smoothing: self.label_smoothing as f32,
        }
    }

    pub fn noise(&self) -> Noise {
        Noise { seed: self.seed, augmentation: self.augment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let message = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        assert!(Settings::default().check().is_ok());
        assert_eq!(message(|settings| settings.epochs = 0), "--epochs must be at least 1 (got 0)");
        assert_eq!(message(|settings| settings.lr = f64::NAN), "--lr must be finite and above 0 (got NaN)");
        assert_eq!(message(|settings| settings.momentum = 1.0), "--momentum must be at least 0 and below 1 (got 1)");
    }
}
