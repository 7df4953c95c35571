//! The run folder: `config.toml`, `metrics.jsonl`, the checkpoints, `model.safetensors`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::checkpoint::Position;
use super::{Config, Event, History};
use crate::bounded;
use crate::durable::{sync_folder, write_whole};
use crate::error::{Error, Result};
use crate::ops::custom::CustomKernel;

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const KERNELS: &str = "kernels";
const LOCK: &str = ".lock";
/// Far more than the longest network, 256 classes and the choices for its ops take.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A run on disk.
pub struct RunFolder {
    path: PathBuf,
    metrics: File,
    /// Held while the run is trained; the system lets it go with the process.
    _lock: File,
}

impl RunFolder {
    /// `runs/MODEL-N` with the first N that is free.
    pub fn next_free(model: &str) -> PathBuf {
        let name = |number: u32| Path::new("runs").join(format!("{model}-{number}"));
        (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
    }

    /// # Errors
    /// Something that has the path already.
    pub fn require_free(path: &Path) -> Result<()> {
        if path.exists() {
            return Err(taken(path));
        }
        Ok(())
    }

    /// As `create`, at the first of `runs/MODEL-N` that is free by then.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn create_next(model: &str, config: &Config, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Self> {
        loop {
            let path = Self::next_free(model);
            match Self::create(&path, config, fill) {
                // Another run was faster.
                Err(Error::Usage { .. }) if path.exists() => {}
                result => return result,
            }
        }
    }

