//! `shadegrad check`.

mod report;
mod training;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use shadegrad::check::{Row, Selection, Suite};
use shadegrad::gpu::{Adapter, Adapters, Checks, Choice, Device, DeviceOptions, install_hint};
use shadegrad::ops::custom::CustomKernel;
use shadegrad::ops::is_experimental;
use shadegrad::units::count;
use shadegrad::{Error, Result, cases};

use super::device::cannot_run;
use super::kernels::example;
use super::print::{duration, say, warn};
use super::{json, shader, watch};

/// Check every kernel against the f64 reference: forward and backward, with wgpu's bounds checks and without.
#[derive(Args)]
#[command(after_help = "Examples:\n  shadegrad check\n  shadegrad check matmul conv2d_forward --variant tiled\n  \
                        shadegrad check matmul --shader mine.wgsl --watch\n  shadegrad check --model lenet --steps 20")]
pub struct CheckArgs {
    /// Ops to check [default: all]
    #[arg(value_name = "OP")]
    ops: Vec<String>,
    /// Only this variant of them
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    variant: Option<String>,
    /// Check a kernel of your own, in place of the op's; see `shadegrad kernels OP`
    #[arg(long, value_name = "FILE.wgsl", conflicts_with_all = ["model", "variant"])]
    shader: Option<PathBuf>,
    /// Check again whenever the shader is saved
    #[arg(long, requires = "shader")]
    watch: bool,
    /// Train a network on the adapter and on the reference side by side instead, and compare every tensor of every step
    #[arg(long, value_name = "NAME|FILE.toml", conflicts_with = "ops")]
    model: Option<String>,
    /// Steps to train [default: 20]
    #[arg(long, value_name = "N", requires = "model")]
    steps: Option<u32>,
    /// Images a step [default: 4]
    #[arg(long, value_name = "N", requires = "model")]
    batch: Option<u32>,
    /// Learning rate [default: 0.001]
    #[arg(long, allow_negative_numbers = true, requires = "model")]
    lr: Option<f64>,
    /// Augment the images as `train --augment` does
    #[arg(long, value_name = "WORD,…", requires = "model")]
    augment: Option<String>,
    /// Decides the initial weights and the drawn images [default: 0]
    #[arg(long, requires = "model")]
    seed: Option<u64>,
    /// auto, or an adapter by its number or a part of its name, as `devices` lists them
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Check the kernels as well that use what wgpu calls experimental, where the adapter has it: cooperative matrices
    #[arg(long, conflicts_with_all = ["model", "shader"])]
    experimental: bool,
    /// Write the result as JSON; - for standard output, with nothing else on it
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

impl CheckArgs {
    /// Whether standard output is for people.
    fn talks(&self) -> bool {
        self.json.as_ref().is_none_or(|path| path != "-")
    }
}

pub fn run(arguments: &CheckArgs) -> Result<()> {
    if let Some(model) = &arguments.model {
        return training::run(arguments, model);
    }
    if let (Some(shader), true) = (&arguments.shader, arguments.watch) {
        return watch::run(std::slice::from_ref(shader), !arguments.talks());
    }
    if let Some(path) = &arguments.shader {
        return own_shader(arguments, path);
    }
    let suite = Suite::new(&Selection { ops: arguments.ops.clone(), variant: arguments.variant.clone() })?;
    let adapter = adapter(arguments)?;
    let open = |checks| {
        let options = DeviceOptions { checks, experimental: arguments.experimental, ..DeviceOptions::default() };
        Device::open_with(&adapter, options)
    };
    let devices = [open(Checks::Checked)?, open(Checks::Unchecked)?];
    let started = Instant::now();
    let length: usize = devices.iter().map(|device| suite.rows(device)).sum();
    let bar = progress_bar(length as u64);
    let left_out = suite.left_out(&devices[0]);
    if let Some(variant) = left_out.iter().find(|variant| arguments.variant.as_deref() == Some(**variant)) {
        return Err(cannot_run(&adapter.info, variant, arguments.experimental));
    }
    let mut rows = Vec::new();
    let result = suite.run(&devices, &mut |row| {
        bar.set_message(row.op);
        bar.inc(1);
        rows.push(row);
    });
    bar.finish_and_clear();
    result?;
    // Of the others nobody has asked for what they need.
    for variant in left_out.into_iter().filter(|variant| arguments.experimental || !is_experimental(variant)) {
        let name = &adapter.info.name;
        warn(format!("{name} has not what the variant {variant} needs: it is never run there, and was not checked"));
    }

    conclude(arguments, &adapter, &rows, started)
}

/// A user's kernel in place of the one op that was named.
fn own_shader(arguments: &CheckArgs, path: &Path) -> Result<()> {
    let [op] = arguments.ops.as_slice() else {
        return Err(Error::usage(format!("--shader needs exactly one OP (got {})", arguments.ops.len()))
            .with_hint("shadegrad check matmul --shader mine.wgsl"));
    };
    let kernel = CustomKernel::load(path, &*example(op)?.op)?;
    let adapter = adapter(arguments)?;
    let started = Instant::now();
    let bar = progress_bar(cases::of(op).len() as u64);
    let mut rows = Vec::new();
    let result = shader::check(&adapter, &kernel, &mut |row| {
        bar.set_message(row.op);
        bar.inc(1);
        rows.push(row);
    });
    bar.finish_and_clear();
    result?;
    conclude(arguments, &adapter, &rows, started)
}

fn conclude(arguments: &CheckArgs, adapter: &Adapter, rows: &[Row], started: Instant) -> Result<()> {
    let failed = rows.iter().filter(|row| !row.passes()).count();
    if let Some(path) = &arguments.json {
        json::write(&report::as_json(adapter, rows), path)?;
    }
    if arguments.talks() {
        report::table(rows);
        report::failures(rows);
        let time = duration(started.elapsed().as_secs_f64());
        say(format!("{} passed, {} failed in {time}", count((rows.len() - failed) as u64), count(failed as u64)));
    }
    if failed > 0 {
        return Err(Error::check(format!("{failed} of {} checks failed on {}", rows.len(), adapter.info.name)));
    }
    Ok(())
}

/// The adapter asked for, its name and driver printed.
fn adapter(arguments: &CheckArgs) -> Result<Adapter> {
    match Adapters::list().choose(&arguments.device)? {
        Some(adapter) => {
            let info = &adapter.info;
            if arguments.talks() {
                say(format!("adapter: {} · {} · {}", info.name, info.driver, info.backend));
            }
            Ok(adapter)
        }
        None if arguments.device == Choice::Cpu => {
            Err(Error::usage("--device cpu is the reference itself, there is nothing to check it against"))
        }
        None => Err(Error::gpu("no adapter on this machine").with_hint(install_hint())),
    }
}

/// On standard error, when that is a terminal.
fn progress_bar(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("checking [{bar:30}] {pos}/{len}, {eta} left, {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
