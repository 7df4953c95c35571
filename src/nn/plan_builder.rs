//! From a network to a plan: forward ops in order, backward ops in reverse, then the update. Layers that one op can do together are one op
//! where the plan is asked to be fused: a convolution, a ReLU and a max pooling, or the last two of them; a linear layer and its ReLU.

use std::ops::Range;

use super::fusion::Fusion;
use super::images::Images;
use super::layer::Layer;
use super::network::{Activation, NamedLayer, Network};
use super::noise::Noise;
use super::plan::{Optimiser, Parameter, Phase, Plan, PlanStep, Role, Storage, Tensor, TensorId};
use crate::geometry::{Channels, Conv2d, Linear, Matmul as MatmulShape, Pool2d, product};
use crate::gpu::OFFSET_ALIGNMENT;
use crate::ops::avg_pool2d::{AvgPool2dBackward, AvgPool2dForward};
use crate::ops::bias::{BiasAdd, BiasGrad};
use crate::ops::classifier_head::ClassifierHead;
use crate::ops::conv2d::{Conv2dForward, Conv2dGradInput, Conv2dGradWeight, Conv2dGradWeightBias};
use crate::ops::conv2d_pool::Conv2dReluMaxPool2dForward;
use crate::ops::dropout::Dropout;
use crate::ops::gather::{Gather, GatherAugmented, RECORD_BUFFERS};
use crate::ops::global_avg_pool2d::{GlobalAvgPool2dBackward, GlobalAvgPool2dForward};
use crate::ops::linear::{self, LinearForward, LinearGradInput, LinearGradWeight};
use crate::ops::matmul::Matmul;
use crate::ops::max_pool2d::{MaxPool2dBackward, MaxPool2dForward};
use crate::ops::nonfinite::Nonfinite;
use crate::ops::pooled_grad_input::{Conv2dGradInputMaxPool2d, LinearGradInputMaxPool2d};
use crate::ops::relu::{ReluBackward, ReluForward};
use crate::ops::sgd::{GuardedSgd, Sgd};
use crate::ops::{Element, Op};

/// What the backward of a layer, or of several that are one op, needs of its forward.
pub(super) struct Saved {
    /// Where in the network they are.
    layers: Range<usize>,
    input: TensorId,
    output: TensorId,
    /// Max pooling's winners.
    argmax: Option<TensorId>,
}

/// A gradient of what comes out of a layer.
#[derive(Clone, Copy)]
pub(super) struct Incoming {
    tensor: TensorId,
    /// What of the layer's end it has already gone through.
    done: Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    /// The ReLU has blocked it.
    Relu,
    /// The max pooling has handed it to its winners.
    MaxPool2d,
}

impl Incoming {
    pub fn new(tensor: TensorId) -> Self {
        Self { tensor, done: Done::Nothing }
    }
}

/// The last layers and the loss, which are one op.
pub(super) struct Head {
    op: ClassifierHead,
    /// The first of the layers.
    pub first: usize,
}

pub(super) struct Builder<'a> {
    network: &'a Network,
    activations: &'a [Activation],
    images: Images,
    batch: u32,
    fusion: Fusion,
    /// What a training step draws; none at inference.
    noise: Option<Noise>,
    plan: Plan,
}

impl<'a> Builder<'a> {
    /// With the parameters laid out. `activations` are those of `network`.
    pub fn new(
        network: &'a Network,
        activations: &'a [Activation],
        images: Images,
        batch: u32,
        fusion: Fusion,
        noise: Option<Noise>,
    ) -> Self {
        let plan = Plan {
            batch,
            channels: images.shape[0],
            classes: images.classes,
            storages: Vec::new(),
            tensors: Vec::new(),
            parameters: Vec::new(),
            parameter_length: 0,
            steps: Vec::new(),
            logits: TensorId(0),
        };
        let mut builder = Self { network, activations, images, batch, fusion, noise, plan };
        builder.lay_out_parameters();
        builder
    }

    pub fn finish(mut self, logits: TensorId) -> Plan {
        self.plan.logits = logits;
        self.plan
    }

