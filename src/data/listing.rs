//! What lies in a folder.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::units::count;

/// What is in a folder, hidden entries left out, sorted by name; links are followed.
pub(super) struct Entries {
    pub folders: Vec<PathBuf>,
    pub files: Vec<PathBuf>,
}

/// # Errors
/// `Error::File` where the folder cannot be read.
pub(super) fn entries(folder: &Path) -> Result<Entries> {
    let unreadable = || Error::file("read", folder);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable())? {
        let entry = entry.map_err(unreadable())?;
        if !is_hidden(&entry.file_name()) {
            // Only a link needs the extra look at what it leads to.
            let kind = entry.file_type().map_err(unreadable())?;
            let path = entry.path();
            let is_folder = kind.is_dir() || (kind.is_symlink() && path.is_dir());
            paths.push((path, is_folder));
        }
    }
    paths.sort();
    let (folders, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|(_, is_folder)| *is_folder);
    let only_paths = |paths: Vec<(PathBuf, bool)>| paths.into_iter().map(|(path, _)| path).collect();
    Ok(Entries { folders: only_paths(folders), files: only_paths(files) })
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// That some paths are skipped, for people; `one` follows a path, `many` a number.
pub(super) fn skipped(paths: &[PathBuf], one: &str, many: &str) -> Option<String> {
    match paths {
        [] => None,
        [path] => Some(format!("{} {one}: skipped", path.display())),
        [first, ..] => Some(format!("{} {many}: skipped, the first is {}", count(paths.len() as u64), first.display())),
    }
}
