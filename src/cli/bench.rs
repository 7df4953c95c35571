//! `shadegrad bench`.

mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use shadegrad::bench::{self, Baseline, Ceilings, Clock, Contender, Outcome, ROUNDS, Report, Row};
use shadegrad::cases::{self, Case, Timed};
use shadegrad::gpu::{Adapters, Checks, Choice, Device, DeviceKind, install_hint};
use shadegrad::ops::custom::CustomKernel;
use shadegrad::ops::runs_on;
use shadegrad::{Error, Result};

use super::bench_step::StepArgs;
use super::device::{DeviceArgs, cannot_run};
use super::json;
use super::print::say;
use super::watch;
use super::watchdog::{SHADER_PATIENCE, Watchdog};

/// Time kernels against the ceilings of the adapter. Each is verified against the f64 reference before and after; one that fails gets no
/// time.
#[derive(Args)]
#[command(after_help = "Examples:\n  shadegrad bench\n  shadegrad bench matmul --shape m=512,k=512,n=512\n  \
    shadegrad bench matmul --shader mine.wgsl\n  shadegrad bench --json before.json\n  shadegrad bench --baseline before.json --tolerance 5\n  \
    shadegrad bench step --model lenet --batch 4,32,128 --trace step.json")]
pub struct BenchArgs {
    /// Ops to time, or `step` for whole training steps [default: all ops]
    #[arg(value_name = "OP|step")]
    ops: Vec<String>,
    /// Sizes of the one OP, for example m=512,k=512,n=512; may be repeated
    #[arg(long, value_name = "KEY=VALUE,…")]
    shape: Vec<String>,
    /// Only this variant, even one that is not made for such an adapter; may be repeated
    #[arg(long = "variant", value_name = "NAME")]
    variants: Vec<String>,
    /// A kernel of your own for the one OP, side by side with ours; may be repeated
    #[arg(long = "shader", value_name = "FILE.wgsl")]
    shaders: Vec<PathBuf>,
    /// Time them again whenever one is saved
    #[arg(long, requires = "shaders")]
    watch: bool,
    /// What the factors of products may be rounded to: f32, or f16; sums are f32 in any case
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    precision: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the result as JSON; - for standard output, with nothing else on it
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Draw the roofline with the kernels on it
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// Compare with an earlier --json; exit 1 on a regression
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How much slower than the baseline a kernel may become, in percent
    #[arg(long, value_name = "PCT", default_value_t = 5.0)]
    tolerance: f64,
    #[command(flatten)]
    step: StepArgs,
}

pub fn run(arguments: &BenchArgs) -> Result<()> {
    let quiet = arguments.json.as_deref() == Some(Path::new("-"));
    if arguments.ops.iter().any(|op| op == "step") {
        return bench_step(arguments, quiet);
    }
    arguments.step.refuse_without_step()?;
    if arguments.watch {
        return watch::run(&arguments.shaders, quiet);
    }
    // Whatever can be wrong with what was typed is found before anything is measured.
    if !(arguments.tolerance.is_finite() && arguments.tolerance >= 0.0) {
        return Err(Error::usage(format!("--tolerance must be at least 0 (got {})", arguments.tolerance)));
    }
    let baseline = arguments.baseline.as_deref().map(Baseline::load).transpose()?;
    let wanted = with_variants(arguments, wanted(arguments)?)?;
    let kernels = kernels(arguments, &wanted)?;
    let device = open(arguments, quiet)?;
    let mut entries = entries(arguments, &device, &wanted, &kernels)?;
    if let Some(baseline) = &baseline {
        let mut timed = entries.iter().flat_map(|(case, contenders, _)| contenders.iter().map(move |it| (case, it)));
        if !timed.any(|(case, contender)| baseline.has(case.op.name(), &contender.label, &case.op.shape())) {
            return Err(Error::data("the baseline has none of the kernels that are to be timed"));
        }
    }
    let mut clock = Clock::new(&device)?;
    let ceilings = Ceilings::measure(&clock)?;
    let mut report = Report { adapter: device.info().clone(), checks: device.checks(), ceilings, rows: Vec::new() };
    if !quiet {
        heading(&clock, &ceilings);
    }
    let watchdog = (!kernels.is_empty()).then(|| {
        // The reference is not to be counted against anybody's kernel, and says what all of them together may take at large sizes.
        let started = Instant::now();
        entries.iter().for_each(|(case, ..)| _ = case.truth());
        let reference = started.elapsed() * entries.iter().map(|(_, contenders, _)| contenders.len() as u32).sum();
        let patience = SHADER_PATIENCE + 2 * SHADER_PATIENCE * kernels.len() as u32 + reference;
        Watchdog::start(patience, "the first kernel")
    });
    // They take turns: nobody knows which of several it is.
    let own = kernels.iter().map(CustomKernel::name).collect::<Vec<_>>().join(" or ");
    let progress = Progress::new(entries.len() * ROUNDS);
    for _ in 0..ROUNDS {
        for (case, contenders, outcomes) in &mut entries {
            progress.next(case);
            if let Some(watchdog) = &watchdog {
                watchdog.step(format!("{own} at {}", case.op.shape()));
            }
            let round = bench::measure(&mut clock, case, contenders)?;
            *outcomes = join(std::mem::take(outcomes), round);
        }
    }
    for (case, contenders, outcomes) in entries {
        let rows = contenders.iter().zip(outcomes).map(|(contender, outcome)| Row::new(&case, contender, outcome));
        report.rows.extend(rows);
    }
    progress.finish();
    if let Some(watchdog) = watchdog {
        watchdog.rest();
    }
    if !quiet {
        report::table(&report).iter().for_each(say);
        report::failures(&report);
        if !kernels.is_empty() {
            report::side_by_side(&report);
        }
        report::busy(&report);
    }
    if let Some(path) = &arguments.json {
        json::write(&report.to_json(), path)?;
    }
    if let Some(path) = &arguments.plot {
        bench::roofline(&report, path)?;
    }
    let regressions = match &baseline {
        Some(baseline) => report::compare(baseline, &report, arguments.tolerance, quiet),
        None => 0,
    };
    let failed = report.rows.iter().filter(|row| row.outcome.is_err()).count();
    match (failed, regressions) {
        (0, 0) => Ok(()),
        (0, count) => Err(Error::check(format!(
            "{count} of {} kernels became slower by more than {} %",
            report.rows.len(),
            arguments.tolerance
        ))),
        (count, _) => {
            Err(Error::check(format!("{count} of {} kernels do not compute what they should", report.rows.len())))
        }
    }
}

