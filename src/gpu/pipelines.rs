//! Compiled pipelines, kept from one start to the next where the driver hands them out.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::Device;
use crate::cache_folder::{keep, kept};
use crate::units::hexadecimal;

/// A file that has grown larger is begun anew: nothing is ever taken out of one.
const MAX_BYTES: u64 = 64 << 20;

/// Bytes of the SHA-256 that a file begins with.
const DIGEST: usize = 32;

/// Pipelines that this process or one before it compiled, and the file they are kept in.
pub(super) struct Pipelines {
    cache: wgpu::PipelineCache,
    file: PathBuf,
    /// SHA-256 of what is in the file.
    kept: Mutex<Vec<u8>>,
}

impl Device {
    /// Takes pipelines that were compiled at an earlier start from a file in `folder`, and keeps there what is compiled from now on. What
    /// is wrong with the file or the folder only costs the time: everything is then compiled again.
    pub fn cache_pipelines(&mut self, folder: &Path) {
        if !self.inner.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return;
        }
        let info = self.info();
        let key = Sha256::digest(format!("{}\n{}\n{}", info.name, info.driver, info.backend));
        let file = folder.join(format!("pipelines-{:.16}", hexadecimal(&key)));
        let content = read(&file);
        let (kept, data) =
            content.as_ref().map_or((&[][..], None), |(digest, data)| (digest.as_slice(), Some(data.as_slice())));
        let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
        // SAFETY: the bytes are those that this adapter's driver once gave to `keep_pipelines`, as their SHA-256 says; wgpu and the driver
        // compare device and version.
        let cache = self.guarded(|| unsafe { self.inner.create_pipeline_cache(&descriptor) });
        if let Ok(cache) = cache {
            self.pipelines = Some(Pipelines { cache, file, kept: Mutex::new(kept.to_vec()) });
        }
    }

    pub(super) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.pipelines.as_ref().map(|pipelines| &pipelines.cache)
    }

    /// Writes the file, if there is something new for it.
    pub(super) fn keep_pipelines(&self) {
        let Some(Pipelines { cache, file, kept }) = &self.pipelines else { return };
        let Ok(Some(data)) = self.guarded(|| cache.get_data()) else { return };
        let digest = Sha256::digest(&data).to_vec();
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept != digest && keep(file, &[&digest[..], &data].concat()).is_ok() {
            *kept = digest;
        }
    }
}

/// The digest in a file and the data after it; `None` for no file, or one that is not whole.
fn read(file: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let content = kept(file, MAX_BYTES).ok()??;
    let (digest, data) = content.split_at_checked(DIGEST)?;
    (Sha256::digest(data)[..] == *digest).then(|| (digest.to_vec(), data.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipelines");
        assert_eq!(read(&file), None);
        let digest = Sha256::digest(b"compiled").to_vec();
        let whole = [&digest[..], b"compiled"].concat();
        keep(&file, &whole).unwrap();
        assert_eq!(read(&file), Some((digest, b"compiled".to_vec())));
        let mut changed = whole.clone();
        changed[35] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &changed, b"short", b""] {
            keep(&file, damaged).unwrap();
            assert_eq!(read(&file), None, "{} bytes", damaged.len());
        }
    }
}
