//! The page: what a run folder says, in the words and pictures of `templates/report.html`.

use std::path::Path;

use askama::Template;
use serde_json::json;

use super::confusion::Confusion;
use super::curves::{self, Chart};
use super::gallery::{Gallery, Shown};
use super::sprite::Tile;
use super::{Tested, command, filters};
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::geometry::product;
use crate::nn::{Fusion, Images, Plan, PlanRequest};
use crate::train::history::End;
use crate::train::{Config, Evaluation, History, Latest, RunFolder};
use crate::units::{count, duration, percent};

/// Beyond this many classes only the best and the worst are listed at once.
const MAX_LISTED: usize = 20;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    style: &'a str,
    script: &'a str,
    version: &'a str,
    title: String,
    config: &'a Config,
    status: Status,
    figures: Vec<Figure>,
    loss: Option<Chart>,
    accuracy: Option<Chart>,
    epochs: Vec<Epoch>,
    classes: Vec<Class>,
    /// All of them, where there are too many to list at once.
    all_classes: Vec<Class>,
    confusion: Option<Confusion>,
    gallery: &'a Gallery,
    tile: Tile,
    /// For the script, as JSON.
    cells: String,
    mistakes: Vec<Mistake>,
    filters: Vec<String>,
    layers: Vec<Row>,
    settings: Vec<Row>,
    facts: Vec<Row>,
    commands: Vec<Command>,
    /// Whether those train as the run did.
    is_repeatable: bool,
    weights_sha256: Option<String>,
}

/// How the run stands.
struct Status {
    /// A class of the style sheet: done, stopped or failed.
    kind: &'static str,
    text: String,
}

/// A number of the headline.
struct Figure {
    value: String,
    name: String,
}

/// An epoch's numbers.
struct Epoch {
    epoch: u32,
    train_loss: String,
    test_loss: String,
    accuracy: String,
}

/// A class and how many of its test images were recognised.
#[derive(Clone)]
struct Class {
    name: String,
    /// 0 to 100; `None` without test images.
    width: Option<f64>,
    text: String,
    images: String,
}

/// A picture with what it is and what it was taken for.
struct Mistake {
    image: usize,
    sprite: usize,
    /// In the sprite.
    column: u32,
    row: u32,
    label: String,
    prediction: String,
    probability: String,
}

struct Row {
    name: String,
    value: String,
    note: String,
}

struct Command {
    why: &'static str,
    line: String,
}

/// The page of a run folder, with the test images in it where they are given. Without them it says what the run's own records know.
///
/// # Errors
/// A folder that is no run.
pub fn html(run: &Path, tested: Option<&Tested<'_>>) -> Result<String> {
    let config = RunFolder::config(run)?;
    let history = RunFolder::history(run)?;
    let plan = plan(&config)?;
    // A page without filters is better than none.
    let parameters = Latest::read(run, &plan).map_or_else(|_| Vec::new(), |latest| latest.parameters);
    let tested = tested.filter(|tested| !tested.images.is_empty());
    let recorded = history.evaluations.last().map(|end| (&end.evaluation, end.step));
    let evaluation = tested.map(|it| (it.evaluation, it.step.unwrap_or(history.last_step()))).or(recorded);
    let evaluation = evaluation.filter(|(evaluation, _)| evaluation.images > 0);
    let gallery = tested.map(Gallery::new).transpose()?.unwrap_or_default();
    let [channels, height, width] = config.data.shape;
    let tile = Tile::new(ImageShape { channels, height, width });
    let mut classes = evaluation.map_or_else(Vec::new, |(evaluation, _)| classes(evaluation, &config.data.classes));
    let all_classes = if classes.len() > MAX_LISTED { classes.clone() } else { Vec::new() };
    if classes.len() > MAX_LISTED {
        classes.drain(MAX_LISTED / 2..classes.len() - MAX_LISTED / 2);
    }
    let page = Page {
        style: include_str!("../../templates/report.css"),
        script: include_str!("../../templates/report.js"),
        version: env!("CARGO_PKG_VERSION"),
        title: format!("{} on {}", config.settings.model, config.data.name),
        config: &config,
        status: status(&config, &history),
        figures: figures(&history, &plan, evaluation),
        loss: curves::loss(&history)?,
        accuracy: curves::accuracy(&history)?,
        epochs: epochs(&history),
        classes,
        all_classes,
        confusion: evaluation.map(|(evaluation, _)| Confusion::new(evaluation, &config.data.classes)),
        cells: cells(&gallery, &config.data.classes),
        mistakes: gallery.mistakes.iter().map(|shown| mistake(&gallery, shown, &config.data.classes)).collect(),
        gallery: &gallery,
        tile,
        filters: filters::pictures(&parameters, channels)?,
        layers: layers(&config)?,
        settings: settings(&config)?,
        facts: facts(&config, &history),
        commands: commands(&config, run)?,
        is_repeatable: is_repeatable(&config, &history),
        weights_sha256: match &history.end {
            Some(End::Done(done)) => Some(done.weights_sha256.clone()),
            _ => None,
        },
    };
    page.render().map_err(|error| Error::usage(format!("could not write the report: {error}")))
}

