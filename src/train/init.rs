//! Weights that a run starts from, in place of drawn ones.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{checkpoint, weights};
use crate::checksum::file_sha256;
use crate::error::{Error, Result};
use crate::nn::Plan;

/// A safetensors file under PyTorch's names, with the contents it had when it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    pub file: PathBuf,
    /// Of the whole file.
    pub sha256: String,
}

impl Init {
    /// The file as it is now, by its absolute path.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn new(file: &Path) -> Result<Self> {
        let file = std::path::absolute(file).map_err(Error::file("read", file))?;
        Ok(Self { sha256: file_sha256(&file)?, file })
    }

    /// The flat parameter buffer of a plan.
    ///
    /// # Errors
    /// A file that has changed since, is damaged, or does not have the plan's names and shapes.
    pub fn parameters(&self, plan: &Plan) -> Result<Vec<f32>> {
        let sha256 = file_sha256(&self.file)?;
        if sha256 != self.sha256 {
            return Err(Error::checkpoint(format!(
                "{} is not the file that the run starts from (got SHA-256 {sha256:.12}…, expected {:.12}…)",
                self.file.display(),
                self.sha256
            )));
        }
        Ok(weights::flatten(plan, &checkpoint::load_model(&self.file, &weights::expected(plan))?))
    }
}
