//! The plan: what a training step or an inference does, as data. Two machines run it, the GPU and the CPU reference.

use crate::error::{Error, Result};
use crate::ops::{Element, Op};
use crate::units;

/// Kernels count elements of 4 bytes in u32.
pub(super) const ADDRESSABLE_BYTES: u64 = 4 * u32::MAX as u64;

/// A range of memory that is one buffer on the GPU. Tensors of one step never read and write the same storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    pub name: String,
    pub element: Element,
    /// Elements of 4 bytes.
    pub length: usize,
}

/// Place of a tensor in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub usize);

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Images and their order, written by the host.
    Data,
    Parameter,
    Gradient,
    Momentum,
    Activation,
    /// The loss ring and the non-finite status, read by the host.
    Report,
}

/// A named view of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `conv1.output`, `conv1.grad_weight`, `labels` …
    pub name: String,
    /// The batch included.
    pub shape: Vec<u32>,
    pub role: Role,
    /// Place in `Plan::storages`.
    pub storage: usize,
    /// Elements from the start of the storage.
    pub offset: usize,
}

impl Tensor {
    /// Elements.
    pub fn length(&self) -> usize {
        crate::geometry::product(&self.shape)
    }
}

/// Which part of a step an op belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Gather,
    Forward,
    Loss,
    Backward,
    Update,
}

/// An op and its operands.
#[derive(Debug)]
pub struct PlanStep {
    /// `conv1.forward`, `conv1.grad_weight` …
    pub label: String,
    pub phase: Phase,
    pub op: Box<dyn Op>,
    pub operands: Vec<TensorId>,
}

/// A trained tensor: PyTorch's name and layout, and its place in the flat buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// `conv1.weight`, `fc1.bias` …
    pub name: String,
    pub shape: Vec<u32>,
    /// Elements from the start of the flat parameter, gradient and momentum buffers alike.
    pub offset: usize,
    /// Inputs that one output sums over; bounds the initial values.
    pub fan_in: usize,
}

impl Parameter {
    pub fn length(&self) -> usize {
        crate::geometry::product(&self.shape)
    }

    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.length()
    }
}

/// Settings of SGD that stay the same over a run. Source: torch.optim.SGD with dampening=0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimiser {
    pub momentum: f32,
    pub weight_decay: f32,
    pub nesterov: bool,
    pub label_smoothing: f32,
}

/// Tensors and ops in order.
#[derive(Debug)]
pub struct Plan {
    pub batch: u32,
    /// Of an image.
    pub channels: u32,
    pub classes: u32,
    pub storages: Vec<Storage>,
    pub tensors: Vec<Tensor>,
    pub parameters: Vec<Parameter>,
    /// Elements of the flat parameter buffer, alignment gaps included.
    pub parameter_length: usize,
    pub steps: Vec<PlanStep>,
    /// (batch, classes), the network's output.
    pub logits: TensorId,
}

impl Plan {
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().position(|tensor| tensor.name == name).map(TensorId)
    }

    /// Trained numbers, alignment gaps not counted.
    pub fn parameter_count(&self) -> u64 {
        self.parameters.iter().map(|parameter| parameter.length() as u64).sum()
    }

    /// The parameter that holds an element of the flat buffers.
    pub fn parameter_at(&self, element: usize) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.range().contains(&element))
    }

    /// Bytes of all storages.
    pub fn bytes(&self) -> u64 {
        self.storages.iter().map(|storage| 4 * storage.length as u64).sum()
    }

    /// Floating-point operations of one step.
    pub fn flops(&self) -> u64 {
        self.steps.iter().map(|step| step.op.flops()).sum()
    }

    /// Whether every storage fits one binding of `max_bytes`.
    ///
    /// # Errors
    /// The storage that does not.
    pub fn fits(&self, max_bytes: u64) -> Result<()> {
        match self.storages.iter().max_by_key(|storage| storage.length) {
            Some(largest) if 4 * largest.length as u64 > max_bytes => {
                Err(too_large(&largest.name, 4 * largest.length as u64, max_bytes))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn too_large(name: &str, bytes: u64, max_bytes: u64) -> Error {
    let who = if max_bytes == ADDRESSABLE_BYTES { "a kernel addresses" } else { "the adapter allows" };
    // Where rounding would hide the difference, every byte counts.
    let (needed, allowed) = match (units::bytes(bytes), units::bytes(max_bytes)) {
        (needed, allowed) if needed == allowed => {
            (format!("{} B", units::count(bytes)), format!("{} B", units::count(max_bytes)))
        }
        rounded => rounded,
    };
    Error::usage(format!("{name} needs {needed}, {who} {allowed}"))
}
