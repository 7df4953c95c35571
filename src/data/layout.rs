//! Layouts of files in a folder, recognised by what is there.

use std::path::{Path, PathBuf};

use super::cifar::{CIFAR10_BINARY, CIFAR10_PYTHON, CIFAR100_BINARY, CIFAR100_PYTHON};
use super::folders::Folders;
use super::kaggle::Kaggle;
use super::mnist::Mnist;
use super::{Loaded, Options, Progress};
use crate::error::{Error, Result};

/// A layout of files on disk that can be read as a data set.
pub(super) trait Layout: Sync {
    /// What it is called.
    fn title(&self) -> &'static str;

    /// The files that give it away, for the error that lists what was looked for.
    fn signs(&self) -> &'static str;

    /// The folder to read, where this layout is in the given one.
    fn find(&self, folder: &Path) -> Option<PathBuf>;

    /// # Errors
    /// What of the folder's files cannot be used.
    fn read(&self, folder: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Loaded>;
}

/// Tried in this order.
const LAYOUTS: [&dyn Layout; 7] =
    [&CIFAR10_BINARY, &CIFAR10_PYTHON, &CIFAR100_BINARY, &CIFAR100_PYTHON, &Mnist, &Kaggle, &Folders];

/// Reads the data set in a folder.
///
/// # Errors
/// `Error::Data` for a folder that holds none, and what reading it can meet.
pub(super) fn read(folder: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Loaded> {
    if !folder.is_dir() {
        let problem = if folder.exists() { "is not a folder" } else { "does not exist" };
        return Err(Error::data(format!("{} {problem}", folder.display()))
            .with_hint("--data takes auto, cifar10, shapes, or a folder"));
    }
    for layout in LAYOUTS {
        if let Some(found) = layout.find(folder) {
            progress(Progress::Reading);
            return layout.read(&found, options, progress);
        }
    }
    let known = LAYOUTS.map(|layout| format!("\n  {}: {}", layout.title(), layout.signs())).concat();
    Err(Error::data(format!("{} holds no data set shadegrad can read; looked for{known}", folder.display())))
}
