//! Compute pipelines, built once for each (shader, entry point, specialisation).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::created::Counters;
use super::reflection::{Access, EntryPoint};
use super::{Device, Dispatch, MAX_STORAGE_BUFFERS, Workgroup};
use crate::error::{Error, Result};

/// Whether wgpu adds bounds checks and loop guards to the kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// An index out of range reads or writes some valid element.
    Checked,
    /// Nothing is added. Only for kernels of this crate, which the test-suite runs both ways with guard bands.
    #[default]
    Unchecked,
}

/// A pipeline and how to bind its buffers.
pub(super) struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// Group 0, by binding number.
    pub bindings: Vec<super::Binding>,
    /// Whether group 1, the step table, is bound.
    pub uses_step: bool,
}

/// What a device has built so far.
#[derive(Default)]
pub(super) struct Kernels {
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    kernels: Mutex<HashMap<Key, Arc<Kernel>>>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    shader: &'static str,
    entry_point: &'static str,
    /// Values as bits, which compare and hash.
    constants: Vec<(&'static str, u64)>,
}

impl Key {
    fn new(dispatch: &Dispatch) -> Self {
        let constants = dispatch.constants.iter().map(|&(name, value)| (name, value.to_bits()));
        Self { shader: dispatch.shader.name, entry_point: dispatch.entry_point, constants: constants.collect() }
    }
}

/// A map that its device keeps; a thread that panicked while it held one has left it whole.
fn lock<T>(map: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry_point(dispatch: &Dispatch) -> Result<&'static EntryPoint> {
    let Dispatch { shader, entry_point, .. } = dispatch;
    let unknown = || Error::usage(format!("shaders/{}.wgsl has no entry point {entry_point}", shader.name));
    shader.reflection().entry_point(entry_point).ok_or_else(unknown)
}

/// What `task` makes of each dispatch, side by side; the first error in their order, not in that of the threads.
fn each<K: Ord + Sync, T: Send>(
    dispatches: &BTreeMap<K, &Dispatch>,
    task: impl Fn(&Dispatch) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let results: Vec<Result<T>> = dispatches.par_iter().map(|(_, dispatch)| task(dispatch)).collect();
    results.into_iter().collect()
}

impl Device {
    /// The kernels of dispatches, in their order. Those that are new are built side by side: a driver may take its time over each.
    pub(super) fn kernels(&self, dispatches: &[&Dispatch]) -> Result<Vec<Arc<Kernel>>> {
        let missing: BTreeMap<Key, &Dispatch> = {
            let kernels = lock(&self.kernels.kernels);
            let keyed = dispatches.iter().map(|&dispatch| (Key::new(dispatch), dispatch));
            keyed.filter(|(key, _)| !kernels.contains_key(key)).collect()
        };
        each(&missing, |dispatch| self.accept(dispatch))?;
        let shaders: BTreeMap<&str, &Dispatch> =
            missing.values().map(|&dispatch| (dispatch.shader.name, dispatch)).collect();
        each(&shaders, |dispatch| self.build_module(dispatch))?;
        let built = each(&missing, |dispatch| self.build(dispatch))?;
        if !built.is_empty() {
            self.keep_pipelines();
        }
        let mut kernels = lock(&self.kernels.kernels);
        kernels.extend(missing.into_keys().zip(built.into_iter().map(Arc::new)));
        Ok(dispatches.iter().map(|dispatch| Arc::clone(&kernels[&Key::new(dispatch)])).collect())
    }

    /// What of a kernel can be refused before the driver sees it.
    fn accept(&self, dispatch: &Dispatch) -> Result<()> {
        let (reflection, entry) = (dispatch.shader.reflection(), entry_point(dispatch)?);
        let storage = entry.bindings.iter().filter(|binding| binding.access != Access::Uniform).count();
        if storage > MAX_STORAGE_BUFFERS {
            return Err(Error::usage(format!(
                "{} uses too many storage buffers (got {storage}, expected at most {MAX_STORAGE_BUFFERS})",
                entry.name
            )));
        }

        if let Some(missing) = reflection.needs.iter().find(|feature| !self.has(**feature)) {
            return Err(Error::usage(format!("{} has {}, the adapter has none", dispatch.shader.name, missing.name())));
        }
        let limits = self.inner.limits();
        let Workgroup { invocations, bytes } = reflection.workgroup(&entry.name, &dispatch.constants)?;
        for (what, actual, most) in [
            ("too many invocations in a workgroup", invocations, limits.max_compute_invocations_per_workgroup),
            ("too many bytes of workgroup memory", bytes, limits.max_compute_workgroup_storage_size),
        ] {
            if actual > u64::from(most) {
                let name = dispatch.shader.name;
                return Err(Error::usage(format!("{name}: {what} (got {actual}, the adapter allows {most})")));
            }
        }

        Ok(())
    }

