//! Softmax cross-entropy with label smoothing: loss and gradient in one kernel. Source: PyTorch nn.CrossEntropyLoss.

use super::{Arguments, Lowering, MAX_TERMS, Op, Operand, shader};
use crate::error::{Error, Result};
use crate::geometry::product;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("softmax_cross_entropy");

params! {
    SoftmaxCrossEntropyParams {
        rows: u32,
        classes: u32,
        label_smoothing: f32,
    }
}

/// logits (N, K), labels (N) → row_loss (N), grad_logits (N, K) of the mean over the step's `count` rows, both overwritten.
/// A label of K or more marks a row of padding, whose loss and gradient are 0.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxCrossEntropy {
    pub rows: u32,
    pub classes: u32,
    pub label_smoothing: f32,
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn shape(&self) -> String {
        format!("{}×{}", self.rows, self.classes)
    }

    fn operands(&self) -> Vec<Operand> {
        let logits = product(&[self.rows, self.classes]);
        vec![
            Operand::read("logits", logits),
            Operand::read("labels", self.rows as usize).of_u32(),
            Operand::write("row_loss", self.rows as usize),
            Operand::write("grad_logits", logits),
        ]
    }

    fn flops(&self) -> u64 {
        // Maximum, subtraction, exponential, sum; exponential, division, subtraction, division.
        8 * product(&[self.rows, self.classes]) as u64
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        // A row is one invocation with three loops over the classes.
        if self.classes > 2 * MAX_TERMS {
            return Err(Error::Shape {
                layer: self.name().into(),
                problem: "too many classes".into(),
                actual: self.classes.to_string(),
                expected: format!("at most {}", 2 * MAX_TERMS),
            });
        }
        let params =
            SoftmaxCrossEntropyParams { rows: self.rows, classes: self.classes, label_smoothing: self.label_smoothing };
        let bindings = [("logits", 0), ("labels", 1), ("row_loss", 2), ("grad_logits", 3)];
        Ok(Dispatch::new(&SHADER, "softmax_cross_entropy", &params, &bindings, self.rows.into()).into())
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [logits, labels, row_loss, grad_logits] = arguments.take();
        reference::softmax_cross_entropy::forward_backward(
            self.classes as usize,
            step.count as usize,
            f64::from(self.label_smoothing),
            logits.f64(),
            labels.u32(),
            row_loss.f64_mut(),
            grad_logits.f64_mut(),
        );
    }
}
