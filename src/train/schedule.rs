//! How the learning rate changes from step to step.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// PyTorch's defaults of OneCycleLR: the peak over the first rate, the first over the last.
const ONE_CYCLE_START: f64 = 25.0;
const ONE_CYCLE_END: f64 = 1e4;

/// The course of the learning rate over a run. As text, in flags and files: `constant`, `step:10,0.1`, `cosine`, `one-cycle:0.3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    #[default]
    Constant,
    /// Times `gamma` after every so many epochs of the run. Source: PyTorch StepLR.
    Step { epochs: u32, gamma: f64 },
    /// Half a cosine from the end of the warm-up down to 0 at the end of the run, a step at a time. Source: PyTorch CosineAnnealingLR.
    Cosine,
    /// Half a cosine from 1/25 of the rate up to it over a share `rising` of the steps, another down to 1/250,000. The momentum stays.
    /// Source: PyTorch OneCycleLR with `cycle_momentum=False`.
    OneCycle { rising: f64 },
}

impl Schedule {
    /// Whether a rate before the end depends on where the end is.
    pub fn follows_end(&self) -> bool {
        matches!(self, Self::Cosine | Self::OneCycle { .. })
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, values) = match text.split_once(':') {
            Some((name, values)) => (name, Some(values)),
            None => (text, None),
        };
        match (name, values) {
            ("constant", None) => Ok(Self::Constant),
            ("cosine", None) => Ok(Self::Cosine),
            ("step", Some(values)) => {
                let (epochs, gamma) = values.split_once(',').unwrap_or((values, "0.1"));
                let whole = epochs.parse().ok().filter(|&epochs| epochs > 0);
                let epochs = whole.ok_or_else(|| refuse("the step schedule takes a whole number of epochs", epochs))?;
                let share = gamma.parse().ok().filter(|&gamma| gamma > 0.0 && gamma <= 1.0);
                let gamma =
                    share.ok_or_else(|| refuse("the step schedule's gamma must be above 0 and at most 1", gamma))?;
                Ok(Self::Step { epochs, gamma })
            }
            ("one-cycle", values) => {
                let values = values.unwrap_or("0.3");
                let rising = values.parse().ok().filter(|rising| (0.0..=1.0).contains(rising));
                let rising = rising.ok_or_else(|| refuse("the rising share of one-cycle must be 0 to 1", values))?;
                Ok(Self::OneCycle { rising })
            }
            _ => Err(Error::usage(format!(
                "no schedule {text} (expected constant, step:EPOCHS[,GAMMA], cosine or one-cycle[:SHARE])"
            ))),
        }
    }
}

fn refuse(problem: &str, actual: &str) -> Error {
    Error::usage(format!("{problem} (got {actual})"))
}

impl fmt::Display for Schedule {
    /// Text that parses back.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Step { epochs, gamma } => write!(f, "step:{epochs},{gamma}"),
            Self::Cosine => f.write_str("cosine"),
            Self::OneCycle { rising } => write!(f, "one-cycle:{rising}"),
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}

/// The learning rate of every step of a run: a function of the step's number alone, so that it does not matter where a run was
/// interrupted or how its steps were cut into segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRates {
    peak: f64,
    schedule: Schedule,
    /// Steps of an epoch.
    epoch: u64,
    warm_up: u64,
    steps: u64,
}

impl LearningRates {
    /// For `epochs` of `batches` steps. `peak` is the rate that the schedule starts from, or rises to; `warm_up` is in epochs.
    pub fn new(peak: f64, schedule: Schedule, warm_up: f64, batches: u32, epochs: u32) -> Self {
        let epoch = u64::from(batches);
        let warm_up = (warm_up * epoch as f64).round() as u64;
        Self { peak, schedule, epoch, warm_up, steps: epoch * u64::from(epochs) }
    }

    /// Steps until the rate is the schedule's.
    pub fn warm_up(&self) -> u64 {
        self.warm_up
    }

