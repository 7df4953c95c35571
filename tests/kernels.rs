//! Every check that `shadegrad check` runs, with and without wgpu's own: every kernel against the f64 reference from poisoned outputs and
//! between guard bands, then what no single result shows.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use common::adapter;
use shadegrad::augmentation::Augmentation;
use shadegrad::cases;
use shadegrad::check::{self, Row, Selection, Suite, training};
use shadegrad::data::{Dataset, ImageShape, Split, shapes};
use shadegrad::gpu::{Checks, Device, DeviceOptions};
use shadegrad::machine::{Classifier, CpuMachine, GpuMachine, GpuOptions, Machine, Segment, Setup, State};
use shadegrad::nn::{Fusion, Network, Noise, Optimiser, initialise};
use shadegrad::ops::custom::CustomKernel;
use shadegrad::ops::{PLAIN, Selection as Kernels};

/// One row of the printed table.
#[derive(Default)]
struct Tally {
    rows: usize,
    failures: usize,
    worst: f64,
    seconds: f64,
}

#[test]
fn every_check_passes() {
    let devices = [device(Checks::Checked), device(Checks::Unchecked)];
    println!("{} ({})", devices[0].info().name, devices[0].info().driver);
    let suite = Suite::new(&Selection::default()).unwrap();
    let expected = devices.iter().map(|device| suite.rows(device)).sum::<usize>();
    let mut tallies: BTreeMap<_, Tally> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut rows = 0;
    let started = Instant::now();
    let mut clock = Instant::now();
    suite
        .run(&devices, &mut |row: Row| {
            let key = (row.kind, row.relation, row.op, row.variant, format!("{:?}", row.checks));
            let tally = tallies.entry(key).or_default();
            rows += 1;
            tally.rows += 1;
            tally.seconds += clock.elapsed().as_secs_f64();
            tally.worst = tally.worst.max(row.outcome.error_of_bound);
            clock = Instant::now();
            if let Some(failure) = &row.outcome.failure {
                tally.failures += 1;
                let Row { relation, op, variant, checks, shape, .. } = &row;
                failures.push(format!("{op} {variant} {checks:?} {shape}, {relation}: {failure}"));
            }
        })
        .unwrap();
    println!(
        "{:26} {:8} {:9} {:40} {:>5} {:>7} {:>11} {:>8}",
        "op", "variant", "mode", "against", "rows", "failed", "worst share", "seconds"
    );
    for ((_, relation, op, variant, mode), tally) in &tallies {
        let Tally { rows, failures, worst, seconds } = tally;
        println!("{op:26} {variant:8} {mode:9} {relation:40} {rows:5} {failures:7} {worst:11.4} {seconds:8.2}");
    }
    println!("{rows} rows in {:.1} s", started.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} of {rows} failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(rows, expected);
}

#[test]
fn an_op_or_a_variant_that_there_is_not_is_refused() {
    let refusal = |ops: &[&str], variant: Option<&str>| {
        let selection =
            Selection { ops: ops.iter().map(ToString::to_string).collect(), variant: variant.map(Into::into) };
        Suite::new(&selection).err().expect("refused")
    };
    let error = refusal(&["matmul", "matmull"], None);
    assert_eq!((error.exit_code(), error.to_string()), (2, "no op matmull".into()));
    assert!(error.hint().unwrap().contains("max_pool2d_forward, mean_cross_entropy"), "{error:?}");
    assert!(refusal(&["relu_forward"], Some("tiled")).to_string().starts_with("no variant tiled (expected "));
    let one_of_two = refusal(&["matmul", "relu_forward"], Some("tiled")).to_string();
    assert_eq!(one_of_two, "no variant tiled (expected of relu_forward: plain, vec4)");
}

#[test]
fn the_self_test_passes() {
    let names: BTreeSet<_> = cases::all().iter().map(|case| case.op.name()).collect();
    assert_eq!(check::self_test(&device(Checks::Unchecked)).unwrap(), names.len());
}

/// Training side by side: agreement, then a difference in one number, which has to be found where it is made.
#[test]
fn training_beside_the_reference_names_the_first_tensor_that_differs() {
    let dataset = shapes(3, 40, 1);
    let network = Network::load("lenet").unwrap();
    let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };
    let augmentation = Augmentation { flip: true, crop: 4, cutout: 8, brightness: 0.2, contrast: 0.3 };
    let noise = Noise { seed: 5, augmentation };
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser, noise };
    let options = GpuOptions { keep_tensors: true, ..GpuOptions::default() };
    let mut gpu = GpuMachine::new(device(Checks::Unchecked), &setup, &options).unwrap();
    let mut reference = CpuMachine::planned(&setup, Fusion::Full).unwrap();
    let parameters = initialise(gpu.plan(), 5);
    let momentum = vec![0.0; parameters.len()];
    gpu.set_state(&State { parameters, momentum }).unwrap();
    let images: Vec<u32> = (0..40).collect();
    for (index, images) in images.chunks(4).enumerate() {
        let segment = Segment { images, first_step: index as u64 + 1, epoch: 1, learning_rates: &[0.01] };
        let report = training::step(&mut gpu, &mut reference, &segment).unwrap();
        assert!(report.parted.is_none(), "{:?}", report.parted);
        assert!(report.tensors > 30, "only {} tensors", report.tensors);
    }

    // Another optimiser on the GPU: every tensor up to the update agrees, the first parameter after it does not.
    let other = Setup { optimiser: Optimiser { momentum: 0.9, weight_decay: 0.1, ..optimiser }, ..setup };
    let mut gpu = GpuMachine::new(device(Checks::Unchecked), &other, &options).unwrap();
    let parameters = initialise(gpu.plan(), 5);
    let momentum = vec![0.0; parameters.len()];
    gpu.set_state(&State { parameters, momentum }).unwrap();
    let segment = Segment { images: &images[..4], first_step: 1, epoch: 1, learning_rates: &[0.01] };
    let report = training::step(&mut gpu, &mut reference, &segment).unwrap();
    let parted = report.parted.expect("weight decay shows");
    assert_eq!((&*parted.label, &*parted.tensor), ("sgd", "conv1.weight"));
}

