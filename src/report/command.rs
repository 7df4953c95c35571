//! The commands that run it again.

use std::path::Path;

use crate::error::{Error, Result};
use crate::nn::Network;
use crate::train::{Config, RunFolder, Settings};

/// `shadegrad train …` with the flags that a run was given; `None` for a network that no flag can name.
///
/// # Errors
/// Settings that TOML cannot hold.
pub fn flags(config: &Config, run: &Path) -> Result<Option<String>> {
    if !Network::load(&config.settings.model).is_ok_and(|preset| preset == config.network) {
        return Ok(None);
    }
    let table = |settings: &Settings| {
        toml::Table::try_from(settings).map_err(|error| Error::usage(format!("config.toml: {error}")))
    };
    let (given, default) = (table(&config.settings)?, table(&Settings::default())?);
    let mut command = "shadegrad train".to_string();
    for (key, value) in &given {
        let is_default = default.get(key) == Some(value);
        if !is_default && let Some(argument) = argument(key, value) {
            command.push_str(&argument);
        }
    }
    for op in &config.kernels {
        let kernel = RunFolder::kernel(run, op);
        command.push_str(&format!(" --kernel {}", quoted(&format!("{op}={}", kernel.display()))));
    }
    Ok(Some(command))
}

/// A setting goes by its flag's name.
fn argument(key: &str, value: &toml::Value) -> Option<String> {
    let flag = key.replace('_', "-");
    match value {
        toml::Value::Boolean(false) => None,
        toml::Value::Boolean(true) => Some(format!(" --{flag}")),
        toml::Value::String(text) => Some(format!(" --{flag} {}", quoted(text))),
        // What a file had in it is recorded beside its name.
        toml::Value::Table(table) => Some(format!(" --{flag} {}", quoted(table.get("file")?.as_str()?))),
        other => Some(format!(" --{flag} {other}")),
    }
}

/// `shadegrad train --config …`.
pub fn config(run: &Path) -> String {
    format!("shadegrad train --config {}", quoted(&run.join("config.toml").display().to_string()))
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("/data/cifar-10"), "/data/cifar-10");
        assert_eq!(quoted("my photos"), "'my photos'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
