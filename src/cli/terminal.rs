//! What a terminal can show, and whether there is one.

use console::Term;
use image::{DynamicImage, RgbaImage, imageops};
use shadegrad::{Error, Result};
use viuer::KittySupport;

/// Columns that pictures and tables may take on standard output where it is no terminal.
const PIPED_WIDTH: usize = 100;

/// Columns of standard output.
pub fn width() -> usize {
    Term::stdout().size_checked().map_or(PIPED_WIDTH, |(_, columns)| columns.into())
}

/// Whether standard output shows pictures and colours: a terminal, and nobody has set `NO_COLOR` (<https://no-color.org>).
pub fn shows_colours() -> bool {
    let is_set = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Term::stdout().is_term() && !is_set("NO_COLOR") && !is_dumb
}

/// Shows a picture `columns` wide, as well as the terminal can: kitty's, iTerm's or sixel graphics, else a pixel to half a character cell.
pub fn show(picture: &RgbaImage, columns: u32) -> Result<()> {
    // Graphics are enlarged, and smoothed: not what is enlarged before.
    let has_graphics =
        viuer::get_kitty_support() != KittySupport::None || viuer::is_iterm_supported() || viuer::is_sixel_supported();
    let scale = if has_graphics { 1 + 512 / picture.width().max(1) } else { 1 };
    let size = [picture.width(), picture.height()].map(|side| scale * side);
    let picture = imageops::resize(picture, size[0], size[1], imageops::FilterType::Nearest);
    let config =
        viuer::Config { absolute_offset: false, transparent: true, width: Some(columns), ..viuer::Config::default() };
    match viuer::print(&DynamicImage::ImageRgba8(picture), &config) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Error::usage(format!("could not show a picture: {error}")).with_hint("NO_COLOR=1 leaves them out"))
        }
    }
}
