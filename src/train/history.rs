//! What `metrics.jsonl` says about a run.

use std::path::Path;

use serde::Deserialize;

use super::Evaluation;
use crate::bounded;
use crate::error::{Error, Result};

/// More than ten epochs of CIFAR-10 with a line for every image.
const MAX_BYTES: u64 = 1 << 28;

/// A run's events, in the order in which they happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The beginning, and a line for each time it was resumed.
    pub starts: Vec<Start>,
    pub losses: Vec<LossLine>,
    /// After each epoch, over the test images.
    pub evaluations: Vec<EpochEnd>,
    /// `None` while it is trained, or after a kill.
    pub end: Option<End>,
}

/// A run that begins or continues.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Start {
    /// Of the run as it was then asked for.
    pub epochs: u32,
    /// Batches of an epoch.
    pub batches: u32,
    /// Steps done before.
    pub step: u64,
}

/// The mean loss of the batches since the line before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LossLine {
    pub epoch: u32,
    pub batch: u32,
    pub step: u64,
    pub loss: f64,
    /// Learning rate of the last of them, where it was logged.
    pub lr: Option<f64>,
}

/// The test images after an epoch.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EpochEnd {
    pub epoch: u32,
    pub step: u64,
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Done(Done),
    Stopped(Stopped),
}

/// A finished run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Done {
    pub steps: u64,
    /// In training.
    pub seconds: f64,
    pub images_per_second: f64,
    pub weights_sha256: String,
}

/// A run that ended before its last epoch.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Stopped {
    pub step: u64,
    /// In training.
    pub seconds: f64,
    /// `interrupted`, or the error.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Start(Start),
    Loss(LossLine),
    Eval(EpochEnd),
    Stopped(Stopped),
    Done(Done),
    #[serde(other)]
    Other,
}

impl History {
    /// Reads a file; lines that are no known event, such as the torn one that a kill leaves, are passed over.
    ///
    /// # Errors
    /// A file that cannot be read, or is far too long for what it should be.
    pub fn read(path: &Path) -> Result<Self> {
        bounded::read(path, MAX_BYTES).map(|text| Self::parse(&text)).map_err(Error::file("read", path))
    }

    fn parse(text: &[u8]) -> Self {
        let mut history = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Line::Start(start)) => {
                    history.end = None;
                    history.starts.push(start);
                }
                Ok(Line::Loss(loss)) => history.losses.push(loss),
                Ok(Line::Eval(end)) => history.evaluations.push(end),
                Ok(Line::Stopped(stopped)) => history.end = Some(End::Stopped(stopped)),
                Ok(Line::Done(done)) => history.end = Some(End::Done(done)),
                Ok(Line::Other) | Err(_) => {}
            }
        }
        history
    }

    /// The last step that anything is known of.
    pub fn last_step(&self) -> u64 {
        let end = self.end.as_ref().map(|end| match end {
            End::Done(done) => done.steps,
            End::Stopped(stopped) => stopped.step,
        });
        let losses = self.losses.last().map(|line| line.step);
        let evaluations = self.evaluations.last().map(|end| end.step);
        [end, losses, evaluations].into_iter().flatten().max().unwrap_or(0)
    }

    /// Batches of an epoch; 0 when it never began.
    pub fn batches(&self) -> u32 {
        self.starts.last().map_or(0, |start| start.batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_torn_lines_passed_over() {
        let text = br#"{"event":"start","adapter":"a","epochs":2,"batches":5,"step":0}
{"event":"loss","epoch":1,"batch":5,"step":5,"loss":2.3,"lr":0.01}
{"event":"eval","epoch":1,"step":5,"images":2,"accuracy":0.5,"loss":2.2,"per_class":[1.0,0.0],"confusion":[[1,0],[1,0]]}
{"event":"checkpoint","step":5}
{"event":"stopped","step":7,"seconds":1.5,"reason":"interrupted"}
{"event":"start","epochs":2,"batches":5,"step":7}
{"event":"something new","step":7}
{"event":"lo"#;
        let history = History::parse(text);
        assert_eq!(history.starts.iter().map(|start| start.step).collect::<Vec<_>>(), [0, 7]);
        assert_eq!(history.losses, [LossLine { epoch: 1, batch: 5, step: 5, loss: 2.3, lr: Some(0.01) }]);
        assert_eq!(history.evaluations[0].evaluation.confusion, [[1, 0], [1, 0]]);
        // It was resumed since.
        assert_eq!((&history.end, history.last_step(), history.batches()), (&None, 5, 5));

        let before: Vec<u8> = text.split_inclusive(|&byte| byte == b'\n').take(5).flatten().copied().collect();
        let stopped = History::parse(&before);
        assert!(matches!(stopped.end, Some(End::Stopped(Stopped { step: 7, .. }))), "{stopped:?}");
        assert_eq!(stopped.last_step(), 7);
    }
}
