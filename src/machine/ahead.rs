//! The kernels of a plan compiled on a second thread, for software adapters: they compile each when it is first launched, one after the other, and
//! find in their cache what another device has compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::gpu::{Buffer, BufferSlice, Device, Dispatch, Program, StepTable};
use crate::nn::Plan;
use crate::ops::Selection;

/// Elements of a buffer that is bound and never used.
const LENGTH: usize = 64;

/// A thread that compiles. Dropped, it stops after the kernel that it is at: a driver does not like to be left in the middle of one.
pub struct CompileAhead {
    thread: Option<JoinHandle<Result<()>>>,
    stop: Arc<AtomicBool>,
}

impl CompileAhead {
    /// Starts with the last op, so that it meets whoever starts with the first. `device` is one of its own, of the same adapter.
    ///
    /// # Errors
    /// An op that cannot be lowered; a thread that the system refuses.
    pub fn start(device: Device, plan: &Plan, selection: &Selection) -> Result<Self> {
        let lowered = plan.steps.iter().rev().map(|step| Ok(selection.lower(&*step.op, &device)?.dispatches));
        let dispatches: Vec<Dispatch> = lowered.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("compiler".into())
            .spawn(move || compile(&device, dispatches, &asked))
            .map_err(|error| Error::gpu(format!("could not start the compiler: {error}")))?;
        Ok(Self { thread: Some(thread), stop })
    }
}

impl Drop for CompileAhead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It is a help, not a need: what it could not do has been done by whoever needed it.
        self.thread.take().map(JoinHandle::join);
    }
}

fn compile(device: &Device, dispatches: Vec<Dispatch>, stop: &AtomicBool) -> Result<()> {
    let places = dispatches.iter().flat_map(|dispatch| dispatch.bindings.iter().map(|&(_, place)| place + 1)).max();
    let buffers = (0..places.unwrap_or(0)).map(|_| Ok(Buffer::new(device, "unused", LENGTH)?.whole()));
    let buffers: Vec<BufferSlice> = buffers.collect::<Result<_>>()?;
    let table = StepTable::new(device, 1)?;
    for dispatch in dispatches {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let program = Program::new(device, &[(dispatch, buffers.clone())])?;
        let submission = device.submit(|encoder| program.record_nothing(encoder, &table))?;
        device.wait(&submission)?;
    }
    Ok(())
}
