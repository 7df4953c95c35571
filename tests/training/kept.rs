//! What is made once: the objects of a device within a run, its compiled pipelines from one run to the next.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use shadegrad::data::shapes;
use shadegrad::gpu::{Checks, Device};
use shadegrad::machine::{Classifier, GpuMachine, GpuOptions, Machine, Setup};
use shadegrad::nn::{Network, Noise};

use crate::common::adapter;
use crate::{NOISE, TUTORIAL, fresh_state, gpu, images, train};

#[test]
fn an_epoch_creates_nothing_after_its_first_step() {
    let dataset = shapes(5, 403, 8);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: NOISE };
    for resident_bytes in [1 << 30, 0] {
        let mut machine = gpu(&setup, &GpuOptions { resident_bytes, ..GpuOptions::default() });
        assert_eq!(machine.is_resident(), resident_bytes > 0);
        let state = fresh_state(machine.plan(), 7);
        machine.set_state(&state).unwrap();
        let order = images(403);
        train(&mut machine, &order[..4], 0.01).unwrap();
        let before = machine.device().created();
        assert!(before.buffers > 10 && before.bind_groups > 10 && before.pipelines > 5 && before.shader_modules > 5);
        // As the trainer goes on: up to a printed line, to the next one, a checkpoint, the short last batch.
        for part in [4..8, 8..200, 200..403] {
            train(&mut machine, &order[part], 0.01).unwrap();
            machine.state().unwrap();
        }
        assert_eq!(machine.device().created(), before, "resident: {}", machine.is_resident());
    }
}

/// Whatever is in the folder, and wherever it is: it only costs the time.
#[test]
fn compiled_pipelines_are_kept_and_a_damaged_file_is_harmless() {
    let dataset = shapes(5, 8, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let losses = |folder: &Path| {
        let mut device = Device::open(&adapter(), Checks::Unchecked).unwrap();
        device.cache_pipelines(folder);
        let mut machine = GpuMachine::new(device, &setup, &GpuOptions::default()).unwrap();
        let state = fresh_state(machine.plan(), 7);
        machine.set_state(&state).unwrap();
        train(&mut machine, &images(8), 0.01).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let expected = losses(&cache);
    if !adapter().features().contains(&"pipeline-cache") {
        assert!(!cache.exists());
        return;
    }
    let files: Vec<PathBuf> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("one file for one adapter, not {files:?}") };
    let kept = std::fs::read(file).unwrap();
    let mut changed = kept.clone();
    changed[kept.len() / 2] ^= 0x55;
    for content in
        [&kept[..], &kept[..kept.len() / 2], &changed, b"", b"something else entirely, but no shorter than a digest"]
    {
        std::fs::write(file, content).unwrap();
        assert_eq!(losses(&cache), expected);
        // Whole again: its digest, then what it is of, as much of that as the driver likes.
        let (digest, data) = std::fs::read(file)
            .map(|mut file| {
                let data = file.split_off(32);
                (file, data)
            })
            .unwrap();
        assert_eq!(Sha256::digest(data).to_vec(), digest, "after {} bytes", content.len());
    }
    // A file where the folder should be.
    assert_eq!(losses(file), expected);
}
