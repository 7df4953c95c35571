//! The commands that run it again.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::nn::Network;
use crate::train::{Config, RunFolder, Settings};

/// `shadegrad train …` with the flags that a run was given; `None` for a network that no flag can name.
///
/// # Errors
/// As `table`.
pub fn flags(config: &Config, run: &Path) -> Result<Option<String>> {
    if !Network::load(&config.settings.model).is_ok_and(|preset| preset == config.network) {
        return Ok(None);
    }
    let (given, default) = (table(&config.settings)?, table(&Settings::default())?);
    let mut command = "shadegrad train".to_string();
    for (key, value) in &given {
        if default.get(key) != Some(value) {
            command.push_str(&argument(key, value));
        }
    }
    for op in &config.kernels {
        let kernel = RunFolder::kernel(run, op);
        command.push_str(&format!(" --kernel {}", quoted(&format!("{op}={}", kernel.display()))));
    }
    Ok(Some(command))
}

/// Every setting under its name in config.toml. JSON: a value of TOML's has no room for the larger half of the seeds.
///
/// # Errors
/// Settings that JSON cannot hold.
pub fn table(settings: &Settings) -> Result<Map<String, Value>> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(table)) => Ok(table),
        Ok(other) => Err(Error::usage(format!("the settings are {other}, expected a table"))),
        Err(error) => Err(Error::usage(format!("the settings: {error}"))),
    }
}

/// A setting that is not the default one goes by its flag's name.
fn argument(key: &str, value: &Value) -> String {
    let flag = key.replace('_', "-");
    match value {
        Value::Bool(true) => format!(" --{flag}"),
        Value::Bool(false) => format!(" --no-{flag}"),
        other => format!(" --{flag} {}", quoted(&words(other))),
    }
}

/// A setting as its flag takes it: of a file by its name, whatever is recorded of its contents; of several parts `flip,crop=4`.
pub fn words(value: &Value) -> String {
    let table = match value {
        Value::String(text) => return text.clone(),
        Value::Object(table) => table,
        other => return other.to_string(),
    };
    if let Some(Value::String(file)) = table.get("file") {
        return file.clone();
    }
    let part = |(word, value): (&String, &Value)| match value {
        Value::Bool(is_set) => is_set.then(|| word.clone()),
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
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
    use crate::augmentation::Augmentation;
    use crate::train::Init;

    #[test]
    fn every_setting_is_what_its_flag_takes() {
        let augment = Augmentation { flip: true, crop: 4, contrast: 0.1, ..Augmentation::default() };
        let init = Some(Init { file: "a b".into(), sha256: "00".into() });
        let settings = Settings {
            data: "shapes".into(),
            batch: 8,
            lr: 0.05,
            nesterov: true,
            seed: u64::MAX,
            init,
            augment,
            tune: false,
            ..Settings::default()
        };
        let arguments: String = table(&settings).unwrap().iter().map(|(key, value)| argument(key, value)).collect();
        for expected in [
            " --augment contrast=0.1,crop=4,flip ",
            " --batch 8 ",
            " --data shapes ",
            " --init 'a b' ",
            " --lr 0.05 ",
            " --nesterov ",
            " --no-tune ",
            " --seed 18446744073709551615 ",
        ] {
            assert!(arguments.contains(expected), "{arguments}");
        }
    }

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("/data/cifar-10"), "/data/cifar-10");
        assert_eq!(quoted("my photos"), "'my photos'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
