//! Accuracy, loss, confusion and predictions from logits.

use serde::{Deserialize, Serialize};

use crate::data::Split;
use crate::error::{Error, Result};
use crate::machine::Classifier;

/// Test images whose logits are read back at a time.
const EVALUATION_IMAGES: usize = 256;

/// How well a network does on labelled images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// What a network makes of each image of a split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    classes: usize,
    /// (images, classes).
    probabilities: Vec<f32>,
}

impl Predictions {
    pub fn new(classes: usize) -> Self {
        Self { classes, probabilities: Vec::new() }
    }

    /// Adds an image by its logits, one a class; returns ln Σ exp(logit). `name` is for the error.
    ///
    /// # Errors
    /// A NaN or an infinity among them.
    pub fn push(&mut self, logits: &[f32], name: &dyn std::fmt::Display) -> Result<f64> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::NonFinite { what: format!("logits for {name}"), step: None, last_good: None });
        }
        let highest = f64::from(logits[first_highest(logits)]);
        let total: f64 = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum();
        let probabilities = logits.iter().map(|&logit| ((f64::from(logit) - highest).exp() / total) as f32);
        self.probabilities.extend(probabilities);
        Ok(highest + total.ln())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.probabilities.len() / self.classes.max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.probabilities.is_empty()
    }

    /// The softmax of image `i`'s logits, one a class; `i` must be below `len`.
    pub fn probabilities(&self, i: usize) -> &[f32] {
        &self.probabilities[i * self.classes..(i + 1) * self.classes]
    }

    /// The `most` most probable classes of image `i` and their probabilities, falling; `i` must be below `len`.
    pub fn ranked(&self, i: usize, most: usize) -> Vec<(usize, f32)> {
        let mut classes: Vec<(usize, f32)> = self.probabilities(i).iter().copied().enumerate().collect();
        classes.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        classes.truncate(most);
        classes
    }

    /// The class of image `i` and its probability, 0 to 1; `i` must be below `len`.
    pub fn best(&self, i: usize) -> (usize, f32) {
        let row = self.probabilities(i);
        let class = first_highest(row);
        (class, row[class])
    }
}

/// Adds up an evaluation, a batch of logits at a time.
pub struct Tally {
    confusion: Vec<Vec<u32>>,
    loss: f64,
    predictions: Predictions,
}

impl Tally {
    pub fn new(classes: usize) -> Self {
        Self { confusion: vec![vec![0; classes]; classes], loss: 0.0, predictions: Predictions::new(classes) }
    }

    /// Adds rows of logits (labels, classes).
    ///
    /// # Errors
    /// A NaN or an infinity among them.
    pub fn add(&mut self, logits: &[f32], labels: &[u8]) -> Result<()> {
        let classes = self.confusion.len();
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            let name = format!("test image {}", self.predictions.len());
            self.loss += self.predictions.push(row, &name)? - f64::from(row[usize::from(label)]);
            self.confusion[usize::from(label)][first_highest(row)] += 1;
        }
        Ok(())
    }

    pub fn finish(self) -> (Evaluation, Predictions) {
        let count = |row: &Vec<u32>| row.iter().sum::<u32>();
        let correct: u32 = self.confusion.iter().enumerate().map(|(class, row)| row[class]).sum();
        let share = |part: u32, whole: f64| if whole > 0.0 { f64::from(part) / whole } else { 0.0 };
        let per_class = self.confusion.iter().enumerate().map(|(class, row)| share(row[class], f64::from(count(row))));
        let images = self.predictions.len() as f64;
        let evaluation = Evaluation {
            images: self.predictions.len() as u64,
            accuracy: share(correct, images),
            loss: if images > 0.0 { self.loss / images } else { 0.0 },
            per_class: per_class.collect(),
            confusion: self.confusion,
        };
        (evaluation, self.predictions)
    }
}

/// The first of equals, as PyTorch's argmax.
fn first_highest(row: &[f32]) -> usize {
    (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0)
}

/// How well a network does on a split, in sum and image by image; `None` when `proceed`, which is asked now and then, says no.
///
/// # Errors
/// A lost device; logits that are not finite.
pub fn evaluate(
    classifier: &mut impl Classifier,
    split: &Split,
    proceed: &mut dyn FnMut() -> bool,
) -> Result<Option<(Evaluation, Predictions)>> {
    let mut tally = Tally::new(classifier.plan().classes as usize);
    for first in (0..split.len()).step_by(EVALUATION_IMAGES) {
        if !proceed() {
            return Ok(None);
        }
        let range = first..split.len().min(first + EVALUATION_IMAGES);
        let logits = classifier.logits(split, range.clone())?;
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
        let (evaluation, predictions) = tally.finish();
        assert_eq!(predictions.len(), 3);
        assert_eq!((predictions.best(0), predictions.probabilities(0)), ((0, 0.5), [0.5, 0.5].as_slice()));
        let (class, probability) = predictions.best(2);
        assert_eq!(class, 0);
        approx::assert_relative_eq!(probability, (1.0 / (1.0 + (-3f64).exp())) as f32);
        assert_eq!(evaluation.confusion, [[1, 0], [1, 1]]);
        assert_eq!(evaluation.per_class, [1.0, 0.5]);
        let losses = [2f64.ln(), (1.0 + (-2f64).exp()).ln(), 3.0 + (1.0 + (-3f64).exp()).ln()];
        approx::assert_relative_eq!(evaluation.loss, losses.iter().sum::<f64>() / 3.0, max_relative = 1e-15);
        assert!(Tally::new(2).add(&[f32::NAN, 0.0], &[0]).is_err());
    }
}
