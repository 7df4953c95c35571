//! A safetensors file of f32 tensors: read in bounded memory and checked against what a model needs.
//!
//! Source: <https://github.com/huggingface/safetensors#format>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::units::hexadecimal;

/// Bytes. The header of a network with a thousand tensors and their momentum has about a fifth of this.
const MAX_HEADER: u64 = 1 << 20;
/// Bytes a file may hold beyond twice what is expected of it and still be read.
const SLACK: u64 = 16 << 20;
/// The metadata key of [`SafetensorFile::checksum`].
const CHECKSUM: &str = "sha256";
const METADATA: &str = "__metadata__";

/// A named f32 tensor in PyTorch's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// `conv1.weight`, `fc1.bias` …
    pub name: String,
    pub shape: Vec<u32>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It could not be opened or read.
    File(io::Error),
    /// It is not what was written; the sentence names the file.
    Damaged(String),
    /// It is whole and belongs to another model.
    Mismatch(Error),
}

impl Unusable {
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(error) if error.kind() == io::ErrorKind::NotFound)
    }

    pub fn into_error(self, path: &Path) -> Error {
        match self {
            Self::File(source) => Error::file("read", path)(source),
            Self::Damaged(message) => Error::checkpoint(message),
            Self::Mismatch(error) => error,
        }
    }
}

/// The contents of a file. Everything is ordered by name, so equal contents give equal bytes.
#[derive(Debug, Default)]
pub(super) struct SafetensorFile {
    pub metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorInfo>,
    data: Vec<u8>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry<'a> {
    Metadata(&'a BTreeMap<String, String>),
    Tensor(&'a TensorInfo),
}

impl SafetensorFile {
    /// # Errors
    /// Tensors that [`SafetensorFile::read`] or [`SafetensorFile::tensors`] would refuse.
    pub fn new<'a>(tensors: impl IntoIterator<Item = (String, &'a NamedTensor)>) -> io::Result<Self> {
        let mut sorted = BTreeMap::new();
        for (name, tensor) in tensors {
            if tensor.shape.iter().map(|&size| u128::from(size)).product::<u128>() != tensor.values.len() as u128 {
                let shape = describe_shape(&tensor.shape);
                return Err(io::Error::other(format!("{name} {shape} has {} values", tensor.values.len())));
            }
            if !tensor.values.iter().all(|value| value.is_finite()) {
                return Err(io::Error::other(format!("{name} has a non-finite value")));
            }
            if name == METADATA || sorted.contains_key(&name) {
                return Err(io::Error::other(format!("the name {name} is taken")));
            }
            sorted.insert(name, tensor);
        }

        let mut file = Self::default();
        for (name, tensor) in sorted {
            let start = file.data.len();
            file.data.extend(little_endian(&tensor.values));
            let shape = tensor.shape.iter().map(|&size| size as usize).collect();
            let data_offsets = (start, file.data.len());
            file.tensors.insert(name, TensorInfo { dtype: Dtype::F32, shape, data_offsets });
        }
        Ok(file)
    }

    pub fn insert_checksum(&mut self) {
        let checksum = self.checksum();
        self.metadata.insert(CHECKSUM.into(), checksum);
    }

    pub fn has_valid_checksum(&self) -> bool {
        self.metadata.get(CHECKSUM).is_some_and(|stored| *stored == self.checksum())
    }

    /// SHA-256 of the number of metadata entries (the checksum not counted), their keys and values, then of each tensor,
    /// by name: name, type, number of dimensions, dimensions, data. Text has its length before it; numbers are u64,
    /// little-endian.
    fn checksum(&self) -> String {
        fn number(hasher: &mut Sha256, value: usize) {
            hasher.update((value as u64).to_le_bytes());
        }
        fn text(hasher: &mut Sha256, value: &str) {
            number(hasher, value.len());
            hasher.update(value);
        }

        let mut hasher = Sha256::new();
        let metadata: Vec<_> = self.metadata.iter().filter(|(key, _)| *key != CHECKSUM).collect();
        number(&mut hasher, metadata.len());
        for (key, value) in metadata {
            text(&mut hasher, key);
            text(&mut hasher, value);
        }
        for (name, info) in &self.tensors {
            text(&mut hasher, name);
            text(&mut hasher, &info.dtype.to_string());
            number(&mut hasher, info.shape.len());
            info.shape.iter().for_each(|&size| number(&mut hasher, size));
            hasher.update(&self.data[info.data_offsets.0..info.data_offsets.1]);
        }
        hexadecimal(&hasher.finalize())
    }

