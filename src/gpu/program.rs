//! A list of dispatches with their pipelines, params and bind groups built once, replayed at every step.

use std::sync::Arc;

use super::kernel::Kernel;
use super::reflection::Access;
use super::{Binding, BufferSlice, Device, Encoder, MAX_WORKGROUPS, OFFSET_ALIGNMENT, Shader, Stamps};
use crate::error::{Error, Result};

/// One kernel launch, as data.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub shader: &'static Shader,
    pub entry_point: &'static str,
    /// Values of `override` constants.
    pub constants: Vec<(&'static str, f64)>,
    /// The bytes of the params struct, and its fields, which have to be those that the shader declares.
    pub params: Vec<u8>,
    pub fields: &'static [ParamsField],
    /// Binding name → place in the operands it is launched with.
    pub bindings: Vec<(&'static str, usize)>,
    /// Workgroups in all; the grid is folded from this.
    pub workgroups: u64,
}

impl Dispatch {
    /// A kernel with one invocation for each of `invocations` results; the workgroup size is the shader's.
    pub fn new<P: Params>(
        shader: &'static Shader,
        entry_point: &'static str,
        params: &P,
        bindings: &[(&'static str, usize)],
        invocations: u64,
    ) -> Self {
        Self::specialised(shader, entry_point, params, bindings, invocations, &[])
    }

    /// The same with values for `override` constants, of which the workgroup size may be one.
    pub fn specialised<P: Params>(
        shader: &'static Shader,
        entry_point: &'static str,
        params: &P,
        bindings: &[(&'static str, usize)],
        invocations: u64,
        constants: &[(&'static str, u32)],
    ) -> Self {
        let dispatch = Self {
            shader,
            entry_point,
            constants: constants.iter().map(|&(name, value)| (name, f64::from(value))).collect(),
            params: bytemuck::bytes_of(params).to_vec(),
            fields: P::FIELDS,
            bindings: bindings.to_vec(),
            workgroups: 0,
        };
        Self { workgroups: invocations.div_ceil(dispatch.workgroup_size()), ..dispatch }
    }

    /// Invocations of a workgroup.
    pub fn workgroup_size(&self) -> u64 {
        let given = self.constants.iter().find(|(name, _)| *name == "WORKGROUP_SIZE").map(|&(_, size)| size as u64);
        given.unwrap_or_else(|| self.shader.constant("WORKGROUP_SIZE").into())
    }
}

/// A field of a params struct on the host's side: name, byte offset, type.
pub type ParamsField = (&'static str, usize, &'static str);

/// The host's side of a kernel's uniform struct; see the `params!` macro.
pub trait Params: bytemuck::Pod {
    const FIELDS: &'static [ParamsField];
}

/// Declares a params struct with the fields of the shader's struct of the same name, in order.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $kind:ident),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name {
            $(pub $field: $kind,)*
        }

        impl $crate::gpu::Params for $name {
            const FIELDS: &'static [$crate::gpu::ParamsField] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field), stringify!($kind))),*];
        }
    };
}
pub(crate) use params;

params! {
    /// What changes from step to step; the host's side of `Step` in common.wgsl, where each field is described.
    StepRow {
        step: u32,
        epoch: u32,
        order_offset: u32,
        count: u32,
        slot: u32,
        learning_rate: f32,
    }
}

/// Rows of [`StepRow`] on the GPU, selected by a dynamic offset.
pub struct StepTable {
    buffer: wgpu::Buffer,
    group: wgpu::BindGroup,
    rows: usize,
    /// Host-side bytes, reused at every write.
    bytes: Vec<u8>,
}

impl StepTable {
    pub fn new(device: &Device, rows: usize) -> Result<Self> {
        let bytes = vec![0; rows * OFFSET_ALIGNMENT as usize];
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = device.create_buffer("steps", bytes.len() as u64, usage)?;
        let size = std::num::NonZeroU64::new(OFFSET_ALIGNMENT);
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &buffer, offset: 0, size });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("steps"),
            layout: &device.step_layout(),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
        })?;
        Ok(Self { buffer, group, rows, bytes })
    }

    /// How many rows fit.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Replaces the first rows, before whatever is submitted next.
    pub fn write(&mut self, device: &Device, rows: &[StepRow]) {
        let stride = OFFSET_ALIGNMENT as usize;
        for (row, bytes) in rows.iter().zip(self.bytes.chunks_exact_mut(stride)) {
            bytes[..size_of::<StepRow>()].copy_from_slice(bytemuck::bytes_of(row));
        }
        device.queue.write_buffer(&self.buffer, 0, &self.bytes[..rows.len() * stride]);
    }
}

struct Launch {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Launch {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>, table: &StepTable, row: usize) {
        self.bind(pass, table, row);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }

    fn bind(&self, pass: &mut wgpu::ComputePass<'_>, table: &StepTable, row: usize) {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        if self.kernel.uses_step {
            pass.set_bind_group(1, &table.group, &[row as u32 * OFFSET_ALIGNMENT as u32]);
        }
    }
}

/// Dispatches ready to be replayed.
pub struct Program {
    launches: Vec<Launch>,
}