    /// All weights and biases in one flat buffer, each where a binding may begin.
    fn lay_out_parameters(&mut self) {
        let alignment = OFFSET_ALIGNMENT as usize / 4;
        let mut offset = 0;
        for (named, activation) in self.network.layers.iter().zip(self.activations) {
            let Some(parameters) = named.layer.parameters(&activation.input, &activation.output) else { continue };
            for (kind, shape) in [("weight", parameters.weight), ("bias", parameters.bias)] {
                let parameter =
                    Parameter { name: format!("{}.{kind}", named.name), shape, offset, fan_in: parameters.fan_in };
                offset = (offset + parameter.length()).next_multiple_of(alignment);
                self.plan.parameters.push(parameter);
            }
        }
        self.plan.parameter_length = offset;
        self.flat("parameters", Role::Parameter, "");
    }

    /// A flat buffer over all parameters, and a view of it for each; `prefix` goes before `weight` and `bias`.
    fn flat(&mut self, name: &str, role: Role, prefix: &str) -> TensorId {
        let whole = self.tensor(name, vec![self.plan.parameter_length as u32], role, Element::F32);
        let storage = self.plan.tensor(whole).storage;
        for parameter in self.plan.parameters.clone() {
            let name = match parameter.name.rsplit_once('.') {
                Some((layer, kind)) => format!("{layer}.{prefix}{kind}"),
                None => format!("{prefix}{}", parameter.name),
            };
            self.plan.tensors.push(Tensor { name, shape: parameter.shape, role, storage, offset: parameter.offset });
        }
        whole
    }

    /// A tensor with a storage of its own.
    pub fn tensor(&mut self, name: &str, shape: Vec<u32>, role: Role, element: Element) -> TensorId {
        let length = product(&shape).max(1);
        self.plan.storages.push(Storage { name: name.into(), element, length });
        let storage = self.plan.storages.len() - 1;
        self.plan.tensors.push(Tensor { name: name.into(), shape, role, storage, offset: 0 });
        TensorId(self.plan.tensors.len() - 1)
    }

    pub fn activation(&mut self, name: &str, shape: Vec<u32>) -> TensorId {
        self.tensor(name, shape, Role::Activation, Element::F32)
    }

    /// The same elements in another shape.
    fn reshape(&mut self, name: &str, shape: Vec<u32>, of: TensorId) -> TensorId {
        self.view(name, shape, of, 0)
    }

    /// Elements of a tensor's storage, from `offset` elements after the tensor's first on.
    fn view(&mut self, name: &str, shape: Vec<u32>, of: TensorId, offset: usize) -> TensorId {
        let Tensor { storage, offset: first, role, .. } = *self.plan.tensor(of);
        self.plan.tensors.push(Tensor { name: name.into(), shape, role, storage, offset: first + offset });
        TensorId(self.plan.tensors.len() - 1)
    }

    /// A tensor that the builder itself has named.
    fn named(&self, layer: &str, kind: &str) -> TensorId {
        let name = format!("{layer}.{kind}");
        match self.plan.find(&name) {
            Some(id) => id,
            None => unreachable!("{name} was laid out before it is used"),
        }
    }

    pub fn push(&mut self, label: &str, phase: Phase, op: impl Op + 'static, operands: &[TensorId]) {
        let lengths = op.operands().into_iter().map(|operand| operand.length);
        debug_assert!(lengths.eq(operands.iter().map(|&id| self.plan.tensor(id).length())), "{label}: operand lengths");
        self.plan.steps.push(PlanStep { label: label.into(), phase, op: Box::new(op), operands: operands.to_vec() });
    }

    fn with_batch(&self, shape: &[u32]) -> Vec<u32> {
        std::iter::once(self.batch).chain(shape.iter().copied()).collect()
    }

    /// Elements of a tensor.
    pub fn length(&self, tensor: TensorId) -> u32 {
        self.plan.tensor(tensor).length() as u32
    }

    /// The end of the network and its loss in one op, where it is of that kind and small enough, and something before it is trained as well.
    pub fn head(&self, classes: u32, label_smoothing: f32, slots: u32) -> Option<Head> {
        let first = self.network.layers.len().checked_sub(3)?;
        let layer = |index: usize| self.network.layers[index].layer;
        let (Layer::Linear { .. }, Layer::Relu, Layer::Linear { .. }) =
            (layer(first), layer(first + 1), layer(first + 2))
        else {
            return None;
        };
        let before = self.first_trained().is_some_and(|trained| trained < first);
        // Of a linear layer: only its own ReLU can be masked where the gradient is made.
        let masked = first >= 2 && layer(first - 1) == Layer::Relu && matches!(layer(first - 2), Layer::Linear { .. });
        let masked = masked && self.is_one_op(first - 2);
        let op = ClassifierHead { hidden: self.linear(first), classes, label_smoothing, masked, slots };
        (self.fusion == Fusion::Full && before && op.fits()).then_some(Head { op, first })
    }

