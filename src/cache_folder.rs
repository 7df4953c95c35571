//! The folder of what was found out once and may be lost at any time: it is then found out again.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::bounded;

/// `$SHADEGRAD_CACHE`, else `shadegrad` in the folder that this system has for such things; `None` where it has none, or the variable is
/// set to nothing.
pub fn cache_folder() -> Option<PathBuf> {
    match std::env::var_os("SHADEGRAD_CACHE") {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(folder.into()),
        None => dirs::cache_dir().map(|folder| folder.join("shadegrad")),
    }
}

/// What is in the file `path`; `None` where there is none.
///
/// # Errors
/// What the file system refuses; more than `max_bytes`; anything but a file, such as a pipe, which may have no end or never begin.
pub fn kept(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    bounded::read(path, max_bytes).map(Some)
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
    fn what_is_read_is_a_file_that_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        let refusal = |path: &Path| kept(path, 3).unwrap_err().to_string();
        assert_eq!(kept(&path, 3).unwrap(), None);
        fs::write(&path, "123").unwrap();
        assert_eq!(kept(&path, 3).unwrap(), Some(b"123".to_vec()));
        assert_eq!(kept(&path.join("c"), 3).unwrap(), None);
        fs::write(&path, "1234").unwrap();
        assert_eq!(refusal(&path), "it has more than 3 bytes");
        assert_eq!(refusal(folder.path()), "it is no file");
        #[cfg(unix)]
        {
            // To open a pipe is to wait for somebody who writes to it.
            let pipe = folder.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert_eq!(refusal(&pipe), "it is no file");
            assert_eq!(refusal(Path::new("/dev/zero")), "it is no file");
        }
    }

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
