//! What a run looks like: `report.html`, one page that needs nothing else; several runs side by side; pictures with words under them.

mod captioned;
mod command;
pub mod comparison;
pub mod comparison_chart;
mod confusion;
mod confusion_picture;
mod curves;
mod filters;
mod gallery;
mod page;
mod sprite;
pub mod tensorboard;

use std::path::Path;

use crate::data::{ImageShape, Split};
use crate::durable::write_whole;
use crate::error::{Error, Result};
use crate::train::{Evaluation, Predictions};

pub use captioned::{Captioned, Tone, captioned_grid};
pub use page::html;
pub use sprite::picture;

/// The page's name in a run folder.
pub const FILE: &str = "report.html";

/// Test images, and what the network made of them.
#[derive(Clone, Copy, Debug)]
pub struct Tested<'a> {
    pub images: &'a Split,
    pub shape: ImageShape,
    pub evaluation: &'a Evaluation,
    /// One for each image.
    pub predictions: &'a Predictions,
    /// Steps that the network had been trained for, where that is known.
    pub step: Option<u64>,
}

/// Writes the page of a run folder to `path`, with the test images in it where they are given.
///
/// # Errors
/// A folder that is no run, a file that cannot be written.
pub fn write(run: &Path, tested: Option<&Tested<'_>>, path: &Path) -> Result<()> {
    let page = html(run, tested)?;
    write_whole(path, page.as_bytes()).map_err(Error::file("write", path))
}
