//! `--watch`: the same command again whenever a file is saved.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use shadegrad::{Error, Result};

use super::print::{remark, say};

/// Runs this command without `--watch` now and after every change of `files`, until Ctrl-C. Each run is a process of its own: a shader
/// that hangs or brings its driver down ends that run only. `quiet` leaves standard output to them.
///
/// # Errors
/// A process that cannot be started.
pub fn run(files: &[PathBuf], quiet: bool) -> Result<()> {
    let program = std::env::current_exe().map_err(Error::file("find", "this program"))?;
    let arguments: Vec<_> = std::env::args_os().skip(1).filter(|argument| argument != "--watch").collect();
    loop {
        let before = stamps(files);
        Command::new(&program).args(&arguments).status().map_err(Error::file("run", &program))?;
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let line = format!("\nwatching {} — save to run again, Ctrl-C to end", names.join(", "));
        if quiet {
            remark(line)
        } else {
            say(line)
        }
        while stamps(files) == before {
            std::thread::sleep(Duration::from_millis(200));
        }
        // Some editors truncate first and write then.
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(stamp).collect()
}
