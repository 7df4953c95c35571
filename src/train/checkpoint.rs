//! Checkpoints: a run's complete state on disk, in two files, so that a kill at any moment leaves one that loads.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use super::safetensor_file::NamedTensor;
use super::safetensor_file::{SafetensorFile, Unusable, file_name, little_endian};
use crate::durable::{replace, write_temporary, write_whole};
use crate::error::{Error, Result};
use crate::units::hexadecimal;

/// The latest state in a run folder.
pub const CURRENT: &str = "checkpoint.safetensors";
/// The state before it.
pub const PREVIOUS: &str = "checkpoint.prev.safetensors";

/// The metadata key of the [`Position`], as JSON.
const POSITION: &str = "position";
/// The file in messages about its tensors.
const CHECKPOINT: &str = "checkpoint";
const OTHER_MODEL: &str = "it was trained with another --model";

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// From 1.
    pub epoch: u32,
    /// Batches done in the epoch.
    pub batch: u32,
    /// Batches done in the run.
    pub step: u64,
    pub seed: u64,
    /// Of the batches since the last printed loss line.
    #[serde(with = "float_bits")]
    pub loss_sum: f64,
    /// Batches in `loss_sum`.
    pub loss_count: u32,
    /// Spent training.
    #[serde(with = "float_bits")]
    pub seconds: f64,
}

/// Everything a run needs to continue as if it had never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub position: Position,
    pub parameters: Vec<NamedTensor>,
    /// One for each parameter, under the parameter's name.
    pub momentum: Vec<NamedTensor>,
}

/// A checkpoint read from a run folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    pub checkpoint: Checkpoint,
    /// Why this is not the latest one, and which step it is of.
    pub warning: Option<String>,
}

/// Makes `checkpoint` the latest one of the run folder and keeps the one before it. A kill at any moment, or an error,
/// leaves one that loads.
///
/// # Errors
/// `Error::CheckpointSave`, with `intact`, the step of the checkpoint already on disk. A state that would not load again
/// (a non-finite value, momentum unlike the parameters) is not saved.
pub fn save(run: &Path, checkpoint: &Checkpoint, intact: Option<u64>) -> Result<()> {
    rotate(run, checkpoint).map_err(|source| Error::CheckpointSave { source, intact })
}

