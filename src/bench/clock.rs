//! How long the GPU takes for something: by its own timestamps where they can be believed, otherwise from the wall clock.

use std::ops::Range;
use std::time::Instant;

use super::fma;
use super::work::Work;
use crate::error::Result;
use crate::gpu::{Device, Span, Stamps, StepRow, StepTable};

/// How a time was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// The GPU noted when a pass began and ended.
    Timestamps,
    /// What N more executions add to the time of N, by the wall clock; what a submit costs cancels out.
    Slope,
}

impl Timing {
    /// The word used in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timestamps => "timestamps",
            Self::Slope => "slope",
        }
    }
}

/// Executions in one submit at most: recording more would take longer than a sample.
pub const MAX_EXECUTIONS: usize = 4096;

/// A sample takes at least this long, so that neither a clock's resolution nor the cost of a submit shows.
const SAMPLE_SECONDS: f64 = 5e-3;

/// Executions before the first sample, for caches, clocks and drivers that compile late.
const WARM_UP_SECONDS: f64 = 30e-3;

/// A stopwatch for one device.
pub struct Clock<'a> {
    pub device: &'a Device,
    table: StepTable,
    stamps: Option<Stamps>,
    timing: Timing,
    /// Why timestamps are not used, where they are not.
    pub objection: Option<String>,
}

impl<'a> Clock<'a> {
    /// Probes the device's timestamps, and does without where they are not there or make no sense.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn new(device: &'a Device) -> Result<Self> {
        let mut clock = Self {
            device,
            table: StepTable::new(device, 1)?,
            stamps: Stamps::new(device, Stamps::MAX_PASSES)?,
            timing: Timing::Slope,
            objection: None,
        };
        clock.set_step(&StepRow { step: 1, epoch: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.0 });
        clock.objection = clock.probe()?;
        if clock.objection.is_none() {
            clock.timing = Timing::Timestamps;
        }
        Ok(clock)
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Measures by the slope from now on, whatever the probe said.
    pub fn use_slope(&mut self) {
        self.timing = Timing::Slope;
    }

    /// Per-step values that the kernels see.
    pub fn set_step(&mut self, step: &StepRow) {
        self.table.write(self.device, &[*step]);
    }

    /// The stamps, where they can be believed.
    pub(super) fn stamps(&self) -> Option<&Stamps> {
        self.stamps.as_ref().filter(|_| self.timing == Timing::Timestamps)
    }

    /// Seconds of one execution, from a sample of `executions`.
    ///
    /// # Errors
    /// A lost or silent device.
    pub fn sample(&self, work: &Work, executions: usize) -> Result<f64> {
        match self.stamps() {
            Some(stamps) => Ok(self.stamped(stamps, work, executions)? / executions as f64),
            None => {
                let one = self.wall(work, executions)?;
                let two = self.wall(work, 2 * executions)?;
                // A slope of nothing is a disturbance of the first half; a time is above 0.
                Ok((two - one).max(1e-9) / executions as f64)
            }
        }
    }

    /// Seconds of `executions` in one submit; without timestamps, what the submit costs is among them. Nothing but work makes it shorter,
    /// which cannot be said of a slope on a busy machine.
    ///
    /// # Errors
    /// A lost or silent device.
    pub fn total(&self, work: &Work, executions: usize) -> Result<f64> {
        match self.stamps() {
            Some(stamps) => self.stamped(stamps, work, executions),
            None => self.wall(work, executions),
        }
    }

    /// Warms up, and finds how many executions a sample needs.
    ///
    /// # Errors
    /// A lost or silent device.
    pub fn warm_up(&self, work: &Work) -> Result<usize> {
        let started = Instant::now();
        let mut executions = 1;
        loop {
            let seconds = self.total(work, executions)?;
            let enough = seconds >= SAMPLE_SECONDS || executions == MAX_EXECUTIONS;
            if enough && started.elapsed().as_secs_f64() >= WARM_UP_SECONDS {
                return Ok(executions);
            }
            if !enough {
                // Not in one leap: the first executions are the slow ones.
                let factor = (SAMPLE_SECONDS * 1.2 / seconds.max(1e-9)).clamp(1.0, 8.0);
                executions = ((executions as f64 * factor).ceil() as usize).clamp(executions + 1, MAX_EXECUTIONS);
            }
        }
    }

    fn stamped(&self, stamps: &Stamps, work: &Work, executions: usize) -> Result<f64> {
        let submission = self.device.submit(|encoder| {
            work.program.record_places(encoder, &self.table, work.places(executions), Some((stamps, 0)));
            stamps.resolve(encoder, 1);
        })?;
        self.device.wait(&submission)?;
        let spans = stamps.read(self.device, 1)?;
        Ok(spans.first().map_or(0.0, |span| span.seconds()))
    }

