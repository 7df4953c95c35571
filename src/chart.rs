//! What every picture here shares: a font, colours, a PNG, lines over axes.

use std::ops::Range;
use std::sync::Once;

use image::{Rgb, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};

/// Room to draw in, in pixels.
pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
/// Whether the drawing library could draw; it never gives another reason than a bug.
pub type Drawn<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub const FONT: &str = "shadegrad";
pub const INK: RGBColor = RGBColor(40, 44, 52);
pub const FAINT: RGBColor = RGBColor(228, 230, 235);
pub const GREY: RGBColor = RGBColor(120, 126, 138);
/// Told apart by most colour-blind people too. Source: Okabe and Ito 2008, "Color universal design", and darker ones of the same hues.
pub const COLOURS: [RGBColor; 12] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 80, 160),
    RGBColor(150, 60, 40),
    RGBColor(90, 110, 40),
    RGBColor(60, 60, 60),
    RGBColor(0, 95, 100),
    RGBColor(170, 150, 220),
];

pub const MIDDLE: Pos = Pos { h_pos: HPos::Center, v_pos: VPos::Center };
pub const START: Pos = Pos { h_pos: HPos::Left, v_pos: VPos::Center };
pub const END: Pos = Pos { h_pos: HPos::Right, v_pos: VPos::Center };

/// Not the system's fonts: a machine need not have any, and the picture is the same everywhere.
pub fn register_font() {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        plotters::style::register_font(FONT, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR).ok();
    });
}

/// A PNG of what `draw` draws on white, shrunk `scale` times: what is drawn large ends up smooth.
///
/// # Errors
/// What the drawing library or the encoder refuses.
pub fn png(width: u32, height: u32, scale: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<Vec<u8>> {
    let mut drawn = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    draw_on(&mut drawn, draw)?;
    encode(&image::imageops::thumbnail(&drawn, width / scale, height / scale))
}

/// Draws on a picture.
///
/// # Errors
/// What the drawing library refuses.
pub fn draw_on(picture: &mut RgbImage, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    register_font();
    let size = picture.dimensions();
    let area = BitMapBackend::with_buffer(picture, size).into_drawing_area();
    draw(&area).map_err(|error| Error::usage(format!("could not draw: {error}")))
}

/// A picture as a PNG.
///
/// # Errors
/// What the encoder refuses.
pub fn encode(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|error| Error::usage(format!("could not draw: {error}")))?;
    Ok(bytes.into_inner())
}

/// Words at a point.
///
/// # Errors
/// None but a bug.
pub fn text(area: &Area<'_>, at: (i32, i32), size: u32, colour: &RGBColor, anchor: Pos, words: &str) -> Drawn {
    let style = TextStyle::from((FONT, size).into_font()).color(colour).pos(anchor);
    area.draw(&Text::new(words.to_string(), at, style)).map_err(|error| error.to_string().into())
}

/// The words, or their beginning where there are more than `most` characters.
pub fn shorten(words: &str, most: usize) -> String {
    if words.chars().count() <= most {
        return words.into();
    }
    words.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Points joined by a line.
#[derive(Clone, Debug)]
pub struct Curve {
    pub colour: RGBColor,
    /// Along the x axis.
    pub points: Vec<(f64, f64)>,
    /// Whether each point gets a dot.
    pub dots: bool,
}

/// Where a chart came to lie, in pixels.
pub struct Placed {
    /// Each point of each curve.
    pub points: Vec<Vec<(i32, i32)>>,
    /// Top and bottom of the frame.
    pub frame: [i32; 2],
}

/// Curves over common axes.
pub struct LineChart<'a> {
    pub curves: Vec<Curve>,
    pub x: Range<f64>,
    pub y: Range<f64>,
    pub x_title: &'a str,
    pub x_label: &'a dyn Fn(&f64) -> String,
    pub y_label: &'a dyn Fn(&f64) -> String,
    /// Values of x that get a line of their own.
    pub rules: Vec<f64>,
    /// Height of the letters, in pixels.
    pub letters: u32,
}

impl LineChart<'_> {
    /// Draws it.
    ///
    /// # Errors
    /// None but a bug.
    pub fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Placed>
    where
        B::ErrorType: 'static,
    {
        let letters = self.letters;
        let mut chart = ChartBuilder::on(area)
            .margin_top(letters)
            .margin_right(letters + 4)
            .x_label_area_size(3 * letters)
            .y_label_area_size(7 * letters / 2)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(GREY)
            .x_labels(7)
            .y_labels(6)
            .x_label_formatter(&|value| (self.x_label)(value))
            .y_label_formatter(&|value| (self.y_label)(value))
            .label_style((FONT, letters).into_font().color(&INK))
            .axis_desc_style((FONT, letters).into_font().color(&GREY))
            .x_desc(self.x_title)
            .draw()?;
        for &x in &self.rules {
            chart.draw_series([PathElement::new(vec![(x, self.y.start), (x, self.y.end)], FAINT)])?;
        }
        let width = letters / 7 + 1;
        for curve in &self.curves {
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), curve.colour.stroke_width(width)))?;
            if curve.dots {
                let dot = |&point| Circle::new(point, letters / 4 + 1, curve.colour.filled());
                chart.draw_series(curve.points.iter().map(dot))?;
            }
        }
        let pixel = |point: &(f64, f64)| chart.backend_coord(point);
        let points = self.curves.iter().map(|curve| curve.points.iter().map(pixel).collect()).collect();
        let frame = [self.y.end, self.y.start].map(|y| chart.backend_coord(&(self.x.start, y)).1);
        Ok(Placed { points, frame })
    }
}

/// Decimals that tell the marks of an axis apart.
pub fn decimals(range: &Range<f64>) -> usize {
    match range.end - range.start {
        length if length > 50.0 => 0,
        length if length > 0.1 => 2,
        _ => 4,
    }
}

/// The range of the values and a twentieth of it more at either end; something to draw on even for one value, or none.
pub fn padded(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
    if low > high {
        return 0.0..1.0;
    }
    let room = if high > low { (high - low) / 20.0 } else { (high.abs() / 20.0).max(0.05) };
    low - room..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_room() {
        assert_eq!(padded([1.0, 3.0, f64::NAN].into_iter()), 0.9..3.1);
        assert_eq!(padded([0.0].into_iter()), -0.05..0.05);
        assert_eq!([0.0..1000.0, 1.2..2.3, 2.29..2.31].map(|range| decimals(&range)), [0, 2, 4]);
        assert_eq!(padded(std::iter::empty()), 0.0..1.0);
        assert_eq!([shorten("abc", 3), shorten("abcd", 3)], ["abc", "ab…"]);
    }
}
