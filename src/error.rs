//! The one error type. Every variant says what failed, what it got and what it expected.

use std::io;
use std::path::{Path, PathBuf};

use crate::place::Place;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, grouped by the exit code the command line gives it (`Error::exit_code`).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A check or a comparison did not hold. Exit code 1.
    #[error("{message}")]
    Check { message: String, hint: Option<String> },

    /// A flag or an argument that cannot be used. Exit code 2.
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },

    /// A setting of a run, as [`crate::train::Settings`] calls it, that cannot be used; for a person it is a flag. Exit code 2.
    #[error("--{} {problem}", setting.replace('_', "-"))]
    Setting { setting: &'static str, problem: String, hint: Option<String> },

    /// A network layer that does not fit what comes before it. Exit code 2.
    #[error("{layer}: {problem} (got {actual}, expected {expected})")]
    Shape { layer: String, problem: String, actual: String, expected: String },

    /// What is wrong with a file that a person wrote, and where in it. Exit code of the error inside.
    #[error("{}: line {}: {error}", place.file(), place.line())]
    Located { error: Box<Error>, place: Box<Place> },

    /// Data that cannot be read as what it should be. Exit code 3.
    #[error("{message}")]
    Data { message: String, hint: Option<String> },

    /// A file that cannot be read or written. Exit code 4.
    #[error("could not {action} {}: {}", path.display(), describe_io(source))]
    File { action: &'static str, path: PathBuf, source: io::Error },

    /// A checkpoint that could not be written; `intact` names the step of the one still on disk. Exit code 4.
    #[error("could not save the checkpoint: {}{}", describe_io(source), match intact {
        Some(step) => format!("; the checkpoint of step {step} is intact"),
        None => String::new(),
    })]
    CheckpointSave { source: io::Error, intact: Option<u64> },

    /// Stored weights that are damaged or belong to another model. Exit code 4.
    #[error("{message}")]
    Checkpoint { message: String, hint: Option<String> },

    /// The GPU, its driver or the lack of one. Exit code 5.
    #[error("{message}")]
    Gpu { message: String, hint: Option<String> },

    /// A gradient became NaN or infinite, and the parameters were not touched by that step; or the logits after it. Exit code 6.
    #[error("non-finite {what}{}", step.map_or_else(String::new, |step| format!(" at step {step}")))]
    NonFinite {
        /// `gradient in conv2.weight`, `logits for test image 3`.
        what: String,
        step: Option<u64>,
        last_good: Option<u64>,
    },

    /// Stopped by the user after the state was saved. Exit code 130.
    #[error("interrupted at step {step}, saved in {}", run.display())]
    Interrupted { step: u64, run: PathBuf },
}

impl Error {
    pub fn check(message: impl Into<String>) -> Self {
        Self::Check { message: message.into(), hint: None }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    pub fn setting(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { setting, problem: problem.into(), hint: None }
    }

    pub fn data(message: impl Into<String>) -> Self {
        Self::Data { message: message.into(), hint: None }
    }

    pub fn gpu(message: impl Into<String>) -> Self {
        Self::Gpu { message: message.into(), hint: None }
    }

    pub fn checkpoint(message: impl Into<String>) -> Self {
        Self::Checkpoint { message: message.into(), hint: None }
    }

    /// For `map_err`: `fs::read(path).map_err(Error::file("read", path))`.
    pub fn file(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::File { action, path, source }
    }

    /// The same, about a place in a file.
    pub fn at(self, place: Place) -> Self {
        Self::Located { error: self.into(), place: place.into() }
    }

    /// Adds a hint where the variant carries one.
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Located { error, place } = self {
            return error.with_hint(text).at(*place);
        }
        match &mut self {
            Self::Check { hint, .. }
            | Self::Usage { hint, .. }
            | Self::Setting { hint, .. }
            | Self::Data { hint, .. }
            | Self::Checkpoint { hint, .. }
            | Self::Gpu { hint, .. } => {
                *hint = Some(text.into());
            }
            _ => {}
        }
        self
    }

    /// What to try next, in one sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Check { hint, .. }
            | Self::Usage { hint, .. }
            | Self::Setting { hint, .. }
            | Self::Data { hint, .. }
            | Self::Checkpoint { hint, .. }
            | Self::Gpu { hint, .. } => hint.clone(),
            Self::Located { error, .. } => error.hint(),
            Self::NonFinite { last_good: Some(step), .. } => {
                Some(format!("lower --lr; the last good checkpoint is step {step}"))
            }
            Self::NonFinite { last_good: None, .. } => Some("lower --lr".into()),
            Self::Interrupted { run, .. } => Some(format!("shadegrad train --resume {}", run.display())),
            _ => None,
        }
    }

    /// 1 check failed · 2 usage · 3 data · 4 files and disk · 5 GPU · 6 training diverged · 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Located { error, .. } => error.exit_code(),
            Self::Check { .. } => 1,
            Self::Usage { .. } | Self::Setting { .. } | Self::Shape { .. } => 2,
            Self::Data { .. } => 3,
            Self::File { .. } | Self::CheckpointSave { .. } | Self::Checkpoint { .. } => 4,
            Self::Gpu { .. } => 5,
            Self::NonFinite { .. } => 6,
            Self::Interrupted { .. } => 130,
        }
    }
}

/// The operating system's message without its "(os error 28)" tail, lower case.
fn describe_io(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
