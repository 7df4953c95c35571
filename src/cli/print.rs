//! Lines on standard output and standard error.

use std::io::Write;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use shadegrad::Error;
use shadegrad::bench::Summary;
use shadegrad::place::Place;
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

/// An error, the place in a file that it is about, and its hint, on standard error.
pub fn fail(error: &Error) {
    let mut output = std::io::stderr();
    match error {
        Error::Located { error, place } => writeln!(output, "{}", excerpt(&error.to_string(), place)).ok(),
        _ => writeln!(output, "error: {error}").ok(),
    };
    if let Some(hint) = error.hint() {
        writeln!(output, "hint: {hint}").ok();
    }
}

/// As a compiler shows it: the message, the place, the line with the words in question underlined.
fn excerpt(message: &str, place: &Place) -> String {
    let mut words = AnnotationKind::Primary.span(place.span());
    if !place.label().is_empty() {
        words = words.label(place.label());
    }
    let snippet = Snippet::source(place.text()).path(place.file()).annotation(words);
    Renderer::plain().render(&[Level::ERROR.primary_title(message).element(snippet)])
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
