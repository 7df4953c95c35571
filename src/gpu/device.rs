//! The device and its queue. Whatever the driver does — refuses, goes quiet, is lost, panics inside wgpu — ends in an `Error::Gpu`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::created::Counters;
use super::kernel::{Checks, Kernels};
use super::pipelines::Pipelines;
use super::readback::Readback;
use super::{
    Adapter, AdapterInfo, Buffer, CooperativeMatrix, DeviceKind, DeviceOptions, Encoder, Feature, Precision, Workgroup,
};
use crate::error::{Error, Result};

/// An open adapter. One thread works with it; others only help to build kernels.
pub struct Device {
    info: AdapterInfo,
    options: DeviceOptions,
    /// Of the smallest subgroup that a kernel may find itself in, and of the largest.
    subgroup_lanes: [u32; 2],
    cooperative_matrices: Vec<CooperativeMatrix>,
    pub(super) inner: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) kernels: Kernels,
    /// Where compiled kernels are kept between two starts.
    pub(super) pipelines: Option<Pipelines>,
    pub(super) readback: Readback,
    pub(super) counters: Counters,
    /// The first thing that went wrong outside any error scope, device loss included.
    trouble: Arc<Mutex<Option<String>>>,
}

/// Features that are asked for where they are there; none costs anything until it is used.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::PIPELINE_CACHE);

/// The same where experimental features may be.
const EXPERIMENTAL: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// Work handed to the GPU.
#[derive(Clone, Debug)]
pub struct Submission {
    index: wgpu::SubmissionIndex,
    /// What recording and submitting cost the host. On a software adapter the submit itself is left out: that call runs the kernels.
    pub host_time: Duration,
}

