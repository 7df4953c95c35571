//! The roofline with the kernels on it, as a picture.

use std::path::Path;

use plotters::prelude::*;

use super::report::{Report, Row};
use crate::chart::{Area, COLOURS, Drawn, END, FAINT, GREY, INK, MIDDLE, START, png, shorten, text};
use crate::error::{Error, Result};

const WIDTH: u32 = 1700;
/// Pixels of the frame: left, top, right.
const FRAME: [i32; 3] = [100, 90, 1080];
/// Where the list of kernels begins, and the height of a line of it.
const LIST: i32 = 1112;
const LINE: i32 = 19;

/// A kernel's place in the picture.
struct Dot<'a> {
    row: &'a Row,
    /// Operations a byte.
    intensity: f64,
    gflops: f64,
    percent: f64,
    colour: RGBColor,
    /// Not the first variant of its op.
    filled: bool,
}

/// Draws a report as a PNG: operations a byte against 10⁹ operations a second, both logarithmic. Kernels without a time or without
/// arithmetic are not on it.
///
/// # Errors
/// A file that cannot be written.
pub fn roofline(report: &Report, path: &Path) -> Result<()> {
    let dots = dots(report);
    let height = (LINE * (dots.len() as i32 + 4) + FRAME[1] + 60).max(1000) as u32;
    let bytes = png(WIDTH, height, 1, |area| draw(area, height as i32, report, &dots))?;
    std::fs::write(path, bytes).map_err(Error::file("write", path))
}

fn dots(report: &Report) -> Vec<Dot<'_>> {
    let mut ops: Vec<&str> = Vec::new();
    let mut dots = Vec::new();
    for row in report.rows.iter().filter(|row| row.flops > 0) {
        let Ok(measured) = &row.outcome else { continue };
        let place = ops.iter().position(|op| *op == row.op).unwrap_or_else(|| {
            ops.push(&row.op);
            ops.len() - 1
        });
        dots.push(Dot {
            row,
            intensity: row.intensity(),
            gflops: row.gflops(measured),
            percent: row.percent_of_roofline(measured, &report.ceilings),
            colour: COLOURS[place % COLOURS.len()],
            filled: row.variant != crate::ops::PLAIN,
        });
    }
    dots
}

/// A logarithmic axis on pixels.
struct Axis {
    low: f64,
    high: f64,
    pixels: [i32; 2],
}

impl Axis {
    /// Over values and some room, whole half decades.
    fn over(values: impl Iterator<Item = f64> + Clone, pixels: [i32; 2]) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10() - 0.15;
        let high = values.fold(0.0, f64::max).log10() + 0.2;
        Self { low: (2.0 * low).floor() / 2.0, high: (2.0 * high).ceil() / 2.0, pixels }
    }

    fn place(&self, value: f64) -> i32 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        let [from, to] = self.pixels.map(f64::from);
        (from + share * (to - from)).round() as i32
    }

    /// 1, 2, 3 … 9, 10, 20 … and whether each is a power of ten.
    fn ticks(&self) -> impl Iterator<Item = (f64, bool)> {
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let all =
            decades.flat_map(|decade| (1..10).map(move |digit| (f64::from(digit) * 10f64.powi(decade), digit == 1)));
        all.filter(|(value, _)| (self.low - 1e-9..=self.high + 1e-9).contains(&value.log10()))
    }
}

fn line(area: &Area<'_>, points: Vec<(i32, i32)>, colour: &RGBColor, width: u32) -> Drawn {
    let style = ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: width };
    area.draw(&PathElement::new(points, style)).map_err(|error| error.to_string().into())
}