    /// The file's bytes. The crate's own writer orders the metadata at random.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut entries: BTreeMap<&str, HeaderEntry> =
            self.tensors.iter().map(|(name, info)| (name.as_str(), HeaderEntry::Tensor(info))).collect();
        entries.insert(METADATA, HeaderEntry::Metadata(&self.metadata));
        let mut header = serde_json::to_vec(&entries)?;
        // The format wants the data to start at a multiple of 8 bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        if header.len() as u64 > MAX_HEADER {
            return Err(io::Error::other(format!("the names and shapes take {} bytes", header.len())));
        }

        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(&self.data);
        Ok(bytes)
    }

    /// Reads at most a header of 1 MiB and the data of a file not much larger than `expected`; a larger one gives the
    /// mismatch. `what` is the file in the messages about a mismatch.
    pub fn read(path: &Path, what: &str, expected: &[(String, Vec<u32>)]) -> Result<Self, Unusable> {
        let (file, mut contents) = Self::read_header(path)?;
        let data_length = contents.data_length();
        if data_length > expected_bytes(expected).saturating_mul(2).saturating_add(SLACK) {
            contents.require(what, expected).map_err(Unusable::Mismatch)?;
        }
        file.take(data_length).read_to_end(&mut contents.data).map_err(Unusable::File)?;
        if contents.data.len() as u64 != data_length {
            return Err(Unusable::Damaged(format!("{} is damaged: it ended while it was read", file_name(path))));
        }
        Ok(contents)
    }

    /// The names and shapes, with no data yet, and the file where the data begin.
    pub fn read_header(path: &Path) -> Result<(File, Self), Unusable> {
        let damaged = |problem: String| Unusable::Damaged(format!("{} is damaged: {problem}", file_name(path)));
        let file = File::open(path).map_err(Unusable::File)?;
        let length = file.metadata().map_err(Unusable::File)?.len();

        let mut header_length = Vec::new();
        (&file).take(8).read_to_end(&mut header_length).map_err(Unusable::File)?;
        let Some(&header_length) = header_length.first_chunk() else {
            return Err(damaged("it is shorter than 8 bytes".into()));
        };
        if is_from_torch_save(&header_length) {
            return Err(Unusable::Mismatch(from_torch_save(path)));
        }
        let header_length = u64::from_le_bytes(header_length);
        if header_length > MAX_HEADER {
            return Err(damaged("it does not start like a safetensors file".into()));
        }
        let mut header = Vec::new();
        (&file).take(header_length).read_to_end(&mut header).map_err(Unusable::File)?;
        if header.len() as u64 != header_length {
            return Err(damaged(format!("it has {length} bytes, its header alone {}", 8 + header_length)));
        }
        let header: Metadata = serde_json::from_slice(&header)
            .map_err(|error| damaged(format!("its header is not that of a safetensors file ({error})")))?;
        let data_length = header.data_len() as u64;
        let described = (8 + header_length).saturating_add(data_length);
        if length != described {
            return Err(damaged(format!("it has {length} bytes, its header describes {described}")));
        }

        let contents = Self {
            metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(),
            tensors: header.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect(),
            data: Vec::new(),
        };
        Ok((file, contents))
    }

    /// Bytes of all tensors.
    fn data_length(&self) -> u64 {
        self.tensors.values().map(|info| info.data_offsets.1 as u64).max().unwrap_or(0)
    }

    /// The shape of a tensor, where there is one of the name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|info| &*info.shape)
    }

    /// # Errors
    /// The first of `expected` that is missing or has another shape or type, else the first that is not expected.
    pub fn require(&self, what: &str, expected: &[(String, Vec<u32>)]) -> Result<(), Error> {
        for (name, shape) in expected {
            let needed = describe_shape(shape);
            let Some(info) = self.tensors.get(name) else {
                return Err(Error::checkpoint(format!("{what} has no {name}, the model needs {needed}")));
            };
            if !info.shape.iter().map(|&size| size as u64).eq(shape.iter().map(|&size| u64::from(size))) {
                let stored = describe_shape(&info.shape);
                return Err(Error::checkpoint(format!("{what} has {name} {stored}, the model needs {needed}")));
            }
            if info.dtype != Dtype::F32 {
                return Err(Error::checkpoint(format!("{what} has {name} as {}, expected F32", info.dtype)));
            }
        }
        let is_extra = |name: &&String| !expected.iter().any(|(expected, _)| expected == *name);
        match self.tensors.keys().find(is_extra) {
            Some(name) => Err(Error::checkpoint(format!("{what} has {name}, which the model does not have"))),
            None => Ok(()),
        }
    }

    /// The tensors of `expected`, in its order.
    pub fn tensors(&self, what: &str, expected: &[(String, Vec<u32>)]) -> Result<Vec<NamedTensor>, Unusable> {
        self.require(what, expected).map_err(Unusable::Mismatch)?;
        let tensors = expected.iter().map(|(name, shape)| {
            let (start, end) = self.tensors[name].data_offsets;
            let values: Vec<f32> =
                self.data[start..end].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            if values.iter().all(|value| value.is_finite()) {
                Ok(NamedTensor { name: name.clone(), shape: shape.clone(), values })
            } else {
                Err(Unusable::Damaged(format!("{what} has a non-finite value in {name}")))
            }
        });
        tensors.collect()
    }
}

/// Whether a file that starts so was written by torch.save: a zip, or before PyTorch 1.6 a pickle of its magic number. As the length of a
/// header either would be absurd.
fn is_from_torch_save(start: &[u8; 8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x80\x02\x8a\x0a")
}

/// What is in such a file is for Python's pickle to say, which can execute anything; PyTorch's own reader of weights alone does not.
fn from_torch_save(path: &Path) -> Error {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    Error::checkpoint(format!("{} was written by torch.save, expected a safetensors file", file_name(path))).with_hint(
        format!(
            "python -c \"import sys, torch; from safetensors.torch import save_file; \
             save_file(torch.load(sys.argv[1], map_location='cpu', weights_only=True), sys.argv[2])\" {} {}",
            quoted(path),
            quoted(&path.with_extension("safetensors"))
        ),
    )
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

pub(super) fn little_endian(values: &[f32]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|value| value.to_le_bytes())
}

fn expected_bytes(expected: &[(String, Vec<u32>)]) -> u64 {
    let bytes = |shape: &[u32]| shape.iter().fold(4, |bytes: u64, &size| bytes.saturating_mul(u64::from(size)));
    expected.iter().fold(0, |total: u64, (_, shape)| total.saturating_add(bytes(shape)))
}

/// `(6, 3, 5, 5)`.
fn describe_shape(shape: &[impl ToString]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("({})", sizes.join(", "))
}
