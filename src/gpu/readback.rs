//! Reading buffers back, through a staging buffer that stays for the next time.

use std::sync::{Mutex, PoisonError};

use super::{Buffer, Device};
use crate::error::Result;

/// The staging buffer, while nobody reads.
#[derive(Default)]
pub(super) struct Readback(Mutex<Option<wgpu::Buffer>>);

impl Readback {
    fn swap(&self, staging: Option<wgpu::Buffer>) -> Option<wgpu::Buffer> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), staging)
    }
}

impl Device {
    /// Makes the staging buffer large enough for reads of `length` elements, so that none of them has to.
    ///
    /// # Errors
    /// No memory left.
    pub fn prepare_reads(&self, length: usize) -> Result<()> {
        let staging = self.staging(length as u64 * 4)?;
        self.readback.swap(Some(staging));
        Ok(())
    }

    /// Reads `length` elements from element `first`, after everything submitted so far.
    ///
    /// # Errors
    /// A lost or silent device.
    pub fn read<T: bytemuck::Pod>(&self, buffer: &Buffer, first: usize, length: usize) -> Result<Vec<T>> {
        let bytes = length as u64 * 4;
        // Only a read that went well puts it back: after another it may still be mapped.
        let staging = self.staging(bytes)?;
        let submission = self.submit(|encoder| {
            encoder.copy_buffer_to_buffer(&buffer.inner, first as u64 * 4, &staging, 0, bytes);
        })?;
        staging.slice(..bytes.max(4)).map_async(wgpu::MapMode::Read, |_| {});
        self.wait(&submission)?;
        let view = staging.slice(..bytes).get_mapped_range().map_err(|error| self.failure(&error.to_string()))?;
        // Not cast_slice: the mapped bytes need not be aligned for T on every driver.
        let values = view.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        drop(view);
        staging.unmap();
        self.readback.swap(Some(staging));
        Ok(values)
    }

    /// The staging buffer, or a new one where it is too small.
    fn staging(&self, bytes: u64) -> Result<wgpu::Buffer> {
        match self.readback.swap(None) {
            Some(staging) if staging.size() >= bytes => Ok(staging),
            _ => {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                self.create_buffer("readback", bytes.max(4), usage)
            }
        }
    }
}
