//! `shadegrad download`.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use shadegrad::Result;
use shadegrad::data::{Archive, download};

use super::data::draw;
use super::print::say;

/// Download CIFAR-10: checksummed, resumable.
#[derive(Args)]
#[command(after_help = "Example:\n  shadegrad download --dir data")]
pub struct DownloadArgs {
    /// Where to put it
    #[arg(long, default_value = "data")]
    dir: PathBuf,
    /// A mirror of the same file; its checksum has to be the same
    #[arg(long)]
    url: Option<String>,
}

pub fn run(arguments: &DownloadArgs) -> Result<()> {
    let mut archive = Archive::cifar10();
    if let Some(url) = &arguments.url {
        archive.url.clone_from(url);
    }
    let bar = ProgressBar::no_length();
    let folder = download(&archive, &arguments.dir, &mut |progress| draw(&bar, progress));
    bar.finish_and_clear();
    say(format!("CIFAR-10 is in {}", folder?.display()));
    Ok(())
}
