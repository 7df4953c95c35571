//! `config.toml` of a run: everything needed to run it again.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Recipe, Settings};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::gpu::{AdapterInfo, Device};
use crate::nn::Network;
use crate::ops::{Selection, Tuned};
use crate::source::Source;
use crate::units::hexadecimal;

/// The contents of `config.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub settings: Settings,
    pub network: Network,
    pub data: DataRecord,
    pub adapter: AdapterRecord,
    /// Ops that ran a user's own kernel, kept beside this file as `kernels/OP.wgsl`.
    pub kernels: Vec<String>,
    /// The variants that its ops were tuned to.
    pub tuned: Tuned,
}

/// Which images a run was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    pub name: String,
    pub source: String,
    pub train: u64,
    pub test: u64,
    pub classes: Vec<String>,
    /// (channels, height, width).
    pub shape: [u32; 3],
    /// SHA-256 of the training labels and pixels.
    pub sha256: String,
}

impl DataRecord {
    /// # Errors
    /// An image that cannot be read any more.
    pub fn new(dataset: &Dataset) -> Result<Self> {
        let mut digest = Sha256::new_with_prefix(&dataset.train.labels);
        for pixels in dataset.train.images() {
            digest.update(pixels?);
        }
        Ok(Self {
            name: dataset.name.clone(),
            source: dataset.source.clone(),
            train: dataset.train.len() as u64,
            test: dataset.test.len() as u64,
            classes: dataset.classes.clone(),
            shape: [dataset.shape.channels, dataset.shape.height, dataset.shape.width],
            sha256: hexadecimal(&digest.finalize()),
        })
    }

    /// # Errors
    /// Images that are not of these classes.
    pub fn require_classes(&self, dataset: &Dataset) -> Result<()> {
        if self.classes == dataset.classes {
            return Ok(());
        }
        Err(Error::data(format!(
            "{} has other classes than the run was trained on (got {}, expected {})",
            dataset.name,
            dataset.classes.join(", "),
            self.classes.join(", ")
        )))
    }
}

/// What a run was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterRecord {
    pub name: String,
    pub backend: String,
    /// discrete, integrated, virtual, other, cpu (a software adapter), or reference.
    pub kind: String,
    pub driver: String,
}

impl AdapterRecord {
    pub fn new(info: &AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            backend: info.backend.clone(),
            kind: info.kind.name().into(),
            driver: info.driver.clone(),
        }
    }

    /// The CPU reference, which is no adapter.
    pub fn reference() -> Self {
        Self {
            name: "CPU reference".into(),
            backend: "none".into(),
            kind: "reference".into(),
            driver: "f64 loops".into(),
        }
    }
}

/// The file as TOML lays it out, but for the network, which follows with a layer a line.
#[derive(Serialize)]
struct File<'a> {
    // Before the tables, as TOML wants it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    kernels: &'a [String],
    train: &'a Settings,
    data: &'a DataRecord,
    adapter: &'a AdapterRecord,
    versions: Versions,
    #[serde(skip_serializing_if = "Tuned::is_empty")]
    tuned: &'a Tuned,
}

#[derive(Serialize)]
struct Versions {
    shadegrad: &'static str,
}

impl Config {
    /// # Errors
    /// Values that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        let file = File {
            train: &self.settings,
            data: &self.data,
            adapter: &self.adapter,
            versions: Versions { shadegrad: env!("CARGO_PKG_VERSION") },
            kernels: &self.kernels,
            tuned: &self.tuned,
        };
        let text = toml::to_string(&file).map_err(|error| Error::usage(format!("config.toml: {error}")))?;
        Ok(format!("{text}\n[network]\n{}", self.network.to_toml()))
    }

    /// # Errors
    /// Text that is not such a file.
    pub fn parse(text: &str) -> Result<Self> {
        let source = Source::new("config.toml", text);
        let read = || {
            let recipe = Recipe::read(&source, Path::new(""))?;
            recipe.check(&recipe.settings).map(|()| recipe)
        };
        let recipe = read().map_err(|error| Error::checkpoint(error.to_string()))?;
        let (Some(data), Some(adapter)) = (recipe.data, recipe.adapter) else {
            return Err(Error::checkpoint("config.toml is not a run's: it has no [data] and [adapter]"));
        };
        let kernels = recipe.kernels.into_iter().map(|(op, _)| op).collect();
        Ok(Self { settings: recipe.settings, network: recipe.network, data, adapter, kernels, tuned: recipe.tuned })
    }

    /// The kernels for the run's weights on a device: those that it was tuned to, where it was trained on this one.
    pub fn selection(&self, device: Option<&Device>) -> Selection {
        let same = device.is_some_and(|device| AdapterRecord::new(device.info()) == self.adapter);
        if same { Selection::default().with_tuned(self.tuned.clone()) } else { Selection::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augmentation::Augmentation;
    use crate::train::Init;

    #[test]
    fn a_config_reads_back() {
        let mut tuned = Tuned::default();
        tuned.insert("matmul", "4×400 · 400×120ᵀ", "tiled");
        let config = Config {
            settings: Settings {
                limit: Some(40),
                model: "wide".into(),
                lr: 0.1 + 0.2,
                tune: false,
                init: Some(Init { file: "/some where/cifar_net.safetensors".into(), sha256: "00".into() }),
                augment: Augmentation { flip: true, crop: 4, contrast: 0.1, ..Augmentation::default() },
                ..Settings::default()
            },
            network: Network::load("wide").unwrap(),
            data: DataRecord {
                name: "shapes".into(),
                source: "drawn".into(),
                train: 40,
                test: 10,
                classes: vec!["a \"b\"".into()],
                shape: [3, 32, 32],
                sha256: "00".into(),
            },
            adapter: AdapterRecord::reference(),
            kernels: vec!["matmul".into()],
            tuned,
        };
        let text = config.to_toml().unwrap();
        assert_eq!(Config::parse(&text).unwrap(), config);
        assert!(text.contains("\n[tuned.matmul]\n\"4×400 · 400×120ᵀ\" = \"tiled\"\n"), "{text}");
        let refusal = |text: &str| Config::parse(text).unwrap_err().to_string();
        let line = |part: &str| text.lines().position(|line| line.contains(part)).unwrap() + 1;
        assert_eq!(
            refusal(&text.replace("contrast = 0.1", "contrast = 7")),
            format!("config.toml: line {}: --augment: contrast must be from 0 to 1 (got 7)", line("[train.augment]"))
        );
        let unknown = format!("config.toml: line {}: unknown field `shift`", line("crop = 4"));
        assert!(refusal(&text.replace("crop = 4", "shift = 4")).starts_with(&unknown));
        assert_eq!(
            refusal(&text.replace("batch = 4", "batch = 0")),
            format!("config.toml: line {}: --batch must be at least 1 (got 0)", line("batch = 4"))
        );
        assert!(refusal("").ends_with("it has no [data] and [adapter]"));
    }
}
