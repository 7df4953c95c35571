//! `shadegrad export`.

use std::path::PathBuf;

use clap::Args;
use shadegrad::Result;
use shadegrad::train::{Trained, export};
use shadegrad::units::count;

use super::print::say;

/// Hand a trained network to PyTorch: its weights, and a readable model.py that loads them and classifies pictures.
#[derive(Args)]
#[command(after_help = "Example:\n  shadegrad export runs/lenet-1 --to torch\n  python torch/model.py cat.jpg")]
pub struct ExportArgs {
    /// A finished run
    run: PathBuf,
    /// The folder that model.safetensors and model.py are written into
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

pub fn run(arguments: &ExportArgs) -> Result<()> {
    let trained = Trained::find(&arguments.run, None)?;
    let plan = export(&trained, &arguments.to)?;
    let script = arguments.to.join("model.py");
    say(format!(
        "{} holds {}, {} parameters",
        arguments.to.display(),
        trained.network.name,
        count(plan.parameter_count())
    ));
    say(format!("next: python {} IMAGE (needs torch, safetensors and pillow)", script.display()));
    Ok(())
}
