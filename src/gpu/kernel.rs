//! Compute pipelines, built once for each (shader, entry point, specialisation).

use std::collections::HashMap;
use std::rc::Rc;

use super::shader::{Access, EntryPoint};
use super::{Device, Dispatch, MAX_STORAGE_BUFFERS};
use crate::error::{Error, Result};

/// Whether wgpu adds bounds checks and loop guards to the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// An index out of range reads or writes some valid element.
    Checked,
    /// Nothing is added. Only for kernels of this crate, which the test-suite runs both ways with guard bands.
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

#[derive(Default)]
pub(super) struct Kernels {
    modules: HashMap<&'static str, wgpu::ShaderModule>,
    kernels: HashMap<Key, Rc<Kernel>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    shader: &'static str,
    entry_point: &'static str,
    /// Values as bits, which compare and hash.
    constants: Vec<(&'static str, u64)>,
}

impl Device {
    /// The kernel of a dispatch, built at its first use.
    pub(super) fn kernel(&self, dispatch: &Dispatch) -> Result<Rc<Kernel>> {
        let constants = dispatch.constants.iter().map(|&(name, value)| (name, value.to_bits()));
        let key =
            Key { shader: dispatch.shader.name, entry_point: dispatch.entry_point, constants: constants.collect() };
        if let Some(kernel) = self.kernels.borrow().kernels.get(&key) {
            return Ok(Rc::clone(kernel));
        }
        let kernel = Rc::new(self.build(dispatch)?);
        self.kernels.borrow_mut().kernels.insert(key, Rc::clone(&kernel));
        Ok(kernel)
    }

    fn build(&self, dispatch: &Dispatch) -> Result<Kernel> {
        let reflection = dispatch.shader.reflection();
        let entry = reflection.entry_point(dispatch.entry_point).ok_or_else(|| {
            Error::usage(format!("shaders/{}.wgsl has no entry point {}", dispatch.shader.name, dispatch.entry_point))
        })?;
        let storage = entry.bindings.iter().filter(|binding| binding.access != Access::Uniform).count();
        if storage > MAX_STORAGE_BUFFERS {
            return Err(Error::usage(format!(
                "{} uses too many storage buffers (got {storage}, expected at most {MAX_STORAGE_BUFFERS})",
                entry.name
            )));
        }

        if reflection.needs_subgroups && self.subgroup_lanes() == 0 {
            return Err(Error::usage(format!(
                "{} has subgroup operations, the adapter has none",
                dispatch.shader.name
            )));
        }
        let limits = self.inner.limits();
        let invocations: u64 = reflection.workgroup_size(&entry.name)?.iter().map(|&size| u64::from(size)).product();
        let memory = reflection.workgroup_bytes(&entry.name)?;
        for (what, actual, most) in [
            ("too many invocations in a workgroup", invocations, limits.max_compute_invocations_per_workgroup),
            ("too many bytes of workgroup memory", memory, limits.max_compute_workgroup_storage_size),
        ] {
            if actual > u64::from(most) {
                let name = dispatch.shader.name;
                return Err(Error::usage(format!("{name}: {what} (got {actual}, the adapter allows {most})")));
            }
        }

        let module = self.module(dispatch)?;
        let layout = self.layout(entry);
        let step_layout = self.step_layout();
        let uses_step = entry.bindings.iter().any(|binding| binding.group == 1);
        let groups = [Some(&layout), uses_step.then_some(&step_layout)];
        let pipeline = self.guarded(|| {
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
                cache: None,
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

    fn module(&self, dispatch: &Dispatch) -> Result<wgpu::ShaderModule> {
        let name = dispatch.shader.name;
        if let Some(module) = self.kernels.borrow().modules.get(name) {
            return Ok(module.clone());
        }
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(name),
            source: wgpu::ShaderSource::Wgsl(dispatch.shader.reflection().source.as_str().into()),
        };
        // A user's file keeps its checks, whatever the device is asked for.
        let checks = if dispatch.shader.is_ours { self.checks() } else { Checks::Checked };
        let module = self.guarded(|| match checks {
            Checks::Checked => self.inner.create_shader_module(descriptor),
            // SAFETY: the source is a file of this crate; tests/kernels.rs runs every kernel unchecked, over the sizes around each
            // tile and limit, between guard bands, and checked against the f64 reference; every loop in them is bounded.
            Checks::Unchecked => unsafe {
                self.inner.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
        })?;
        self.kernels.borrow_mut().modules.insert(name, module.clone());
        Ok(module)
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
