//! Files byte by byte, right or wrong.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A safetensors file from its parts; the tensors' data in the order of `entries`.
pub fn file_of(metadata: Option<Value>, entries: &[(&str, &str, &[u32], Vec<u8>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if let Some(metadata) = metadata {
        header.insert("__metadata__".into(), metadata);
    }
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in entries {
        let end = data.len() + bytes.len();
        header.insert(name.to_string(), json!({"dtype": dtype, "shape": shape, "data_offsets": [data.len(), end]}));
        data.extend(bytes);
    }
    file_with_header(&Value::Object(header).to_string(), &data)
}

pub fn file_with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

pub fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A checkpoint file with the checksum that is right for it, whatever it holds.
pub fn checkpoint_file(position: &str, mut entries: Vec<(&str, &str, &[u32], Vec<u8>)>) -> Vec<u8> {
    fn text(hasher: &mut Sha256, value: &str) {
        hasher.update((value.len() as u64).to_le_bytes());
        hasher.update(value);
    }
    let mut hasher = Sha256::new();
    hasher.update(1u64.to_le_bytes());
    text(&mut hasher, "position");
    text(&mut hasher, position);
    entries.sort_by_key(|entry| entry.0);
    for (name, dtype, shape, bytes) in &entries {
        text(&mut hasher, name);
        text(&mut hasher, dtype);
        hasher.update((shape.len() as u64).to_le_bytes());
        shape.iter().for_each(|&size| hasher.update(u64::from(size).to_le_bytes()));
        hasher.update(bytes);
    }
    let checksum: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    file_of(Some(json!({"position": position, "sha256": checksum})), &entries)
}
