//! `shadegrad compare`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use shadegrad::report::comparison::{Comparison, Run};
use shadegrad::report::comparison_chart;
use shadegrad::units::count;
use shadegrad::{Error, Result};

use super::json;
use super::print::{duration, percent, say, warn};
use super::table::{Align, lines};

/// Epochs with a column of their own at most.
const MAX_COLUMNS: usize = 12;

/// Compare runs: accuracy, loss, time and settings as a table, and as a chart.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  shadegrad compare runs/lenet-1 runs/wide-1\n  shadegrad compare runs/* --out chart.png"
)]
pub struct CompareArgs {
    /// Run folders, finished or not
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Draw accuracy bars and loss lines as a PNG
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Write the comparison as JSON; - for standard output, with nothing else on it
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

pub fn run(arguments: &CompareArgs) -> Result<()> {
    let comparison = Comparison::read(&arguments.runs)?;
    match &arguments.json {
        None => tables(&comparison),
        Some(path) => json::write(&as_json(&comparison, &arguments.runs), path)?,
    }
    let groups = comparison.groups();
    if groups.len() > 1 {
        let named = |group: &Vec<usize>| {
            let names: Vec<&str> = group.iter().map(|&place| comparison.runs[place].name.as_str()).collect();
            format!("{} ({})", data(&comparison.runs[group[0]]), names.join(", "))
        };
        let groups: Vec<String> = groups.iter().map(named).collect();
        warn(format!("these runs saw different images, so their accuracies do not compare: {}", groups.join("; ")));
    }
    if let Some(path) = &arguments.out {
        std::fs::write(path, comparison_chart::draw(&comparison)?).map_err(Error::file("write", path))?;
        if arguments.json.as_deref() != Some(Path::new("-")) {
            say(format!("chart: {}", path.display()));
        }
    }
    Ok(())
}

fn data(run: &Run) -> String {
    let data = &run.config.data;
    format!("{}, {} images", data.name, count(data.train))
}

fn tables(comparison: &Comparison) {
    let heading = [
        "run",
        "model",
        "data",
        "parameters",
        "epochs",
        "batch",
        "lr",
        "seed",
        "accuracy",
        "loss",
        "time",
        "images/s",
        "",
    ];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for (place, run) in comparison.runs.iter().enumerate() {
        let settings = &run.config.settings;
        let tested = run.last().map(|end| &end.evaluation);
        let done = run.history.evaluations.last().map_or(0, |end| end.epoch);
        let mut remarks = Vec::new();
        if comparison.is_best(place) {
            remarks.push("best".to_string());
        }
        if run.done().is_none() {
            remarks.push(run.state().into());
        }
        rows.push(vec![
            run.name.clone(),
            settings.model.clone(),
            data(run),
            count(run.parameters),
            if done < settings.epochs { format!("{done} of {}", settings.epochs) } else { done.to_string() },
            settings.batch.to_string(),
            settings.lr.to_string(),
            settings.seed.to_string(),
            or_dash(tested.map(|evaluation| percent(evaluation.accuracy))),
            or_dash(tested.map(|evaluation| format!("{:.3}", evaluation.loss))),
            or_dash(run.seconds().map(duration)),
            or_dash(run.done().map(|done| count(done.images_per_second as u64))),
            remarks.join(", "),
        ]);
    }
    let mut alignment = [Align::Right; 13];
    alignment[..3].fill(Align::Left);
    alignment[12] = Align::Left;
    lines(&alignment, &rows).iter().for_each(say);
    by_epoch(comparison);
}

/// Accuracy after each epoch, or after as many of them as there is room for.
fn by_epoch(comparison: &Comparison) {
    let epochs = comparison.runs.iter().filter_map(|run| run.last()).map(|end| end.epoch).max().unwrap_or(0);
    if epochs < 2 {
        return;
    }
    let step = (epochs as usize).div_ceil(MAX_COLUMNS);
    let columns: Vec<u32> = (1..=epochs).filter(|epoch| ((epochs - epoch) as usize).is_multiple_of(step)).collect();
    let mut heading = vec!["accuracy after epoch".to_string()];
    heading.extend(columns.iter().map(u32::to_string));
    let mut rows = vec![heading];
    for run in &comparison.runs {
        let tested = |epoch: &u32| run.history.evaluations.iter().find(|end| end.epoch == *epoch);
        let accuracy = |epoch| or_dash(tested(epoch).map(|end| percent(end.evaluation.accuracy)));
        rows.push(std::iter::once(run.name.clone()).chain(columns.iter().map(accuracy)).collect());
    }
    let mut alignment = vec![Align::Right; columns.len() + 1];
    alignment[0] = Align::Left;
    say("");
    lines(&alignment, &rows).iter().for_each(say);
}

fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".into())
}

fn as_json(comparison: &Comparison, folders: &[PathBuf]) -> Value {
    let runs = comparison.runs.iter().zip(folders).enumerate().map(|(place, (run, folder))| {
        let settings = &run.config.settings;
        let tested = run.last().map(|end| &end.evaluation);
        let by_epoch = run.history.evaluations.iter();
        json!({
            "run": folder,
            "state": run.state(),
            "model": settings.model,
            "data": run.config.data.name,
            "data_sha256": run.config.data.sha256,
            "parameters": run.parameters,
            "epochs": settings.epochs,
            "batch": settings.batch,
            "lr": settings.lr,
            "seed": settings.seed,
            "accuracy": tested.map(|evaluation| evaluation.accuracy),
            "loss": tested.map(|evaluation| evaluation.loss),
            "seconds": run.seconds(),
            "images_per_second": run.done().map(|done| done.images_per_second),
            "best": comparison.is_best(place),
            "by_epoch": by_epoch
                .map(|end| json!({ "epoch": end.epoch, "accuracy": end.evaluation.accuracy, "loss": end.evaluation.loss }))
                .collect::<Vec<_>>(),
        })
    });
    json!({ "runs": runs.collect::<Vec<_>>(), "same_data": comparison.groups().len() < 2 })
}
