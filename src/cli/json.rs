//! `--json`: results for a script to read.

use std::path::Path;

use serde::Serialize;
use shadegrad::{Error, Result};

use super::print::say;

/// Writes a result to a file, or to standard output where the path is `-`.
pub fn write(value: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(unwritable)?;
    if path == Path::new("-") {
        say(text);
        return Ok(());
    }
    std::fs::write(path, text + "\n").map_err(Error::file("write", path))
}

/// A result on one line.
pub fn line(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::usage(format!("could not write JSON: {error}"))
}
