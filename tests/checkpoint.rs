//! Checkpoints through damage, kills at every step of a save, a full disk and files from elsewhere.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shadegrad::Error;
use shadegrad::random::{Purpose, Random};
use shadegrad::train::checkpoint::{
    CURRENT, Checkpoint, NamedTensor, PREVIOUS, Position, Restored, load, load_model, save, save_model, weights_sha256,
};

const TEMPORARY: &str = "checkpoint.safetensors.tmp";

fn expected() -> Vec<(String, Vec<u32>)> {
    let shapes: [(&str, &[u32]); 4] =
        [("conv1.weight", &[6, 3, 5, 5]), ("conv1.bias", &[6]), ("fc1.weight", &[7, 11]), ("fc1.bias", &[7])];
    shapes.map(|(name, shape)| (name.to_string(), shape.to_vec())).to_vec()
}

fn tensors(seed: u64) -> Vec<NamedTensor> {
    let tensor = |(index, (name, shape)): (usize, (String, Vec<u32>))| {
        let mut random = Random::new(seed, Purpose::Test, index as u64);
        let values = (0..shape.iter().product()).map(|_| random.range(-1.0, 1.0)).collect();
        NamedTensor { name, shape, values }
    };
    expected().into_iter().enumerate().map(tensor).collect()
}

/// 0.1 + 0.2 is the classic that a rounded decimal loses.
fn checkpoint(step: u64) -> Checkpoint {
    let position = Position {
        epoch: 1 + (step / 12_500) as u32,
        batch: (step % 12_500) as u32,
        step,
        seed: u64::MAX,
        loss_sum: 0.1 + 0.2 + step as f64,
        loss_count: 3,
        seconds: 1.0 / 3.0,
    };
    Checkpoint { position, parameters: tensors(step), momentum: tensors(step + 1) }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn restore(run: &Path) -> Restored {
    load(run, &expected()).unwrap_or_else(|error| panic!("{error}"))
}

fn message(error: &Error) -> String {
    assert_eq!(error.exit_code(), 4);
    error.to_string()
}

/// A safetensors file from its parts; the tensors' data in the order of `entries`.
fn file_of(metadata: Option<Value>, entries: &[(&str, &str, &[u32], Vec<u8>)]) -> Vec<u8> {
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

fn file_with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A checkpoint file with the checksum that is right for it, whatever it holds.
fn checkpoint_file(position: &str, mut entries: Vec<(&str, &str, &[u32], Vec<u8>)>) -> Vec<u8> {
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

#[test]
fn a_checkpoint_comes_back_bit_for_bit() {
    let run = folder();
    let mut saved = checkpoint(2000);
    saved.parameters[0].values[..4].copy_from_slice(&[-0.0, f32::MIN_POSITIVE / 4.0, f32::MAX, 1.0 + f32::EPSILON]);
    save(run.path(), &saved, None).unwrap();
    let Restored { checkpoint: restored, warning } = restore(run.path());
    assert_eq!(warning, None);
    assert_eq!(restored, saved);
    let bits = |tensors: &[NamedTensor]| -> Vec<u32> {
        tensors.iter().flat_map(|tensor| tensor.values.iter().map(|value| value.to_bits())).collect()
    };
    assert_eq!(bits(&restored.parameters), bits(&saved.parameters));
    assert_eq!(bits(&restored.momentum), bits(&saved.momentum));
    assert!(!run.path().join(TEMPORARY).exists());
}

#[test]
fn the_position_keeps_every_bit_of_its_floats() {
    let run = folder();
    let mut random = Random::new(1, Purpose::Test, 0);
    let mut floats: Vec<f64> =
        (0..20).map(|_| f64::from_bits(u64::from(random.bits()) << 32 | u64::from(random.bits()))).collect();
    floats.extend([0.0, -0.0, f64::from_bits(1), f64::MAX, f64::INFINITY, f64::NAN, -f64::NAN, 2.308 * 1999.0]);
    for float in floats {
        let mut saved = checkpoint(1);
        (saved.position.loss_sum, saved.position.seconds) = (float, -float);
        save(run.path(), &saved, None).unwrap();
        let position = restore(run.path()).checkpoint.position;
        assert_eq!(position.loss_sum.to_bits(), float.to_bits());
        assert_eq!(position.seconds.to_bits(), (-float).to_bits());
    }
}

#[test]
fn equal_checkpoints_are_equal_bytes() {
    let runs = [folder(), folder()];
    for run in &runs {
        save(run.path(), &checkpoint(7), None).unwrap();
        save_model(&run.path().join("model.safetensors"), &tensors(7)).unwrap();
    }
    for name in [CURRENT, "model.safetensors"] {
        let [first, second] = runs.each_ref().map(|run| fs::read(run.path().join(name)).unwrap());
        assert!(first == second, "{name}");
        let header_length = u64::from_le_bytes(*first.first_chunk().unwrap());
        assert_eq!(header_length % 8, 0);
    }
}

#[test]
fn the_digest_of_weights_is_that_of_their_bytes() {
    // printf '\x00\x00\x80\x3f\x00\x00\x00\xc0' | sha256sum
    let digest = "ee4ac73c2bd27756ab82780f27c73a7bc4d3f0bb6acb37e008bc27eccd7e588b";
    let tensor = |values: &[f32]| NamedTensor {
        name: "fc1.bias".into(),
        shape: vec![values.len() as u32],
        values: values.to_vec(),
    };
    assert_eq!(weights_sha256(&[tensor(&[1.0, -2.0])]), digest);
    assert_eq!(weights_sha256(&[tensor(&[1.0]), tensor(&[-2.0])]), digest);
    assert_ne!(weights_sha256(&[tensor(&[-2.0]), tensor(&[1.0])]), digest);
}

#[test]
fn the_one_before_is_kept() {
    let run = folder();
    for step in [1000, 2000, 3000] {
        save(run.path(), &checkpoint(step), None).unwrap();
    }
    assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(3000), warning: None });
    fs::remove_file(run.path().join(CURRENT)).unwrap();
    let warning =
        "checkpoint.safetensors is missing; continuing from step 2000 (checkpoint.prev.safetensors)".to_string();
    assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(2000), warning: Some(warning) });
}

