//! Everything that names wgpu: adapters, the device, buffers, kernels, programs. Nothing above this module does.

mod adapter;
mod buffer;
mod cooperative_matrix;
mod created;
mod device;
mod device_options;
mod feature;
mod kernel;
mod pipelines;
mod program;
mod readback;
mod reflection;
mod shader;
mod timing;

pub use adapter::{Adapter, AdapterInfo, AdapterLimits, Adapters, Choice, DeviceKind, install_hint};
pub use buffer::{Buffer, BufferSlice};
pub use cooperative_matrix::CooperativeMatrix;
pub use created::Created;
pub use device::{Device, Submission};
pub use device_options::{DeviceOptions, Precision};
pub use feature::Feature;
pub use kernel::Checks;
pub(crate) use program::params;
pub use program::{Dispatch, Params, ParamsField, Program, StepRow, StepTable};
pub use reflection::{Access, Binding, COMMON, Constant, EntryPoint, Field, Reflection, Workgroup};
pub use shader::{Part, Shader};
pub use timing::{Span, Stamps};

/// Commands being recorded for one submit.
pub type Encoder = wgpu::CommandEncoder;

/// Storage buffers a kernel may use: the default limit is 8, and Metal wants one for itself.
pub const MAX_STORAGE_BUFFERS: usize = 7;

/// Storage and uniform offsets are multiples of this many bytes on every adapter.
pub const OFFSET_ALIGNMENT: u64 = 256;

/// Workgroups along one dimension on every adapter; more fold into y.
pub const MAX_WORKGROUPS: u64 = 65_535;
