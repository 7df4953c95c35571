//! Whether a data set fits into this machine's memory, asked before it is read.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::error::{Error, Result};
use crate::units::{bytes, count};

/// # Errors
/// `Error::Data` where `images` of `image_bytes` need more memory than is free.
pub(super) fn require(source: &str, images: u64, image_bytes: u64) -> Result<()> {
    let needed = images.saturating_mul(image_bytes);
    let free = free();
    if needed <= free {
        return Ok(());
    }
    Err(Error::data(format!(
        "{source} has {} images, which need {} in memory (got {} free)",
        count(images),
        bytes(needed),
        bytes(free)
    ))
    .with_hint("--limit reads fewer, --image-size makes the pictures of folders smaller"))
}

/// Bytes that may still be allocated without swapping; where the system does not say, no bound.
fn free() -> u64 {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let Ok(system) = System::new_with_specifics(refresh) else { return u64::MAX };
    let machine = Some(system.available_memory()).filter(|&free| free > 0).unwrap_or(u64::MAX);
    // A container may have less than the machine; its page cache, which counts as used, gives way.
    let container = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    container.map_or(machine, |container| machine.min(container))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused() {
        assert!(require("photos", 1000, 3072).is_ok());
        let error = require("photos", 300_000_000, 196_608).unwrap_err();
        assert!(error.to_string().starts_with("photos has 300,000,000 images, which need 54 TiB in memory"), "{error}");
        assert!(require("photos", u64::MAX, u64::MAX).is_err());
    }
}