#[test]
fn a_kill_at_any_point_of_a_save_leaves_a_checkpoint_and_the_next_save_works() {
    let files = [1000, 2000, 3000].map(|step| {
        let run = folder();
        save(run.path(), &checkpoint(step), None).unwrap();
        fs::read(run.path().join(CURRENT)).unwrap()
    });
    let [old, latest, new] = files.each_ref().map(|bytes| Some(bytes.as_slice()));
    let half = Some(&files[2][..files[2].len() / 2]);
    let damaged = Some(&files[1][..files[1].len() - 1]);
    let damaged_old = Some(&files[0][..40]);
    // Temporary, current, previous; the step that loads.
    let states = [
        (Some(&[][..]), latest, old, 2000),
        (half, latest, old, 2000),
        (new, latest, old, 2000),
        (new, None, latest, 2000),
        (None, new, latest, 3000),
        // The first save of a run has no previous file.
        (half, latest, None, 2000),
        (new, None, latest, 2000),
        // A kill while a damaged current file is being replaced.
        (half, damaged, old, 1000),
        (new, damaged, old, 1000),
        (new, latest, damaged_old, 2000),
    ];
    for (index, (temporary, current, previous, step)) in states.into_iter().enumerate() {
        let run = folder();
        for (name, bytes) in [(TEMPORARY, temporary), (CURRENT, current), (PREVIOUS, previous)] {
            if let Some(bytes) = bytes {
                fs::write(run.path().join(name), bytes).unwrap();
            }
        }
        assert_eq!(restore(run.path()).checkpoint, checkpoint(step), "state {index}");

        save(run.path(), &checkpoint(4000), Some(step)).unwrap();
        assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(4000), warning: None }, "state {index}");
        assert!(!run.path().join(TEMPORARY).exists(), "state {index}");
        fs::remove_file(run.path().join(CURRENT)).unwrap();
        assert_eq!(restore(run.path()).checkpoint, checkpoint(step), "state {index}");
    }
}

#[test]
fn a_damaged_file_is_never_taken_for_a_good_one() {
    let run = folder();
    let [current, previous] = [CURRENT, PREVIOUS].map(|name| run.path().join(name));
    save(run.path(), &checkpoint(1000), None).unwrap();
    save(run.path(), &checkpoint(2000), Some(1000)).unwrap();
    let (good, good_previous) = (fs::read(&current).unwrap(), fs::read(&previous).unwrap());

    let mut random = Random::new(0, Purpose::Test, 0);
    let header_length = u64::from_le_bytes(*good.first_chunk().unwrap()) as u32;
    // Half of them in the header, which is the smaller part.
    let flips = (0..400).map(|index| {
        let mut bytes = good.clone();
        let end = if index % 2 == 0 { 8 + header_length } else { good.len() as u32 };
        bytes[random.below(end) as usize] ^= 1 << random.below(8);
        bytes
    });
    let truncations = (0..good.len()).step_by(97).map(|length| good[..length].to_vec());
    let longer = [[&good[..], &[0]].concat(), [&good[..], &good[..]].concat()];
    for bytes in truncations.chain(longer).chain(flips) {
        fs::write(&current, &bytes).unwrap();
        fs::write(&previous, &good_previous).unwrap();
        let Restored { checkpoint: restored, warning } = restore(run.path());
        assert_eq!(restored, checkpoint(1000));
        let warning = warning.unwrap();
        assert!(warning.starts_with("checkpoint.safetensors is damaged: "), "{warning}");
        assert!(warning.ends_with("; continuing from step 1000 (checkpoint.prev.safetensors)"), "{warning}");

        fs::remove_file(&previous).unwrap();
        let error = load(run.path(), &expected()).unwrap_err();
        assert!(message(&error).starts_with("checkpoint.safetensors is damaged: "), "{error}");
        assert_eq!(error.hint().unwrap(), "checkpoint.prev.safetensors is missing");

        fs::write(&previous, &bytes).unwrap();
        assert!(load(run.path(), &expected()).is_err());
    }
}