/// A case, who runs it, and how that went so far.
type Entry = (Case, Vec<Contender>, Vec<Outcome>);

/// # Errors
/// A variant asked for by its name that the device cannot run.
fn entries(
    arguments: &BenchArgs,
    device: &Device,
    wanted: &[(String, String)],
    kernels: &[CustomKernel],
) -> Result<Vec<Entry>> {
    let entry = |(op, sizes): &(String, String)| {
        let case = cases::sized(op, sizes)?;
        let mut named =
            case.op.variants().iter().filter(|variant| arguments.variants.iter().any(|name| name == *variant));
        if let Some(variant) = named.find(|variant| !runs_on(device, variant)) {
            return Err(cannot_run(device.info(), variant, arguments.device.experimental));
        }
        let mut contenders = bench::variants(device, &case, &arguments.variants)?;
        for kernel in kernels {
            contenders.push(Contender { label: kernel.name(), lowering: kernel.lower(&*case.op)?, is_ours: false });
        }
        Ok((case, contenders, Vec::new()))
    };
    wanted.iter().map(entry).collect()
}

/// The outcomes of one round more; a kernel that failed in any has failed.
fn join(before: Vec<Outcome>, round: Vec<Outcome>) -> Vec<Outcome> {
    if before.is_empty() {
        return round;
    }
    before
        .into_iter()
        .zip(round)
        .map(|(before, round)| before.and_then(|before| round.map(|round| before.and(&round))))
        .collect()
}

fn bench_step(arguments: &BenchArgs, quiet: bool) -> Result<()> {
    let of_kernels = [
        ("--shape", !arguments.shape.is_empty()),
        ("--variant", !arguments.variants.is_empty()),
        ("--shader", !arguments.shaders.is_empty()),
        ("--baseline", arguments.baseline.is_some()),
        ("--plot", arguments.plot.is_some()),
        ("another op", arguments.ops.len() > 1),
    ];
    if let Some((what, _)) = of_kernels.iter().find(|(_, given)| *given) {
        return Err(Error::usage(format!("bench step does not go with {what}")));
    }
    let network = arguments.step.check()?;
    let device = open(arguments, quiet)?;
    let mut clock = Clock::new(&device)?;
    if !quiet {
        timing(&clock);
    }
    let value = arguments.step.run(&mut clock, &network, quiet)?;
    arguments.json.as_deref().map_or(Ok(()), |path| json::write(&value, path))
}

/// Ops and sizes, all of them valid.
fn wanted(arguments: &BenchArgs) -> Result<Vec<(String, String)>> {
    if !arguments.shape.is_empty() {
        let [op] = &arguments.ops[..] else {
            return Err(Error::usage(format!("--shape needs exactly one OP (got {})", arguments.ops.len()))
                .with_hint("shadegrad bench matmul --shape m=512,k=512,n=512"));
        };
        for sizes in &arguments.shape {
            cases::sized(op, sizes)?;
        }
        return Ok(arguments.shape.iter().map(|sizes| (op.clone(), sizes.clone())).collect());
    }
    let ops: Vec<&Timed> = if arguments.ops.is_empty() {
        cases::timed().collect()
    } else {
        arguments.ops.iter().map(|op| cases::timed_op(op)).collect::<Result<_>>()?
    };
    let sizes = |timed: &&Timed| timed.defaults.iter().map(|sizes| (timed.op.into(), String::from(*sizes)));
    Ok(ops.iter().flat_map(sizes).collect())
}

