//! What a plan is asked for: a network, images, a batch, and the limits they have to keep.

use super::fusion::Fusion;
use super::images::Images;
use super::network::{Activation, Network};
use super::noise::Noise;
use super::plan::{ADDRESSABLE_BYTES, Optimiser, Phase, Plan, Role, TensorId, too_large};
use super::plan_builder::{Builder, Incoming};
use crate::error::Result;
use crate::geometry::product;
use crate::ops::Element;
use crate::ops::mean_loss::MeanLoss;
use crate::ops::softmax_cross_entropy::{MeanCrossEntropy, SoftmaxCrossEntropy};

/// What to make a plan for.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    pub network: &'a Network,
    pub images: Images,
    pub batch: u32,
    /// Bytes that one tensor may have.
    pub max_bytes: u64,
    pub fusion: Fusion,
}

impl PlanRequest<'_> {
    /// Gather, forward, loss, backward, update. `slots` losses are kept for the host.
    ///
    /// # Errors
    /// A layer that does not fit what comes before it; an augmentation that does not fit the images; a tensor over the limit, with the
    /// largest batch that fits.
    pub fn training(&self, optimiser: &Optimiser, noise: &Noise, slots: u32) -> Result<Plan> {
        let activations = self.activations()?;
        let [_, height, width] = self.images.shape;
        noise.augmentation.fits(height, width)?;
        let mut builder = Builder::new(self.network, &activations, self.images, self.batch, self.fusion, Some(*noise));
        let losses = builder.tensor("losses", vec![slots], Role::Report, Element::F32);
        let head = builder.head(self.images.classes, optimiser.label_smoothing, slots);
        let end = head.as_ref().map_or(self.network.layers.len(), |head| head.first);
        let (mut saved, output, labels) = builder.forward(end);
        builder.gradients();
        let (logits, incoming) = match head {
            Some(head) => builder.classifier_head(&head, output, labels, losses),
            None => (output, self.loss(&mut builder, optimiser, [output, labels, losses])),
        };
        builder.backward(&mut saved, incoming);
        builder.update(optimiser);
        Ok(builder.finish(logits))
    }

    /// The loss of the logits, in as few ops as can be; returns their gradient.
    fn loss(&self, builder: &mut Builder<'_>, optimiser: &Optimiser, operands: [TensorId; 3]) -> Incoming {
        let [logits, labels, losses] = operands;
        let (rows, classes) = (self.batch, self.images.classes);
        let grad_logits = builder.activation("grad_logits", vec![rows, classes]);
        let slots = builder.length(losses);
        let loss = SoftmaxCrossEntropy { rows, classes, label_smoothing: optimiser.label_smoothing };
        let together = MeanCrossEntropy { loss, slots };
        if self.fusion != Fusion::None && together.fits() {
            builder.push("loss", Phase::Loss, together, &[logits, labels, grad_logits, losses]);
        } else {
            let row_loss = builder.activation("row_loss", vec![rows]);
            builder.push("loss", Phase::Loss, loss, &[logits, labels, row_loss, grad_logits]);
            builder.push("mean_loss", Phase::Loss, MeanLoss { rows, slots }, &[row_loss, losses]);
        }
        Incoming::new(grad_logits)
    }

    /// Gather and forward only.
    ///
    /// # Errors
    /// As `training`.
    pub fn inference(&self) -> Result<Plan> {
        let activations = self.activations()?;
        let mut builder = Builder::new(self.network, &activations, self.images, self.batch, self.fusion, None);
        let (_, logits, _) = builder.forward(self.network.layers.len());
        Ok(builder.finish(logits))
    }

    /// Shapes, with every size checked before anything is computed from it.
    fn activations(&self) -> Result<Vec<Activation>> {
        let activations = self.network.classifier(self.images.shape, self.images.classes)?;
        let input = ("input", product(&self.images.shape));
        let outputs = self
            .network
            .layers
            .iter()
            .zip(&activations)
            .map(|(layer, activation)| (&*layer.name, product(&activation.output)));
        // The first of the largest: the tensor a person would name.
        let largest = std::iter::once(input).chain(outputs).rev().max_by_key(|(_, length)| *length);
        let max_bytes = self.max_bytes.min(ADDRESSABLE_BYTES);
        let (name, length) = largest.unwrap_or(input);
        let image_bytes = 4 * length as u64;
        let bytes = image_bytes.saturating_mul(u64::from(self.batch));
        if bytes > max_bytes {
            let name = if name == "input" { name.into() } else { format!("{name}.output") };
            let error = too_large(&name, bytes, max_bytes);
            return Err(match (max_bytes / image_bytes).min(MeanLoss::most_rows().into()) {
                0 => error,
                most => error.with_hint(format!("the largest batch that fits is {most}")),
            });
        }
        let parameter_bytes = self.network.parameter_count(&activations).saturating_mul(4);
        if parameter_bytes > max_bytes {
            return Err(too_large("the flat parameter buffer", parameter_bytes, max_bytes));
        }
        Ok(activations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::PLAIN;

    #[test]
    fn the_batch_that_is_hinted_at_fits() {
        let network = Network::load("lenet").unwrap();
        let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };
        for max_bytes in [1 << 27, u64::MAX] {
            let plan = |batch| {
                let images = Images::streamed([3, 32, 32], 10, batch);
                let request = PlanRequest { network: &network, images, batch, max_bytes, fusion: Fusion::Full };
                request.training(&optimiser, &Noise::default(), 1)
            };
            let error = plan(u32::MAX).unwrap_err();
            let most = error.hint().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            for step in plan(most).unwrap().steps {
                step.op.lower(PLAIN).unwrap();
            }
        }
    }

    #[test]
    fn only_training_draws() {
        let text = r#"layers = [
            { type = "flatten" },
            { type = "linear", out_features = 5 },
            { type = "dropout", p = 0.5 },
            { type = "linear", out_features = "classes" },
        ]"#;
        let network = Network::parse(text, "mine").unwrap();
        let images = Images::streamed([1, 4, 4], 3, 2);
        let request = PlanRequest { network: &network, images, batch: 2, max_bytes: u64::MAX, fusion: Fusion::None };
        let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };
        let noise = Noise { seed: 1, augmentation: "flip".parse().unwrap() };
        let drawing = |plan: &Plan| {
            let names = plan.steps.iter().filter(|step| ["gather_augmented", "dropout"].contains(&step.op.name()));
            names.map(|step| step.label.clone()).collect::<Vec<_>>()
        };
        let training = request.training(&optimiser, &noise, 1).unwrap();
        assert_eq!(drawing(&training), ["gather", "dropout1.forward", "dropout1.grad_input"]);
        let inference = request.inference().unwrap();
        assert!(drawing(&inference).is_empty());
        let storage = |name| inference.tensor(inference.find(name).unwrap()).storage;
        assert_eq!(storage("dropout1.output"), storage("fc1.output"));
        let large = Noise { augmentation: "crop=4".parse().unwrap(), ..noise };
        assert!(request.training(&optimiser, &large, 1).is_err());
    }
}