    /// Returns the logits, and the gradient of what goes in.
    pub fn classifier_head(
        &mut self,
        head: &Head,
        input: TensorId,
        labels: TensorId,
        losses: TensorId,
    ) -> (TensorId, Incoming) {
        let Head { op, first } = *head;
        let layers = &self.network.layers;
        let name = &layers[first].name;
        let [hidden, logits] = op.activations();
        let activations = self.activation(&format!("{name}.activations"), vec![logits.end as u32]);
        self.view(
            &format!("{}.output", layers[first + 1].name),
            vec![self.batch, op.hidden.out_features],
            activations,
            hidden.start,
        );
        let logits = self.view(
            &format!("{}.output", layers[first + 2].name),
            vec![self.batch, op.classes],
            activations,
            logits.start,
        );
        let block = vec![op.block().length as u32];
        let [parameters, gradients] = ["", "grad_"].map(|prefix| {
            let start = self.named(name, &format!("{prefix}weight"));
            self.view(&format!("{name}.{prefix}block"), block.clone(), start, 0)
        });
        let grad_name = match op.masked {
            true => format!("{}.grad_input", layers[first - 1].name),
            false => format!("{name}.grad_input"),
        };
        let grad_input = self.activation(&grad_name, vec![self.batch, op.hidden.in_features]);
        let operands = [input, parameters, labels, activations, gradients, grad_input, losses];
        self.push(&format!("{name}.head"), Phase::Loss, op, &operands);
        let done = if op.masked { Done::Relu } else { Done::Nothing };
        (logits, Incoming { tensor: grad_input, done })
    }

    /// Images in, the output of the layer before `end` out, or logits.
    pub fn forward(&mut self, end: usize) -> (Vec<Saved>, TensorId, TensorId) {
        let images = self.images;
        let image_length = product(&images.shape) as u32;
        let gather = Gather {
            batch: self.batch,
            image_length,
            mean: images.mean,
            deviation: images.deviation,
            records: images.records,
            order: images.order,
        };
        let mut operands: Vec<TensorId> = gather.operands()[..=RECORD_BUFFERS]
            .iter()
            .map(|operand| self.tensor(operand.name, vec![operand.length as u32], Role::Data, Element::U32))
            .collect();
        let input = self.activation("input", self.with_batch(&images.shape));
        let labels = self.tensor("labels", vec![self.batch], Role::Activation, Element::U32);
        operands.extend([input, labels]);
        match self.noise {
            Some(Noise { seed, augmentation }) if !augmentation.is_none() => {
                let gather = GatherAugmented { gather, shape: images.shape, augmentation, seed };
                self.push("gather", Phase::Gather, gather, &operands);
            }
            _ => self.push("gather", Phase::Gather, gather, &operands),
        }

        let mut saved = Vec::new();
        let mut current = input;
        let mut first = 0;
        while first < end {
            let layers = first..first + self.together(first);
            let (output, argmax) = self.layers_forward(layers.clone(), current);
            first = layers.end;
            saved.push(Saved { layers, input: current, output, argmax });
            current = output;
        }
        (saved, current, labels)
    }

    fn fuses_layers(&self) -> bool {
        self.fusion != Fusion::None
    }

    /// How many layers from `first` on are one op.
    fn together(&self, first: usize) -> usize {
        let layer = |index: usize| self.network.layers.get(index).map(|named| named.layer);
        if self.conv_pool(first).is_some() {
            return 3;
        }
        match (layer(first), layer(first + 1)) {
            (Some(Layer::Relu), Some(Layer::MaxPool2d { .. })) if self.fuses_layers() => 2,
            (Some(Layer::Linear { .. }), Some(Layer::Relu)) if self.is_one_op(first) => 2,
            _ => 1,
        }
    }

