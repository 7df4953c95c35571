//! A machine at work: it trains, saves, and reports events to whoever listens.

use std::path::Path;
use std::time::{Duration, Instant};

use super::checkpoint::{self, Position};
use super::{
    AdapterRecord, Config, DataRecord, Evaluation, Event, Job, LearningRates, Outcome, Predictions, RunFolder,
    RunTarget, Stop, evaluate, weights,
};
use crate::error::{Error, Result};
use crate::machine::{MAX_SEGMENT, Machine, Segment, State};
use crate::nn;
use crate::random::{Purpose, Random};
use crate::tune::Tuning;

/// Between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// What is known once there is a machine.
pub(super) struct Facts {
    pub data: DataRecord,
    pub dispatches: usize,
    pub resident: bool,
    pub tuning: Tuning,
}

/// A run on its way.
pub(super) struct Trainer<'a, M> {
    job: &'a Job,
    machine: M,
    folder: RunFolder,
    events: &'a flume::Sender<Event>,
    stop: &'a Stop,
    position: Position,
    learning_rates: LearningRates,
    /// Of the steps of one segment.
    segment_rates: Vec<f32>,
    /// Time in training since this process began; `position.seconds` is the time before.
    trained: Duration,
    /// Seconds from the beginning of the process's work to the end of the first step.
    first_step: Option<f64>,
    /// Step of the checkpoint on disk.
    saved: u64,
    saved_at: Instant,
    /// Of the parameters as they are.
    evaluated: Option<(Evaluation, Predictions)>,
    warning: Option<String>,
}

impl<'a, M: Machine> Trainer<'a, M> {
    pub fn new(
        job: &'a Job,
        mut machine: M,
        adapter: AdapterRecord,
        facts: Facts,
        events: &'a flume::Sender<Event>,
        stop: &'a Stop,
    ) -> Result<Self> {
        let settings = &job.settings;
        let data = facts.data;
        let (folder, position, warning) = if let RunTarget::Resume(run) = &job.run {
            // Held from here on: nobody else may move what is read now.
            let mut folder = RunFolder::open(run)?;
            let config = RunFolder::config(run)?;
            if config.data.sha256 != data.sha256 {
                return Err(Error::data(format!(
                    "{} holds other images than the run was trained on (got SHA-256 {:.12}…, expected {:.12}…)",
                    data.source, data.sha256, config.data.sha256
                )));
            }
            let restored = checkpoint::load(run, &weights::expected(machine.plan()))?;
            machine.set_state(&weights::state(machine.plan(), &restored.checkpoint))?;
            let position = restored.checkpoint.position;
            let begun = position.epoch.saturating_sub(u32::from(position.batch == 0));
            if settings.epochs < begun {
                return Err(Error::usage(format!(
                    "--epochs must be at least {begun}, as many as the run has begun (got {})",
                    settings.epochs
                )));
            }
            // What was asked for now also holds for whoever continues after another interruption.
            if config.settings != *settings {
                folder.configure(&Config { settings: settings.clone(), ..config })?;
            }
            folder.rewind(&position)?;
            (folder, position, restored.warning)
        } else {
            let plan = machine.plan();
            let parameters = match &settings.init {
                Some(init) => init.parameters(plan)?,
                None => nn::initialise(plan, settings.seed),
            };
            let state = State { parameters, momentum: vec![0.0; plan.parameter_length] };
            let position = Position {
                epoch: 1,
                batch: 0,
                step: 0,
                seed: settings.seed,
                loss_sum: 0.0,
                loss_count: 0,
                seconds: 0.0,
            };
            let first = weights::checkpoint(plan, &state, position.clone());
            let kernels = job.gpu_options.selection.custom();
            let config = Config {
                settings: settings.clone(),
                network: job.network.clone(),
                data,
                adapter: adapter.clone(),
                kernels: kernels.iter().map(|kernel| kernel.op().into()).collect(),
                tuned: facts.tuning.tuned,
            };
            let mut fill = |partial: &Path| {
                RunFolder::keep_kernels(partial, kernels)?;
                checkpoint::save(partial, &first, None)
            };
            let folder = match &job.run {
                RunTarget::New(path) | RunTarget::Resume(path) => RunFolder::create(path, &config, &mut fill)?,
                RunTarget::Next => RunFolder::create_next(&settings.model, &config, &mut fill)?,
            };
            machine.set_state(&state)?;
            (folder, position, None)
        };
        let mut trainer = Self {
            learning_rates: settings.learning_rates(job.batches()),
            segment_rates: Vec::with_capacity(MAX_SEGMENT as usize),
            trained: Duration::ZERO,
            first_step: None,
            saved: position.step,
            saved_at: Instant::now(),
            evaluated: None,
            job,
            machine,
            folder,
            events,
            stop,
            position,
            warning,
        };
        let start = Event::Start {
            run: trainer.folder.path().into(),
            adapter: adapter.name,
            driver: adapter.driver,
            backend: adapter.backend,
            model: settings.model.clone(),
            data: job.dataset.name.clone(),
            parameters: trainer.machine.plan().parameter_count(),
            batch: settings.batch,
            seed: settings.seed,
            epochs: settings.epochs,
            batches: job.batches(),
            dispatches: facts.dispatches,
            memory: trainer.machine.bytes(),
            resident: facts.resident,
            step: trainer.position.step,
        };
        trainer.report(start)?;
        let Tuning { ops, timed, cached, changed, seconds, warnings, .. } = facts.tuning;
        if ops > 0 || !warnings.is_empty() {
            trainer.report(Event::Tuned { ops, timed, cached, changed, seconds, warnings })?;
        }
        Ok(trainer)
    }

