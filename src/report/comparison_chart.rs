//! The comparison as a picture: a bar for each run's accuracy, lines for its loss and its accuracy epoch by epoch.

use plotters::prelude::*;

use super::comparison::{Comparison, Run};
use crate::chart::{
    Area, COLOURS, Curve, Drawn, END, FAINT, GREY, INK, LineChart, START, decimals, padded, png, shorten, text,
};
use crate::error::Result;
use crate::units::{count, percent};

/// Everything is drawn so many times as large as it ends up, which makes lines smooth.
const SCALE: u32 = 2;
const WIDTH: u32 = 1600 * SCALE;
const MARGIN: i32 = 40 * SCALE as i32;
/// From the left: where the bars end and the lines begin.
const MIDDLE: i32 = 680 * SCALE as i32;
const HEIGHT: i32 = 900 * SCALE as i32;
/// Height of a run's bar and what is written above it: the least, and the most where there are few runs.
const ROW: [i32; 2] = [78 * SCALE as i32, 120 * SCALE as i32];
/// Of which the words take as much.
const WORDS: i32 = 31 * SCALE as i32;
const TOP: i32 = 90 * SCALE as i32;
/// Points of a loss line; more are drawn as means of as many as it takes.
const MAX_POINTS: usize = 400;

/// Draws it as a PNG.
///
/// # Errors
/// What the drawing library refuses.
pub fn draw(comparison: &Comparison) -> Result<Vec<u8>> {
    let runs = comparison.runs.len() as i32;
    let row = ((HEIGHT - TOP - MARGIN) / runs.max(1)).clamp(ROW[0], ROW[1]);
    let height = (TOP + row * runs + MARGIN).max(HEIGHT) as u32;
    png(WIDTH, height, SCALE, |area| {
        bars(area, comparison, row)?;
        let (_, right) = area.split_horizontally(MIDDLE);
        let (upper, lower) = right.split_vertically(height as i32 / 2);
        loss(&upper, &comparison.runs)?;
        accuracy(&lower, &comparison.runs)
    })
}

fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

/// Names of runs tend to begin alike, and to differ at their end.
fn without_middle(name: &str, most: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= most {
        return name.into();
    }
    let (head, tail) = (most / 3, most - most / 3 - 1);
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
}

fn size(letters: u32) -> u32 {
    letters * SCALE
}

fn bars(area: &Area<'_>, comparison: &Comparison, row: i32) -> Drawn {
    let title = match comparison.groups().len() {
        0 | 1 => "Accuracy on the test images",
        _ => "Accuracy on test images, not the same for all",
    };
    text(area, (MARGIN, TOP / 2), size(22), &INK, START, title)?;
    let full = MIDDLE - 2 * MARGIN - 90 * SCALE as i32;
    for (place, run) in comparison.runs.iter().enumerate() {
        let y = TOP + row * place as i32;
        let data = &run.config.data;
        text(area, (MARGIN, y), size(17), &INK, START, &without_middle(&run.name, 56))?;
        let settings = &run.config.settings;
        let facts = format!(
            "{} · {} · {} parameters · batch {} · lr {}",
            settings.model,
            data.name,
            count(run.parameters),
            settings.batch,
            settings.lr
        );
        text(area, (MARGIN, y + 19 * SCALE as i32), size(12), &GREY, START, &shorten(&facts, 80))?;
        let (top, bottom) = (y + WORDS, y + WORDS + (row - WORDS) / 2);
        area.draw(&Rectangle::new([(MARGIN, top), (MARGIN + full, bottom)], FAINT.filled()))
            .map_err(|error| error.to_string())?;
        let Some(end) = run.last() else {
            text(area, (MARGIN + full + 10 * SCALE as i32, (top + bottom) / 2), size(14), &GREY, START, "no test")?;
            continue;
        };
        let length = (f64::from(full) * end.evaluation.accuracy).round() as i32;
        area.draw(&Rectangle::new([(MARGIN, top), (MARGIN + length, bottom)], colour(place).filled()))
            .map_err(|error| error.to_string())?;
        let value = percent(end.evaluation.accuracy);
        let at = (MARGIN + full + 10 * SCALE as i32, (top + bottom) / 2);
        text(area, at, size(17), &INK, START, &value)?;
        if comparison.is_best(place) {
            text(area, (MARGIN + full, y + 19 * SCALE as i32), size(12), &INK, END, "best")?;
        }
    }
    Ok(())
}

/// Over epochs, so that runs with other batches share the axis.
fn loss(area: &Area<'_>, runs: &[Run]) -> Drawn {
    let curve = |(place, run): (usize, &Run)| {
        let batches = f64::from(run.history.batches()).max(1.0);
        let lines = &run.history.losses;
        let means = lines.chunks(lines.len().div_ceil(MAX_POINTS).max(1)).filter_map(|lines| {
            let epoch = lines.last()?.step as f64 / batches;
            Some((epoch, lines.iter().map(|line| line.loss).sum::<f64>() / lines.len() as f64))
        });
        let points: Vec<_> = means.collect();
        Curve { colour: colour(place), dots: points.len() < 3, points }
    };
    let curves = runs.iter().enumerate().map(curve).collect();
    lines(area, "Training loss", curves, None, "")
}

fn accuracy(area: &Area<'_>, runs: &[Run]) -> Drawn {
    let curve = |(place, run): (usize, &Run)| {
        let tested = run.history.evaluations.iter().filter(|end| end.evaluation.images > 0);
        let points = tested.map(|end| (f64::from(end.epoch), 100.0 * end.evaluation.accuracy)).collect();
        Curve { colour: colour(place), points, dots: true }
    };
    let curves: Vec<Curve> = runs.iter().enumerate().map(curve).collect();
    lines(area, "Accuracy after each epoch", curves, Some(100.0), " %")
}

fn lines(area: &Area<'_>, title: &str, curves: Vec<Curve>, most: Option<f64>, unit: &str) -> Drawn {
    text(area, (MARGIN, TOP / 2), size(22), &INK, START, title)?;
    let (_, room) = area.split_vertically(TOP * 3 / 4);
    let values = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let last = values().map(|(x, _)| x).fold(1.0, f64::max);
    let y = padded(values().map(|(_, y)| y));
    let y = y.start.max(0.0)..most.map_or(y.end, |most| y.end.min(most));
    // Of percentages, whole ones.
    let decimals = if most.is_some() && y.end - y.start > 5.0 { 0 } else { decimals(&y) };
    let chart = LineChart {
        x: 0.0..last * 1.02,
        y,
        curves,
        x_title: "epoch",
        x_label: &|x| if (x - x.round()).abs() < 1e-6 { format!("{x:.0}") } else { String::new() },
        y_label: &|y| format!("{y:.decimals$}{unit}"),
        rules: Vec::new(),
        letters: size(15),
    };
    chart.draw(&room).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(without_middle("wide-lr-0.001", 13), "wide-lr-0.001");
        assert_eq!(without_middle("wide-for-a-long-time-lr-0.001", 12), "wide…r-0.001");
    }
}
