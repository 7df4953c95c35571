//! Lines on standard output and standard error.

use std::io::Write;

use shadegrad::Error;
use shadegrad::bench::Summary;
pub use shadegrad::units::{duration, percent};

/// A line on standard output. A reader that has gone away, as in `| head`, is no error.
pub fn say(line: impl std::fmt::Display) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// A line on standard error, where standard output is for a machine to read.
pub fn remark(line: impl std::fmt::Display) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Something a person should know, on standard error.
pub fn warn(line: impl std::fmt::Display) {
    writeln!(std::io::stderr(), "warning: {line}").ok();
}

/// An error and its hint, on standard error.
pub fn fail(error: &Error) {
    let mut output = std::io::stderr();
    writeln!(output, "error: {error}").ok();
    if let Some(hint) = error.hint() {
        writeln!(output, "hint: {hint}").ok();
    }
}

/// `12.3 µs`, `1.23 ms`.
pub fn time(seconds: f64) -> String {
    let (scale, unit) = unit(seconds);
    format!("{} {unit}", number(scale * seconds))
}

/// p5 to p95 in the unit of the median: `12.1–12.9`.
pub fn range(summary: &Summary) -> String {
    let (scale, _) = unit(summary.median);
    format!("{}–{}", number(scale * summary.p5), number(scale * summary.p95))
}

fn unit(seconds: f64) -> (f64, &'static str) {
    if seconds < 1e-3 { (1e6, "µs") } else { (1e3, "ms") }
}

/// Three digits that count.
pub fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}
