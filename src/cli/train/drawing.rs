//! What a run reports, as lines and a progress bar.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use shadegrad::gpu::Precision;
use shadegrad::train::{Event, Schedule, Settings};
use shadegrad::units::{bytes, count};

use super::sparkline::Sparkline;
use crate::cli::print::{duration, percent, say, warn};

/// The tutorial's lines on standard output; a bar on standard error, when that is a terminal.
pub struct Drawing<'a> {
    settings: &'a Settings,
    bar: ProgressBar,
    sparkline: Sparkline,
    /// Of the steps read back last.
    loss: Option<f64>,
}

impl<'a> Drawing<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
        Self { settings, bar, sparkline: Sparkline::default(), loss: None }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub fn draw(&mut self, event: &Event) {
        let Self { settings, bar, .. } = self;
        match event {
            Event::Start { model, parameters, batches, dispatches, memory, resident, step, .. } => {
                let launches =
                    if *dispatches > 0 { format!(", {dispatches} dispatches a step") } else { String::new() };
                say(format!("model: {model}, {} parameters{launches}", count(*parameters)));
                let place = match (dispatches, resident) {
                    (0, _) => "of buffers",
                    (_, true) => "on the device, images included",
                    (_, false) => "on the device, images streamed",
                };
                say(format!("memory: {} {place}", bytes(*memory)));
                let Settings { epochs, batch, lr, momentum, seed, .. } = settings;
                say(format!(
                    "training: {epochs} {} of {} batches of {batch}, lr {lr}, momentum {momentum}, seed {seed}",
                    if *epochs == 1 { "epoch" } else { "epochs" },
                    count(u64::from(*batches))
                ));
                if settings.precision != Precision::F32 {
                    say(format!(
                        "precision: factors of products in {} where that is faster",
                        settings.precision.name()
                    ));
                }
                if !settings.augment.is_none() {
                    say(format!("augmentation: {}", settings.augment));
                }
                let warm_up = settings.learning_rates(*batches).warm_up();
                if settings.schedule != Schedule::Constant || warm_up > 0 {
                    let warm_up = match warm_up {
                        0 => String::new(),
                        1 => ", a warm-up of 1 step".into(),
                        steps => format!(", a warm-up of {} steps", count(steps)),
                    };
                    say(format!("schedule: {}{warm_up}", settings.schedule));
                }
                if let Some(init) = settings.init.as_ref().filter(|_| *step == 0) {
                    say(format!("initial weights: {}, sha256 {}", init.file.display(), init.sha256));
                }
                if *step > 0 {
                    say(format!("resumed after step {}", count(*step)));
                }
                bar.set_length(u64::from(*batches) * u64::from(*epochs));
                if let Ok(style) = ProgressStyle::with_template("{prefix} {human_pos}/{human_len}, {eta} left, {msg}") {
                    bar.set_style(style);
                }
                self.sparkline = Sparkline::new(u64::from(*batches) * u64::from(*epochs));
                bar.set_position(*step);
                bar.reset_eta();
            }
            Event::Tuning { op, shape, done, of } => {
                bar.set_length(*of as u64);
                bar.set_position(*done as u64);
                bar.set_message(format!("{op} {shape}"));
                if let Ok(style) = ProgressStyle::with_template("tuning [{bar:30}] {pos}/{len}, {msg}") {
                    bar.set_style(style.progress_chars("=> "));
                }
            }
            Event::Tuned { ops, timed, cached, changed, seconds, warnings } => {
                let how = match (timed, cached) {
                    (0, 0) => "(as the run was)".into(),
                    (0, _) => "(cached)".into(),
                    (timed, _) if timed == ops => format!("in {}", duration(*seconds)),
                    (timed, _) => format!("in {} ({timed} anew)", duration(*seconds)),
                };
                let faster = match (timed, changed) {
                    (0, _) => String::new(),
                    (_, 0) => ", the default kernels are the fastest".into(),
                    (_, changed) => format!(", {changed} run faster than with the default kernel"),
                };
                bar.suspend(|| {
                    if *ops > 0 {
                        say(format!("tuned: {ops} ops {how}{faster}"));
                    }
                    warnings.iter().for_each(warn);
                });
            }
            Event::Progress { epoch, step, images_per_second, .. } => {
                self.place(*epoch, *step, &format!("{} images/s", count(*images_per_second as u64)));
            }
            Event::Losses { first_step, losses } => {
                self.sparkline.add(*first_step, losses);
                let sum: f64 = losses.iter().copied().map(f64::from).sum();
                self.loss = (!losses.is_empty()).then(|| sum / losses.len() as f64);
            }
            Event::Evaluating { epoch, step, .. } => self.place(*epoch, *step, "evaluating"),
            Event::Loss { epoch, batch, loss, .. } => {
                // The tutorial's line: `[1,  2000] loss: 2.208`.
                let digits = settings.log_every.max(10_000).to_string().len();
                bar.suspend(|| say(format!("[{epoch}, {batch:digits$}] loss: {loss:.3}")));
            }
            Event::Eval { epoch, evaluation, .. } if *epoch < settings.epochs => {
                bar.set_message(format!("{} of the test images right", percent(evaluation.accuracy)));
            }
            Event::Done { steps, seconds, images_per_second, host_share, first_step_seconds, .. } => {
                bar.finish_and_clear();
                say("Finished Training");
                let steps_per_second = if *seconds > 0.0 { *steps as f64 / seconds } else { 0.0 };
                let first =
                    first_step_seconds.map_or_else(String::new, |seconds| format!(", the first after {seconds:.1} s"));
                say(format!(
                    "{} steps in {}: {steps_per_second:.0} steps/s, {} images/s, host {} of the time{first}",
                    count(*steps),
                    duration(*seconds),
                    count(*images_per_second as u64),
                    percent(*host_share)
                ));
            }
            Event::Eval { .. } | Event::Checkpoint { .. } | Event::Stopped { .. } => {}
        }
    }

    /// Where the run stands: `epoch 1/2 ▇▅▃▂▂▁·········· 12,345/25,000, 643 images/s, 19s left, loss 1.468`.
    fn place(&self, epoch: u32, step: u64, what: &str) {
        let loss = self.loss.map_or_else(String::new, |loss| format!(", loss {loss:.3}"));
        self.bar.set_position(step);
        self.bar.set_prefix(format!("epoch {epoch}/{} {}", self.settings.epochs, self.sparkline.draw(step)));
        self.bar.set_message(format!("{what}{loss}"));
    }
}
