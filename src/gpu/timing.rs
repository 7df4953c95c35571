//! When the GPU began and ended a pass, by its own clock. Drivers get this wrong: nothing here is to be believed before a probe.

use super::{Buffer, Device, Encoder};
use crate::error::Result;

/// Query results lie at multiples of this many bytes.
const QUERY_BYTES: u64 = 8;

/// Bits of a clock's counter at least, without which wgpu offers no timestamps on Vulkan.
const FEWEST_BITS: u32 = 36;

/// Room for the beginnings and ends of some passes.
pub struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: Buffer,
    passes: u32,
    nanoseconds_per_tick: f64,
}

/// A pass, in nanoseconds from the beginning of the first one read with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub begin: f64,
    pub end: f64,
}

impl Span {
    pub fn seconds(self) -> f64 {
        (self.end - self.begin) * 1e-9
    }
}

impl Stamps {
    /// Passes that one set has room for on every adapter.
    pub const MAX_PASSES: u32 = wgpu::QUERY_SET_MAX_QUERIES / 2;

    /// `None` where the adapter has no timestamps.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn new(device: &Device, passes: u32) -> Result<Option<Self>> {
        if !device.inner.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let bytes = u64::from(2 * passes) * QUERY_BYTES;
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("stamps"), ty: wgpu::QueryType::Timestamp, count: 2 * passes };
        let set = device.guarded(|| device.inner.create_query_set(&descriptor))?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        Ok(Some(Self {
            set,
            resolved: device.create_buffer("resolved stamps", bytes, usage)?,
            readable: Buffer::new(device, "stamps", bytes as usize / 4)?,
            passes,
            nanoseconds_per_tick: device.queue.get_timestamp_period().into(),
        }))
    }

    /// Passes that there is room for.
    pub fn passes(&self) -> usize {
        self.passes as usize
    }

    pub(super) fn writes(&self, pass: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = 2 * pass as u32;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Records that the first `passes` are to be readable; each was recorded before, in the same submit.
    pub fn resolve(&self, encoder: &mut Encoder, passes: usize) {
        let queries = 2 * passes as u32;
        encoder.resolve_query_set(&self.set, 0..queries, &self.resolved, 0);
        let bytes = u64::from(queries) * QUERY_BYTES;
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable.inner, 0, bytes);
    }

    /// # Errors
    /// A lost or silent device.
    pub fn read(&self, device: &Device, passes: usize) -> Result<Vec<Span>> {
        let words: Vec<u32> = device.read(&self.readable, 0, 4 * passes)?;
        let ticks: Vec<u64> =
            words.chunks_exact(2).map(|pair| u64::from(pair[0]) | (u64::from(pair[1]) << 32)).collect();
        let ticks = unwound(&ticks);
        let first = ticks.first().copied().unwrap_or(0);
        // A difference first: a clock that counts from the epoch has more digits than an f64.
        let time = |ticks: u64| ticks.wrapping_sub(first) as i64 as f64 * self.nanoseconds_per_tick;
        Ok(ticks.chunks_exact(2).map(|pair| Span { begin: time(pair[0]), end: time(pair[1]) }).collect())
    }
}

/// Ticks as of a counter that never starts again. One of few bits does within hours, Intel's of 36 every hour: a tick further back than half of what
/// the counter holds came after that.
fn unwound(ticks: &[u64]) -> Vec<u64> {
    let (mut before, mut turned) = (0_u64, 0_u64);
    let unwound = ticks.iter().map(|&tick| {
        // A counter that is about to start again has its highest bit set.
        let full = before.checked_next_power_of_two().unwrap_or(u64::MAX).max(1 << FEWEST_BITS);
        if before.saturating_sub(tick) > full / 2 {
            turned = turned.wrapping_add(full);
        }
        before = tick;
        turned.wrapping_add(tick)
    });
    unwound.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_starts_again_goes_on() {
        for bits in [FEWEST_BITS, 40, 48] {
            let full = 1 << bits;
            assert_eq!(unwound(&[full - 5, 10, 12, 30]), [full - 5, full + 10, full + 12, full + 30]);
            assert_eq!(unwound(&[full - 9, full - 1, 0]), [full - 9, full - 1, full]);
        }
    }

    #[test]
    fn passes_that_overlap_are_no_turn() {
        for ticks in [[7, 3, 9, 8], [1 << 50, (1 << 50) + 900, (1 << 50) + 100, (1 << 50) + 2000], [0; 4]] {
            assert_eq!(unwound(&ticks), ticks);
        }
    }
}