impl Program {
    /// Builds the pipelines, one buffer for all params, and the bind groups. Each dispatch comes with the operands that its bindings
    /// refer to.
    ///
    /// # Errors
    /// A binding without an operand, or what the driver refuses.
    pub fn new(device: &Device, dispatches: &[(Dispatch, Vec<BufferSlice>)]) -> Result<Self> {
        let stride = dispatches
            .iter()
            .map(|(dispatch, _)| (dispatch.params.len() as u64).next_multiple_of(OFFSET_ALIGNMENT))
            .max()
            // A kernel may have no params at all.
            .map_or(OFFSET_ALIGNMENT, |stride| stride.max(OFFSET_ALIGNMENT));
        let mut bytes = vec![0; stride as usize * dispatches.len().max(1)];
        for ((dispatch, _), row) in dispatches.iter().zip(bytes.chunks_exact_mut(stride as usize)) {
            row[..dispatch.params.len()].copy_from_slice(&dispatch.params);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = device.create_buffer("params", bytes.len() as u64, usage)?;
        device.queue.write_buffer(&params, 0, &bytes);

        let kernels = device.kernels(&dispatches.iter().map(|(dispatch, _)| dispatch).collect::<Vec<_>>())?;
        let launches = dispatches.iter().zip(kernels).enumerate().map(|(index, ((dispatch, operands), kernel))| {
            launch(device, dispatch, kernel, operands, &params, index as u64 * stride)
        });
        Ok(Self { launches: launches.collect::<Result<_>>()? })
    }

    /// Launches each dispatch over no workgroups: a driver that compiles a kernel when it is first launched has done so then.
    pub fn record_nothing(&self, encoder: &mut Encoder, table: &StepTable) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for launch in &self.launches {
            launch.bind(&mut pass, table, 0);
            pass.dispatch_workgroups(0, 0, 0);
        }
    }

    /// Dispatches of one step.
    pub fn len(&self) -> usize {
        self.launches.len()
    }

    pub fn is_empty(&self) -> bool {
        self.launches.is_empty()
    }

    /// Replays the dispatches once for each of the first `steps` rows of the table, all in one pass.
    pub fn record(&self, encoder: &mut Encoder, table: &StepTable, steps: usize) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for row in 0..steps {
            for launch in &self.launches {
                launch.record(&mut pass, table, row);
            }
        }
    }

    /// Records the dispatches at `places`, in that order, in a pass of their own at row 0 of the table; `stamp` is where its beginning
    /// and its end are noted.
    pub fn record_places(
        &self,
        encoder: &mut Encoder,
        table: &StepTable,
        places: impl IntoIterator<Item = usize>,
        stamp: Option<(&Stamps, usize)>,
    ) {
        let timestamp_writes = stamp.map(|(stamps, pass)| stamps.writes(pass));
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        for place in places {
            self.launches[place].record(&mut pass, table, 0);
        }
    }
}

fn launch(
    device: &Device,
    dispatch: &Dispatch,
    kernel: Arc<Kernel>,
    operands: &[BufferSlice],
    params: &wgpu::Buffer,
    params_offset: u64,
) -> Result<Launch> {
    agree(dispatch, &kernel.bindings)?;
    let mut entries = Vec::with_capacity(kernel.bindings.len());
    for binding in &kernel.bindings {
        let resource = if binding.access == Access::Uniform {
            let size = std::num::NonZeroU64::new(u64::from(binding.bytes));
            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: params, offset: params_offset, size })
        } else {
            let place = dispatch.bindings.iter().find(|(name, _)| *name == binding.name);
            let operand = place.and_then(|&(_, place)| operands.get(place)).ok_or_else(|| {
                Error::usage(format!("{}: no operand for the binding `{}`", dispatch.entry_point, binding.name))
            })?;
            operand.binding()
        };
        entries.push(wgpu::BindGroupEntry { binding: binding.binding, resource });
    }
    let descriptor =
        wgpu::BindGroupDescriptor { label: Some(dispatch.entry_point), layout: &kernel.layout, entries: &entries };
    let group = device.create_bind_group(&descriptor)?;
    Ok(Launch { kernel, group, grid: fold(dispatch.workgroups)? })
}

/// The host's params struct and the shader's are one declaration in two languages.
fn agree(dispatch: &Dispatch, bindings: &[Binding]) -> Result<()> {
    let declared =
        bindings.iter().filter(|binding| binding.access == Access::Uniform).flat_map(|binding| &binding.fields);
    let same = declared.clone().count() == dispatch.fields.len()
        && declared.zip(dispatch.fields).all(|(shader, &(name, offset, kind))| {
            shader.name == name && shader.offset as usize == offset && shader.kind == kind
        });
    if same {
        return Ok(());
    }
    Err(Error::usage(format!("{}: the params struct of the shader is not that of the host", dispatch.entry_point)))
}

/// The one place where a count of workgroups becomes a grid: at most 65,535 along x, the rest in y.
fn fold(workgroups: u64) -> Result<[u32; 2]> {
    let rows = workgroups.div_ceil(MAX_WORKGROUPS).max(1);
    if rows > MAX_WORKGROUPS {
        return Err(Error::gpu(format!("{workgroups} workgroups in one dispatch, more than a grid can hold")));
    }
    // Rows of equal length: at most `rows − 1` workgroups find nothing to do.
    Ok([workgroups.div_ceil(rows).max(1) as u32, rows as u32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_fold_at_the_limit() {
        assert_eq!(fold(1).unwrap(), [1, 1]);
        assert_eq!(fold(65_535).unwrap(), [65_535, 1]);
        assert_eq!(fold(65_536).unwrap(), [32_768, 2]);
        let [x, y] = fold(1_000_003).unwrap();
        assert!(u64::from(x) * u64::from(y) >= 1_000_003 && x <= 65_535);
        assert!(fold(MAX_WORKGROUPS * MAX_WORKGROUPS + 1).is_err());
    }
}
