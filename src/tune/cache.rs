//! What was measured on one adapter with one driver, kept between runs in a file for people to read.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Contest;
use super::record::Record;
use crate::cache_folder::{keep, kept};
use crate::error::{Error, Result};
use crate::gpu::AdapterInfo;
use crate::units::hexadecimal;

/// Far more than every op of many networks takes.
const MAX_BYTES: u64 = 16 << 20;

/// Of the file's layout.
const FORMAT: u32 = 1;

/// The records of an adapter.
pub struct Cache {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Content {
    format: u32,
    adapter: String,
    driver: String,
    backend: String,
    kernels: Vec<Record>,
}

impl Content {
    fn new(info: &AdapterInfo) -> Self {
        let AdapterInfo { name: adapter, driver, backend, .. } = info.clone();
        Self { format: FORMAT, adapter, driver, backend, kernels: Vec::new() }
    }

    /// What a file has to add to `empty`; nothing where there is no file.
    ///
    /// # Errors
    /// A file that cannot be read, is no such file, or is of something else.
    fn read(path: &Path, empty: Self) -> Result<Self> {
        let Some(text) = kept(path, MAX_BYTES).map_err(Error::file("read", path))? else { return Ok(empty) };
        let damaged = |problem: String| Error::data(format!("{} is damaged: {problem}", path.display()));
        let content: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if content.without_kernels() != empty {
            return Err(damaged("it is not of this adapter and driver, or of another shadegrad".into()));
        }
        Ok(content)
    }

    fn without_kernels(&self) -> Self {
        Self { kernels: Vec::new(), ..self.clone() }
    }

    /// A candidate a line.
    fn to_json(&self) -> Result<String> {
        let json = serde_json::to_string(self).map_err(|error| Error::data(format!("the times: {error}")))?;
        // Within a string a quote is escaped: what is found here are the objects themselves.
        Ok(json.replace("{\"op\":", "\n  {\"op\":").replace("{\"variant\":", "\n    {\"variant\":") + "\n")
    }
}

impl Cache {
    /// A file that cannot be used is told in `warnings`, and will be replaced.
    pub fn open(folder: &Path, info: &AdapterInfo, warnings: &mut Vec<String>) -> Self {
        let path = folder.join("tuned").join(file_name(info));
        let empty = Content::new(info);
        let content = Content::read(&path, empty.clone()).unwrap_or_else(|error| {
            warnings.push(format!("{error}; its kernels are timed again"));
            empty
        });
        Self { path, content }
    }

    /// The record of a contest with the same candidates.
    pub fn find(&self, contest: &Contest) -> Option<&Record> {
        let op = &*contest.case.op;
        let known = self
            .content
            .kernels
            .iter()
            .find(|record| is_of(record, op.name(), &op.shape(), contest.precision.name()))?;
        (contest.has(&known.winner) && known.kernels_sha256 == contest.sha256()).then_some(known)
    }

