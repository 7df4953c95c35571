//! Models without a checksum: our own, from Python, damaged, and hostile.

use std::fs;

use shadegrad::random::{Purpose, Random};
use shadegrad::train::checkpoint::{CURRENT, NamedTensor, load_model, save, save_model};

use crate::file::{bytes_of, file_of, file_with_header};
use crate::{checkpoint, expected, folder, message, tensors};

#[test]
fn a_model_comes_back_and_its_checkpoint_says_what_it_is() {
    let run = folder();
    let path = run.path().join("model.safetensors");
    save_model(&path, &tensors(3)).unwrap();
    assert_eq!(load_model(&path, &expected()).unwrap(), tensors(3));
    assert!(!run.path().join("model.safetensors.tmp").exists());

    save(run.path(), &checkpoint(3), None).unwrap();
    let error = load_model(&run.path().join(CURRENT), &expected()).unwrap_err();
    let text = "checkpoint.safetensors has momentum.conv1.bias, which the model does not have";
    assert_eq!(message(&error), text);
    assert!(error.hint().unwrap().contains("model.safetensors"));
}

/// As `safetensors.torch.save_file({"fc1.bias": …, "fc1.weight": …}, path)` lays it out: by name, no metadata, padded.
#[test]
fn a_file_from_python_loads() {
    let run = folder();
    let path = run.path().join("from_python.safetensors");
    let header = r#"{"fc1.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"fc1.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]}}"#;
    let padded = format!("{header:width$}", width = header.len().next_multiple_of(8));
    let weight = [1.0, 2.0, 3.0, -4.0, 5.5, -0.0];
    fs::write(&path, file_with_header(&padded, &bytes_of(&[&[0.5, -0.25][..], &weight].concat()))).unwrap();
    let expected = [("fc1.weight".to_string(), vec![2, 3]), ("fc1.bias".to_string(), vec![2])];
    let loaded = load_model(&path, &expected).unwrap();
    assert_eq!(
        loaded,
        [
            NamedTensor { name: "fc1.weight".into(), shape: vec![2, 3], values: weight.to_vec() },
            NamedTensor { name: "fc1.bias".into(), shape: vec![2], values: vec![0.5, -0.25] },
        ]
    );
    assert!(loaded[0].values[5].is_sign_negative());

    fs::write(&path, file_of(None, &[("fc1.weight", "BF16", &[2, 3], vec![0; 12])])).unwrap();
    let error = load_model(&path, &expected[..1]).unwrap_err();
    assert_eq!(message(&error), "from_python.safetensors has fc1.weight as BF16, expected F32");

    fs::write(&path, file_of(None, &[("fc1.bias", "F32", &[2], bytes_of(&[1.0, f32::NEG_INFINITY]))])).unwrap();
    let error = load_model(&path, &expected[1..]).unwrap_err();
    assert_eq!(message(&error), "from_python.safetensors has a non-finite value in fc1.bias");
}

#[test]
fn a_damaged_model_never_panics() {
    let run = folder();
    let path = run.path().join("model.safetensors");
    save_model(&path, &tensors(3)).unwrap();
    let good = fs::read(&path).unwrap();
    for length in (0..good.len()).step_by(97) {
        fs::write(&path, &good[..length]).unwrap();
        assert!(message(&load_model(&path, &expected()).unwrap_err()).starts_with("model.safetensors is damaged: "));
    }
    // Without a checksum, which no file from PyTorch has, a flipped bit in a value or in the metadata goes unnoticed.
    let mut random = Random::new(0, Purpose::Test, 1);
    for _ in 0..400 {
        let mut bytes = good.clone();
        bytes[random.below(good.len() as u32) as usize] ^= 1 << random.below(8);
        fs::write(&path, &bytes).unwrap();
        let _ = load_model(&path, &expected());
    }
}

#[test]
fn hostile_headers_are_refused() {
    let run = folder();
    let path = run.path().join("model.safetensors");
    let entry = |shape: &str, offsets: &str| {
        format!(r#"{{"fc1.bias":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let expected = [("fc1.bias".to_string(), vec![2])];
    let cases = [
        [u64::MAX.to_le_bytes(), [0; 8]].concat(),
        [(u64::MAX - 7).to_le_bytes(), [b'{'; 8]].concat(),
        [(1u64 << 40).to_le_bytes(), [b'{'; 8]].concat(),
        file_with_header(&entry("[2]", "[0,18446744073709551615]"), &[0; 8]),
        file_with_header(&entry("[4611686018427387904,4]", "[0,8]"), &[0; 8]),
        file_with_header(&entry("[4611686018427387903]", "[0,18446744073709551612]"), &[0; 8]),
        file_with_header(&entry("[2]", "[8,0]"), &[0; 8]),
        file_with_header(&entry("[-2]", "[0,8]"), &[0; 8]),
        file_with_header(&"[".repeat(100_000), &[]),
        file_with_header(&" ".repeat(2 << 20), &[]),
        file_with_header("", &[]),
        file_with_header("null", &[]),
    ];
    for bytes in cases {
        fs::write(&path, &bytes).unwrap();
        let text = message(&load_model(&path, &expected).unwrap_err());
        assert!(text.starts_with("model.safetensors is damaged: "), "{text}");
    }

    // Refused by its header alone. Where files are sparse it can be far larger than memory.
    let length: u64 = if cfg!(unix) { 1 << 40 } else { 1 << 26 };
    let header = entry(&format!("[{}]", length / 4), &format!("[0,{length}]"));
    fs::write(&path, file_with_header(&header, &[])).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(8 + header.len() as u64 + length).unwrap();
    let text = message(&load_model(&path, &expected).unwrap_err());
    assert_eq!(text, format!("model.safetensors has fc1.bias ({}), the model needs (2)", length / 4));
}
