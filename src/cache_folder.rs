//! The folder of what was found out once and may be lost at any time: it is then found out again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `$SHADEGRAD_CACHE`, else `shadegrad` in the folder that this system has for such things; `None` where it has none, or the variable is
/// set to nothing.
pub fn cache_folder() -> Option<PathBuf> {
    match std::env::var_os("SHADEGRAD_CACHE") {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(folder.into()),
        None => dirs::cache_dir().map(|folder| folder.join("shadegrad")),
    }
}

/// Makes `bytes` the whole content of the file `path`, its folder made first. Of processes that do so at once, the last one wins.
///
/// # Errors
/// What the file system refuses: nothing that should stop anybody.
pub fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_added_extension(std::process::id().to_string());
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What failed is the error to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_replaces_what_was_there_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("b.json");
        keep(&path, b"1").unwrap();
        keep(&path, b"22").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"22");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(keep(&path.join("c"), b"3").is_err());
        assert!(keep(path.parent().unwrap(), b"4").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