    /// Writes an event to metrics.jsonl and sends it on.
    fn report(&mut self, event: Event) -> Result<()> {
        self.folder.log(&event)?;
        // Nobody has to listen.
        self.events.send(event).ok();
        Ok(())
    }

    pub fn run(mut self) -> Result<Outcome> {
        let result = self.complete();
        if let Err(error) = &result {
            let (step, reason) = match error {
                Error::Interrupted { step, .. } => (*step, "interrupted".into()),
                Error::NonFinite { step: Some(step), .. } => (*step, error.to_string()),
                other => (self.position.step, other.to_string()),
            };
            let stopped = Event::Stopped { step, seconds: self.seconds(), reason };
            // What ended the run is the error to tell, not that a full disk does not take this line either.
            self.report(stopped).ok();
        }
        result
    }

    fn complete(&mut self) -> Result<Outcome> {
        while self.position.epoch <= self.job.settings.epochs {
            self.epoch()?;
        }
        self.finish()
    }

    fn epoch(&mut self) -> Result<()> {
        // Where it stands is on disk; the first step may be the one in which a driver compiles every kernel.
        if self.stop.is_requested() {
            return Err(self.interrupted());
        }
        let settings = &self.job.settings;
        let epoch = self.position.epoch;
        let images = self.job.dataset.train.len();
        let order = Random::new(settings.seed, Purpose::Shuffle, epoch.into()).permutation(images as u32);
        let batches = self.job.batches();
        // Where an epoch has no line of its own, its end gets one.
        let log_every = settings.log_every.min(batches);
        while self.position.batch < batches {
            let batch = self.position.batch;
            let line = (batch / log_every + 1).saturating_mul(log_every);
            let end = batches.min(line).min(batch + MAX_SEGMENT);
            self.segment(&order, end)?;
            if self.position.batch.is_multiple_of(log_every) {
                self.loss_line()?;
            }
            let interrupted = self.stop.is_requested();
            // The end of an epoch is saved below, unless someone waits for the end.
            if interrupted || (self.position.batch < batches && self.saved_at.elapsed() >= CHECKPOINT_EVERY) {
                self.save()?;
            }
            if interrupted {
                return Err(self.interrupted());
            }
        }

        // As in the tutorial, what is left of an epoch after its last line is not carried into the next.
        (self.position.loss_sum, self.position.loss_count) = (0.0, 0);
        self.save()?;
        let Some((evaluation, predictions)) = self.evaluate()? else { return Err(self.interrupted()) };
        self.report(Event::Eval { epoch, step: self.position.step, evaluation: evaluation.clone() })?;
        self.evaluated = Some((evaluation, predictions));
        (self.position.epoch, self.position.batch) = (epoch + 1, 0);
        self.save()
    }

    /// Over the test images; `None` when someone waits for the end.
    fn evaluate(&mut self) -> Result<Option<(Evaluation, Predictions)>> {
        let Position { epoch, step, .. } = self.position;
        let steps = u64::from(self.job.batches()) * u64::from(self.job.settings.epochs);
        let (events, stop) = (self.events, self.stop);
        let mut proceed = || {
            // A sign of life: evaluation may take longer than any silence that is believed.
            events.send(Event::Evaluating { epoch, step, steps }).ok();
            !stop.is_requested()
        };
        evaluate(&mut self.machine, &self.job.dataset.test, &mut proceed).map_err(|error| match error {
            Error::NonFinite { what, .. } => Error::NonFinite { what, step: Some(step), last_good: None },
            other => other,
        })
    }

