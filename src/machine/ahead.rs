//! The kernels of a plan compiled on a second thread, for software adapters: they compile each when it is first launched, one after the other, and
//! those that keep what they have compiled find it there for another device as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::gpu::{Adapter, Buffer, BufferSlice, Device, DeviceOptions, Dispatch, Program, StepTable};
use crate::nn::Plan;
use crate::ops::Selection;

/// Elements of a buffer that is bound and never used.
const LENGTH: usize = 64;

/// How many times as long as finding a kernel it takes to compile it, at least.
const COMPILING: u32 = 4;

/// A thread that compiles. Dropped, it stops after the kernel that it is at: a driver does not like to be left in the middle of one.
pub struct CompileAhead {
    thread: Option<JoinHandle<Result<usize>>>,
    stop: Arc<AtomicBool>,
}

impl CompileAhead {
    /// Starts with the last op of `plan`, so that it meets whoever starts with the first. It opens devices of its own, as `device` was opened.
    ///
    /// # Errors
    /// An op that cannot be lowered; a thread that the system refuses.
    pub fn start(adapter: &Adapter, device: &Device, plan: &Plan, selection: &Selection) -> Result<Self> {
        let lowered = plan.steps.iter().rev().map(|step| Ok(selection.lower(&*step.op, device)?.dispatches));
        let dispatches: Vec<Dispatch> = lowered.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (adapter, options, asked) = (adapter.clone(), device.options(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("compiler".into())
            .spawn(move || compile(&adapter, options, dispatches, &asked))
            .map_err(|error| Error::gpu(format!("could not start the compiler: {error}")))?;
        Ok(Self { thread: Some(thread), stop })
    }

    /// Waits until all is compiled, or nothing more is worth it; how many kernels it has launched.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn wait(mut self) -> Result<usize> {
        let ended = self.thread.take().map_or(Ok(Ok(0)), JoinHandle::join);
        ended.unwrap_or_else(|_| Err(Error::gpu("the compiler failed")))
    }
}

impl Drop for CompileAhead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It is a help, not a need: what it could not do has been done by whoever needed it.
        self.thread.take().map(JoinHandle::join);
    }
}

fn compile(adapter: &Adapter, options: DeviceOptions, dispatches: Vec<Dispatch>, stop: &AtomicBool) -> Result<usize> {
    let places = dispatches.iter().flat_map(|dispatch| dispatch.bindings.iter().map(|&(_, place)| place + 1)).max();
    let open = || Launcher::open(adapter, options, places.unwrap_or(0));
    let launcher = open()?;
    let mut took = Vec::new();
    for dispatch in &dispatches {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // What is done once in a process is not the driver's.
        dispatch.shader.reflection();
        took.push(launcher.launch(dispatch)?);
        // After the second: a driver may take its time to keep the first.
        if took.len() == 2 && took[0] < COMPILING * open()?.launch(&dispatches[0])? {
            break;
        }
    }
    Ok(took.len())
}

/// A device, and what a kernel needs beside it to be launched over no workgroups.
struct Launcher {
    device: Device,
    buffers: Vec<BufferSlice>,
    table: StepTable,
}

impl Launcher {
    fn open(adapter: &Adapter, options: DeviceOptions, places: usize) -> Result<Self> {
        let device = Device::open_with(adapter, options)?;
        let buffers = (0..places).map(|_| Ok(Buffer::new(&device, "unused", LENGTH)?.whole()));
        Ok(Self { buffers: buffers.collect::<Result<_>>()?, table: StepTable::new(&device, 1)?, device })
    }

    /// How long it took.
    fn launch(&self, dispatch: &Dispatch) -> Result<Duration> {
        let started = Instant::now();
        let program = Program::new(&self.device, &[(dispatch.clone(), self.buffers.clone())])?;
        let submission = self.device.submit(|encoder| program.record_nothing(encoder, &self.table))?;
        self.device.wait(&submission)?;
        Ok(started.elapsed())
    }
}