    /// Makes a new folder with its configuration and whatever `fill` puts into it, all at once: a run that is killed while it
    /// starts either has a folder that can be resumed, or none.
    ///
    /// # Errors
    /// A folder that exists, or cannot be made.
    pub fn create(path: &Path, config: &Config, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Self> {
        Self::require_free(path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(Error::file("make", parent))?;
        let name = path.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy());
        // A start that was killed may have left one behind, under the process id of this one.
        let partials = (0..).map(|attempt| parent.join(format!(".{name}.partial-{}-{attempt}", std::process::id())));
        let mut made = partials.map(|partial| (fs::create_dir(&partial), partial));
        let exists = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AlreadyExists;
        let Some((made, partial)) = made.find(|(made, _)| !made.as_ref().is_err_and(exists)) else {
            return Err(taken(path));
        };
        made.map_err(Error::file("make", path))?;
        let filled = fill_folder(&partial, config, fill).and_then(|()| {
            fs::rename(&partial, path).map_err(|error| match path.exists() {
                true => taken(path),
                false => Error::file("make", path)(error),
            })
        });
        if let Err(error) = filled {
            // What is left is ours alone; the error that matters is the first.
            fs::remove_dir_all(&partial).ok();
            return Err(error);
        }
        sync_folder(path).map_err(Error::file("sync", parent))?;
        Self::open(path)
    }

    /// Whether a folder holds a run, finished or not.
    pub fn is_run(path: &Path) -> bool {
        path.join(CONFIG).is_file()
    }

    /// Opens an existing run.
    ///
    /// # Errors
    /// No run there.
    pub fn open(path: &Path) -> Result<Self> {
        if !Self::is_run(path) {
            return Err(Error::File {
                action: "open the run",
                path: path.into(),
                source: std::io::Error::new(std::io::ErrorKind::NotFound, "it has no config.toml"),
            });
        }
        let lock = path.join(LOCK);
        let lock_file = File::create(&lock).map_err(Error::file("open", &lock))?;
        // A file system without locks still gets the run.
        if let Err(TryLockError::WouldBlock) = lock_file.try_lock() {
            return Err(Error::usage(format!("{} is being trained by another process", path.display())));
        }
        let file = path.join(METRICS);
        let metrics = OpenOptions::new().append(true).create(true).open(&file).map_err(Error::file("open", &file))?;
        Ok(Self { path: path.into(), metrics, _lock: lock_file })
    }

    /// Copies users' kernels into the run, which is resumed with them whatever becomes of the files.
    ///
    /// # Errors
    /// A full disk.
    pub fn keep_kernels(path: &Path, kernels: &[CustomKernel]) -> Result<()> {
        for kernel in kernels {
            let file = Self::kernel(path, kernel.op());
            let folder = path.join(KERNELS);
            fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
            fs::write(&file, kernel.text()).map_err(Error::file("write", &file))?;
        }
        Ok(())
    }

    /// Where a run keeps a user's kernel of an op.
    pub fn kernel(path: &Path, op: &str) -> PathBuf {
        path.join(KERNELS).join(format!("{op}.wgsl"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a run keeps its configuration.
    pub fn config_file(path: &Path) -> PathBuf {
        path.join(CONFIG)
    }

    /// # Errors
    /// A file that cannot be read or understood.
    pub fn config(path: &Path) -> Result<Config> {
        let file = Self::config_file(path);
        Config::parse(&bounded::read_text(&file, MAX_CONFIG_BYTES).map_err(Error::file("read", &file))?)
    }

    /// What has been logged.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn history(path: &Path) -> Result<History> {
        History::read(&path.join(METRICS))
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// A full disk, which leaves the one before.
    pub fn configure(&self, config: &Config) -> Result<()> {
        let file = self.path.join(CONFIG);
        let text = config.to_toml()?;
        write_whole(&file, text.as_bytes()).map_err(Error::file("write", &file))
    }

    /// Appends an event.
    ///
    /// # Errors
    /// A full disk.
    pub fn log(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_string(event).map_err(|error| Error::File {
            action: "write",
            path: self.path.join(METRICS),
            source: error.into(),
        })?;
        line.push('\n');
        self.metrics.write_all(line.as_bytes()).map_err(Error::file("write", self.path.join(METRICS)))
    }

    /// Drops what was logged after the position of the checkpoint that a resumed run continues from.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn rewind(&mut self, position: &Position) -> Result<()> {
        let file = self.path.join(METRICS);
        // Bytes: a torn line may end within a letter.
        let text = fs::read(&file).map_err(Error::file("read", &file))?;
        let lines = text.split_inclusive(|&byte| byte == b'\n').filter(|line| is_before(line, position));
        write_whole(&file, &lines.collect::<Vec<_>>().concat()).map_err(Error::file("write", &file))?;
        self.metrics = OpenOptions::new().append(true).open(&file).map_err(Error::file("open", &file))?;
        Ok(())
    }
}

/// Whether a line of metrics.jsonl still holds at `position`; a torn line does not.
fn is_before(line: &[u8], position: &Position) -> bool {
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else { return false };
    match event["event"].as_str() {
        Some("done" | "stopped") => false,
        // A run can be saved after the last step of an epoch and before its evaluation.
        Some("eval") => event["epoch"].as_u64().is_some_and(|epoch| epoch < position.epoch.into()),
        _ => event["step"].as_u64().is_none_or(|step| step <= position.step),
    }
}

fn taken(path: &Path) -> Error {
    Error::usage(format!("{} exists", path.display()))
        .with_hint(format!("continue it with --resume {}, or give another --out", path.display()))
}

fn fill_folder(partial: &Path, config: &Config, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let file = partial.join(CONFIG);
    let mut output = File::create(&file).map_err(Error::file("write", &file))?;
    output.write_all(config.to_toml()?.as_bytes()).map_err(Error::file("write", &file))?;
    output.sync_all().map_err(Error::file("write", &file))?;
    fill(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_resumed_run_does_again_is_dropped() {
        let at =
            |epoch, batch| Position { epoch, batch, step: 20, seed: 0, loss_sum: 0.0, loss_count: 0, seconds: 0.0 };
        // The same step before and after the evaluation that ends epoch 2 of ten batches.
        let (before, after) = (at(2, 10), at(3, 0));
        let eval = r#"{"event":"eval","epoch":2,"step":20}"#;
        assert!(!is_before(eval.as_bytes(), &before) && is_before(eval.as_bytes(), &after));
        for (line, kept) in [
            (r#"{"event":"eval","epoch":1,"step":10}"#, true),
            (r#"{"event":"loss","epoch":2,"batch":10,"step":20,"loss":2.3}"#, true),
            (r#"{"event":"loss","epoch":3,"batch":1,"step":21,"loss":2.3}"#, false),
            (r#"{"event":"done","steps":20}"#, false),
            (r#"{"event":"stopped","step":20,"reason":"interrupted"}"#, false),
            (r#"{"event":"lo"#, false),
        ] {
            let is_kept = |position| is_before(line.as_bytes(), position) == kept;
            assert!([&before, &after].into_iter().all(is_kept), "{line}");
        }
    }

    #[test]
    fn a_line_torn_within_a_letter_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (config, metrics) = (folder.path().join(CONFIG), folder.path().join(METRICS));
        let whole = "{\"event\":\"start\",\"model\":\"größer\",\"step\":0}\n".as_bytes();
        let torn = &whole[..whole.iter().position(|byte| !byte.is_ascii()).unwrap() + 1];
        fs::write(config, "").unwrap();
        fs::write(&metrics, [whole, torn].concat()).unwrap();
        let position = Position { epoch: 1, batch: 0, step: 0, seed: 0, loss_sum: 0.0, loss_count: 0, seconds: 0.0 };
        RunFolder::open(folder.path()).unwrap().rewind(&position).unwrap();
        assert_eq!(fs::read(metrics).unwrap(), whole);
    }
}
