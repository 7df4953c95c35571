//! Storage buffers and ranges of them. Elements are 4 bytes: f32 or u32.

use std::num::NonZeroU64;

use super::{Device, Encoder, OFFSET_ALIGNMENT};
use crate::error::{Error, Result};

/// A storage buffer that can be read, written, copied from and to.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(super) inner: wgpu::Buffer,
    name: String,
}

impl Buffer {
    /// `length` elements of 4 bytes, zeroed.
    ///
    /// # Errors
    /// More than the device allows in one binding, or no memory left.
    pub fn new(device: &Device, name: &str, length: usize) -> Result<Self> {
        let bytes = (length as u64).saturating_mul(4).max(4);
        let allowed = device.max_binding_bytes();
        if bytes > allowed {
            return Err(Error::gpu(format!(
                "{name} needs {}, the adapter allows {}",
                crate::units::bytes(bytes),
                crate::units::bytes(allowed)
            )));
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        Ok(Self { inner: device.create_buffer(name, bytes, usage)?, name: name.into() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.inner.size()
    }

    /// Records a copy of `length` elements from element `from` of another buffer to element `first` of this one.
    pub fn copy_from(&self, encoder: &mut Encoder, first: usize, other: &Self, from: usize, length: usize) {
        encoder.copy_buffer_to_buffer(&other.inner, from as u64 * 4, &self.inner, first as u64 * 4, length as u64 * 4);
    }

    pub fn whole(&self) -> BufferSlice {
        BufferSlice { buffer: self.clone(), offset: 0, size: self.size() }
    }

    /// `length` elements from element `first`; `first` is a multiple of the offset alignment.
    pub fn slice(&self, first: usize, length: usize) -> BufferSlice {
        let (offset, size) = (first as u64 * 4, length as u64 * 4);
        assert!(
            offset.is_multiple_of(OFFSET_ALIGNMENT) && offset + size <= self.size(),
            "a slice within {}",
            self.name
        );
        BufferSlice { buffer: self.clone(), offset, size }
    }
}

/// A range of a buffer as one kernel binding sees it.
#[derive(Clone, Debug)]
pub struct BufferSlice {
    pub(super) buffer: Buffer,
    pub(super) offset: u64,
    /// Bytes.
    pub(super) size: u64,
}

impl BufferSlice {
    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer.inner,
            offset: self.offset,
            size: NonZeroU64::new(self.size),
        })
    }
}