fn rotate(run: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let (current, previous) = (run.join(CURRENT), run.join(PREVIOUS));
    let temporary = write_temporary(&current, &to_file(checkpoint)?.to_bytes()?)?;
    // After a restore from the previous file the current one may be damaged; were it moved there, a kill before the
    // next rename would leave nothing that loads.
    if is_whole(&current, checkpoint)
        && let Err(error) = fs::rename(&current, &previous)
    {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    replace(&temporary, &current)
}

fn to_file(checkpoint: &Checkpoint) -> io::Result<SafetensorFile> {
    let Checkpoint { position, parameters, momentum } = checkpoint;
    if !parameters.iter().map(|it| (&it.name, &it.shape)).eq(momentum.iter().map(|it| (&it.name, &it.shape))) {
        return Err(io::Error::other("the momentum does not have the parameters' names and shapes"));
    }
    let parameters = parameters.iter().map(|tensor| (tensor.name.clone(), tensor));
    let momentum = momentum.iter().map(|tensor| (momentum_name(&tensor.name), tensor));
    let mut file = SafetensorFile::new(parameters.chain(momentum))?;
    file.metadata.insert(POSITION.into(), serde_json::to_string(position)?);
    file.insert_checksum();
    Ok(file)
}

fn is_whole(path: &Path, like: &Checkpoint) -> bool {
    let expected = with_momentum(like.parameters.iter().map(|tensor| (&tensor.name, &tensor.shape)));
    SafetensorFile::read(path, CHECKPOINT, &expected).is_ok_and(|file| file.has_valid_checksum())
}

/// The latest checkpoint of the run folder that is whole. `expected` holds the parameters' names and shapes, in the
/// order in which they come back.
///
/// # Errors
/// A checkpoint of another model; both files missing or damaged.
pub fn load(run: &Path, expected: &[(String, Vec<u32>)]) -> Result<Restored> {
    let (current, previous) = (run.join(CURRENT), run.join(PREVIOUS));
    let problem = match read(&current, expected) {
        Ok(checkpoint) => return Ok(Restored { checkpoint, warning: None }),
        Err(Unusable::Mismatch(error)) => return Err(error.with_hint(OTHER_MODEL)),
        Err(problem) => problem,
    };
    match read(&previous, expected) {
        Ok(checkpoint) => {
            let step = checkpoint.position.step;
            let warning = format!("{}; continuing from step {step} ({PREVIOUS})", describe(problem, &current));
            Ok(Restored { checkpoint, warning: Some(warning) })
        }
        Err(Unusable::Mismatch(error)) => Err(error.with_hint(OTHER_MODEL)),
        Err(second) if problem.is_missing() && !second.is_missing() => {
            Err(second.into_error(&previous).with_hint(describe(problem, &current)))
        }
        Err(second) => Err(problem.into_error(&current).with_hint(describe(second, &previous))),
    }
}

fn read(path: &Path, expected: &[(String, Vec<u32>)]) -> Result<Checkpoint, Unusable> {
    let damaged = |problem: &str| Unusable::Damaged(format!("{} is damaged: {problem}", file_name(path)));
    let all = with_momentum(expected.iter().map(|(name, shape)| (name, shape)));
    let file = SafetensorFile::read(path, CHECKPOINT, &all)?;
    // Before the names and shapes: a flipped bit in one of them is damage, not another model.
    if !file.has_valid_checksum() {
        return Err(damaged("its checksum does not match"));
    }
    let mut parameters = file.tensors(CHECKPOINT, &all)?;
    let mut momentum = parameters.split_off(expected.len());
    for (tensor, (name, _)) in momentum.iter_mut().zip(expected) {
        tensor.name.clone_from(name);
    }
    let position = file.metadata.get(POSITION).and_then(|position| serde_json::from_str(position).ok());
    let position = position.ok_or_else(|| damaged("it does not say where the run stands"))?;
    Ok(Checkpoint { position, parameters, momentum })
}

fn describe(problem: Unusable, path: &Path) -> String {
    if problem.is_missing() { format!("{} is missing", file_name(path)) } else { problem.into_error(path).to_string() }
}

fn with_momentum<'a>(parameters: impl Iterator<Item = (&'a String, &'a Vec<u32>)> + Clone) -> Vec<(String, Vec<u32>)> {
    let momentum = parameters.clone().map(|(name, shape)| (momentum_name(name), shape.clone()));
    parameters.map(|(name, shape)| (name.clone(), shape.clone())).chain(momentum).collect()
}

fn momentum_name(parameter: &str) -> String {
    format!("momentum.{parameter}")
}

/// Writes a safetensors file of the weights alone, with PyTorch's names and layouts. A kill at any moment, or an error,
/// leaves what was at `path` or the whole new file.
///
/// # Errors
/// `Error::File`; values that [`load_model`] would refuse are not written.
pub fn save_model(path: &Path, parameters: &[NamedTensor]) -> Result<()> {
    let write = || {
        let mut file = SafetensorFile::new(parameters.iter().map(|tensor| (tensor.name.clone(), tensor)))?;
        // What PyTorch's own writers say; some readers insist on it.
        file.metadata.insert("format".into(), "pt".into());
        write_whole(path, &file.to_bytes()?)
    };
    write().map_err(Error::file("write", path))
}

/// The weights in a safetensors file of any origin, in the order of `expected`.
///
/// # Errors
/// A file that cannot be read, is not a safetensors file, or does not hold exactly the names and shapes of `expected`
/// as finite f32.
pub fn load_model(path: &Path, expected: &[(String, Vec<u32>)]) -> Result<Vec<NamedTensor>> {
    let what = file_name(path);
    let read = || {
        let file = SafetensorFile::read(path, &what, expected)?;
        if file.metadata.contains_key(POSITION)
            && let Err(error) = file.require(&what, expected)
        {
            let hint = "this is a checkpoint with momentum; name its run folder or the model.safetensors beside it";
            return Err(Unusable::Mismatch(error.with_hint(hint)));
        }
        file.tensors(&what, expected)
    };
    read().map_err(|problem| problem.into_error(path))
}

/// SHA-256 of the values' little-endian bytes in the given order, in lower-case hexadecimal.
pub fn weights_sha256(parameters: &[NamedTensor]) -> String {
    let mut hasher = Sha256::new();
    for tensor in parameters {
        hasher.update(little_endian(&tensor.values).collect::<Vec<u8>>());
    }
    hexadecimal(&hasher.finalize())
}

/// A float as its bits in hexadecimal: a JSON number may come back rounded, and has no NaN.
mod float_bits {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", value.to_bits()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(f64::from_bits).map_err(de::Error::custom)
    }
}
