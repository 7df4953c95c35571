//! One file a subcommand; the only place that prints.

mod bench;
mod bench_step;
mod check;
mod compare;
mod data;
mod device;
mod devices;
mod download;
mod eval;
mod export;
mod json;
mod kernels;
mod plan;
mod predict;
mod print;
mod report;
mod shader;
mod show;
mod software_threads;
mod table;
mod terminal;
mod train;
mod watch;
mod watchdog;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shadegrad::Result;

use print::fail;

/// Train convolutional networks with hand-written WGSL kernels, on any Vulkan, Metal or DX12 GPU.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Example:\n  shadegrad train --epochs 2 --batch 4")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Eval(eval::EvalArgs),
    Compare(compare::CompareArgs),
    Report(report::ReportArgs),
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Bench(bench::BenchArgs),
    Predict(predict::PredictArgs),
    Show(show::ShowArgs),
    Export(export::ExportArgs),
    Devices(devices::DevicesArgs),
    Kernels(kernels::KernelsArgs),
    Download(download::DownloadArgs),
}

pub fn main() -> ExitCode {
    software_threads::ask_for_more();
    quiet_trainer();
    let result: Result<()> = match Cli::parse().command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Kernels(arguments) => kernels::run(&arguments),
        Command::Download(arguments) => download::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// A panic inside wgpu on the trainer's thread or its compiler's becomes an error there; it is not printed as a panic as well.
fn quiet_trainer() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !matches!(std::thread::current().name(), Some("trainer" | "compiler")) {
            default(panic);
        }
    }));
}
