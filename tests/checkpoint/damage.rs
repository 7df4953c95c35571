//! Damaged checkpoints: never taken for good ones, and told what is wrong with them.

use std::fs;

use shadegrad::random::{Purpose, Random};
use shadegrad::train::checkpoint::{CURRENT, PREVIOUS, Restored, load, save};

use crate::{checkpoint, expected, folder, message, restore};

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
