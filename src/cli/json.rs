//! `--json`: results for a script to read.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::Serialize;
use shadegrad::{Error, Result};

/// Writes a result to a file, or to standard output where the path is `-`.
pub fn write(value: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(unwritable)? + "\n";
    if path != Path::new("-") {
        return std::fs::write(path, text).map_err(Error::file("write", path));
    }
    written(io::stdout().write_all(text.as_bytes()))
}

/// How writing to standard output went. A reader that has gone away, as in `| head`, is no error. A disk that is full is.
pub fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::file("write", "standard output")(error)),
        _ => Ok(()),
    }
}

/// A result on one line.
pub fn line(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::usage(format!("could not write JSON: {error}"))
}
