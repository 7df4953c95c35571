//! Files that a kill or a power failure leaves whole: the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes `bytes` the whole content of `path`, at once and for good.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(&write_temporary(path, bytes)?, path)
}

/// Writes `bytes` to a file beside `path` and waits until they are on the disk. A failure leaves no such file.
pub fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let temporary = path.with_added_extension("tmp");
    let mut file = File::create(&temporary)?;
    match file.write_all(bytes).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(temporary),
        Err(error) => {
            drop(file);
            // Frees the disk that may be full; the write's error is the one to report.
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Gives `temporary` the name `path`, at once and for good. A failure to rename removes it.
pub fn replace(temporary: &Path, path: &Path) -> io::Result<()> {
    if let Err(error) = fs::rename(temporary, path) {
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    sync_folder(path)
}

/// Waits until the name `path` is on the disk. Where a file system cannot do this, there is nothing to wait for.
#[cfg(unix)]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(not(unix))]
pub fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
