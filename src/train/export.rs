//! A trained network for PyTorch: the weights, and a Python file that loads them.

use std::fs;
use std::io;
use std::path::Path;

use super::Trained;
use crate::durable::write_whole;
use crate::error::{Error, Result};
use crate::nn::{Fusion, Images, Plan, PlanRequest};

/// Writes `model.safetensors`, under PyTorch's names, and `model.py` into a folder, made where it is missing. What is there already stays,
/// when it is the same.
///
/// # Errors
/// Weights of no run: nothing says what they look at; weights that do not fit their network; another file in the way.
pub fn export(trained: &Trained, folder: &Path) -> Result<Plan> {
    let Some(config) = &trained.config else {
        return Err(Error::usage(format!("{} lies in no run folder", trained.file.display()))
            .with_hint("the run's config.toml says which images and classes the weights are for"));
    };
    let (image, classes) = (config.data.shape, &config.data.classes);
    let source = trained.network.to_pytorch(image, classes)?;
    let images = Images::streamed(image, classes.len() as u32, 1);
    let plan = PlanRequest { network: &trained.network, images, batch: 1, max_bytes: u64::MAX, fusion: Fusion::None }
        .inference()?;
    trained.parameters(&plan)?;
    let weights = fs::read(&trained.file).map_err(Error::file("read", &trained.file))?;

    fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    let files = [(folder.join("model.safetensors"), weights), (folder.join("model.py"), source.into_bytes())];
    let mut missing = Vec::new();
    for (path, bytes) in &files {
        match fs::read(path) {
            Ok(there) if there == *bytes => {}
            Ok(_) => {
                return Err(Error::usage(format!("{} exists and is another", path.display()))
                    .with_hint("give another folder, or remove it"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((path, bytes)),
            Err(error) => return Err(Error::file("read", path)(error)),
        }
    }
    for (path, bytes) in missing {
        write_whole(path, bytes).map_err(Error::file("write", path))?;
    }
    Ok(plan)
}
