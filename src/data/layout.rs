//! Layouts of files in a folder, recognised by what is there.

use std::path::{Path, PathBuf};

use super::{Loaded, Options, Progress, cifar10, folders};
use crate::error::{Error, Result};

/// A layout of files on disk that can be read as a data set.
pub(super) struct Layout {
    pub name: &'static str,
    /// The files that give it away, for the error that lists what was looked for.
    pub files: &'static str,
    /// The folder to read, where this layout is in the given one.
    pub find: fn(&Path) -> Option<PathBuf>,
    pub read: Read,
}

type Read = fn(&Path, &Options, &mut dyn FnMut(Progress)) -> Result<Loaded>;

pub(super) const CIFAR10: Layout = Layout {
    name: "CIFAR-10 binary",
    files: "data_batch_1.bin … in it or in its cifar-10-batches-bin",
    find: cifar10::find,
    read: |folder, _, progress| {
        progress(Progress::Reading);
        cifar10::read(folder).map(Loaded::fixed)
    },
};

const FOLDERS: Layout = Layout {
    name: "image folders",
    files: "train/CLASS/* and test/CLASS/*, or CLASS/*, of PNG or JPEG",
    find: folders::find,
    read: folders::read,
};

/// Tried in this order.
const LAYOUTS: &[Layout] = &[CIFAR10, FOLDERS];

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
        if let Some(found) = (layout.find)(folder) {
            return (layout.read)(&found, options, progress);
        }
    }
    let known =
        LAYOUTS.iter().map(|layout| format!("{}: {}", layout.name, layout.files)).collect::<Vec<_>>().join("; ");
    Err(Error::data(format!("{} holds no data set shadegrad can read (looked for {known})", folder.display())))
}
