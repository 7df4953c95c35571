//! Data sets: where they come from, how they are read, and the one form the rest of the crate sees.

mod cifar;
mod classes;
mod decoder;
pub mod download;
mod extract;
mod folders;
mod held_out;
mod idx;
mod kaggle;
mod layout;
mod listing;
mod memory;
mod mnist;
mod options;
mod pickle;
pub mod picture;
mod picture_list;
mod pictures;
mod record_file;
pub mod shapes;
mod source;
mod split;

pub use decoder::{Batch, decode};
pub use download::{Archive, Member, download};
pub use options::Options;
pub use picture_list::PictureList;
pub use shapes::shapes;
pub use source::{DataSpec, load};
pub use split::Split;

/// The shape of one image, C×H×W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    pub channels: u32,
    pub height: u32,
    pub width: u32,
}

impl ImageShape {
    /// Values in one image.
    #[allow(clippy::len_without_is_empty, reason = "no data set has images without pixels")]
    pub fn len(&self) -> usize {
        self.channels as usize * self.height as usize * self.width as usize
    }
}

/// A data set, ready to train on.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What it is, in a word: `cifar10`, `shapes`, `folders`.
    pub name: String,
    /// For people: the folder it was read from, or the seed it was drawn from.
    pub source: String,
    /// Class names, indexed by label.
    pub classes: Vec<String>,
    pub shape: ImageShape,
    pub train: Split,
    pub test: Split,
}

/// A data set, and what was decided on the way to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub dataset: Dataset,
    /// The options that had a say, with what they came to: with them, the same files give the same data set.
    pub options: Options,
    /// What was decided where the files leave it open, each in a sentence.
    pub notes: Vec<String>,
    /// What was passed over, each in a sentence.
    pub warnings: Vec<String>,
    /// Why the built-in shapes stand in for CIFAR-10, in one sentence.
    pub fallback: Option<String>,
}

impl Loaded {
    /// Of files that leave nothing open.
    fn fixed(dataset: Dataset) -> Self {
        Self { dataset, options: Options::default(), notes: Vec::new(), warnings: Vec::new(), fallback: None }
    }
}

/// What loading is doing right now, for whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the archive on disk so far, out of all of them; `done` falls back when a download starts over.
    Downloading { done: u64, total: u64 },
    /// Computing the archive's SHA-256.
    Verifying,
    /// Writing the archive's files; `done` of `total` are on disk.
    Extracting { done: u32, total: u32 },
    /// Reading the images.
    Reading,
    /// Decoding picture files; `done` of `total` are in memory.
    Decoding { done: usize, total: usize },
    /// Drawing the built-in shapes.
    Drawing,
}