    /// The rate of a step, counted from 1.
    ///
    /// A warm-up of n steps is a straight line from 1/n of the schedule's rate to the whole of it; PyTorch's LinearLR(1/n,
    /// total_iters=n−1), chained before StepLR, and before CosineAnnealingLR in SequentialLR.
    pub fn at(&self, step: u64) -> f64 {
        let done = step.saturating_sub(1);
        let rate = self.peak * self.share(done);
        if done < self.warm_up { rate * step as f64 / self.warm_up as f64 } else { rate }
    }

    /// What the schedule leaves of the peak after so many steps; of libm, whose bits are the same on every machine.
    fn share(&self, done: u64) -> f64 {
        match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Step { epochs, gamma } => {
                libm::pow(gamma, (done / (self.epoch * u64::from(epochs)).max(1)) as f64)
            }
            Schedule::Cosine => {
                let length = self.steps.saturating_sub(self.warm_up).max(1);
                between(1.0, 0.0, done.saturating_sub(self.warm_up) as f64, 0.0, length as f64)
            }
            Schedule::OneCycle { rising } => {
                let (done, last) = (done as f64, self.steps as f64 - 1.0);
                let (first, peak) = (1.0 / ONE_CYCLE_START, rising * self.steps as f64 - 1.0);
                if done <= peak {
                    between(first, 1.0, done, 0.0, peak)
                } else {
                    between(1.0, first / ONE_CYCLE_END, done, peak, last)
                }
            }
        }
    }
}

/// Half a cosine from `first` at `start` to `last` at `end`.
fn between(first: f64, last: f64, now: f64, start: f64, end: f64) -> f64 {
    // A phase of one step is over at once.
    let share = if end > start { ((now - start) / (end - start)).min(1.0) } else { 1.0 };
    last + (first - last) / 2.0 * (1.0 + libm::cos(std::f64::consts::PI * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &str, warm_up: f64) -> LearningRates {
        LearningRates::new(0.5, schedule.parse().unwrap(), warm_up, 10, 4)
    }

    #[test]
    fn a_schedule_survives_its_own_text() {
        for text in ["constant", "step:10,0.1", "step:1,1", "cosine", "one-cycle:0.25"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        assert_eq!("step:3".parse::<Schedule>().unwrap(), Schedule::Step { epochs: 3, gamma: 0.1 });
        assert_eq!("one-cycle".parse::<Schedule>().unwrap(), Schedule::OneCycle { rising: 0.3 });
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let known = "(expected constant, step:EPOCHS[,GAMMA], cosine or one-cycle[:SHARE])";
        for (text, message) in [
            ("linear", format!("no schedule linear {known}")),
            ("step", format!("no schedule step {known}")),
            ("cosine:3", format!("no schedule cosine:3 {known}")),
            ("step:0", "the step schedule takes a whole number of epochs (got 0)".into()),
            ("step:1.5,0.1", "the step schedule takes a whole number of epochs (got 1.5)".into()),
            ("step:2,nan", "the step schedule's gamma must be above 0 and at most 1 (got nan)".into()),
            ("one-cycle:2", "the rising share of one-cycle must be 0 to 1 (got 2)".into()),
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap_err().to_string(), message);
        }
    }

    /// Against PyTorch in tests/golden/update.rs.
    #[test]
    fn every_step_has_its_rate() {
        assert!((1..=40).all(|step| rates("constant", 0.0).at(step) == 0.5));
        assert_eq!([1, 10, 11, 40].map(|step| rates("step:1,0.5", 0.0).at(step)), [0.5, 0.5, 0.25, 0.0625]);
        assert_eq!([1, 2, 5, 6].map(|step| rates("constant", 0.5).at(step)), [0.1, 0.2, 0.5, 0.5]);
        assert_eq!([1, 10, 11, 26].map(|step| rates("cosine", 1.0).at(step)), [0.05, 0.5, 0.5, 0.25]);
        // A run of one step, and a run that is over before its rates are.
        let one = LearningRates::new(0.5, "one-cycle:0.1".parse().unwrap(), 0.0, 10, 1);
        assert!([1, 2, 10, 11, u64::MAX].iter().all(|&step| one.at(step).is_finite()));
        assert_eq!(LearningRates::new(0.5, Schedule::Cosine, 1.0, 1, 1).at(1), 0.5);
    }
}
