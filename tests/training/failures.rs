//! Numbers, devices, files and batches that fail in training, each an error that says so.

use shadegrad::Error;
use shadegrad::data::{DataSpec, Options, load, shapes};
use shadegrad::gpu::{Checks, Device};
use shadegrad::machine::{Classifier, CpuMachine, GpuMachine, GpuOptions, Machine, Setup};
use shadegrad::nn::{Network, Noise};
use shadegrad::train::DataRecord;

use crate::common::adapter;
use crate::{TUTORIAL, fresh_state, gpu, images, train};

#[test]
fn a_non_finite_gradient_stops_before_it_is_applied() {
    let dataset = shapes(6, 400, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let mut machine = gpu(&setup, &GpuOptions::default());
    let state = fresh_state(machine.plan(), 8);
    machine.set_state(&state).unwrap();
    match train(&mut machine, &images(400), 1e9) {
        Err(Error::NonFinite { what, step: Some(step), .. }) => {
            let named = |name: &str| what == format!("gradient in {name}");
            assert!(machine.plan().parameters.iter().any(|parameter| named(&parameter.name)), "{what}");
            assert!((1..100).contains(&step));
        }
        other => panic!("expected a non-finite gradient, got {other:?}"),
    }
    assert!(machine.state().unwrap().parameters.iter().all(|value| value.is_finite()));
}

#[test]
fn a_lost_device_is_an_error_whatever_is_asked_of_it() {
    let dataset = shapes(6, 40, 10);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    for when in ["before a step", "between two steps"] {
        let mut machine = gpu(&setup, &GpuOptions::default());
        let state = fresh_state(machine.plan(), 8);
        machine.set_state(&state).unwrap();
        if when == "between two steps" {
            train(&mut machine, &images(4), 0.01).unwrap();
        }
        machine.device().destroy();
        let results = [
            train(&mut machine, &images(40), 0.01).err(),
            machine.state().err(),
            machine.logits(&dataset.test, 0..10).err(),
            machine.set_state(&state).and_then(|()| train(&mut machine, &images(40), 0.01)).err(),
        ];
        for (asked, error) in results.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("{when}, question {asked}: no error"));
            assert_eq!(error.exit_code(), 5, "{when}, question {asked}: {error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }
}

/// Images that stay in their file, which is cut short once they are loaded.
#[test]
fn a_file_that_shrinks_is_an_error_whoever_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, sizes: &[u32], value: u8| {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.resize(bytes.len() + sizes.iter().product::<u32>() as usize, value);
        std::fs::write(folder.path().join(name), bytes).unwrap();
    };
    for set in ["train", "t10k"] {
        write(&format!("{set}-images-idx3-ubyte"), &[40, 32, 32], 100);
        write(&format!("{set}-labels-idx1-ubyte"), &[40], 1);
    }
    let dataset = load(&DataSpec::Folder(folder.path().into()), &Options::default(), &mut |_| {}).unwrap().dataset;
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let mut streamed = gpu(&setup, &GpuOptions { resident_bytes: 0, ..GpuOptions::default() });
    let mut reference = CpuMachine::new(&setup).unwrap();
    let state = fresh_state(streamed.plan(), 8);
    streamed.set_state(&state).unwrap();
    reference.set_state(&state).unwrap();
    train(&mut streamed, &images(40), 0.01).unwrap();

    let training = folder.path().join("train-images-idx3-ubyte");
    std::fs::File::options().write(true).open(&training).unwrap().set_len(20_000).unwrap();
    // The images that are left are as good as before.
    train(&mut streamed, &images(19), 0.01).unwrap();
    let device = Device::open(&adapter(), Checks::Unchecked).unwrap();
    let results = [
        ("streamed", train(&mut streamed, &images(40), 0.01).err()),
        ("resident", GpuMachine::new(device, &setup, &GpuOptions::default()).err()),
        ("reference", train(&mut reference, &images(40), 0.01).err()),
        ("logits", streamed.logits(&dataset.train, 0..40).err()),
        ("hashed", DataRecord::new(&dataset).err()),
    ];
    let expected =
        format!("{} has become shorter since it was opened (got 20000 bytes, expected 40976)", training.display());
    for (who, error) in results {
        let error = error.unwrap_or_else(|| panic!("{who}: no error"));
        assert_eq!((error.to_string(), error.exit_code()), (expected.clone(), 3), "{who}");
    }
    streamed.logits(&dataset.test, 0..40).unwrap();
}

#[test]
fn a_batch_that_cannot_fit_is_refused_with_one_that_does() {
    let dataset = shapes(6, 10, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup {
        network: &network,
        dataset: &dataset,
        batch: 1_000_000_000,
        optimiser: TUTORIAL,
        noise: Noise::default(),
    };
    let device = Device::open(&adapter(), Checks::Unchecked).unwrap();
    let Err(error) = GpuMachine::new(device, &setup, &GpuOptions::default()) else { panic!("it cannot fit") };
    assert!(error.to_string().starts_with("conv1.output needs 17 TiB, "), "{error}");
    assert!(error.hint().unwrap().starts_with("the largest batch that fits is "), "{error:?}");
}
