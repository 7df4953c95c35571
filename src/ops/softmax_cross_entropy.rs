//! Softmax cross-entropy with label smoothing: loss and gradient in one kernel. Source: PyTorch nn.CrossEntropyLoss.

use super::{Arguments, Lowering, MAX_TERMS, Op, Operand, shader};
use crate::error::{Error, Result};
use crate::geometry::product;
use crate::gpu::{Dispatch, Shader, StepRow, params};
use crate::reference;

static SHADER: Shader = shader!("softmax_cross_entropy", "cross_entropy");

params! {
    SoftmaxCrossEntropyParams {
        rows: u32,
        classes: u32,
        label_smoothing: f32,
    }
}

/// A row is one invocation with three loops over the classes.
fn short_enough(op: &dyn Op, classes: u32) -> Result<()> {
    if classes <= 2 * MAX_TERMS {
        return Ok(());
    }
    Err(Error::Shape {
        layer: op.name().into(),
        problem: "too many classes".into(),
        actual: classes.to_string(),
        expected: format!("at most {}", 2 * MAX_TERMS),
    })
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
        short_enough(self, self.classes)?;
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

/// logits (N, K), labels (N) → grad_logits (N, K), overwritten, `losses[slot]` = the mean of the losses of the step's `count` rows: what
/// [`SoftmaxCrossEntropy`] and [`MeanLoss`](super::mean_loss::MeanLoss) do one after the other, without a row's own loss.
#[derive(Clone, Copy, Debug)]
pub struct MeanCrossEntropy {
    pub loss: SoftmaxCrossEntropy,
    pub slots: u32,
}

impl MeanCrossEntropy {
    /// Whether one workgroup can do it all.
    pub fn fits(&self) -> bool {
        let SoftmaxCrossEntropy { rows, classes, .. } = self.loss;
        let rows = rows.div_ceil(SHADER.constant("WORKGROUP_SIZE"));
        rows.saturating_mul(classes) <= MAX_TERMS
    }
}

impl Op for MeanCrossEntropy {
    fn name(&self) -> &'static str {
        "mean_cross_entropy"
    }

    fn shape(&self) -> String {
        self.loss.shape()
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = self.loss.operands();
        operands.retain(|operand| operand.name != "row_loss");
        operands.push(Operand::read_write("losses", self.slots as usize));
        operands
    }

    fn flops(&self) -> u64 {
        self.loss.flops() + u64::from(self.loss.rows)
    }

    fn bytes(&self) -> u64 {
        // Of the ring one slot.
        let elements = 2 * product(&[self.loss.rows, self.loss.classes]) + self.loss.rows as usize + 1;
        4 * elements as u64
    }

    fn lower(&self, _: &str) -> Result<Lowering> {
        short_enough(self, self.loss.classes)?;
        let SoftmaxCrossEntropy { rows, classes, label_smoothing } = self.loss;
        let params = SoftmaxCrossEntropyParams { rows, classes, label_smoothing };
        let bindings = [("logits", 0), ("labels", 1), ("grad_logits", 2), ("losses", 3)];
        // One workgroup, whatever the batch.
        Ok(Dispatch::new(&SHADER, "mean_cross_entropy", &params, &bindings, 1).into())
    }

    fn reference(&self, arguments: Arguments<'_>, step: &StepRow) {
        let [logits, labels, grad_logits, losses] = arguments.take();
        let mut row_loss = vec![0.0; self.loss.rows as usize];
        reference::softmax_cross_entropy::forward_backward(
            self.loss.classes as usize,
            step.count as usize,
            f64::from(self.loss.label_smoothing),
            logits.f64(),
            labels.u32(),
            &mut row_loss,
            grad_logits.f64_mut(),
        );
        losses.f64_mut()[step.slot as usize] = reference::mean_loss::rows(step.count as usize, &row_loss);
    }
}
