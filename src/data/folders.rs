//! Image folders: a folder a class, named like it, with pictures in it; `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*` alone.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::layout::Layout;
use super::listing::{Entries, entries, skipped};
use super::pictures::{self, Labelled, interleave};
use super::{Dataset, Loaded, Options, Progress, classes, held_out, picture};
use crate::error::{Error, Result};

const TRAIN: &str = "train";
/// Where test images are looked for, beside [`TRAIN`].
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];

/// The layout.
pub(super) struct Folders;

impl Layout for Folders {
    fn title(&self) -> &'static str {
        "image folders"
    }

    fn signs(&self) -> &'static str {
        "train/CLASS/* and test/CLASS/*, or CLASS/*, of PNG or JPEG"
    }

    /// The folder itself, where its `train` has class folders, or a class folder of its own holds a picture.
    fn find(&self, folder: &Path) -> Option<PathBuf> {
        let has_classes = |folder: &Path| entries(folder).is_ok_and(|entries| !entries.folders.is_empty());
        let has_pictures = || {
            let classes = entries(folder).ok()?.folders;
            let mut files = classes.iter().filter_map(|class| entries(class).ok()).flat_map(|entries| entries.files);
            files.find(|file| picture::is_picture(file).unwrap_or(false))
        };
        (has_classes(&folder.join(TRAIN)) || has_pictures().is_some()).then(|| folder.to_path_buf())
    }

    /// Reads the pictures. Classes are the class folders' names, sorted; the images of a split come class by class in turn, those of
    /// a class sorted by name. Hidden files are passed over; other files that are no pictures, and folders within class folders,
    /// are counted in the warnings.
    ///
    /// # Errors
    /// `Error::Data` for a class without pictures, test images of an unknown class, fewer than 2 or more than 256 classes, and what
    /// reading pictures can meet.
    fn read(&self, folder: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Loaded> {
        let inner = folder.join(TRAIN);
        let is_split = entries(&inner).is_ok_and(|entries| !entries.folders.is_empty());
        let train_folder = if is_split { inner.as_path() } else { folder };
        let names = class_names(train_folder)?;
        classes::check(&train_folder.display().to_string(), &names)?;
        let mut rest = Skipped::default();
        let train = scan(train_folder, &names, &mut rest)?;
        let mut is_filled = vec![false; names.len()];
        train.iter().for_each(|picture| is_filled[usize::from(picture.label)] = true);
        if let Some(empty) = is_filled.iter().position(|&filled| !filled) {
            let class = train_folder.join(&names[empty]);
            return Err(Error::data(format!("{} holds no PNG or JPEG image", class.display()))
                .with_hint("every class needs pictures; remove the folder if it is no class"));
        }

        let mut test_folders = TEST.iter().map(|name| folder.join(name)).filter(|_| is_split);
        let test_folder = test_folders.find(|test| entries(test).is_ok_and(|entries| !entries.folders.is_empty()));
        let mut resolved = held_out::resolved(options);
        let mut notes = Vec::new();
        let splits = match test_folder {
            Some(test_folder) => {
                let known = |name: &String| names.contains(name);
                if let Some(unknown) = class_names(&test_folder)?.into_iter().find(|name| !known(name)) {
                    return Err(Error::data(format!(
                        "{} is no class of {} (got {unknown}, expected one of {})",
                        test_folder.join(&unknown).display(),
                        train_folder.display(),
                        names.join(", ")
                    )));
                }
                (resolved.test_share, resolved.split_seed) = (None, None);
                [train, scan(&test_folder, &names, &mut rest)?]
            }
            None => {
                let (train, test) = held_out::hold_out(train, |picture| picture.label, options);
                notes.push(held_out::note(train.len(), test.len(), options));
                [train, test]
            }
        };
        let warnings = rest.warnings();
        let source = folder.display().to_string();
        let [train, test] = pictures::read(&source, splits.map(interleave), options, progress)?;
        let dataset =
            Dataset { name: "folders".into(), source, classes: names, shape: pictures::shape(options), train, test };
        Ok(Loaded { dataset, options: resolved, notes, warnings, fallback: None })
    }
}

/// What was passed over.
#[derive(Default)]
struct Skipped {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Skipped {
    fn warnings(&self) -> Vec<String> {
        let files = skipped(&self.files, "is no PNG or JPEG image", "files are no PNG or JPEG images");
        let folders = skipped(&self.folders, "is a folder within a class folder", "folders lie within class folders");
        files.into_iter().chain(folders).collect()
    }
}

/// The pictures in the class folders, those of a class sorted by name.
fn scan(folder: &Path, classes: &[String], rest: &mut Skipped) -> Result<Vec<Labelled>> {
    let mut pictures = Vec::new();
    for class_folder in entries(folder)?.folders {
        let name = name_of(&class_folder);
        let Some(label) = classes.iter().position(|class| *class == name) else { continue };
        let Entries { folders, files } = entries(&class_folder)?;
        rest.folders.extend(folders);
        let is_picture: Vec<bool> = files.par_iter().map(|file| picture::is_picture(file)).collect::<Result<_>>()?;
        for (path, is_picture) in files.into_iter().zip(is_picture) {
            if is_picture {
                pictures.push(Labelled { path, label: label as u8 });
            } else {
                rest.files.push(path);
            }
        }
    }
    Ok(pictures)
}

/// The names of the class folders, sorted.
fn class_names(folder: &Path) -> Result<Vec<String>> {
    Ok(entries(folder)?.folders.iter().map(|class| name_of(class)).collect())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
