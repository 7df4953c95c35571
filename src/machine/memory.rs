//! A plan's storages as GPU buffers, and its ops as a program over them.

use crate::error::Result;
use crate::gpu::{Buffer, BufferSlice, Device, Program};
use crate::nn::{Plan, Sharing, Tensor, TensorId};
use crate::ops::{Lowering, Selection};

/// The buffers of the storages, and those that ops need for themselves.
pub struct Memory {
    buffers: Vec<Buffer>,
    sharing: Sharing,
    scratch: Vec<Buffer>,
}

impl Memory {
    /// Allocates the storages of `plan` as `sharing` has them; those named in `given` are taken from there instead.
    ///
    /// # Errors
    /// A storage that does not fit.
    pub fn new(device: &Device, plan: &Plan, sharing: Sharing, given: &[(&str, &Buffer)]) -> Result<Self> {
        let mut buffers = Vec::with_capacity(sharing.buffers.len());
        for (place, &length) in sharing.buffers.iter().enumerate() {
            // The first of those in it, which is its only one unless they are activations.
            let storage = sharing.places.iter().position(|at| at.buffer == place);
            let name = storage.map_or("", |storage| &plan.storages[storage].name);
            buffers.push(match given.iter().find(|(given, _)| *given == name) {
                Some((_, buffer)) => (*buffer).clone(),
                None => Buffer::new(device, name, length)?,
            });
        }
        Ok(Self { buffers, sharing, scratch: Vec::new() })
    }

    /// Builds the program with the kernel that `selection` has for every op. Ops follow each other, so all share the same scratch
    /// buffers.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn program(&mut self, device: &Device, plan: &Plan, selection: &Selection) -> Result<Program> {
        let lowered = plan.steps.iter().map(|step| selection.lower(&*step.op, device));
        let lowered: Vec<Lowering> = lowered.collect::<Result<_>>()?;
        let places = lowered.iter().map(|lowering| lowering.scratch.len()).max().unwrap_or(0);
        for place in 0..places {
            let length = lowered.iter().filter_map(|lowering| lowering.scratch.get(place)).max().copied().unwrap_or(0);
            self.scratch.push(Buffer::new(device, "the scratch buffer of a split sum", length)?);
        }

        let mut dispatches = Vec::new();
        for (step, lowering) in plan.steps.iter().zip(lowered) {
            let mut operands: Vec<BufferSlice> = step.operands.iter().map(|&id| self.slice(plan, id)).collect();
            operands
                .extend(lowering.scratch.iter().zip(&self.scratch).map(|(&length, buffer)| buffer.slice(0, length)));
            dispatches.extend(lowering.dispatches.into_iter().map(|dispatch| (dispatch, operands.clone())));
        }
        Program::new(device, &dispatches)
    }

    /// The buffer of a storage that has one of its own.
    pub fn buffer(&self, plan: &Plan, name: &str) -> &Buffer {
        match plan.storages.iter().position(|storage| storage.name == name) {
            Some(storage) => &self.buffers[self.sharing.places[storage].buffer],
            None => unreachable!("the plan has a storage {name}"),
        }
    }

    /// The buffer of a tensor, and where in it the tensor begins.
    pub fn locate(&self, plan: &Plan, id: TensorId) -> (&Buffer, usize) {
        let Tensor { storage, offset, .. } = plan.tensor(id);
        let place = self.sharing.places[*storage];
        (&self.buffers[place.buffer], place.offset + offset)
    }

    /// Whether a tensor's memory is another's at another time.
    pub fn is_shared(&self, plan: &Plan, id: TensorId) -> bool {
        self.sharing.is_shared(plan.tensor(id).storage)
    }

    fn slice(&self, plan: &Plan, id: TensorId) -> BufferSlice {
        let (buffer, offset) = self.locate(plan, id);
        buffer.slice(offset, plan.tensor(id).length())
    }

    /// Bytes allocated, buffers taken from elsewhere not counted.
    pub fn bytes(&self, given: &[&str]) -> u64 {
        let own = self.buffers.iter().filter(|buffer| !given.contains(&buffer.name()));
        own.chain(&self.scratch).map(Buffer::size).sum()
    }
}
