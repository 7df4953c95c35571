//! The confusion matrix as a PNG, for programs that show pictures.

use plotters::prelude::*;

use super::confusion::Confusion;
use crate::chart::{Drawn, END, GREY, INK, MIDDLE, png, shorten, text};
use crate::error::Result;
use crate::train::Evaluation;

/// Pixels of a cell with a number in it, and without.
const CELL: [i32; 2] = [44, 10];
/// Pixels for the classes' names.
const NAMES: i32 = 170;
const NAME_LETTERS: usize = 18;
const RIGHT: RGBColor = RGBColor(0, 120, 90);
const WRONG: RGBColor = RGBColor(205, 80, 0);
const EMPTY: RGBColor = RGBColor(236, 239, 243);

/// Width, height and the PNG. Rows are classes, columns what they were taken for, both by the same numbers.
///
/// # Errors
/// What the drawing library refuses.
pub fn draw(evaluation: &Evaluation, classes: &[String]) -> Result<(u32, u32, Vec<u8>)> {
    let confusion = Confusion::new(evaluation, classes);
    let cell = if confusion.numbered { CELL[0] } else { CELL[1] };
    let (left, top) = if confusion.numbered { (NAMES, cell) } else { (0, 0) };
    let side = cell * confusion.rows.len() as i32;
    let (width, height) = ((left + side).max(1) as u32, (top + side).max(1) as u32);
    let png = png(width, height, 1, |area| {
        for (row, class) in confusion.rows.iter().enumerate() {
            let y = top + cell * row as i32;
            if confusion.numbered {
                let name = format!("{} {row}", shorten(&class.class, NAME_LETTERS));
                text(area, (left - 8, y + cell / 2), 15, &INK, END, &name)?;
                text(area, (left + cell * row as i32 + cell / 2, top / 2), 15, &GREY, MIDDLE, &row.to_string())?;
            }
            for (column, one) in class.cells.iter().enumerate() {
                let x = left + cell * column as i32;
                let colour = match (one.images, one.is_right) {
                    (0, _) => EMPTY,
                    (_, true) => tinted(RIGHT, one.strength),
                    (_, false) => tinted(WRONG, one.strength),
                };
                let corners = [(x + 1, y + 1), (x + cell - 1, y + cell - 1)];
                area.draw(&Rectangle::new(corners, colour.filled())).map_err(|error| error.to_string())?;
                if confusion.numbered && one.images > 0 {
                    text(area, (x + cell / 2, y + cell / 2), 14, &INK, MIDDLE, &one.images.to_string())?;
                }
            }
        }
        Drawn::Ok(())
    })?;
    Ok((width, height, png))
}

/// From nearly white at 0 to most of the colour at 100.
fn tinted(colour: RGBColor, strength: u32) -> RGBColor {
    let share = 0.08 + 0.0075 * f64::from(strength.min(100));
    let mix = |part: u8| (255.0 - share * f64::from(255 - part)).round() as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}