/// Two classes, and an image of each that looks the same: what one adds to a gradient the other takes away, and what is left over of all of
/// them is as small as the rounding of the terms makes it.
#[test]
fn gradients_that_cancel_over_a_batch_are_within_their_bounds() {
    let pixels: Vec<u8> =
        (0..16).flat_map(|image| (0..12).map(move |pixel| (image / 2 * 29 + pixel * 17) as u8)).collect();
    let dataset = Dataset {
        name: "pairs".into(),
        source: "made up".into(),
        classes: vec!["one".into(), "other".into()],
        shape: ImageShape { channels: 1, height: 3, width: 4 },
        train: Split::new((0..16).map(|image| image % 2).collect(), pixels),
        test: Split::default(),
    };
    let network = r#"layers = [{ type = "flatten" }, { type = "linear", out_features = "classes" }]"#;
    let network = Network::parse(network, "cancelling").unwrap();
    let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };
    let setup = Setup { network: &network, dataset: &dataset, batch: 16, optimiser, noise: Noise::default() };
    let images: Vec<u32> = (0..16).collect();
    let report = |setup: &Setup<'_>, momentum: f32| {
        let options = GpuOptions { keep_tensors: true, ..GpuOptions::default() };
        let mut gpu = GpuMachine::new(device(Checks::Unchecked), setup, &options).unwrap();
        let reference = Setup { optimiser, ..*setup };
        let mut reference = CpuMachine::planned(&reference, Fusion::Full).unwrap();
        let parameters: Vec<f32> = initialise(gpu.plan(), 1).into_iter().map(|value| value * 1e-4).collect();
        let momentum = vec![momentum; parameters.len()];
        gpu.set_state(&State { parameters, momentum }).unwrap();
        let segment = Segment { images: &images, first_step: 1, epoch: 1, learning_rates: &[0.01] };
        training::step(&mut gpu, &mut reference, &segment).unwrap()
    };
    let agreed = report(&setup, 0.0);
    assert!(agreed.parted.is_none(), "{:?}", agreed.parted);

    // What the terms' rounding cannot explain still shows.
    let other = Setup { optimiser: Optimiser { momentum: 0.8999, ..optimiser }, ..setup };
    let parted = report(&other, 0.1).parted.expect("another momentum shows");
    assert_eq!((&*parted.label, &*parted.tensor), ("sgd", "fc1.weight"));
}

/// Where a convolution pools in the same kernel, nothing but the winner says which of four values it was.
#[test]
fn one_winner_that_is_none_is_found() {
    let dataset = shapes(3, 2, 1);
    let network = r#"layers = [
        { type = "conv2d", out_channels = 3, kernel_size = 3 },
        { type = "relu" },
        { type = "max_pool2d", kernel_size = 2 },
        { type = "flatten" },
        { type = "linear", out_features = "classes" },
    ]"#;
    let network = Network::parse(network, "pooling").unwrap();
    let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };
    let setup = Setup { network: &network, dataset: &dataset, batch: 2, optimiser, noise: Noise::default() };
    let op = cases::of("conv2d_relu_max_pool2d_forward").remove(0).op;
    let text = op.lower(PLAIN).unwrap().dispatches[0].shader.text();
    let parted = |from: &str, to: &str| {
        assert!(text.contains(from));
        let own = CustomKernel::parse(Path::new("mine.wgsl"), &text.replace(from, to), &*op).unwrap();
        let options = GpuOptions { keep_tensors: true, selection: Kernels::new(vec![own]), ..GpuOptions::default() };
        let mut gpu = GpuMachine::new(device(Checks::Unchecked), &setup, &options).unwrap();
        let mut reference = CpuMachine::planned(&setup, Fusion::Full).unwrap();
        let parameters = initialise(gpu.plan(), 5);
        let momentum = vec![0.0; parameters.len()];
        gpu.set_state(&State { parameters, momentum }).unwrap();
        let segment = Segment { images: &[0, 1], first_step: 1, epoch: 1, learning_rates: &[0.01] };
        training::step(&mut gpu, &mut reference, &segment).unwrap().parted
    };
    let winner = "argmax[i] = select(best_at, NOWHERE, stopped);";
    assert!(parted(winner, winner).is_none());
    let wrong = parted(winner, "argmax[i] = select(best_at ^ u32(i == 700u), NOWHERE, stopped);");
    let wrong = wrong.expect("a winner is wrong");
    assert_eq!((&*wrong.tensor, wrong.index), ("pool1.argmax", 700));
}

fn device(checks: Checks) -> Device {
    let options = DeviceOptions { checks, experimental: true, ..DeviceOptions::default() };
    Device::open_with(&adapter(), options).unwrap_or_else(|error| panic!("{error}"))
}
