//! Picture files that someone named, one by one or by their folders.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a picture in a folder is called; a file that is named itself may be called anything.
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Picture files in order. A folder's path is kept once, so that hundreds of thousands of names take little memory.
#[derive(Clone, Debug, Default)]
pub struct PictureList {
    folders: Vec<PathBuf>,
    files: Vec<(u32, Box<OsStr>)>,
}

impl PictureList {
    /// The files among `paths`, and the PNG and JPEG files in and below the folders among them, by their names; links to folders are not
    /// followed there. Files are not opened.
    ///
    /// # Errors
    /// A path that is not there, a folder without such a file.
    pub fn find(paths: &[PathBuf]) -> Result<Self> {
        let mut list = Self::default();
        for path in paths {
            if !fs::metadata(path).map_err(Error::file("read", path))?.is_dir() {
                let folder = path.parent().unwrap_or(Path::new(""));
                if list.folders.last().is_none_or(|last| last != folder) {
                    list.folders.push(folder.into());
                }
                let name = path.file_name().unwrap_or(path.as_os_str());
                list.files.push((list.folders.len() as u32 - 1, name.into()));
                continue;
            }
            let before = list.files.len();
            list.search(path)?;
            if list.files.len() == before {
                return Err(Error::data(format!("{} holds no PNG or JPEG image", path.display())));
            }
        }
        Ok(list)
    }

    /// Adds the pictures of a folder, then those of the folders in it.
    fn search(&mut self, folder: &Path) -> Result<()> {
        let place = self.folders.len() as u32;
        self.folders.push(folder.into());
        let (first, mut inner) = (self.files.len(), Vec::new());
        for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
            let entry = entry.map_err(Error::file("read", folder))?;
            // Passed over, as where a data set is read.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().map_err(Error::file("read", folder))?.is_dir() {
                inner.push(entry.file_name());
            } else if is_picture_name(&entry.file_name()) {
                self.files.push((place, entry.file_name().into()));
            }
        }
        self.files[first..].sort_by(|(_, a), (_, b)| by_number(&stem(a), &stem(b)).then_with(|| a.cmp(b)));
        inner.sort();
        inner.iter().try_for_each(|inner| self.search(&folder.join(inner)))
    }

    /// Sorts by [`PictureList::id`], numbers by their value and before words.
    ///
    /// # Errors
    /// Two files of the same id.
    pub fn sort_by_id(&mut self) -> Result<()> {
        self.files.sort_by(|(_, a), (_, b)| by_number(&stem(a), &stem(b)));
        match (1..self.len()).find(|&i| self.id(i - 1) == self.id(i)) {
            None => Ok(()),
            Some(i) => Err(Error::data(format!(
                "{} and {} have the same id, {}",
                self.path(i - 1).display(),
                self.path(i).display(),
                self.id(i)
            ))),
        }
    }

    /// The folders of the files.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// `i` must be below `len`, as in all that follows.
    pub fn path(&self, i: usize) -> PathBuf {
        let (folder, name) = &self.files[i];
        self.folders[*folder as usize].join(&**name)
    }

    /// The file's name without its extension: what Kaggle calls the picture.
    pub fn id(&self, i: usize) -> String {
        stem(&self.files[i].1)
    }
}

fn is_picture_name(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

fn stem(name: &OsStr) -> String {
    Path::new(name).file_stem().unwrap_or(name).to_string_lossy().into_owned()
}

/// 2 before 10 before a; the text decides between 7 and 07.
fn by_number(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (number(a), number(b)) {
        (Some(a_number), Some(b_number)) => a_number.cmp(&b_number).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_in_the_order_of_their_numbers() {
        let place = tempfile::tempdir().unwrap();
        let names = [
            "._9.JPG",
            ".thumbnails/1.png",
            "10.png",
            "9.JPG",
            "b.jpeg",
            "a.png",
            "notes.txt",
            "inner/1.png",
            "inner/09.png",
            "x.PNG",
        ];
        ["inner", ".thumbnails"].iter().for_each(|name| fs::create_dir(place.path().join(name)).unwrap());
        names.iter().for_each(|name| fs::write(place.path().join(name), "").unwrap());
        let found = |paths: &[PathBuf]| PictureList::find(paths);
        let ids = |list: &PictureList| (0..list.len()).map(|i| list.id(i)).collect::<Vec<_>>();

        let mut list = found(&[place.path().into()]).unwrap();
        assert_eq!(ids(&list), ["9", "10", "a", "b", "x", "1", "09"]);
        assert_eq!(list.path(5), place.path().join("inner/1.png"));
        list.sort_by_id().unwrap();
        assert_eq!(ids(&list), ["1", "09", "9", "10", "a", "b", "x"]);

        // A file that is named is taken for what it is said to be.
        let named = ["x.PNG", "notes.txt"].map(|name| place.path().join(name));
        let list = found(&named).unwrap();
        assert_eq!([list.path(0), list.path(1)], named);
        let twice = [place.path().join("a.png"), place.path().join("inner"), place.path().join("a.png")];
        let message = found(&twice).unwrap().sort_by_id().unwrap_err().to_string();
        assert!(message.ends_with(" have the same id, a"), "{message}");
        fs::create_dir(place.path().join("empty")).unwrap();
        assert!(found(&[place.path().join("empty")]).unwrap_err().to_string().ends_with("holds no PNG or JPEG image"));
        assert!(found(&[place.path().join("missing")]).is_err());
    }
}
