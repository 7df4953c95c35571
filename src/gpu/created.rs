//! How much a device has made, so that a test can see that a step makes nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Device;

/// What a device has made since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    pub buffers: u64,
    pub bind_groups: u64,
    pub pipelines: u64,
    pub shader_modules: u64,
}

/// The same, counting.
#[derive(Default)]
pub(super) struct Counters {
    pub buffers: AtomicU64,
    pub bind_groups: AtomicU64,
    pub pipelines: AtomicU64,
    pub shader_modules: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Device {
    /// What has been made on it so far; what wgpu makes for itself is not counted.
    pub fn created(&self) -> Created {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Created {
            buffers: count(&self.counters.buffers),
            bind_groups: count(&self.counters.bind_groups),
            pipelines: count(&self.counters.pipelines),
            shader_modules: count(&self.counters.shader_modules),
        }
    }
}
