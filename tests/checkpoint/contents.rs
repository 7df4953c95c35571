//! What is saved comes back, bit for bit.

use std::fs;

use shadegrad::random::{Purpose, Random};
use shadegrad::train::checkpoint::{CURRENT, NamedTensor, Restored, save, save_model, weights_sha256};

use crate::{TEMPORARY, checkpoint, folder, restore, tensors};

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