#[test]
fn messages_of_damage() {
    let run = folder();
    save(run.path(), &checkpoint(1000), None).unwrap();
    let current = run.path().join(CURRENT);
    let good = fs::read(&current).unwrap();
    let (length, header_length) = (good.len(), u64::from_le_bytes(*good.first_chunk().unwrap()) as usize);
    let mut flipped = good.clone();
    flipped[length - 1] ^= 1;

    let cases = [
        (flipped, "its checksum does not match".to_string()),
        (Vec::new(), "it is shorter than 8 bytes".into()),
        (good[..100].to_vec(), format!("it has 100 bytes, its header alone {}", 8 + header_length)),
        (good[..length - 1].to_vec(), format!("it has {} bytes, its header describes {length}", length - 1)),
        (b"just a text file".to_vec(), "it does not start like a safetensors file".into()),
    ];
    for (bytes, problem) in cases {
        fs::write(&current, bytes).unwrap();
        let error = load(run.path(), &expected()).unwrap_err();
        assert_eq!(message(&error), format!("checkpoint.safetensors is damaged: {problem}"));
    }

    let empty = folder();
    let error = load(empty.path(), &expected()).unwrap_err();
    let path = empty.path().join(CURRENT);
    assert!(message(&error).starts_with(&format!("could not read {}: ", path.display())), "{error}");

    fs::write(empty.path().join(PREVIOUS), "?").unwrap();
    let error = load(empty.path(), &expected()).unwrap_err();
    assert_eq!(message(&error), "checkpoint.prev.safetensors is damaged: it is shorter than 8 bytes");
    assert_eq!(error.hint().unwrap(), "checkpoint.safetensors is missing");
}

#[test]
fn messages_about_another_model() {
    let run = folder();
    save(run.path(), &checkpoint(1000), None).unwrap();
    let with = |name: &str, shape: &[u32]| {
        let mut other = checkpoint(2000);
        for tensors in [&mut other.parameters, &mut other.momentum] {
            tensors.retain(|tensor| tensor.name != name);
            if !shape.is_empty() {
                let values = vec![0.5; shape.iter().product::<u32>() as usize];
                tensors.push(NamedTensor { name: name.into(), shape: shape.to_vec(), values });
            }
        }
        other
    };
    // The last one is larger than what is read at all.
    let cases: [(&str, &[u32], &str); 4] = [
        ("conv1.weight", &[50, 3, 5, 5], "checkpoint has conv1.weight (50, 3, 5, 5), the model needs (6, 3, 5, 5)"),
        ("conv1.bias", &[], "checkpoint has no conv1.bias, the model needs (6)"),
        ("fc9.weight", &[4, 2], "checkpoint has fc9.weight, which the model does not have"),
        ("fc1.weight", &[3000, 1000], "checkpoint has fc1.weight (3000, 1000), the model needs (7, 11)"),
    ];
    for (name, shape, text) in cases {
        let other = folder();
        save(other.path(), &with(name, shape), None).unwrap();
        // The one before fits, which is no reason to go back to it.
        fs::copy(run.path().join(CURRENT), other.path().join(PREVIOUS)).unwrap();
        let error = load(other.path(), &expected()).unwrap_err();
        assert_eq!(message(&error), text);
        assert_eq!(error.hint().unwrap(), "it was trained with another --model");

        let path = other.path().join("model.safetensors");
        save_model(&path, &with(name, shape).parameters).unwrap();
        let error = load_model(&path, &expected()).unwrap_err();
        assert_eq!(message(&error), text.replacen("checkpoint", "model.safetensors", 1));
    }
}

