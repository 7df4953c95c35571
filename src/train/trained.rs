//! Trained weights on disk, and what is known about them.

use std::path::{Path, PathBuf};

use super::checkpoint::{self, NamedTensor};
use super::safetensor_file::SafetensorFile;
use super::{Config, RunFolder, weights};
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::gpu::Device;
use crate::machine::{Classifier, Inference};
use crate::nn::{Network, Plan};
use crate::ops::Selection;

/// Weights in a safetensors file, the network that they belong to, and the run that they come from.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The safetensors file.
    pub file: PathBuf,
    pub network: Network,
    /// Of the run that the file lies in.
    pub config: Option<Config>,
}

impl Trained {
    /// Weights by their run folder or their file. `model`, a preset or a `.toml`, is for weights of no run, `lenet` where it is absent.
    ///
    /// # Errors
    /// No weights there, a run that is not finished, a network that cannot be read.
    pub fn find(path: &Path, model: Option<&str>) -> Result<Self> {
        let is_folder = path.is_dir();
        let file = if is_folder { path.join("model.safetensors") } else { path.into() };
        let folder = if is_folder { Some(path) } else { file.parent() };
        let config = folder.filter(|folder| RunFolder::is_run(folder)).map(RunFolder::config).transpose()?;
        if is_folder && !file.is_file() {
            let name = path.display();
            return Err(match &config {
                Some(_) => Error::checkpoint(format!("{name} has no model.safetensors: the run is not finished"))
                    .with_hint(format!("shadegrad train --resume {name}")),
                None => Error::checkpoint(format!("{name} is not a run folder: it has no config.toml")),
            });
        }
        // Before a data set is downloaded for it.
        std::fs::metadata(&file).map_err(Error::file("read", &file))?;
        let network = match (model, &config) {
            (Some(model), _) => Network::load(model)?,
            (None, Some(config)) => config.network.clone(),
            (None, None) => Network::load("lenet")?,
        };
        Ok(Self { file, network, config })
    }

    /// What the images of the run were like.
    pub fn shape(&self) -> Option<ImageShape> {
        self.config.as_ref().map(|config| {
            let [channels, height, width] = config.data.shape;
            ImageShape { channels, height, width }
        })
    }

    /// The classes of the run, else the numbers of the outputs that the weights are for.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn classes(&self) -> Result<Vec<String>> {
        if let Some(config) = &self.config {
            return Ok(config.data.classes.clone());
        }
        let (_, header) = SafetensorFile::read_header(&self.file).map_err(|problem| problem.into_error(&self.file))?;
        let last = self.network.layers.last().map(|layer| format!("{}.bias", layer.name));
        // Without such a tensor the weights do not fit, which is said where they are loaded.
        let outputs = last.and_then(|name| header.shape(&name)?.first().copied()).unwrap_or(1);
        Ok((0..outputs).map(|output| output.to_string()).collect())
    }

    /// The network with its weights, on a device or else on the CPU reference. `images` is how many it is given at most at a time.
    ///
    /// # Errors
    /// Weights that do not fit the network, a network that does not fit the images, what the driver refuses.
    pub fn inference(
        &self,
        device: Option<Device>,
        shape: ImageShape,
        classes: u32,
        images: usize,
    ) -> Result<Inference> {
        let selection =
            self.config.as_ref().map_or_else(Selection::default, |config| config.selection(device.as_ref()));
        let mut inference = Inference::new(device, &selection, &self.network, shape, classes, images)?;
        inference.set_parameters(&self.parameters(inference.plan())?);
        Ok(inference)
    }

    /// The weights as the flat parameter buffer of a plan of this network.
    ///
    /// # Errors
    /// A file that is damaged or of another network.
    pub fn parameters(&self, plan: &Plan) -> Result<Vec<f32>> {
        let tensors = checkpoint::load_model(&self.file, &weights::expected(plan))?;
        Ok(weights::flatten(plan, &tensors))
    }
}

/// The latest weights of a run, finished or not.
#[derive(Clone, Debug)]
pub struct Latest {
    /// In the plan's order.
    pub parameters: Vec<NamedTensor>,
    /// Steps that they were trained for; `None` where only the finished model is left.
    pub step: Option<u64>,
}

impl Latest {
    /// Those of the newest checkpoint, or else the finished model's.
    ///
    /// # Errors
    /// Neither is there and whole.
    pub fn read(run: &Path, plan: &Plan) -> Result<Self> {
        let expected = weights::expected(plan);
        match checkpoint::load(run, &expected) {
            Ok(restored) => {
                let checkpoint::Checkpoint { position, parameters, .. } = restored.checkpoint;
                Ok(Self { parameters, step: Some(position.step) })
            }
            Err(error) => match checkpoint::load_model(&run.join("model.safetensors"), &expected) {
                Ok(parameters) => Ok(Self { parameters, step: None }),
                Err(_) => Err(error),
            },
        }
    }
}
