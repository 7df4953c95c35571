//! What a run reports; all but `Tuning`, `Progress`, `Losses` and `Evaluating` are lines of `metrics.jsonl`.

use std::path::PathBuf;

use serde::Serialize;

use super::Evaluation;

/// Something a listener may want to draw.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Start {
        /// The folder, which may be moved later.
        #[serde(skip)]
        run: PathBuf,
        adapter: String,
        driver: String,
        backend: String,
        model: String,
        data: String,
        parameters: u64,
        batch: u32,
        seed: u64,
        epochs: u32,
        /// Batches of an epoch.
        batches: u32,
        /// Kernel launches of a step; 0 on the CPU reference.
        dispatches: usize,
        /// Bytes of buffers on the device.
        memory: u64,
        /// Whether the images stay on the device.
        resident: bool,
        /// Steps done before, when resumed.
        step: u64,
    },
    /// Before the start: an op is about to be timed in all its variants, the `done`-th of `of`, counted from 0.
    #[serde(skip)]
    Tuning { op: &'static str, shape: String, done: usize, of: usize },
    /// After the start, where ops had variants to choose from and not simply the default ones run.
    Tuned {
        /// Ops of different shapes.
        ops: usize,
        /// Of these, timed now.
        timed: usize,
        /// Of these, timed in an earlier run; the rest were chosen by the run that is repeated or continued.
        cached: usize,
        /// Of these, running another variant than the default one.
        changed: usize,
        /// Spent on it; no part of the time in training.
        seconds: f64,
        /// What a person should know.
        #[serde(skip)]
        warnings: Vec<String>,
    },
    /// Now and then, while steps are done.
    #[serde(skip)]
    Progress { epoch: u32, step: u64, steps: u64, images_per_second: f64 },
    /// The loss of each step since the last such event, read back together.
    #[serde(skip)]
    Losses { first_step: u64, losses: Vec<f32> },
    /// Now and then, while the test images are looked at.
    #[serde(skip)]
    Evaluating { epoch: u32, step: u64, steps: u64 },
    /// The mean loss of the batches since the line before, and the learning rate of the last of them.
    Loss { epoch: u32, batch: u32, step: u64, loss: f64, lr: f64 },
    /// After an epoch, over the test images.
    Eval {
        epoch: u32,
        step: u64,
        #[serde(flatten)]
        evaluation: Evaluation,
    },
    /// A checkpoint is on disk.
    Checkpoint { step: u64 },
    /// It ended before its last epoch.
    Stopped {
        step: u64,
        /// In training.
        seconds: f64,
        /// `interrupted`, or the error.
        reason: String,
    },
    Done {
        steps: u64,
        /// In training; evaluation and checkpoints are left out.
        seconds: f64,
        images_per_second: f64,
        /// Share of those seconds, in this process, that the host spent on preparing, recording and submitting steps, 0 to 1.
        host_share: f64,
        /// From the beginning of this process's work to the end of its first step; none where no step was left to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        first_step_seconds: Option<f64>,
        weights_sha256: String,
    },
}
