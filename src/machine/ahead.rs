//! The kernels of a plan compiled on a second thread, for software adapters: they compile each when it is first launched, one after the other, and
//! those that keep what they have compiled find it there for another device as well.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
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
    queue: Arc<Queue>,
}

impl CompileAhead {
    /// Starts with the last op of `plan`, so that it meets whoever starts with the first. It opens devices of its own, as `device` was opened.
    ///
    /// # Errors
    /// An op that cannot be lowered; a thread that the system refuses.
    pub fn start(adapter: &Adapter, device: &Device, plan: &Plan, selection: &Selection) -> Result<Self> {
        let lowered = plan.steps.iter().map(|step| Ok(selection.lower(&*step.op, device)?.dispatches));
        let queue = Arc::new(Queue::new(lowered.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()));
        let (adapter, options, shared) = (adapter.clone(), device.options(), Arc::clone(&queue));
        let thread = std::thread::Builder::new()
            .name("compiler".into())
            .spawn(move || compile(&adapter, options, &shared))
            .map_err(|error| Error::gpu(format!("could not start the compiler: {error}")))?;
        Ok(Self { thread: Some(thread), queue })
    }

    /// Waits until all is compiled, or nothing more is worth it; how many kernels it has launched.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn wait(mut self) -> Result<usize> {
        let ended = self.thread.take().map_or(Ok(Ok(0)), JoinHandle::join);
        ended.unwrap_or_else(|_| Err(Error::gpu("the compiler failed")))
    }

    /// The same with the help of this thread, which compiles on `device` from the first op on, as long as it is told to `proceed`.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn finish(self, device: &Device, proceed: &mut dyn FnMut() -> bool) -> Result<usize> {
        let launcher = Launcher::new(device, self.queue.places)?;
        while let Some(dispatch) = self.queue.take(VecDeque::pop_front) {
            if !proceed() {
                self.queue.clear();
                break;
            }
            launcher.launch(device, &dispatch)?;
        }
        self.wait()
    }
}

impl Drop for CompileAhead {
    fn drop(&mut self) {
        self.queue.clear();
        // It is a help, not a need: what it could not do has been done by whoever needed it.
        self.thread.take().map(JoinHandle::join);
    }
}

/// Kernels that nobody has begun to compile, in the order of the plan.
struct Queue {
    left: Mutex<VecDeque<Dispatch>>,
    /// Buffers that one of them uses at most.
    places: usize,
}

impl Queue {
    fn new(dispatches: VecDeque<Dispatch>) -> Self {
        let bindings = dispatches.iter().flat_map(|dispatch| &dispatch.bindings);
        let places = bindings.map(|&(_, place)| place + 1).max().unwrap_or(0);
        Self { left: Mutex::new(dispatches), places }
    }

    fn take(&self, end: fn(&mut VecDeque<Dispatch>) -> Option<Dispatch>) -> Option<Dispatch> {
        end(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn clear(&self) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn compile(adapter: &Adapter, options: DeviceOptions, queue: &Queue) -> Result<usize> {
    let open = || -> Result<_> {
        let device = Device::open_with(adapter, options)?;
        Ok((Launcher::new(&device, queue.places)?, device))
    };
    let (launcher, device) = open()?;
    let mut launched = Vec::new();
    while let Some(dispatch) = queue.take(VecDeque::pop_back) {
        // What is done once in a process is not the driver's.
        dispatch.shader.reflection();
        let took = launcher.launch(&device, &dispatch)?;
        launched.push((dispatch, took));
        // After the second: a driver may take its time to keep the first.
        if let [(first, took), _] = &launched[..] {
            let (launcher, device) = open()?;
            if *took < COMPILING * launcher.launch(&device, first)? {
                queue.clear();
            }
        }
    }
    Ok(launched.len())
}

/// What a kernel needs beside a device to be launched over no workgroups.
struct Launcher {
    buffers: Vec<BufferSlice>,
    table: StepTable,
}

impl Launcher {
    fn new(device: &Device, places: usize) -> Result<Self> {
        let buffers = (0..places).map(|_| Ok(Buffer::new(device, "unused", LENGTH)?.whole()));
        Ok(Self { buffers: buffers.collect::<Result<_>>()?, table: StepTable::new(device, 1)? })
    }

    /// How long it took.
    fn launch(&self, device: &Device, dispatch: &Dispatch) -> Result<Duration> {
        let started = Instant::now();
        let program = Program::new(device, &[(dispatch.clone(), self.buffers.clone())])?;
        let submission = device.submit(|encoder| program.record_nothing(encoder, &self.table))?;
        device.wait(&submission)?;
        Ok(started.elapsed())
    }
}