/// An inference of the run's network, for what it says about its parameters.
fn plan(config: &Config) -> Result<Plan> {
    let images = Images::streamed(config.data.shape, config.data.classes.len() as u32, 1);
    PlanRequest { network: &config.network, images, batch: 1, max_bytes: u64::MAX, fusion: Fusion::None }.inference()
}

fn status(config: &Config, history: &History) -> Status {
    let steps = u64::from(history.batches()) * u64::from(config.settings.epochs);
    let place = format!("step {} of {}", count(history.last_step()), count(steps));
    match &history.end {
        Some(End::Done(_)) => Status { kind: "done", text: "finished".into() },
        Some(End::Stopped(stopped)) if stopped.reason == "interrupted" => {
            Status { kind: "stopped", text: format!("interrupted at {place}") }
        }
        Some(End::Stopped(stopped)) => Status { kind: "failed", text: stopped.reason.clone() },
        None => Status { kind: "stopped", text: format!("not finished, {place}") },
    }
}

fn figures(history: &History, plan: &Plan, evaluation: Option<(&Evaluation, u64)>) -> Vec<Figure> {
    let figure = |value: String, name: String| Figure { value, name };
    let mut figures = Vec::new();
    if let Some((evaluation, step)) = evaluation {
        let when = if step < history.last_step() || !matches!(history.end, Some(End::Done(_))) {
            format!(" after step {}", count(step))
        } else {
            String::new()
        };
        let images = count(evaluation.images);
        figures.push(figure(percent(evaluation.accuracy), format!("of {images} test images recognised{when}")));
        figures.push(figure(format!("{:.3}", evaluation.loss), "test loss".into()));
    }
    figures.push(figure(count(plan.parameter_count()), "parameters".into()));
    match &history.end {
        Some(End::Done(done)) => {
            figures.push(figure(duration(done.seconds), format!("of training, {} steps", count(done.steps))));
            figures.push(figure(count(done.images_per_second as u64), "images per second".into()));
        }
        Some(End::Stopped(stopped)) => {
            figures.push(figure(duration(stopped.seconds), format!("of training, {} steps", count(stopped.step))));
        }
        None => figures.push(figure(count(history.last_step()), "steps".into())),
    }
    figures
}

fn epochs(history: &History) -> Vec<Epoch> {
    let loss = |epoch: u32| history.losses.iter().rev().find(|line| line.epoch == epoch);
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    let epoch = |end: &crate::train::history::EpochEnd| {
        let tested = (end.evaluation.images > 0).then_some(&end.evaluation);
        Epoch {
            epoch: end.epoch,
            train_loss: or_dash(loss(end.epoch).map(|line| format!("{:.3}", line.loss))),
            test_loss: or_dash(tested.map(|evaluation| format!("{:.3}", evaluation.loss))),
            accuracy: or_dash(tested.map(|evaluation| percent(evaluation.accuracy))),
        }
    };
    history.evaluations.iter().map(epoch).collect()
}

/// The best first.
fn classes(evaluation: &Evaluation, names: &[String]) -> Vec<Class> {
    let rows = names.iter().zip(&evaluation.per_class).zip(&evaluation.confusion).enumerate();
    let mut classes: Vec<Class> = rows
        .map(|(class, ((name, &share), row))| {
            let images: u32 = row.iter().sum();
            let name = name.clone();
            if images == 0 {
                return Class { name, width: None, text: "–".into(), images: "no test image".into() };
            }
            let right = row.get(class).copied().unwrap_or(0);
            let images = format!("{} of {}", count(right.into()), count(images.into()));
            Class { name, width: Some(100.0 * share), text: percent(share), images }
        })
        .collect();
    let share = |class: &Class| class.width.unwrap_or(-1.0);
    classes.sort_by(|a, b| share(b).total_cmp(&share(a)));
    classes
}