    /// The op for a convolution, a ReLU and a max pooling from `first` on, where they are, and it can do them.
    fn conv_pool(&self, first: usize) -> Option<Conv2dReluMaxPool2dForward> {
        let layer = |index: usize| self.network.layers.get(index).map(|named| named.layer);
        match [layer(first), layer(first + 1), layer(first + 2)] {
            [Some(Layer::Conv2d { .. }), Some(Layer::Relu), Some(Layer::MaxPool2d { .. })] if self.fuses_layers() => {
                Conv2dReluMaxPool2dForward::new(self.conv2d(first), self.pool2d(first + 2))
            }
            _ => None,
        }
    }

    /// Whether a linear layer is one op, or a product and a bias.
    fn is_one_op(&self, index: usize) -> bool {
        self.fuses_layers() && linear::fits(&self.linear(index))
    }

    fn layers_forward(&mut self, layers: Range<usize>, input: TensorId) -> (TensorId, Option<TensorId>) {
        // The layer that works, and whether a ReLU comes with it.
        let (index, relu) = match self.network.layers[layers.start].layer {
            Layer::Relu if layers.len() == 2 => (layers.start + 1, true),
            _ => (layers.start, layers.len() > 1),
        };
        let NamedLayer { name, layer } = &self.network.layers[index];
        let last = layers.end - 1;
        let shape = self.with_batch(&self.activations[last].output);
        let (label, output_name) = (format!("{name}.forward"), format!("{}.output", self.network.layers[last].name));
        let is_view = match layer {
            Layer::Flatten => true,
            Layer::Dropout { .. } => self.noise.is_none(),
            _ => false,
        };
        if is_view {
            return (self.reshape(&output_name, shape, input), None);
        }
        let output = self.activation(&output_name, shape.clone());
        let length = product(&shape) as u32;
        let mut argmax = None;
        match layer {
            Layer::Conv2d { .. } if let Some(op) = self.conv_pool(index) => {
                let name_of_pool = &self.network.layers[last].name;
                let winners = self.tensor(&format!("{name_of_pool}.argmax"), shape, Role::Activation, Element::U32);
                argmax = Some(winners);
                let operands = [input, self.named(name, "weight"), self.named(name, "bias"), output, winners];
                self.push(&label, Phase::Forward, op, &operands);
            }
            Layer::Conv2d { .. } => {
                let operands = [input, self.named(name, "weight"), self.named(name, "bias"), output];
                self.push(&label, Phase::Forward, Conv2dForward(self.conv2d(index)), &operands);
            }
            Layer::MaxPool2d { .. } => {
                let winners = self.tensor(&format!("{name}.argmax"), shape, Role::Activation, Element::U32);
                argmax = Some(winners);
                let op = MaxPool2dForward { shape: self.pool2d(index), relu };
                self.push(&label, Phase::Forward, op, &[input, output, winners]);
            }
            Layer::AvgPool2d { .. } => {
                self.push(&label, Phase::Forward, AvgPool2dForward(self.pool2d(index)), &[input, output]);
            }
            Layer::GlobalAvgPool2d => {
                let (planes, size) = self.planes(index);
                self.push(&label, Phase::Forward, GlobalAvgPool2dForward { planes, size }, &[input, output]);
            }
            Layer::Relu => self.push(&label, Phase::Forward, ReluForward { length }, &[input, output]),
            Layer::Dropout { .. } => {
                self.push(&label, Phase::Forward, self.dropout(index, length), &[input, output]);
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let operands = [input, self.named(name, "weight"), self.named(name, "bias"), output];
                self.push(&label, Phase::Forward, LinearForward { shape: self.linear(index), relu }, &operands);
            }
            Layer::Linear { .. } => {
                let product = self.activation(&format!("{name}.product"), shape.clone());
                let Linear { batch, in_features, out_features } = self.linear(index);
                let multiply =
                    MatmulShape { m: batch, k: in_features, n: out_features, transpose_a: false, transpose_b: true };
                self.push(&label, Phase::Forward, Matmul(multiply), &[input, self.named(name, "weight"), product]);
                let channels = Channels { batch, channels: out_features, size: 1 };
                let operands = [product, self.named(name, "bias"), output];
                self.push(&format!("{name}.bias_add"), Phase::Forward, BiasAdd(channels), &operands);
            }
            Layer::Flatten => unreachable!("handled above"),
        }
        (output, argmax)
    }

    /// The first layer with parameters: before it nothing needs a gradient.
    fn first_trained(&self) -> Option<usize> {
        let mut layers = self.network.layers.iter().zip(self.activations);
        layers.position(|(named, activation)| named.layer.parameters(&activation.input, &activation.output).is_some())
    }

