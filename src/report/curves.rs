//! The loss and the accuracy of a run as charts, and what the pointer reads off them.

use askama::Template;
use plotters::prelude::*;
use serde_json::json;

use crate::chart::{COLOURS, Curve, LineChart, Placed, decimals, padded, register_font};
use crate::error::{Error, Result};
use crate::train::History;
use crate::units::{count, percent};

/// In pixels, where the page is as wide as the chart.
const SIZE: (u32, u32) = (560, 320);
const LETTERS: u32 = 17;
/// Points of a line; more are drawn as means of as many as it takes.
const MAX_POINTS: usize = 600;
const TRAIN: RGBColor = COLOURS[0];
const TEST: RGBColor = COLOURS[1];

/// A chart and what belongs to it.
#[derive(Template)]
#[template(path = "chart.html")]
pub struct Chart {
    pub id: &'static str,
    pub title: &'static str,
    /// Names of the curves, in the order of the style sheet's colours.
    pub legend: Vec<(&'static str, &'static str)>,
    pub svg: String,
    /// The points in pixels and in words, as JSON.
    pub points: String,
    /// What it shows, for who cannot see it.
    pub description: String,
    /// How many loss lines a point is the mean of.
    pub mean_of: usize,
}

impl Chart {
    fn is_mean(&self) -> bool {
        self.mean_of > 1
    }
}

/// A value on a curve, in words.
struct Reading {
    at: (f64, f64),
    place: String,
    value: String,
}

/// A curve with its readings.
struct Series {
    name: &'static str,
    /// Its class in the style sheet.
    class: &'static str,
    colour: RGBColor,
    dots: bool,
    readings: Vec<Reading>,
}

/// The training loss over the steps, and the test loss after each epoch; `None` without either.
///
/// # Errors
/// What the drawing library refuses.
pub fn loss(history: &History) -> Result<Option<Chart>> {
    let mean_of = history.losses.len().div_ceil(MAX_POINTS).max(1);
    let scheduled = history.losses.windows(2).any(|lines| lines[0].lr != lines[1].lr);
    let train = history.losses.chunks(mean_of).filter_map(|lines| {
        let last = lines.last()?;
        let loss = lines.iter().map(|line| line.loss).sum::<f64>() / lines.len() as f64;
        let rate = last.lr.filter(|_| scheduled).map_or_else(String::new, |lr| format!(", lr {}", three_digits(lr)));
        let place = format!("epoch {}, batch {}{rate}", last.epoch, count(last.batch.into()));
        Some(Reading { at: (last.step as f64, loss), place, value: format!("{loss:.3}") })
    });
    let train = Series { name: "training loss", class: "train", colour: TRAIN, dots: false, readings: train.collect() };
    let tested = history.evaluations.iter().filter(|end| end.evaluation.images > 0);
    let test = tested.map(|end| Reading {
        at: (end.step as f64, end.evaluation.loss),
        place: format!("after epoch {}", end.epoch),
        value: format!("{:.3}", end.evaluation.loss),
    });
    let test = Series { name: "test loss", class: "test", colour: TEST, dots: true, readings: test.collect() };
    let dots = train.readings.len() == 1;
    let series = [Series { dots, ..train }, test];
    let values = || series.iter().flat_map(|series| series.readings.iter().map(|reading| reading.at));
    let Some(end) = values().map(|(x, _)| x).reduce(f64::max) else { return Ok(None) };
    let batches = f64::from(history.batches()).max(1.0);
    // Few enough to be told apart.
    let rules = (1..).map(|epoch| f64::from(epoch) * batches).take_while(|&x| x < end).take(31).collect::<Vec<_>>();
    let y = padded(values().map(|(_, y)| y));
    let decimals = decimals(&y);
    let axes = LineChart {
        curves: Vec::new(),
        x: 0.0..end * 1.02,
        y,
        x_title: "step",
        x_label: &|x| count(x.round() as u64),
        y_label: &|y| format!("{y:.decimals$}"),
        rules: if rules.len() > 30 { Vec::new() } else { rules },
        letters: LETTERS,
    };
    draw("loss", "Loss", axes, &series, mean_of).map(Some)
}

