//! From a network to a plan: forward ops in order, backward ops in reverse, then the update. Layers that one op can do together are one op
//! where the plan is asked to be fused: a convolution, a ReLU and a max pooling, or the last two of them; a linear layer and its ReLU.

mod backward;
mod forward;
mod head;
mod layers;

pub(super) use backward::Incoming;

use super::fusion::Fusion;
use super::images::Images;
use super::network::{Activation, Network};
use super::noise::Noise;
use super::plan::{Optimiser, Parameter, Phase, Plan, PlanStep, Role, Storage, Tensor, TensorId};
use crate::geometry::product;
use crate::gpu::OFFSET_ALIGNMENT;
use crate::ops::nonfinite::Nonfinite;
use crate::ops::sgd::{GuardedSgd, Sgd};
use crate::ops::{Element, Op};

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

    fn fuses_layers(&self) -> bool {
        self.fusion != Fusion::None
    }

    /// Room for the gradients of all parameters.
    pub fn gradients(&mut self) {
        self.flat("gradients", Role::Gradient, "grad_");
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
}