    fn wall(&self, work: &Work, executions: usize) -> Result<f64> {
        self.wall_of(work, work.places(executions))
    }

    fn wall_of(&self, work: &Work, places: impl Iterator<Item = usize>) -> Result<f64> {
        let started = Instant::now();
        let submission = self.device.submit(|encoder| {
            work.program.record_places(encoder, &self.table, places, None);
        })?;
        self.device.wait(&submission)?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// The parts of an execution one by one, `times` times over; a part is the next of `counts` dispatches. Each is a pass of its own,
    /// stamped; by the slope each is repeated by itself, and the spans are put behind each other.
    ///
    /// # Errors
    /// A lost or silent device.
    pub fn trace(&self, work: &Work, counts: &[usize], times: usize) -> Result<Vec<Vec<Span>>> {
        let firsts = counts.iter().scan(0, |next, &count| {
            let first = *next;
            *next += count;
            Some(first..first + count)
        });
        let parts: Vec<Range<usize>> = firsts.collect();
        match self.stamps().filter(|stamps| parts.len() <= stamps.passes()) {
            Some(stamps) => (0..times).map(|_| self.stamped_parts(stamps, work, &parts)).collect(),
            None => self.sloped_parts(work, &parts, times),
        }
    }

    fn stamped_parts(&self, stamps: &Stamps, work: &Work, parts: &[Range<usize>]) -> Result<Vec<Span>> {
        let submission = self.device.submit(|encoder| {
            for (pass, part) in parts.iter().enumerate() {
                work.program.record_places(encoder, &self.table, part.clone(), Some((stamps, pass)));
            }
            stamps.resolve(encoder, parts.len());
        })?;
        self.device.wait(&submission)?;
        stamps.read(self.device, parts.len())
    }

    fn sloped_parts(&self, work: &Work, parts: &[Range<usize>], times: usize) -> Result<Vec<Vec<Span>>> {
        let mut traces = vec![Vec::with_capacity(parts.len()); times];
        let mut begins = vec![0.0; times];
        for part in parts {
            let wall = |executions: usize| {
                let places = (0..executions).flat_map(|_| part.clone());
                self.wall_of(work, places)
            };
            let mut executions = 1;
            while wall(executions)? < SAMPLE_SECONDS && executions < MAX_EXECUTIONS {
                executions *= 2;
            }
            for (trace, begin) in traces.iter_mut().zip(&mut begins) {
                let (one, two) = (wall(executions)?, wall(2 * executions)?);
                let end = *begin + 1e9 * (two - one).max(1e-9) / executions as f64;
                trace.push(Span { begin: *begin, end });
                *begin = end;
            }
        }
        Ok(traces)
    }

    /// What is wrong with the timestamps.
    fn probe(&self) -> Result<Option<String>> {
        let Some(stamps) = &self.stamps else { return Ok(Some("the adapter has no timestamps".into())) };
        // Its time is known to be proportional to how often it is done. It need not fill the device, only be short on any.
        let (work, _) = fma::work(self.device, fma::FEW)?;
        let mut executions = 1;
        // By the wall clock, which is sane.
        while self.wall(&work, executions)? < 4.0 * SAMPLE_SECONDS && executions < MAX_EXECUTIONS {
            executions *= 2;
        }
        let mut objection = None;
        // Three attempts: a busy machine may spoil one; timestamps that make no sense do so every time.
        for _ in 0..3 {
            let one = self.stamped(stamps, &work, executions)?;
            let started = Instant::now();
            let two = self.stamped(stamps, &work, 2 * executions)?;
            let wall = started.elapsed().as_secs_f64();
            objection = implausible(one, two, wall);
            if objection.is_none() {
                break;
            }
        }
        Ok(objection)
    }
}

/// What is wrong with stamped times of N and of 2N equal executions, the latter of which took `wall`; all in seconds.
pub fn implausible(one: f64, two: f64, wall: f64) -> Option<String> {
    let milliseconds = |seconds: f64| format!("{:.3} ms", 1e3 * seconds);
    if one <= 0.0 || two <= 0.0 {
        return Some("its timestamps do not advance".into());
    }
    if two > 1.1 * wall || two < 0.4 * wall {
        return Some(format!("its timestamps say {} where {} passed", milliseconds(two), milliseconds(wall)));
    }
    if !(1.6..=2.4).contains(&(two / one)) {
        return Some(format!(
            "its timestamps say {} and then {} for twice the work",
            milliseconds(one),
            milliseconds(two)
        ));
    }
    None
}