#[test]
fn messages_about_types_and_values() {
    let run = folder();
    let position = serde_json::to_string(&checkpoint(5).position).unwrap();
    let expected = [("fc1.bias".to_string(), vec![2])];
    let (good, bad) = (bytes_of(&[1.0, 2.0]), bytes_of(&[1.0, f32::NAN]));
    let shape: &[u32] = &[2];
    let tensor = ("fc1.bias", "F32", shape, good.clone());
    let momentum = ("momentum.fc1.bias", "F32", shape, good.clone());
    let cases = [
        (&position[..], vec![tensor.clone(), momentum.clone()], None),
        (
            &position,
            vec![("fc1.bias", "F16", shape, vec![0; 4]), momentum.clone()],
            Some("checkpoint has fc1.bias as F16, expected F32"),
        ),
        (
            &position,
            vec![("fc1.bias", "F32", shape, bad.clone()), momentum.clone()],
            Some("checkpoint has a non-finite value in fc1.bias"),
        ),
        (
            &position,
            vec![tensor.clone(), ("momentum.fc1.bias", "F32", shape, bad)],
            Some("checkpoint has a non-finite value in momentum.fc1.bias"),
        ),
        (&position, vec![tensor.clone()], Some("checkpoint has no momentum.fc1.bias, the model needs (2)")),
        ("{}", vec![tensor, momentum], Some("checkpoint.safetensors is damaged: it does not say where the run stands")),
    ];
    for (position, entries, problem) in cases {
        fs::write(run.path().join(CURRENT), checkpoint_file(position, entries)).unwrap();
        match problem {
            None => assert_eq!(load(run.path(), &expected).unwrap().checkpoint.position, checkpoint(5).position),
            Some(problem) => assert_eq!(message(&load(run.path(), &expected).unwrap_err()), problem),
        }
    }
}

#[test]
fn a_state_that_would_not_load_is_not_saved() {
    let run = folder();
    save(run.path(), &checkpoint(1000), None).unwrap();
    let change = |change: &dyn Fn(&mut Checkpoint)| {
        let mut changed = checkpoint(2000);
        change(&mut changed);
        changed
    };
    let cases = [
        (change(&|it| it.parameters[2].values[5] = f32::NAN), "fc1.weight has a non-finite value"),
        (change(&|it| it.momentum[1].values[0] = f32::INFINITY), "momentum.conv1.bias has a non-finite value"),
        (change(&|it| it.parameters[1].values.truncate(5)), "conv1.bias (6) has 5 values"),
        (
            change(&|it| {
                it.parameters[3] = it.parameters[1].clone();
                it.momentum[3] = it.momentum[1].clone();
            }),
            "the name conv1.bias is taken",
        ),
        (change(&|it| it.momentum.clear()), "the momentum does not have the parameters' names and shapes"),
    ];
    for (changed, problem) in cases {
        let error = save(run.path(), &changed, Some(1000)).unwrap_err();
        let text = format!("could not save the checkpoint: {problem}; the checkpoint of step 1000 is intact");
        assert_eq!(message(&error), text);
        assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(1000), warning: None });
    }
    let path = run.path().join("model.safetensors");
    let mut parameters = tensors(0);
    parameters[0].values[0] = f32::NAN;
    let error = save_model(&path, &parameters).unwrap_err();
    let text = format!("could not write {}: conv1.weight has a non-finite value", path.display());
    assert_eq!(message(&error), text);
    assert!(!path.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_checkpoints_alone() {
    use std::os::unix::fs::symlink;

    let run = folder();
    save(run.path(), &checkpoint(3000), None).unwrap();
    save(run.path(), &checkpoint(4000), Some(3000)).unwrap();
    let contents = || [CURRENT, PREVIOUS].map(|name| fs::read(run.path().join(name)).unwrap());
    let before = contents();
    let temporary = run.path().join(TEMPORARY);
    for (intact, tail) in [(Some(4000), "; the checkpoint of step 4000 is intact"), (None, "")] {
        symlink("/dev/full", &temporary).unwrap();
        let error = save(run.path(), &checkpoint(5000), intact).unwrap_err();
        assert_eq!(message(&error), format!("could not save the checkpoint: no space left on device{tail}"));
        assert!(temporary.symlink_metadata().is_err(), "the temporary file is still there");
        assert!(contents() == before);
    }

    let path = run.path().join("model.safetensors");
    save_model(&path, &tensors(1)).unwrap();
    symlink("/dev/full", run.path().join("model.safetensors.tmp")).unwrap();
    let error = save_model(&path, &tensors(2)).unwrap_err();
    assert_eq!(message(&error), format!("could not write {}: no space left on device", path.display()));
    assert_eq!(load_model(&path, &expected()).unwrap(), tensors(1));
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 3);
}

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