    /// Adds records to the file in place of older ones. One that cannot be written is told in `warnings`.
    pub fn keep(&mut self, records: Vec<Record>, warnings: &mut Vec<String>) {
        if records.is_empty() {
            return;
        }
        let Self { path, content } = self;
        // Another process may have added some since.
        if let Ok(now) = Content::read(path, content.without_kernels()) {
            *content = now;
        }
        for record in records {
            content.kernels.retain(|old| !is_of(old, &record.op, &record.shape, &record.element));
            content.kernels.push(record);
        }
        let written =
            content.to_json().and_then(|text| keep(path, text.as_bytes()).map_err(Error::file("write", &*path)));
        if let Err(error) = written {
            warnings.push(format!("{error}; the kernels will be timed again next time"));
        }
    }
}

fn is_of(record: &Record, op: &str, shape: &str, element: &str) -> bool {
    record.op == op && record.shape == shape && record.element == element
}

/// The adapter's name as far as it makes a file's, and what tells it from others: `llvmpipe-llvm-15-0-6-256-bits-0c5e1a2b.json`.
fn file_name(info: &AdapterInfo) -> String {
    let words = info.name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name: String = words.collect::<Vec<_>>().join("-").to_lowercase();
    name.truncate(60);
    let identity = [&info.name, &info.driver, &info.backend].map(String::as_str).join("\0");
    format!("{name}-{:.8}.json", hexadecimal(&Sha256::digest(identity)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::DeviceKind;
    use crate::tune::Candidate;

    fn info(driver: &str) -> AdapterInfo {
        let (name, backend) = ("A GPU (of 2 kinds)".into(), "vulkan".into());
        AdapterInfo { index: 0, name, backend, kind: DeviceKind::Discrete, driver: driver.into() }
    }

    fn record(shape: &str, winner: &str) -> Record {
        let candidate =
            |variant: &str| Candidate { variant: variant.into(), samples_us: vec![1.5, 0.25], ..Candidate::default() };
        Record {
            op: "matmul".into(),
            element: "f32".into(),
            shape: shape.into(),
            kernels_sha256: "00".into(),
            default: "tiled".into(),
            winner: winner.into(),
            timing: "slope".into(),
            verified: "f64 reference".into(),
            candidates: vec![candidate("plain"), Candidate { dropped: true, ..candidate("tiled") }],
        }
    }

    /// The cache of a driver in a folder, without a word of warning.
    fn open(folder: &Path, driver: &str) -> Cache {
        let mut warnings = Vec::new();
        let cache = Cache::open(folder, &info(driver), &mut warnings);
        assert_eq!(warnings, [""; 0]);
        cache
    }

    fn keep_in(cache: &mut Cache, records: &[Record]) {
        let mut warnings = Vec::new();
        cache.keep(records.to_vec(), &mut warnings);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn what_was_kept_is_found_again_for_the_same_driver_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (open(folder.path(), "1.0"), open(folder.path(), "1.0"));
        keep_in(&mut one, &[record("4×4", "plain"), record("8×8", "tiled")]);
        // Another process, which began before: nothing of the first is lost but what both have found.
        keep_in(&mut two, &[record("4×4", "tiled"), record("\"{\"variant\":", "plain")]);
        let all = open(folder.path(), "1.0").content.kernels;
        assert_eq!(all, [record("8×8", "tiled"), record("4×4", "tiled"), record("\"{\"variant\":", "plain")]);
        assert!(open(folder.path(), "2.0").content.kernels.is_empty());
        assert!(one.path.ends_with("tuned/a-gpu-of-2-kinds-9b06c07a.json"), "{}", one.path.display());
    }

    #[test]
    fn what_cannot_be_used_is_told_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = open(folder.path(), "1.0");
        keep_in(&mut kept, &[record("4×4", "plain")]);
        let whole = std::fs::read_to_string(&kept.path).unwrap();
        let torn = whole[..whole.len() / 2].to_string();
        let foreign = whole.replace("\"1.0\"", "\"2.0\"");
        let later = whole.replace("\"format\":1", "\"format\":2");
        for (text, problem) in [
            (torn, " is damaged: EOF"),
            ("[1, 2]".into(), " is damaged: invalid type"),
            (foreign, " is damaged: it is not of this adapter and driver, or of another shadegrad"),
            (later, " is damaged: it is not of this adapter and driver, or of another shadegrad"),
            (" ".repeat(MAX_BYTES as usize + 1), ": it has more than 16777216 bytes"),
        ] {
            std::fs::write(&kept.path, text).unwrap();
            let mut warnings = Vec::new();
            let mut cache = Cache::open(folder.path(), &info("1.0"), &mut warnings);
            let [warning] = &warnings[..] else { panic!("{warnings:?}") };
            assert!(warning.contains(problem), "{warning}");
            assert!(warning.ends_with("; its kernels are timed again"), "{warning}");
            keep_in(&mut cache, &[record("4×4", "plain")]);
            assert_eq!(std::fs::read_to_string(&kept.path).unwrap(), whole);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut warnings = Vec::new();
        open(&file, "1.0").keep(vec![record("4×4", "plain")], &mut warnings);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.starts_with("could not write ") && warning.ends_with("timed again next time"), "{warning}");
    }
}