    /// Trains up to batch `end` of the epoch, or fewer when it is time to save or stop.
    fn segment(&mut self, order: &[u32], end: u32) -> Result<()> {
        let settings = &self.job.settings;
        let (batch, size) = (self.position.batch, settings.batch as usize);
        let first_step = self.position.step + 1;
        self.segment_rates.clear();
        let rates = (first_step..).take((end - batch) as usize).map(|step| self.learning_rates.at(step) as f32);
        self.segment_rates.extend(rates);
        let last = order.len().min(end as usize * size);
        let segment = Segment {
            images: &order[batch as usize * size..last],
            first_step,
            epoch: self.position.epoch,
            learning_rates: &self.segment_rates,
        };
        let (events, stop, saved_at) = (self.events, self.stop, self.saved_at);
        let (epoch, step, batches) = (self.position.epoch, self.position.step, self.job.batches());
        let steps = u64::from(batches) * u64::from(settings.epochs);
        let started = Instant::now();
        let (begun, first_step) = (self.job.begun, &mut self.first_step);
        let mut proceed = |done: u32| {
            first_step.get_or_insert_with(|| begun.elapsed().as_secs_f64());
            let images_per_second = f64::from(done) * size as f64 / started.elapsed().as_secs_f64();
            events.send(Event::Progress { epoch, step: step + u64::from(done), steps, images_per_second }).ok();
            !stop.is_requested() && saved_at.elapsed() < CHECKPOINT_EVERY
        };
        let losses = self.machine.train(&segment, &mut proceed).map_err(|error| match error {
            Error::NonFinite { what, step, .. } => Error::NonFinite { what, step, last_good: Some(self.saved) },
            other => other,
        })?;
        self.trained += started.elapsed();
        self.position.batch += losses.len() as u32;
        self.position.step += losses.len() as u64;
        self.position.loss_count += losses.len() as u32;
        // One after the other, so that the sum does not depend on where the segments were cut.
        for &loss in &losses {
            self.position.loss_sum += f64::from(loss);
        }
        self.events.send(Event::Losses { first_step: segment.first_step, losses }).ok();
        Ok(())
    }

    fn loss_line(&mut self) -> Result<()> {
        let Position { epoch, batch, step, loss_sum, loss_count, .. } = self.position;
        (self.position.loss_sum, self.position.loss_count) = (0.0, 0);
        let (loss, lr) = (loss_sum / f64::from(loss_count.max(1)), self.learning_rates.at(step));
        self.report(Event::Loss { epoch, batch, step, loss, lr })
    }

    fn save(&mut self) -> Result<()> {
        let state = self.machine.state()?;
        let position = Position { seconds: self.seconds(), ..self.position.clone() };
        let checkpoint = weights::checkpoint(self.machine.plan(), &state, position);
        checkpoint::save(self.folder.path(), &checkpoint, Some(self.saved))?;
        (self.saved, self.saved_at) = (self.position.step, Instant::now());
        self.report(Event::Checkpoint { step: self.saved })
    }

    /// Seconds in training over the whole run.
    fn seconds(&self) -> f64 {
        self.position.seconds + self.trained.as_secs_f64()
    }

    fn interrupted(&self) -> Error {
        Error::Interrupted { step: self.position.step, run: self.folder.path().into() }
    }

    fn finish(&mut self) -> Result<Outcome> {
        let state = self.machine.state()?;
        let parameters = weights::named(&self.machine.plan().parameters, &state.parameters);
        checkpoint::save_model(&self.folder.path().join("model.safetensors"), &parameters)?;
        let weights_sha256 = checkpoint::weights_sha256(&parameters);
        // A run that was already finished has trained nothing, but is asked for its accuracy all the same.
        let (evaluation, predictions) = match self.evaluated.take() {
            Some(evaluated) => evaluated,
            None => match self.evaluate()? {
                Some(evaluated) => evaluated,
                None => return Err(self.interrupted()),
            },
        };
        let seconds = self.seconds();
        let images = self.position.step as f64 / f64::from(self.job.batches()) * self.job.dataset.train.len() as f64;
        let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let done = Event::Done {
            steps: self.position.step,
            seconds,
            images_per_second: per_second(images),
            host_share: if self.trained.is_zero() {
                0.0
            } else {
                self.machine.host_seconds() / self.trained.as_secs_f64()
            },
            first_step_seconds: self.first_step,
            weights_sha256: weights_sha256.clone(),
        };
        self.report(done)?;
        Ok(Outcome {
            run: self.folder.path().into(),
            evaluation,
            predictions,
            weights_sha256,
            warning: self.warning.take(),
        })
    }
}