impl Device {
    /// Opens `adapter` with all of its limits.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn open(adapter: &Adapter, checks: Checks) -> Result<Self> {
        Self::open_with(adapter, DeviceOptions { checks, ..DeviceOptions::default() })
    }

    /// The same with more than bounds checks to choose.
    ///
    /// # Errors
    /// f16 where the adapter has none; what the driver refuses.
    pub fn open_with(adapter: &Adapter, options: DeviceOptions) -> Result<Self> {
        let wanted = if options.experimental { WANTED | EXPERIMENTAL } else { WANTED };
        let features = adapter.inner.features() & wanted;
        if options.precision == Precision::F16 && !features.contains(wgpu::Features::SHADER_F16) {
            let name = &adapter.info.name;
            return Err(Error::gpu(format!("{name} has no f16"))
                .with_hint("--precision f32 runs everywhere, in a new run: one that is resumed keeps its own"));
        }
        let cooperative_matrices = match features.contains(EXPERIMENTAL) {
            true => {
                let all = adapter.inner.cooperative_matrix_properties();
                all.iter().filter_map(CooperativeMatrix::new).collect()
            }
            false => Vec::new(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("shadegrad"),
            required_features: features,
            required_limits: adapter.inner.limits(),
            experimental_features: match options.experimental {
                // SAFETY: whoever asks for them is told that they may be wrong; what is computed with them is checked before it is chosen.
                true => unsafe { wgpu::ExperimentalFeatures::enabled() },
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            trace: wgpu::Trace::Off,
        };
        let (inner, queue) = pollster::block_on(adapter.inner.request_device(&descriptor))
            .map_err(|error| Error::gpu(format!("could not open {}: {error}", adapter.info.name)))?;
        let trouble = Arc::new(Mutex::new(None));
        let note = |trouble: &Mutex<Option<String>>, text: String| {
            if let Ok(mut first) = trouble.lock() {
                first.get_or_insert(text);
            }
        };
        let lost = Arc::clone(&trouble);
        inner.set_device_lost_callback(move |reason, message| {
            note(&lost, format!("device lost ({reason:?}): {message}"))
        });
        let uncaptured = Arc::clone(&trouble);
        inner.on_uncaptured_error(Arc::new(move |error: wgpu::Error| note(&uncaptured, error.to_string())));
        let info = adapter.inner.get_info();
        Ok(Self {
            info: adapter.info.clone(),
            options,
            subgroup_lanes: [info.subgroup_min_size, info.subgroup_max_size],
            cooperative_matrices,
            inner,
            queue,
            kernels: Kernels::default(),
            pipelines: None,
            readback: Readback::default(),
            counters: Counters::default(),
            trouble,
        })
    }

    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// How it was opened.
    pub fn options(&self) -> DeviceOptions {
        self.options
    }

    pub fn checks(&self) -> Checks {
        self.options.checks
    }

    /// The least that kernels chosen for their speed may round factors to.
    pub fn precision(&self) -> Precision {
        self.options.precision
    }

    /// Whether kernels may use a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.inner.features().contains(match feature {
            Feature::Subgroups => wgpu::Features::SUBGROUP,
            Feature::F16 => wgpu::Features::SHADER_F16,
            Feature::CooperativeMatrices => EXPERIMENTAL,
        })
    }

    /// Lanes of the smallest subgroup that a kernel may find itself in, and of the largest; 0 where kernels have no subgroup operations.
    pub fn subgroup_lanes(&self) -> [u32; 2] {
        if self.has(Feature::Subgroups) { self.subgroup_lanes } else { [0; 2] }
    }

    /// The matrices that its subgroups multiply.
    pub fn cooperative_matrices(&self) -> &[CooperativeMatrix] {
        &self.cooperative_matrices
    }

    /// Bytes that one storage binding, and so one tensor, may have.
    pub fn max_binding_bytes(&self) -> u64 {
        let limits = self.inner.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// The largest workgroup, in a row, that a kernel may have.
    pub fn largest_workgroup(&self) -> Workgroup {
        let limits = self.inner.limits();
        let invocations = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        Workgroup { invocations: invocations.into(), bytes: limits.max_compute_workgroup_storage_size.into() }
    }

    /// Gives the device up at once, as a driver does that resets the GPU; whatever is asked of it then is an `Error::Gpu`.
    pub fn destroy(&self) {
        self.inner.destroy();
    }

    /// Uploads elements of 4 bytes, before whatever is submitted next.
    pub fn write<T: bytemuck::Pod>(&self, buffer: &Buffer, first: usize, values: &[T]) {
        self.queue.write_buffer(&buffer.inner, first as u64 * 4, bytemuck::cast_slice(values));
    }

    /// Records commands and hands them to the GPU.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn submit(&self, record: impl FnOnce(&mut Encoder)) -> Result<Submission> {
        let started = Instant::now();
        self.guarded(|| {
            let mut encoder = self.inner.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            record(&mut encoder);
            let commands = encoder.finish();
            let recorded = started.elapsed();
            let index = self.queue.submit([commands]);
            let software = self.info.kind == DeviceKind::Software;
            Submission { index, host_time: if software { recorded } else { started.elapsed() } }
        })
    }

    /// Waits until a submission and everything before it is done.
    ///
    /// # Errors
    /// A lost device, or one that has not answered for long.
    pub fn wait(&self, submission: &Submission) -> Result<()> {
        let started = Instant::now();
        // A software adapter may take long over a large step; hardware that takes this long has been stopped by its driver.
        let patience = Duration::from_secs(if self.info.kind == DeviceKind::Software { 600 } else { 60 });
        loop {
            let poll = wgpu::PollType::Wait {
                submission_index: Some(submission.index.clone()),
                timeout: Some(Duration::from_secs(1)),
            };
            match self.guarded(|| self.inner.poll(poll))? {
                Ok(_) => return self.healthy(),
                Err(wgpu::PollError::Timeout) if started.elapsed() < patience => self.healthy()?,
                Err(error) => {
                    return Err(self.failure(&format!("no answer for {} s ({error})", started.elapsed().as_secs())));
                }
            }
        }
    }

    pub(super) fn create_buffer(&self, name: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        Counters::add(&self.counters.buffers);
        let descriptor = wgpu::BufferDescriptor { label: Some(name), size: bytes, usage, mapped_at_creation: false };
        let (buffer, error) = self.guarded(|| {
            let out_of_memory = self.inner.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let invalid = self.inner.push_error_scope(wgpu::ErrorFilter::Validation);
            let buffer = self.inner.create_buffer(&descriptor);
            let invalid = pollster::block_on(invalid.pop());
            (buffer, pollster::block_on(out_of_memory.pop()).or(invalid))
        })?;
        match error {
            None => Ok(buffer),
            Some(error) => Err(Error::gpu(format!(
                "{name} needs {}, more than the device has left ({error})",
                crate::units::bytes(bytes)
            ))
            .with_hint("lower --batch")),
        }
    }

    pub(super) fn create_bind_group(&self, descriptor: &wgpu::BindGroupDescriptor<'_>) -> Result<wgpu::BindGroup> {
        Counters::add(&self.counters.bind_groups);
        self.guarded(|| self.inner.create_bind_group(descriptor))
    }

    /// Runs wgpu calls that may panic on a lost device.
    pub(super) fn guarded<T>(&self, calls: impl FnOnce() -> T) -> Result<T> {
        let result = catch_unwind(AssertUnwindSafe(calls));
        self.healthy()?;
        result.map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            self.failure(text.unwrap_or("the driver gave up"))
        })
    }

    fn healthy(&self) -> Result<()> {
        match self.trouble.lock() {
            Ok(trouble) => trouble.as_ref().map_or(Ok(()), |text| Err(self.failure(text))),
            Err(_) => Err(self.failure("the error handler itself failed")),
        }
    }

    pub(super) fn failure(&self, text: &str) -> Error {
        Error::gpu(format!("{}: {text}", self.info.name)).with_hint(
            "the driver may have reset the GPU: lower --batch, update the driver, or try --device with another adapter",
        )
    }
}