fn dot(area: &Area<'_>, at: (i32, i32), radius: i32, colour: &RGBColor, filled: bool) -> Drawn {
    let disc = |radius: i32, colour: &RGBColor| area.draw(&Circle::new(at, radius, colour.filled()));
    // A ring is a disc with a hole: a circle one pixel wide has gaps.
    disc(radius, colour).map_err(|error| error.to_string())?;
    if !filled {
        disc(radius - 2, &WHITE).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn draw(area: &Area<'_>, height: i32, report: &Report, dots: &[Dot<'_>]) -> Drawn {
    let ceilings = &report.ceilings;
    let [left, top, right] = FRAME;
    let bottom = height - 80;
    let x = Axis::over(dots.iter().map(|dot| dot.intensity).chain([ceilings.ridge()]), [left, right]);
    let y = Axis::over(dots.iter().map(|dot| dot.gflops).chain([ceilings.fma_gflops]), [bottom, top]);

    text(area, (left, 30), 24, &INK, START, &report.adapter.name)?;
    text(area, (left, 60), 15, &GREY, START, &report.adapter.driver)?;
    for (value, is_power) in x.ticks() {
        let at = x.place(value);
        line(area, vec![(at, top), (at, bottom)], &FAINT, if is_power { 2 } else { 1 })?;
        if is_power {
            text(area, (at, bottom + 18), 16, &INK, MIDDLE, &plain_number(value))?;
        }
    }
    for (value, is_power) in y.ticks() {
        let at = y.place(value);
        line(area, vec![(left, at), (right, at)], &FAINT, if is_power { 2 } else { 1 })?;
        if is_power {
            text(area, (left - 10, at), 16, &INK, END, &plain_number(value))?;
        }
    }
    text(area, ((left + right) / 2, bottom + 50), 17, &INK, MIDDLE, "arithmetic intensity, FLOP per byte")?;
    text(area, (left - 10, top - 14), 15, &INK, END, "GFLOP/s")?;
    line(area, vec![(left, top), (left, bottom), (right, bottom)], &GREY, 1)?;

    let roof = |intensity: f64| ceilings.fma_gflops.min(intensity * ceilings.copy_gbps);
    // Where the slope enters the frame: at its left edge or its lower one.
    let first = 10f64.powf(x.low).max(10f64.powf(y.low) / ceilings.copy_gbps);
    let corners = [first, ceilings.ridge(), 10f64.powf(x.high)];
    let points = corners.map(|intensity| (x.place(intensity), y.place(roof(intensity))));
    line(area, points.to_vec(), &INK, 3)?;
    for piece in 0..(bottom - points[1].1) / 12 {
        let from = points[1].1 + 12 * piece;
        line(area, vec![(points[1].0, from), (points[1].0, from + 5)], &GREY, 1)?;
    }
    let caption = format!("{:.1} GFLOP/s", ceilings.fma_gflops);
    text(area, (points[2].0 - 8, points[2].1 - 14), 15, &INK, END, &caption)?;
    let halfway = ((points[0].0 + points[1].0) / 2 - 14, (points[0].1 + points[1].1) / 2 - 8);
    text(area, halfway, 15, &INK, END, &format!("{:.1} GB/s", ceilings.copy_gbps))?;
    let foot = (points[1].0 + 8, bottom - 12);
    text(area, foot, 14, &GREY, START, &format!("ridge {:.1} FLOP/B", ceilings.ridge()))?;

    let places: Vec<(i32, i32)> = dots.iter().map(|dot| (x.place(dot.intensity), y.place(dot.gflops))).collect();
    let mut taken: Vec<(i32, i32)> = places.clone();
    for (index, (kernel, &at)) in dots.iter().zip(&places).enumerate() {
        dot(area, at, 6, &kernel.colour, kernel.filled)?;
        let label = free_place(at, &taken);
        taken.push(label);
        text(area, label, 13, &kernel.colour, MIDDLE, &(index + 1).to_string())?;
    }
    list(area, report, dots)
}

/// The nearest place for a label that no dot and no other label has.
fn free_place(at: (i32, i32), taken: &[(i32, i32)]) -> (i32, i32) {
    let directions = [(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)];
    let candidates = (16..60)
        .step_by(6)
        .flat_map(|distance| directions.map(|(right, down)| (at.0 + distance * right, at.1 + distance * down)));
    let is_free = |place: &(i32, i32)| {
        taken.iter().all(|other| (place.0 - other.0).abs() >= 17 || (place.1 - other.1).abs() >= 13)
    };
    candidates.into_iter().find(is_free).unwrap_or((at.0 + 16, at.1))
}

/// The numbered kernels, with their share of the roof.
fn list(area: &Area<'_>, report: &Report, dots: &[Dot<'_>]) -> Drawn {
    let top = FRAME[1];
    text(area, (LIST + 22, top - 14), 13, &GREY, START, "kernel")?;
    text(area, (WIDTH as i32 - 16, top - 14), 13, &GREY, END, "of roof")?;
    for (index, kernel) in dots.iter().enumerate() {
        let y = top + 8 + LINE * index as i32;
        dot(area, (LIST + 8, y), 5, &kernel.colour, kernel.filled)?;
        let Row { op, variant, shape, .. } = kernel.row;
        // The font has no small T.
        let shape = shape.replace('ᵀ', "^T");
        let name = shorten(&format!("{} {op} {variant} {shape}", index + 1), 64);
        text(area, (LIST + 22, y), 13, &INK, START, &name)?;
        text(area, (WIDTH as i32 - 16, y), 13, &INK, END, &format!("{:.0} %", kernel.percent))?;
    }
    let y = top + 8 + LINE * (dots.len() as i32 + 1);
    let note = "a ring is the plain variant of an op, a disc any other";
    text(area, (LIST + 22, y), 13, &GREY, START, note)?;
    let missing = report.rows.len() - dots.len();
    if missing > 0 {
        let y = top + 8 + LINE * (dots.len() as i32 + 2);
        let note = format!("{missing} kernels without arithmetic or without a time are left out");
        text(area, (LIST + 22, y), 13, &GREY, START, &note)?;
    }
    Ok(())
}

/// `0.01`, `1`, `1000`.
fn plain_number(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}
