//! The error table of the command line, row by row, but for the flags that usage.rs has.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use shadegrad::gpu::{Checks, Device};
use shadegrad::nn::{Fusion, Images, Network, Noise, Optimiser, PlanRequest};

use crate::common::adapter;
use crate::{Outcome, Workplace, write_cifar10};

#[test]
fn a_batch_too_large_names_the_largest_that_fits() {
    let place = Workplace::new();
    let run = |batch: u32| place.run(&format!("train --data shapes --limit 10 --batch {batch}")).refusal(2);
    let refusal = run(1_000_000);
    assert!(refusal.starts_with("error: conv1.output needs 18 GiB, the adapter allows "), "{refusal}");
    let (_, largest) = refusal.split_once("\nhint: the largest batch that fits is ").unwrap();
    let largest: u32 = largest.parse().unwrap();
    let refusal = run(largest + 1);
    assert!(refusal.starts_with("error: conv1.output needs "), "{refusal}");
    assert!(refusal.ends_with(&format!("\nhint: the largest batch that fits is {largest}")), "{refusal}");

    // Planned, not run: a step of such a batch takes gigabytes.
    let max_bytes = Device::open(&adapter(), Checks::Unchecked).unwrap().max_binding_bytes();
    let network = Network::load("lenet").unwrap();
    let images = Images::streamed([3, 32, 32], 10, largest);
    let request = PlanRequest { network: &network, images, batch: largest, max_bytes, fusion: Fusion::Full };
    let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };
    request.training(&optimiser, &Noise::default(), 1).unwrap().fits(max_bytes).unwrap();
    assert!(!place.path("runs").exists(), "a refused run left a folder behind");
}

#[test]
fn damaged_data_is_named() {
    let place = Workplace::new();
    let folder = place.path("cifar");
    write_cifar10(&folder);
    let second = folder.join("data_batch_2.bin");
    let mut file = fs::File::options().write(true).open(&second).unwrap();
    file.seek(SeekFrom::Start(812 * 3073)).unwrap();
    file.write_all(&[17]).unwrap();
    place.run("train --data cifar").refuses(3, "error: data_batch_2.bin record 812: label 17, expected 0–9");

    fs::File::create(folder.join("data_batch_3.bin")).unwrap().set_len(1_234_567).unwrap();
    let hint = "the file is cut short or is not CIFAR's binary version; `shadegrad download` fetches a good CIFAR-10";
    let message = format!("error: data_batch_3.bin has 1234567 bytes, expected 30730000\nhint: {hint}");
    place.run("train --data cifar").refuses(3, &message);
    let mut command = place.command("train");
    command.env("SHADEGRAD_DATA", &folder);
    Outcome::of(command).refuses(3, &message);

    fs::create_dir(place.path("empty")).unwrap();
    let refusal = place.run("train --data empty").refusal(3);
    let known: Vec<&str> = refusal.lines().skip(1).map(|line| line.split(':').next().unwrap()).collect();
    assert!(refusal.starts_with("error: empty holds no data set shadegrad can read; looked for\n"), "{refusal}");
    assert!(
        known.contains(&"  CIFAR-10 binary") && known.contains(&"  image folders") && known.len() == 7,
        "{refusal}"
    );
    let hint = "--data takes auto, cifar10, shapes, or a folder";
    place.run("train --data nowhere").refuses(3, &format!("error: nowhere does not exist\nhint: {hint}"));
    assert!(!place.path("runs").exists(), "a refused run left a folder behind");
}

#[test]
fn weights_of_another_model_are_refused() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 2 --epochs 1 --model wide --out wide").success();
    place.run("train --data shapes --limit 2 --epochs 1 --out lenet").success();
    let shapes = "has conv1.weight (50, 3, 5, 5), the model needs (6, 3, 5, 5)";
    place
        .run("eval wide/model.safetensors --model lenet --data shapes --limit 2")
        .refuses(4, &format!("error: model.safetensors {shapes}"));

    fs::copy(place.path("wide/checkpoint.safetensors"), place.path("lenet/checkpoint.safetensors")).unwrap();
    place
        .run("train --resume lenet --epochs 2")
        .refuses(4, &format!("error: checkpoint {shapes}\nhint: it was trained with another --model"));

    let hint = "this is a checkpoint with momentum; name its run folder or the model.safetensors beside it";
    let refusal = place.run("eval wide/checkpoint.safetensors").refusal(4);
    assert!(refusal.ends_with(&format!("\nhint: {hint}")), "{refusal}");
    place
        .run("eval wide/config.toml")
        .refuses(4, "error: config.toml is damaged: it does not start like a safetensors file");
}

#[test]
fn a_device_that_is_not_there_is_never_replaced() {
    let place = Workplace::new();
    let devices = place.run("devices --json").success().stdout;
    let devices: Vec<serde_json::Value> = serde_json::from_str(&devices).unwrap();
    let list = devices.iter().map(|device| format!("{} {}", device["index"], device["name"].as_str().unwrap()));
    let list = list.collect::<Vec<_>>().join(", ");
    for device in ["9", "nonsense"] {
        let message = format!("error: no device {device}\nhint: the devices are: {list}; or cpu");
        place.run(&format!("train --data shapes --limit 4 --device {device}")).refuses(5, &message);
    }
    assert!(!place.path("runs").exists(), "a refused run left a folder behind");
}

#[test]
fn a_run_that_diverges_names_tensor_step_and_checkpoint() {
    let place = Workplace::new();
    let refusal = place.run("train --data shapes --limit 400 --lr 1e9 --out run").refusal(6);
    let (error, hint) = refusal.split_once('\n').unwrap();
    let named = error.strip_prefix("error: non-finite gradient in ").unwrap();
    let (tensor, step) = named.split_once(" at step ").unwrap();
    assert!(step.parse::<u32>().is_ok_and(|step| (2..=100).contains(&step)), "{error}");
    let (layer, kind) = tensor.split_once('.').unwrap();
    assert!(["conv1", "conv2", "fc1", "fc2", "fc3"].contains(&layer) && ["weight", "bias"].contains(&kind), "{error}");
    assert_eq!(hint, "hint: lower --lr; the last good checkpoint is step 0");
    assert!(place.path("run/checkpoint.safetensors").is_file());
}

/// A device that is always full stands in for the disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_a_run_that_resumes() {
    let place = Workplace::new();
    let uninterrupted = place.run("train --data shapes --limit 40 --epochs 4 --out whole").success();
    place.run("train --data shapes --limit 40 --epochs 2 --out run").success();
    std::os::unix::fs::symlink("/dev/full", place.path("run/checkpoint.safetensors.tmp")).unwrap();
    let message = "could not save the checkpoint: no space left on device; the checkpoint of step 20 is intact";
    place.run("train --resume run --epochs 4").refuses(4, &format!("error: {message}"));
    // Without --epochs again: what was asked for last still holds.
    let resumed = place.run("train --resume run").success();
    assert_eq!(resumed.after("resumed after step "), "20");
    assert_eq!(resumed.weights_sha256(), uninterrupted.weights_sha256());
}
