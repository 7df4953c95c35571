//! Accuracy, loss and confusion from logits.

use serde::Serialize;

use crate::data::Split;
use crate::error::{Error, Result};
use crate::machine::Machine;

/// Test images whose logits are read back at a time.
const EVALUATION_IMAGES: usize = 256;

/// How well a network does on labelled images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    pub images: u64,
    /// 0 to 1.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Accuracy of each class, 0 to 1; 0 for a class without images.
    pub per_class: Vec<f64>,
    /// `confusion[label][prediction]`, in images.
    pub confusion: Vec<Vec<u32>>,
}

/// Adds up an evaluation, a batch of logits at a time.
pub struct Tally {
    confusion: Vec<Vec<u32>>,
    loss: f64,
    images: u64,
}

impl Tally {
    pub fn new(classes: usize) -> Self {
        Self { confusion: vec![vec![0; classes]; classes], loss: 0.0, images: 0 }
    }

    /// Adds rows of logits (labels, classes).
    ///
    /// # Errors
    /// A NaN or an infinity among them.
    pub fn add(&mut self, logits: &[f32], labels: &[u8]) -> Result<()> {
        let classes = self.confusion.len();
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            if row.iter().any(|logit| !logit.is_finite()) {
                return Err(Error::NonFinite {
                    what: format!("logits for test image {}", self.images),
                    step: None,
                    last_good: None,
                });
            }
            // The first of equals, as PyTorch's argmax.
            let prediction = (0..classes).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
            let highest = f64::from(row[prediction]);
            let total: f64 = row.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum();
            self.loss += total.ln() - (f64::from(row[usize::from(label)]) - highest);
            self.confusion[usize::from(label)][prediction] += 1;
            self.images += 1;
        }
        Ok(())
    }

    pub fn finish(self) -> Evaluation {
        let count = |row: &Vec<u32>| row.iter().sum::<u32>();
        let correct: u32 = self.confusion.iter().enumerate().map(|(class, row)| row[class]).sum();
        let share = |part: u32, whole: f64| if whole > 0.0 { f64::from(part) / whole } else { 0.0 };
        let per_class = self.confusion.iter().enumerate().map(|(class, row)| share(row[class], f64::from(count(row))));
        let images = self.images as f64;
        Evaluation {
            images: self.images,
            accuracy: share(correct, images),
            loss: if self.images > 0 { self.loss / images } else { 0.0 },
            per_class: per_class.collect(),
            confusion: self.confusion,
        }
    }
}

/// Accuracy, loss and confusion of a machine's parameters over a split; `None` when `proceed`, which is asked now and then, says no.
///
/// # Errors
/// A lost device; logits that are not finite.
pub fn evaluate(
    machine: &mut impl Machine,
    split: &Split,
    proceed: &mut dyn FnMut() -> bool,
) -> Result<Option<Evaluation>> {
    let mut tally = Tally::new(machine.plan().classes as usize);
    for first in (0..split.len()).step_by(EVALUATION_IMAGES) {
        if !proceed() {
            return Ok(None);
        }
        let range = first..split.len().min(first + EVALUATION_IMAGES);
        let logits = machine.logits(split, range.clone())?;
        tally.add(&logits, &split.labels[range])?;
    }
    Ok(Some(tally.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_images_by_hand() {
        let mut tally = Tally::new(2);
        tally.add(&[0.0, 0.0, 1.0, 3.0, 5.0, 2.0], &[0, 1, 1]).unwrap();
        let evaluation = tally.finish();
        assert_eq!(evaluation.confusion, [[1, 0], [1, 1]]);
        assert_eq!(evaluation.per_class, [1.0, 0.5]);
        let losses = [2f64.ln(), (1.0 + (-2f64).exp()).ln(), 3.0 + (1.0 + (-3f64).exp()).ln()];
        approx::assert_relative_eq!(evaluation.loss, losses.iter().sum::<f64>() / 3.0, max_relative = 1e-15);
        assert!(Tally::new(2).add(&[f32::NAN, 0.0], &[0]).is_err());
    }
}
