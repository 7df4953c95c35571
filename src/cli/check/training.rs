//! `check --model`: an adapter and the reference training side by side.

use serde_json::json;
use shadegrad::check::training::{self, Parted, ROUNDINGS, StepReport};
use shadegrad::data::shapes;
use shadegrad::gpu::{Checks, Device};
use shadegrad::machine::{Classifier, CpuMachine, GpuMachine, GpuOptions, Machine, Segment, Setup, State};
use shadegrad::nn::{Fusion, Network, initialise};
use shadegrad::train::Settings;
use shadegrad::units::count;
use shadegrad::{Error, Result};

use super::{CheckArgs, adapter, progress_bar, report};
use crate::cli::json;
use crate::cli::print::say;
use crate::cli::table::{Align, lines};

/// Steps that are printed; of more, the first and the last of these.
const SHOWN: usize = 20;

pub fn run(arguments: &CheckArgs, model: &str) -> Result<()> {
    let default = Settings::default();
    let settings = Settings {
        model: model.into(),
        batch: arguments.batch.unwrap_or(default.batch),
        lr: arguments.lr.unwrap_or(default.lr),
        seed: arguments.seed.unwrap_or(default.seed),
        augment: arguments.augment.as_deref().map_or(Ok(default.augment), str::parse)?,
        ..Settings::default()
    };
    settings.check()?;
    let steps = arguments.steps.unwrap_or(20);
    if steps == 0 {
        return Err(Error::usage("--steps must be at least 1 (got 0)"));
    }
    let batch = settings.batch;
    let images = steps
        .checked_mul(batch)
        .filter(|&images| images <= 1_000_000)
        .ok_or_else(|| Error::usage(format!("--steps × --batch must be at most 1000000 (got {steps} × {batch})")))?;
    let network = Network::load(model)?;
    let adapter = adapter(arguments)?;
    let dataset = shapes(settings.seed, images, 1);
    let setup =
        Setup { network: &network, dataset: &dataset, batch, optimiser: settings.optimiser(), noise: settings.noise() };
    let device = Device::open(&adapter, Checks::Unchecked)?;
    let mut gpu = GpuMachine::new(device, &setup, &GpuOptions { keep_tensors: true, ..GpuOptions::default() })?;
    let mut reference = CpuMachine::planned(&setup, Fusion::Full)?;
    let momentum = vec![0.0; gpu.plan().parameter_length];
    let parameters = initialise(gpu.plan(), settings.seed);
    gpu.set_state(&State { parameters, momentum })?;
    if arguments.talks() {
        say(format!(
            "model: {}, {} parameters; data: shapes, {} images, batch {batch}, lr {}, seed {}",
            network.name,
            count(gpu.plan().parameter_count()),
            count(images.into()),
            settings.lr,
            settings.seed
        ));
        if !settings.augment.is_none() {
            say(format!("augmentation: {}", settings.augment));
        }
        say(format!(
            "bound: γ_{ROUNDINGS} = {:.1e} of the largest value of each tensor, or where its sums cancel or are long γ of their own roundings as \
             well, of the largest sum of sizes; each step starts from the adapter's state",
            shadegrad::cases::gamma(ROUNDINGS)
        ));
    }

    let order: Vec<u32> = (0..images).collect();
    let bar = progress_bar(steps.into());
    let mut reports: Vec<StepReport> = Vec::new();
    for (index, images) in order.chunks(batch as usize).enumerate() {
        let segment = Segment { images, first_step: index as u64 + 1, epoch: 1, learning_rates: &[settings.lr as f32] };
        let report = training::step(&mut gpu, &mut reference, &segment)?;
        bar.inc(1);
        let parted = report.parted.is_some();
        reports.push(report);
        if parted {
            break;
        }
    }
    bar.finish_and_clear();

    let parted = reports.last().and_then(|report| Some((report.step, report.parted.clone()?)));
    if let Some(path) = &arguments.json {
        let value = json!({
            "adapter": report::adapter_json(&adapter),
            "model": network.name,
            "batch": batch,
            "bound_roundings": ROUNDINGS,
            "steps": reports.iter().map(as_json).collect::<Vec<_>>(),
            "passed": reports.len() - usize::from(parted.is_some()),
            "failed": usize::from(parted.is_some()),
        });
        json::write(&value, path)?;
    }
    if arguments.talks() {
        table(&reports);
        flips(&reports);
    }
    match parted {
        None => {
            if arguments.talks() {
                let tensors = reports.iter().map(|report| report.tensors as u64).sum();
                say(format!("{steps} steps, {} tensors compared: all within their bounds", count(tensors)));
            }
            Ok(())
        }
        Some((step, Parted { label, tensor, index, actual, expected, bound })) => Err(Error::check(format!(
            "{tensor} parts company first, in step {step}, written by {label}: [{index}] is {actual:e}, the reference has {expected:e} \
             ± {bound:e}"
        ))),
    }
}

fn table(reports: &[StepReport]) {
    let mut rows =
        vec![["step", "loss", "reference", "worst tensor", "share of bound", "flips"].map(String::from).to_vec()];
    let hidden = reports.len().saturating_sub(SHOWN);
    for report in reports.iter().take(SHOWN / 2).chain(reports.iter().skip((SHOWN / 2).min(reports.len()) + hidden)) {
        let (name, share) = report.worst.clone().unwrap_or_default();
        rows.push(vec![
            report.step.to_string(),
            format!("{:.6}", report.gpu_loss),
            format!("{:.6}", report.reference_loss),
            name,
            format!("{share:.3}"),
            report.flips.values().sum::<usize>().to_string(),
        ]);
    }
    let alignment = [Align::Right, Align::Right, Align::Right, Align::Left, Align::Right, Align::Right];
    lines(&alignment, &rows).iter().for_each(say);
    if hidden > 0 {
        let worst = reports.iter().filter_map(|report| report.worst.as_ref());
        if let Some((name, share)) = worst.max_by(|a, b| a.1.total_cmp(&b.1)) {
            say(format!("{hidden} steps not shown; the worst of all is {name} with {share:.3} of its bound"));
        }
    }
}

fn flips(reports: &[StepReport]) {
    let mut total = std::collections::BTreeMap::<&str, usize>::new();
    for (name, count) in reports.iter().flat_map(|report| &report.flips) {
        *total.entry(name).or_default() += count;
    }
    if total.is_empty() {
        return;
    }
    let total: Vec<String> = total.iter().map(|(name, count)| format!("{name} {count}")).collect();
    say(format!("flips: {}", total.join(", ")));
    say(
        "   rounding decided there on which side of 0 a value is, or which of two is the maximum: values within their bounds. The reference",
    );
    say("   took the adapter's decision, and every tensor after it was compared in full.");
}

fn as_json(report: &StepReport) -> serde_json::Value {
    json!({
        "step": report.step,
        "loss": report.gpu_loss,
        "reference_loss": report.reference_loss,
        "worst": report.worst.as_ref().map(|(tensor, share)| json!({ "tensor": tensor, "error_of_bound": share })),
        "tensors": report.tensors,
        "flips": report.flips,
        "parted": report.parted.as_ref().map(|parted| json!({
            "op": parted.label,
            "tensor": parted.tensor,
            "index": parted.index,
            "actual": parted.actual,
            "expected": parted.expected,
            "bound": parted.bound,
        })),
    })
}