    fn build(&self, dispatch: &Dispatch) -> Result<Kernel> {
        let entry = entry_point(dispatch)?;
        let module = lock(&self.kernels.modules)[dispatch.shader.name].clone();
        let layout = self.layout(entry);
        let step_layout = self.step_layout();
        let uses_step = entry.bindings.iter().any(|binding| binding.group == 1);
        let groups = [Some(&layout), uses_step.then_some(&step_layout)];
        Counters::add(&self.counters.pipelines);
        let pipeline = self.guarded(|| {
            // Scopes are this thread's own.
            let scope = self.inner.push_error_scope(wgpu::ErrorFilter::Validation);
            let internal = self.inner.push_error_scope(wgpu::ErrorFilter::Internal);
            let pipeline_layout = self.inner.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(dispatch.entry_point),
                bind_group_layouts: &groups[..1 + usize::from(uses_step)],
                immediate_size: 0,
            });
            let pipeline = self.inner.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(dispatch.entry_point),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(dispatch.entry_point),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &dispatch.constants,
                    // Ours write workgroup memory before they read it; others may count on WGSL's zeros.
                    zero_initialize_workgroup_memory: !dispatch.shader.is_ours,
                },
                cache: self.pipeline_cache(),
            });
            let internal = pollster::block_on(internal.pop());
            let invalid = pollster::block_on(scope.pop());
            match internal.or(invalid) {
                None => Ok(pipeline),
                Some(error) => Err(Error::gpu(format!("{}: {error}", dispatch.entry_point))),
            }
        })??;
        let bindings = entry.bindings.iter().filter(|binding| binding.group == 0).cloned().collect();
        Ok(Kernel { pipeline, layout, bindings, uses_step })
    }

    /// Makes the module of a dispatch's shader, unless it is there.
    fn build_module(&self, dispatch: &Dispatch) -> Result<()> {
        let name = dispatch.shader.name;
        if lock(&self.kernels.modules).contains_key(name) {
            return Ok(());
        }
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(name),
            source: wgpu::ShaderSource::Wgsl(dispatch.shader.reflection().source.as_str().into()),
        };
        // A user's file keeps its checks, whatever the device is asked for.
        let checks = if dispatch.shader.is_ours { self.checks() } else { Checks::Checked };
        Counters::add(&self.counters.shader_modules);
        let module = self.guarded(|| match checks {
            Checks::Checked => self.inner.create_shader_module(descriptor),
            // SAFETY: the source is a file of this crate; tests/kernels.rs runs every kernel unchecked, over the sizes around each
            // tile and limit, between guard bands, and checked against the f64 reference; every loop in them is bounded.
            Checks::Unchecked => unsafe {
                self.inner.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
        })?;
        lock(&self.kernels.modules).insert(name, module);
        Ok(())
    }

    fn layout(&self, entry: &EntryPoint) -> wgpu::BindGroupLayout {
        let group = entry.bindings.iter().filter(|binding| binding.group == 0);
        let entries: Vec<_> = group
            .map(|binding| {
                layout_entry(
                    binding.binding,
                    match binding.access {
                        Access::Uniform => wgpu::BufferBindingType::Uniform,
                        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    false,
                )
            })
            .collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(&entry.name), entries: &entries };
        self.inner.create_bind_group_layout(&descriptor)
    }

    /// Group 1: one row of the step table, at a dynamic offset.
    pub(super) fn step_layout(&self) -> wgpu::BindGroupLayout {
        let entries = [layout_entry(0, wgpu::BufferBindingType::Uniform, true)];
        self.inner.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("step"), entries: &entries })
    }
}

fn layout_entry(binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}
