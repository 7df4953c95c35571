//! Pictures with words under them.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use plotters::style::RGBColor;

use crate::chart::{self, INK, MIDDLE, shorten};
use crate::error::{Error, Result};

/// A picture that is narrower is enlarged, a pixel to a square of pixels.
const MIN_WIDTH: u32 = 160;
/// A picture is not enlarged beyond this height.
const MAX_HEIGHT: u32 = 4096;
/// Of the whole: room for the largest picture that can be opened, and its lines.
const MAX_PIXELS: u64 = 1 << 28;
/// Pixels around a picture, and of the frame around one with a wrong line.
const MARGIN: u32 = 12;
const FRAME: u32 = 5;
const RIGHT: RGBColor = RGBColor(0, 130, 80);
const WRONG: RGBColor = RGBColor(200, 60, 0);

/// How a line of words is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Right,
    Wrong,
}

/// A picture and the lines under it.
#[derive(Clone, Debug)]
pub struct Captioned {
    pub picture: RgbImage,
    pub lines: Vec<(String, Tone)>,
}

/// A PNG of pictures in rows of `columns`, small ones enlarged to crisp pixels. All have the size of the first.
///
/// # Errors
/// What the drawing library or the encoder refuses.
pub fn captioned_grid(tiles: &[Captioned], columns: usize) -> Result<Vec<u8>> {
    let columns = columns.clamp(1, tiles.len().max(1)) as u32;
    let rows = (tiles.len() as u32).div_ceil(columns);
    let (width, height) = tiles.first().map_or((1, 1), |tile| tile.picture.dimensions());
    // Not beyond what a thin picture can grow to.
    let scale = MIN_WIDTH.div_ceil(width.max(1)).min(MAX_HEIGHT / height.max(1)).max(1);
    let (width, height) = (scale * width, scale * height);
    // A line of 160 pixels takes 14 letters.
    let letters = (width / 20).max(18);
    let most_letters = (width as f64 / (0.6 * f64::from(letters))) as usize;
    let line_height = letters * 4 / 3;
    let lines = tiles.iter().map(|tile| tile.lines.len()).max().unwrap_or(0) as u32;
    let (pitch_x, pitch_y) = (width + MARGIN, height + lines * line_height + 2 * MARGIN);
    let sides = [(columns, pitch_x), (rows, pitch_y)]
        .map(|(count, pitch)| u64::from(count) * u64::from(pitch) + u64::from(MARGIN));
    if sides[0].saturating_mul(sides[1]) > MAX_PIXELS {
        let [width, height] = sides;
        let problem =
            format!("the picture would be too large (got {width}×{height} pixels, expected at most {MAX_PIXELS})");
        return Err(Error::usage(problem));
    }
    let mut sheet = RgbImage::from_pixel(columns * pitch_x + MARGIN, rows * pitch_y + MARGIN, Rgb([255; 3]));
    let place = |index: usize| {
        let (column, row) = (index as u32 % columns, index as u32 / columns);
        (MARGIN + column * pitch_x, MARGIN + row * pitch_y)
    };
    for (index, tile) in tiles.iter().enumerate() {
        let (x, y) = place(index);
        if tile.lines.iter().any(|(_, tone)| *tone == Tone::Wrong) {
            // Not by colour alone.
            let frame = RgbImage::from_pixel(width + 2 * FRAME, height + 2 * FRAME, Rgb([WRONG.0, WRONG.1, WRONG.2]));
            imageops::replace(&mut sheet, &frame, (x - FRAME).into(), (y - FRAME).into());
        }
        let picture = imageops::resize(&tile.picture, width, height, FilterType::Nearest);
        imageops::replace(&mut sheet, &picture, x.into(), y.into());
    }
    chart::draw_on(&mut sheet, |area| {
        for (index, tile) in tiles.iter().enumerate() {
            let (x, y) = place(index);
            for (line, (words, tone)) in (0..).zip(&tile.lines) {
                let at = (x + width / 2, y + height + MARGIN / 2 + line * line_height + line_height / 2);
                let colour = match tone {
                    Tone::Plain => INK,
                    Tone::Right => RIGHT,
                    Tone::Wrong => WRONG,
                };
                let words = shorten(words, most_letters);
                chart::text(area, (at.0 as i32, at.1 as i32), letters, &colour, MIDDLE, &words)?;
            }
        }
        Ok(())
    })?;
    chart::encode(&sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_stay_crisp_and_words_are_below() {
        let tile = |colour: [u8; 3]| Captioned {
            picture: RgbImage::from_fn(32, 20, |x, _| if x < 16 { Rgb(colour) } else { Rgb([0; 3]) }),
            lines: vec![("automobile".into(), Tone::Plain), ("a class with a very long name".into(), Tone::Wrong)],
        };
        let png = captioned_grid(&[tile([250, 0, 0]), tile([0, 250, 0]), tile([0, 0, 250])], 2).unwrap();
        let sheet = image::load_from_memory(&png).unwrap().into_rgb8();
        let (pitch_x, pitch_y) = (160 + 12, 100 + 2 * 24 + 24);
        assert_eq!(sheet.dimensions(), (2 * pitch_x + 12, 2 * pitch_y + 12));
        for (place, colour) in
            [(0, 0), (pitch_x, 0), (0, pitch_y)].into_iter().zip([[250, 0, 0], [0, 250, 0], [0, 0, 250]])
        {
            for (x, expected) in [(0, colour), (79, colour), (80, [0; 3]), (159, [0; 3])] {
                assert_eq!(sheet.get_pixel(12 + place.0 + x, 12 + place.1).0, expected);
            }
            let under = |from: u32, to: u32, wanted: &dyn Fn([u8; 3]) -> bool| {
                let rows = place.1 + 12 + 100 + from..place.1 + 12 + 100 + to;
                rows.flat_map(|y| (0..160).map(move |x| (x, y)))
                    .any(|(x, y)| wanted(sheet.get_pixel(12 + place.0 + x, y).0))
            };
            assert_eq!(sheet.get_pixel(12 + place.0 - 1, 12 + place.1).0, [200, 60, 0], "a frame");
            assert!(under(6, 30, &|[red, green, blue]| red < 80 && green < 80 && blue < 90), "dark letters");
            assert!(under(30, 54, &|[red, green, _]| red > 150 && green < 100), "red letters");
        }
    }

    #[test]
    fn a_thin_picture_stays_small_and_a_huge_sheet_is_refused() {
        let tile = |width, height| Captioned { picture: RgbImage::new(width, height), lines: Vec::new() };
        let png = captioned_grid(&[tile(1, 5000)], 1).unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap().height(), 5000 + 3 * 12);
        let message = captioned_grid(&vec![tile(32, 32); 20_000], 1).unwrap_err().to_string();
        assert!(message.starts_with("the picture would be too large (got 184×"), "{message}");
    }
}