/// Of the ops and sizes those that have one of the named variants; all where none was named.
///
/// # Errors
/// A size that was asked for, or an op, that has none of them; a name that none of them has.
fn with_variants(arguments: &BenchArgs, wanted: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    let names = &arguments.variants;
    if names.is_empty() {
        return Ok(wanted);
    }
    let none = |place: &str, known: &[&str]| {
        Error::usage(format!("{place} has no variant {} (expected {})", names.join(", "), known.join(", ")))
    };
    let mut strange: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for (op, sizes) in wanted {
        let case = cases::sized(&op, &sizes)?;
        let known = case.op.variants();
        strange.retain(|name| !known.contains(name));
        if names.iter().any(|name| known.contains(&name.as_str())) {
            kept.push((op, sizes));
        } else if arguments.shape.is_empty() {
            refused.push((op, known));
        } else {
            return Err(none(&format!("{op} at {}", case.op.shape()), known));
        }
    }
    // Of all ops together one that has it is enough, but whoever named one meant it.
    let without = |op: &&String| kept.iter().all(|(kept, _)| kept != *op);
    if let Some(op) = arguments.ops.iter().find(without) {
        let known: BTreeSet<&str> =
            refused.iter().filter(|(it, _)| it == op).flat_map(|(_, known)| *known).copied().collect();
        return Err(none(op, &Vec::from_iter(known)));
    }
    match strange.first() {
        None => Ok(kept),
        Some(name) => Err(Error::usage(format!("no op at the sizes asked for has a variant {name}"))),
    }
}

/// Users' shaders, held against the contract of the one op.
fn kernels(arguments: &BenchArgs, wanted: &[(String, String)]) -> Result<Vec<CustomKernel>> {
    if arguments.shaders.is_empty() {
        return Ok(Vec::new());
    }
    let ([op], Some((_, sizes))) = (&arguments.ops[..], wanted.first()) else {
        return Err(Error::usage(format!("--shader needs exactly one OP (got {})", arguments.ops.len()))
            .with_hint("shadegrad bench matmul --shader mine.wgsl"));
    };
    let example = cases::sized(op, sizes)?;
    arguments.shaders.iter().map(|path| CustomKernel::load(path, &*example.op)).collect()
}

fn open(arguments: &BenchArgs, quiet: bool) -> Result<Device> {
    let options = arguments.device.options(arguments.precision.parse()?);
    let arguments = &arguments.device;
    if arguments.device == Choice::Cpu {
        return Err(
            Error::usage("--device cpu has no kernels to time").with_hint("--device auto finds a software adapter")
        );
    }
    let adapter = if quiet { Adapters::list().choose(&arguments.device)? } else { arguments.open()? };
    let adapter = adapter.ok_or_else(|| Error::gpu("no adapter to time").with_hint(install_hint()))?;
    Device::open_with(&adapter, options)
}

fn heading(clock: &Clock<'_>, ceilings: &Ceilings) {
    let Ceilings { fma_gflops, copy_gbps, dispatch_us } = ceilings;
    say(format!(
        "ceilings: {fma_gflops:.1} GFLOP/s multiply-add · {copy_gbps:.1} GB/s copy · {dispatch_us:.1} µs a dispatch · ridge at {:.1} FLOP/B",
        ceilings.ridge()
    ));
    timing(clock);
}

fn timing(clock: &Clock<'_>) {
    let kind = if clock.device.info().kind == DeviceKind::Software { "the driver's" } else { "the GPU's" };
    say(match &clock.objection {
        None => format!("timing: {kind} timestamps, which the probe found sane"),
        Some(objection) => format!("timing: the slope of N against 2N executions, because {objection}"),
    });
    let checks = if clock.device.checks() == Checks::Checked {
        "checked: wgpu's bounds checks and loop guards are in the kernels"
    } else {
        "unchecked: no bounds checks in the kernels (--checked keeps them)"
    };
    say(format!("{checks}\n"));
}

/// A line on standard error while it works.
struct Progress(indicatif::ProgressBar);

impl Progress {
    fn new(length: usize) -> Self {
        let bar = indicatif::ProgressBar::new(length as u64);
        let style = indicatif::ProgressStyle::with_template("{pos}/{len} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
        Self(bar)
    }

    fn next(&self, case: &Case) {
        self.0.inc(1);
        self.0.set_message(format!("{} {}", case.op.name(), case.op.shape()));
        self.0.tick();
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