fn mistake(gallery: &Gallery, shown: &Shown, classes: &[String]) -> Mistake {
    let name = |class: usize| classes.get(class).cloned().unwrap_or_default();
    let columns = gallery.sprites[shown.sprite].columns;
    Mistake {
        image: shown.image,
        sprite: shown.sprite,
        column: shown.place as u32 % columns,
        row: shown.place as u32 / columns,
        label: name(shown.label),
        prediction: name(shown.prediction),
        probability: percent(shown.probability.into()),
    }
}

/// What the script needs to show the images of a cell.
fn cells(gallery: &Gallery, classes: &[String]) -> String {
    let cells = gallery.cells.iter().map(|(&(label, prediction), cell)| {
        let images = cell.iter().map(|it| json!([it.place, it.image, (1000.0 * it.probability).round() as u32]));
        let sprite = cell.first().map_or(0, |it| it.sprite);
        let columns = gallery.sprites[sprite].columns;
        let images = images.collect::<Vec<_>>();
        (format!("{label}-{prediction}"), json!({ "sprite": sprite, "columns": columns, "images": images }))
    });
    let cells: serde_json::Map<String, serde_json::Value> = cells.collect();
    in_script(&json!({ "classes": classes, "cells": cells }).to_string())
}

/// JSON that no HTML parser takes for the end of its element.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

fn row(name: impl Into<String>, value: impl Into<String>) -> Row {
    Row { name: name.into(), value: value.into(), note: String::new() }
}

fn layers(config: &Config) -> Result<Vec<Row>> {
    let Config { network, data, .. } = config;
    let shape = |sizes: &[u32]| sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("×");
    let mut rows = vec![row("input", shape(&data.shape))];
    for (named, activation) in network.layers.iter().zip(network.activations(data.shape, data.classes.len() as u32)?) {
        let weights = named.layer.parameters(&activation.input, &activation.output);
        let parameters = weights.map_or(0, |weights| (product(&weights.weight) + product(&weights.bias)) as u64);
        let note = if parameters > 0 { count(parameters) } else { String::new() };
        rows.push(Row { name: named.name.clone(), value: shape(&activation.output), note });
    }
    Ok(rows)
}

/// Every setting under its name in config.toml.
fn settings(config: &Config) -> Result<Vec<Row>> {
    let table = command::table(&config.settings)?;
    Ok(table.iter().map(|(key, value)| row(key.replace('_', " "), command::words(value))).collect())
}

fn facts(config: &Config, history: &History) -> Vec<Row> {
    let data = &config.data;
    let [channels, height, width] = data.shape;
    let mut facts = vec![
        row("data", format!("{} ({})", data.name, data.source)),
        row("images", format!("{} for training, {} for testing", count(data.train), count(data.test))),
        row("of", format!("{channels}×{height}×{width}, {} classes", data.classes.len())),
        row("training images", format!("SHA-256 {}", data.sha256)),
        row("adapter", format!("{} ({})", config.adapter.name, config.adapter.kind)),
        row("driver", format!("{}, {}", config.adapter.driver, config.adapter.backend)),
    ];
    let resumed: Vec<String> = history.starts.iter().skip(1).map(|start| count(start.step)).collect();
    if !resumed.is_empty() {
        facts.push(row("resumed", format!("after step {}", resumed.join(", "))));
    }
    if !config.kernels.is_empty() {
        facts.push(row("own kernels", config.kernels.join(", ")));
    }
    facts
}

/// Whether the settings that the run has now gave every learning rate it logged: it can be resumed with others.
fn is_repeatable(config: &Config, history: &History) -> bool {
    let rates = config.settings.learning_rates(history.batches());
    history.losses.iter().all(|line| line.lr.is_none_or(|lr| lr as f32 == rates.at(line.step) as f32))
}

fn commands(config: &Config, run: &Path) -> Result<Vec<Command>> {
    let mut commands = Vec::new();
    if let Some(line) = command::flags(config, run)? {
        commands.push(Command { why: "The same settings as flags", line });
    }
    commands.push(Command { why: "From the run’s own record of them", line: command::config(run) });
    Ok(commands)
}
