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
        toml::Value::Boolean(is_set) => is_set.then(|| format!(" --{flag}")),
        other => Some(format!(" --{flag} {}", quoted(&words(other)))),
    }
}

/// A setting as its flag takes it: of a file by its name, whatever is recorded of its contents; of several parts `flip,crop=4`.
pub fn words(value: &toml::Value) -> String {
    let table = match value {
        toml::Value::String(text) => return text.clone(),
        toml::Value::Table(table) => table,
        other => return other.to_string(),
    };
    if let Some(toml::Value::String(file)) = table.get("file") {
        return file.clone();
    }
    let part = |(word, value): (&String, &toml::Value)| match value {
        toml::Value::Boolean(is_set) => is_set.then(|| word.clone()),
        toml::Value::Integer(0) => None,
        toml::Value::Float(0.0) => None,
        other => Some(format!("{word}={}", words(other))),
    };
    table.iter().filter_map(part).collect::<Vec<_>>().join(",")
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
    fn settings_of_several_parts_are_what_their_flag_takes() {
        let table: toml::Table = "augment = { flip = true, crop = 4, cutout = 0, contrast = 0.1 }\nbatch = 8\n\
                                  init = { file = 'a b', sha256 = '00' }\nnesterov = false\ndata = 'shapes'"
            .parse()
            .unwrap();
        let arguments: String = table.iter().filter_map(|(key, value)| argument(key, value)).collect();
        assert_eq!(arguments, " --augment contrast=0.1,crop=4,flip --batch 8 --data shapes --init 'a b'");
    }

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("/data/cifar-10"), "/data/cifar-10");
        assert_eq!(quoted("my photos"), "'my photos'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