    /// Room for the gradients of all parameters.
    pub fn gradients(&mut self) {
        self.flat("gradients", Role::Gradient, "grad_");
    }

    /// Gradients of every parameter, from that of what the saved layers end with.
    pub fn backward(&mut self, saved: &mut Vec<Saved>, mut incoming: Incoming) {
        let Some(first) = self.first_trained() else { return };
        while let Some(layers) = saved.pop() {
            if layers.layers.start < first {
                break;
            }
            incoming = self.layers_backward(&layers, incoming, layers.layers.start > first, saved);
        }
    }

    /// Whether these are a linear layer and its ReLU.
    fn ends_in_relu(&self, saved: &Saved) -> bool {
        saved.layers.len() == 2 && matches!(self.network.layers[saved.layers.start].layer, Layer::Linear { .. })
    }

    /// The max pooling that has made what these layers take, and its winners; a flattening between changes nothing.
    fn pooled_before<'s>(&self, before: &'s [Saved]) -> Option<(&'s Saved, TensorId)> {
        let is_flatten = |saved: &&Saved| self.network.layers[saved.layers.start].layer == Layer::Flatten;
        let saved = before.iter().rev().find(|saved| !is_flatten(saved))?;
        Some((saved, saved.argmax?))
    }

    /// The name of the gradient of what a max pooling takes, or the ReLU before it that is one op with it; `saved` are the layers that end with it.
    fn grad_planes_name(&self, saved: &Saved) -> String {
        let with_relu = usize::from(saved.layers.len() > 1);
        format!("{}.grad_input", self.network.layers[saved.layers.end - 1 - with_relu].name)
    }

    /// The gradient of what a convolution or a linear layer takes and of the pooling before it, where one op can do both.
    fn grad_input_through_pool(&mut self, index: usize, grad_output: TensorId, before: &[Saved]) -> Option<Incoming> {
        let (pooled, winner) = self.pooled_before(before).filter(|_| self.fusion == Fusion::Full)?;
        let pool = pooled.layers.end - 1;
        let NamedLayer { name, layer } = &self.network.layers[index];
        let label = format!("{name}.grad_input");
        let shape = self.with_batch(&self.activations[pool].input);
        let tensor = |builder: &mut Self| builder.activation(&builder.grad_planes_name(pooled), shape);
        let tensor = match layer {
            Layer::Conv2d { .. } => {
                let op = Conv2dGradInputMaxPool2d::new(self.conv2d(index), self.pool2d(pool))?;
                let (weight, grad_planes) = (self.named(name, "weight"), tensor(self));
                self.push(&label, Phase::Backward, op, &[weight, grad_output, winner, grad_planes]);
                grad_planes
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let op = LinearGradInputMaxPool2d::new(self.linear(index), self.pool2d(pool))?;
                let (weight, grad_planes) = (self.named(name, "weight"), tensor(self));
                self.push(&label, Phase::Backward, op, &[grad_output, weight, winner, grad_planes]);
                grad_planes
            }
            _ => return None,
        };
        Some(Incoming { tensor, done: Done::MaxPool2d })
    }

    /// Returns the gradient of what went in, or `incoming` again where none is needed. `before` are the layers before these.
    fn layers_backward(
        &mut self,
        saved: &Saved,
        incoming: Incoming,
        needs_grad_input: bool,
        before: &[Saved],
    ) -> Incoming {
        let index = saved.layers.start;
        let NamedLayer { name, layer } = &self.network.layers[index];
        let shape = self.with_batch(&self.activations[index].input);
        let grad_name = format!("{name}.grad_input");
        let backward = Phase::Backward;
        let mut grad_output = incoming.tensor;
        if *layer == Layer::Flatten {
            return match incoming.done {
                Done::MaxPool2d => incoming,
                _ => Incoming::new(self.reshape(&grad_name, shape, grad_output)),
            };
        }
        if saved.argmax.is_some() && incoming.done != Done::MaxPool2d {
            grad_output = self.max_pool2d_backward(saved, grad_output);
        }
        if self.ends_in_relu(saved) && incoming.done != Done::Relu {
            let grad_name = format!("{}.grad_input", self.network.layers[index + 1].name);
            grad_output = self.relu_backward(&grad_name, saved.output, grad_output);
        }
        match layer {
            Layer::Conv2d { .. } if self.fuses_layers() => {
                let [grad_weight, grad_bias] = ["grad_weight", "grad_bias"].map(|kind| self.named(name, kind));
                let operands = [saved.input, grad_output, grad_weight, grad_bias];
                let op = Conv2dGradWeightBias(self.conv2d(index));
                self.push(&format!("{name}.grad_weight"), backward, op, &operands);
            }
            Layer::Conv2d { .. } => {
                let conv2d = self.conv2d(index);
                let grad_weight = self.named(name, "grad_weight");
                let label = format!("{name}.grad_weight");
                self.push(&label, backward, Conv2dGradWeight(conv2d), &[saved.input, grad_output, grad_weight]);
                let size = product(&conv2d.output) as u32;
                let channels = Channels { batch: conv2d.batch, channels: conv2d.out_channels, size };
                let label = format!("{name}.grad_bias");
                self.push(&label, backward, BiasGrad(channels), &[grad_output, self.named(name, "grad_bias")]);
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let op = LinearGradWeight(self.linear(index));
                let [grad_weight, grad_bias] = ["grad_weight", "grad_bias"].map(|kind| self.named(name, kind));
                let operands = [grad_output, saved.input, grad_weight, grad_bias];
                self.push(&format!("{name}.grad_weight"), backward, op, &operands);
            }
            Layer::Linear { .. } => {
                let Linear { batch, in_features, out_features } = self.linear(index);
                let multiply =
                    MatmulShape { m: out_features, k: batch, n: in_features, transpose_a: true, transpose_b: false };
                let operands = [grad_output, saved.input, self.named(name, "grad_weight")];
                self.push(&format!("{name}.grad_weight"), backward, Matmul(multiply), &operands);
                let channels = Channels { batch, channels: out_features, size: 1 };
                let label = format!("{name}.grad_bias");
                self.push(&label, backward, BiasGrad(channels), &[grad_output, self.named(name, "grad_bias")]);
            }
            _ => {}
        }
        if !needs_grad_input || saved.argmax.is_some() && !matches!(layer, Layer::Conv2d { .. }) {
            return Incoming::new(grad_output);
        }
        if *layer == Layer::Relu && saved.layers.len() == 1 {
            return Incoming::new(self.relu_backward(&grad_name, saved.output, grad_output));
        }
        if let Some(incoming) = self.grad_input_through_pool(index, grad_output, before) {
            return incoming;
        }

        // Only a linear layer's own ReLU can be masked where the gradient is made, which then is that of the ReLU's own input.
        let relu = before.last().filter(|before| self.ends_in_relu(before)).map(|before| before.output);
        let masked = relu.filter(|_| matches!(layer, Layer::Linear { .. }) && self.is_one_op(index));
        let grad_name = match masked {
            Some(_) => format!("{}.grad_input", self.network.layers[index - 1].name),
            None => grad_name,
        };
        let grad_input = self.activation(&grad_name, shape);
        match layer {
            Layer::Conv2d { .. } => {
                let operands = [self.named(name, "weight"), grad_output, grad_input];
                self.push(&grad_name, backward, Conv2dGradInput(self.conv2d(index)), &operands);
            }
            Layer::Linear { .. } if self.is_one_op(index) => {
                let op = LinearGradInput { shape: self.linear(index), relu: masked.is_some() };
                let operands: Vec<_> =
                    [grad_output, self.named(name, "weight")].into_iter().chain(masked).chain([grad_input]).collect();
                self.push(&format!("{name}.grad_input"), backward, op, &operands);
            }
            Layer::Linear { .. } => {
                let Linear { batch, in_features, out_features } = self.linear(index);
                let multiply =
                    MatmulShape { m: batch, k: out_features, n: in_features, transpose_a: false, transpose_b: false };
                let operands = [grad_output, self.named(name, "weight"), grad_input];
                self.push(&grad_name, backward, Matmul(multiply), &operands);
            }
            Layer::AvgPool2d { .. } => {
                self.push(&grad_name, backward, AvgPool2dBackward(self.pool2d(index)), &[grad_output, grad_input]);
            }
            Layer::GlobalAvgPool2d => {
                let (planes, size) = self.planes(index);
                self.push(&grad_name, backward, GlobalAvgPool2dBackward { planes, size }, &[grad_output, grad_input]);
            }
            Layer::Dropout { .. } => {
                let length = self.plan.tensor(grad_input).length() as u32;
                self.push(&grad_name, backward, self.dropout(index, length), &[grad_output, grad_input]);
            }
            Layer::MaxPool2d { .. } | Layer::Relu | Layer::Flatten => unreachable!("handled above"),
        }
        Incoming { tensor: grad_input, done: if masked.is_some() { Done::Relu } else { Done::Nothing } }
    }

    /// Of the pooling in layer `pool`, the ReLU before it included where they are one op.
    fn max_pool2d_backward(&mut self, saved: &Saved, grad_output: TensorId) -> TensorId {
        let Some(winner) = saved.argmax else { unreachable!("max pooling saves its argmax") };
        let (pool, grad_name) = (saved.layers.end - 1, self.grad_planes_name(saved));
        let grad_input = self.activation(&grad_name, self.with_batch(&self.activations[pool].input));
        let op = MaxPool2dBackward(self.pool2d(pool));
        self.push(&grad_name, Phase::Backward, op, &[winner, grad_output, grad_input]);
        grad_input
    }

    fn relu_backward(&mut self, grad_name: &str, output: TensorId, grad_output: TensorId) -> TensorId {
        let shape = self.plan.tensor(output).shape.clone();
        let grad_input = self.activation(grad_name, shape);
        let length = self.plan.tensor(output).length() as u32;
        self.push(grad_name, Phase::Backward, ReluBackward { length }, &[output, grad_output, grad_input]);
        grad_input
    }

    /// The non-finite test, then SGD over everything.
    pub fn update(&mut self, optimiser: &Optimiser) {
        let length = self.plan.parameter_length as u32;
        let momentum = self.flat("momentum", Role::Momentum, "momentum_");
        let status = self.tensor("status", vec![2], Role::Report, Element::U32);
        let find = |plan: &Plan, name: &str| match plan.find(name) {
            Some(id) => id,
            None => unreachable!("{name} was laid out before it is used"),
        };
        let (parameters, gradients) = (find(&self.plan, "parameters"), find(&self.plan, "gradients"));
        let sgd = Sgd {
            length,
            momentum: optimiser.momentum,
            weight_decay: optimiser.weight_decay,
            nesterov: optimiser.nesterov,
        };
        let operands = [gradients, status, parameters, momentum];
        if self.fuses_layers() {
            self.push("sgd", Phase::Update, GuardedSgd(sgd), &operands);
        } else {
            self.push("nonfinite", Phase::Update, Nonfinite { length }, &[gradients, status]);
            self.push("sgd", Phase::Update, sgd, &operands);
        }
    }

    fn conv2d(&self, index: usize) -> Conv2d {
        let (Layer::Conv2d { window, .. }, &[in_channels, height, width]) =
            (self.network.layers[index].layer, &self.activations[index].input[..])
        else {
            unreachable!("layer {index} is a convolution over planes")
        };
        let output = &self.activations[index].output;
        Conv2d {
            batch: self.batch,
            in_channels,
            out_channels: output[0],
            input: [height, width],
            window,
            output: [output[1], output[2]],
        }
    }

    fn pool2d(&self, index: usize) -> Pool2d {
        let (Layer::MaxPool2d { window } | Layer::AvgPool2d { window }, &[channels, height, width]) =
            (self.network.layers[index].layer, &self.activations[index].input[..])
        else {
            unreachable!("layer {index} is a pooling over planes")
        };
        let output = &self.activations[index].output;
        Pool2d { planes: self.batch * channels, input: [height, width], window, output: [output[1], output[2]] }
    }

    /// Forward and backward alike.
    fn dropout(&self, index: usize, length: u32) -> Dropout {
        let (Layer::Dropout { p }, Some(Noise { seed, .. })) = (self.network.layers[index].layer, self.noise) else {
            unreachable!("layer {index} is dropout in training")
        };
        Dropout { length, p, layer: index as u32, seed }
    }

    /// Planes of the batch, and elements of one.
    fn planes(&self, index: usize) -> (u32, u32) {
        let input = &self.activations[index].input;
        (self.batch * input[0], input[1] * input[2])
    }

    fn linear(&self, index: usize) -> Linear {
        let Activation { input, output } = &self.activations[index];
        Linear { batch: self.batch, in_features: input[0], out_features: output[0] }
    }
}