/// `0.00123`, `1.23e-9`: as many digits as say something.
fn three_digits(value: f64) -> String {
    let digits = 2.0 - value.abs().log10().floor();
    match digits {
        0.0..=8.0 => {
            let text = format!("{value:.*}", digits as usize);
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
        }
        _ if value == 0.0 => "0".into(),
        _ => format!("{value:.2e}"),
    }
}

/// The accuracy on the test images after each epoch; `None` without one.
///
/// # Errors
/// What the drawing library refuses.
pub fn accuracy(history: &History) -> Result<Option<Chart>> {
    let tested = history.evaluations.iter().filter(|end| end.evaluation.images > 0);
    let readings: Vec<Reading> = tested
        .map(|end| Reading {
            at: (end.epoch.into(), 100.0 * end.evaluation.accuracy),
            place: format!("after epoch {}", end.epoch),
            value: percent(end.evaluation.accuracy),
        })
        .collect();
    let (Some(first), Some(last)) = (readings.first(), readings.last()) else { return Ok(None) };
    let (first, last) = (first.at.0, last.at.0);
    let highest = readings.iter().map(|reading| reading.at.1).fold(10.0, f64::max);
    let room = ((last - first) * 0.04).max(0.25);
    let axes = LineChart {
        curves: Vec::new(),
        x: first - room..last + room,
        y: 0.0..(highest * 1.1).min(102.0),
        x_title: "epoch",
        x_label: &|x| if (x - x.round()).abs() < 1e-6 { format!("{x:.0}") } else { String::new() },
        y_label: &|y| format!("{y:.0} %"),
        rules: Vec::new(),
        letters: LETTERS,
    };
    let series = Series { name: "test accuracy", class: "test", colour: TEST, dots: true, readings };
    draw("accuracy", "Accuracy", axes, &[series], 1).map(Some)
}

fn draw(
    id: &'static str,
    title: &'static str,
    axes: LineChart<'_>,
    series: &[Series],
    mean_of: usize,
) -> Result<Chart> {
    register_font();
    let curves = series.iter().map(|series| Curve {
        colour: series.colour,
        points: series.readings.iter().map(|reading| reading.at).collect(),
        dots: series.dots,
    });
    let chart = LineChart { curves: curves.collect(), ..axes };
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        chart.draw(&area)
    };
    let Placed { points: pixels, frame: [top, bottom] } =
        drawn.map_err(|error| Error::usage(format!("could not draw: {error}")))?;
    let points = series.iter().zip(&pixels).map(|(series, pixels)| {
        let points = series.readings.iter().zip(pixels);
        let points = points.map(|(reading, (x, y))| json!([x, y, reading.place, reading.value]));
        json!({ "name": series.name, "class": series.class, "points": points.collect::<Vec<_>>() })
    });
    let points = json!({ "top": top, "bottom": bottom, "series": points.collect::<Vec<_>>() }).to_string();
    let summaries = series.iter().filter_map(|series| {
        let (first, last) = (series.readings.first()?, series.readings.last()?);
        Some(format!("{}: {} ({}) to {} ({})", series.name, first.value, first.place, last.value, last.place))
    });
    let description = summaries.collect::<Vec<_>>().join("; ");
    let drawn = series.iter().filter(|series| !series.readings.is_empty());
    let legend = drawn.map(|series| (series.class, series.name)).collect();
    Ok(Chart { id, title, legend, svg, points, description, mean_of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learning_rate_is_short() {
        let texts = [0.1, 0.000123456, 0.05, 100.0, 0.0, 1.234e-9].map(three_digits);
        assert_eq!(texts, ["0.1", "0.000123", "0.05", "100", "0", "1.23e-9"]);
    }
}
