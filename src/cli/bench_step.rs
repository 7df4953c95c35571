//! `shadegrad bench step`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use shadegrad::bench::{self, Clock, StepReport, Timing};
use shadegrad::nn::{Fusion, Network};
use shadegrad::train::Settings;
use shadegrad::units::count;
use shadegrad::{Error, Result};

use super::print::{number, range, say, time};
use super::table::{Align, lines};

/// What the images of CIFAR-10 are: the workload that the presets are for.
const IMAGE: [u32; 3] = [3, 32, 32];
const CLASSES: u32 = 10;

/// The flags that only `bench step` has.
#[derive(Args)]
pub struct StepArgs {
    /// With `step`: lenet, wide, or a network file [default: lenet]
    #[arg(long, value_name = "NAME|FILE.toml")]
    model: Option<String>,
    /// With `step`: images a step, several separated by commas [default: 4,32,128]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    batch: Vec<u32>,
    /// With `step`: every layer's op by itself, not those together that one kernel can do
    #[arg(long)]
    unfused: bool,
    /// With `step`: write one step of each batch size for chrome://tracing or ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl StepArgs {
    /// # Errors
    /// A flag that was given without `step`.
    pub fn refuse_without_step(&self) -> Result<()> {
        let given = [
            ("--model", self.model.is_some()),
            ("--batch", !self.batch.is_empty()),
            ("--unfused", self.unfused),
            ("--trace", self.trace.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => {
                Err(Error::usage(format!("{flag} is for whole steps")).with_hint("shadegrad bench step --model lenet"))
            }
        }
    }

    fn batches(&self) -> &[u32] {
        if self.batch.is_empty() { &[4, 32, 128] } else { &self.batch }
    }

    /// The network.
    ///
    /// # Errors
    /// A batch size or a network that cannot be used.
    pub fn check(&self) -> Result<Network> {
        self.batches().iter().try_for_each(|&batch| Settings { batch, ..Settings::default() }.check())?;
        Network::load(self.model.as_deref().unwrap_or("lenet"))
    }

    /// Times a step of each batch size, prints it, and returns the JSON.
    pub fn run(&self, clock: &mut Clock<'_>, network: &Network, quiet: bool) -> Result<Value> {
        let optimiser = Settings::default().optimiser();
        let fusion = if self.unfused { Fusion::None } else { Fusion::Full };
        let mut reports = Vec::new();
        for &batch in self.batches() {
            let report = bench::step(clock, network, IMAGE, CLASSES, batch, fusion, &optimiser)?;
            if !quiet {
                parts(&network.name, &report);
            }
            reports.push(report);
        }
        if !quiet {
            summary(&network.name, &reports);
        }
        let info = clock.device.info();
        if let Some(path) = &self.trace {
            let trace = bench::chrome_trace(&network.name, &info.name, &reports).to_string();
            std::fs::write(path, trace).map_err(Error::file("write", path))?;
        }
        Ok(json!({
            "adapter": { "name": info.name, "driver": info.driver, "backend": info.backend, "type": info.kind.name() },
            "model": network.name,
            "steps": reports.iter().map(StepReport::to_json).collect::<Vec<_>>(),
        }))
    }
}

/// Where the time of a step goes, dearest first.
fn parts(network: &str, report: &StepReport) {
    let how = match report.timing {
        Timing::Timestamps => "each op in a pass of its own",
        Timing::Slope => "each op repeated by itself, so that it finds its operands cached",
    };
    say(format!("\n{network}, batch {}: where the time goes ({how})", report.batch));
    let total = report.parts_seconds();
    let mut sorted: Vec<_> = report.parts.iter().collect();
    sorted.sort_by(|a, b| b.time.median.total_cmp(&a.time.median));
    let heading =
        ["op of the step", "kernel", "variant", "dispatches", "median", "p5–p95", "share", "GFLOP/s", "shape"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(sorted.into_iter().map(|part| {
        vec![
            part.label.clone(),
            part.op.into(),
            part.variant.into(),
            part.dispatches.to_string(),
            time(part.time.median),
            range(&part.time),
            format!("{:.1} %", 100.0 * part.time.median / total),
            number(part.flops as f64 / part.time.median * 1e-9),
            part.shape.clone(),
        ]
    }));
    let mut alignment = [Align::Right; 9];
    for column in [0, 1, 2, 8] {
        alignment[column] = Align::Left;
    }
    lines(&alignment, &rows).iter().for_each(say);
    say(format!(
        "all {} ops one by one: {} · the step in one pass: {}",
        report.parts.len(),
        time(total),
        time(report.time.median)
    ));
}

fn summary(network: &str, reports: &[StepReport]) {
    say("");
    let heading = ["step", "batch", "median", "p5–p95", "runs", "steps/s", "images/s", "GFLOP/s", "timing"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(reports.iter().map(|report| {
        vec![
            network.into(),
            report.batch.to_string(),
            time(report.time.median),
            range(&report.time),
            report.time.runs.to_string(),
            number(report.steps_per_second()),
            count(report.images_per_second() as u64),
            number(report.gflops()),
            report.timing.name().into(),
        ]
    }));
    let mut alignment = [Align::Right; 9];
    (alignment[0], alignment[8]) = (Align::Left, Align::Left);
    lines(&alignment, &rows).iter().for_each(say);
}
