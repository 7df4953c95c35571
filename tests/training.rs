//! Whole training runs: the GPU against the reference and against PyTorch, the same seed against itself, a resumed run against one
//! that was never interrupted.

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use common::adapter;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use shadegrad::augmentation::Augmentation;
use shadegrad::cases;
use shadegrad::data::{DataSpec, Dataset, ImageShape, Options, Split, load, shapes};
use shadegrad::gpu::{Checks, Device};
use shadegrad::machine::{Classifier, CpuMachine, GpuMachine, GpuOptions, Machine, Segment, Setup, State};
use shadegrad::nn::{Fusion, Layer, Network, Noise, Optimiser, Plan, initialise};
use shadegrad::ops::custom::CustomKernel;
use shadegrad::ops::{PLAIN, Selection};
use shadegrad::train::{DataRecord, Event, Job, Outcome, RunFolder, RunTarget, Schedule, Settings, Stop, spawn};
use shadegrad::{Error, Result};

const TUTORIAL: Optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };

/// Every kind of augmentation.
const NOISE: Noise = Noise {
    seed: 3 << 32 | 7,
    augmentation: Augmentation { flip: true, crop: 4, cutout: 8, brightness: 0.2, contrast: 0.3 },
};

/// Every kind of layer, with strides, padding, dilation and windows that overlap.
const EVERY_LAYER: &str = r#"
layers = [
    { type = "conv2d", out_channels = 5, kernel_size = [5, 3], stride = 2, padding = [2, 1] },
    { type = "relu" },
    { type = "max_pool2d", kernel_size = 3, stride = 2, padding = 1 },
    { type = "conv2d", out_channels = 7, kernel_size = 3, padding = 2, dilation = 2 },
    { type = "relu" },
    { type = "avg_pool2d", kernel_size = [2, 3], stride = [1, 2], padding = [1, 1] },
    { type = "dropout", p = 0.3 },
    { type = "conv2d", out_channels = 6, kernel_size = 1 },
    { type = "global_avg_pool2d" },
    { type = "flatten" },
    { type = "dropout", p = 0.1 },
    { type = "linear", out_features = 10 },
]
"#;

fn gpu<'a>(setup: &Setup<'a>, options: &GpuOptions) -> GpuMachine<'a> {
    let device = Device::open(&adapter(), Checks::Unchecked).unwrap();
    GpuMachine::new(device, setup, options).unwrap()
}

fn fresh_state(plan: &Plan, seed: u64) -> State {
    State { parameters: initialise(plan, seed), momentum: vec![0.0; plan.parameter_length] }
}

fn train(machine: &mut impl Machine, images: &[u32], learning_rate: f32) -> Result<Vec<f32>> {
    let learning_rates = vec![learning_rate; images.len().div_ceil(machine.plan().batch as usize)];
    machine.train(&Segment { images, first_step: 1, epoch: 1, learning_rates: &learning_rates }, &mut |_| true)
}

fn images(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[test]
fn two_hundred_steps_agree_with_the_reference() {
    let dataset = shapes(3, 800, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let (mut gpu, mut cpu) = (gpu(&setup, &GpuOptions::default()), CpuMachine::new(&setup).unwrap());
    let state = fresh_state(gpu.plan(), 5);
    gpu.set_state(&state).unwrap();
    cpu.set_state(&state).unwrap();
    let on_gpu = train(&mut gpu, &images(800), 0.01).unwrap();
    let on_cpu = train(&mut cpu, &images(800), 0.01).unwrap();
    assert_eq!(on_gpu.len(), 200);
    for (step, (&gpu, &cpu)) in on_gpu.iter().zip(&on_cpu).enumerate() {
        // The issue's bound: rounding errors of f32 grow along a run, 200 steps at ten times the tutorial's learning rate stay below.
        approx::assert_relative_eq!(gpu, cpu, max_relative = 1e-3);
        assert!(gpu.is_finite(), "loss of step {}", step + 1);
    }
}

#[test]
fn every_tensor_of_a_step_agrees_with_the_reference() {
    let dataset = shapes(4, 12, 1);
    let network = Network::parse(EVERY_LAYER, "every layer").unwrap();
    let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.01, nesterov: true, label_smoothing: 0.1 };
    let setup = Setup { network: &network, dataset: &dataset, batch: 5, optimiser, noise: NOISE };
    let kept = GpuOptions { keep_tensors: true, ..GpuOptions::default() };
    for (fusion, tensors) in Fusion::ALL.into_iter().zip([40, 40, 50]) {
        let options = GpuOptions { fusion, ..kept.clone() };
        every_tensor_agrees(gpu(&setup, &options), CpuMachine::planned(&setup, fusion).unwrap(), tensors);
    }
}

fn every_tensor_agrees(mut gpu: GpuMachine<'_>, mut cpu: CpuMachine<'_>, tensors: usize) {
    // A seed with no value so close to 0 that rounding decides on which side of ReLU it falls; checked below.
    let state = fresh_state(gpu.plan(), 16);
    gpu.set_state(&state).unwrap();
    cpu.set_state(&state).unwrap();
    // One step of three images in a batch of five. Not more: rounding errors of one step decide in the next.
    train(&mut gpu, &images(3), 0.01).unwrap();
    train(&mut cpu, &images(3), 0.01).unwrap();
    for name in ["conv1.output", "conv2.output"] {
        let closest = cpu.tensor(name).unwrap().iter().fold(f64::MAX, |closest, value| closest.min(value.abs()));
        assert!(closest > 2e-6, "{name} has a value of {closest:e}: take another seed");
    }
    let mut compared = 0;
    for tensor in &gpu.plan().tensors {
        let Some(expected) = cpu.tensor(&tensor.name) else { continue };
        let actual = gpu.tensor(&tensor.name).unwrap().unwrap();
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
            // A few hundred roundings of 2⁻²⁴ relative to the largest value of the tensor, which the sums behind it are made of.
            let bound = 3e-5 * largest;
            assert!(
                (f64::from(actual) - expected).abs() <= bound,
                "{}[{index}]: {actual}, expected {expected} ± {bound}",
                tensor.name
            );
        }
        compared += 1;
    }
    assert!(compared > tensors, "only {compared} tensors compared");
}

/// A plan is fused as far as it leaves the most to a user's own kernels.
#[test]
fn a_kernel_of_ones_own_runs_for_every_layer() {
    let dataset = shapes(3, 8, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let device = Device::open(&adapter(), Checks::Unchecked).unwrap();
    let own = |name: &str| {
        let op = cases::of(name).remove(0).op;
        let file = op.lower(PLAIN).unwrap().dispatches[0].shader.file();
        CustomKernel::parse(Path::new("mine.wgsl"), file, &*op).unwrap()
    };
    let runs = |names: &[&str]| {
        let selection = Selection::new(names.iter().map(|name| own(name)).collect());
        let options = GpuOptions { selection, ..GpuOptions::default() };
        let plan = GpuMachine::plan_step(&device, &setup, &options).unwrap();
        let count = |name: &&str| plan.steps.iter().filter(|step| step.op.name() == *name).count();
        (names.iter().map(count).collect::<Vec<_>>(), plan.steps.len())
    };
    assert_eq!(runs(&[]), (vec![], 11));
    assert_eq!(runs(&["classifier_head"]), (vec![1], 11));
    assert_eq!(runs(&["dropout"]), (vec![0], 11));
    let (counts, layers) = runs(&["linear_forward"]);
    assert!(counts == [3] && layers > 11, "{counts:?}, {layers} ops");
    assert_eq!(runs(&["linear_grad_weight", "max_pool2d_backward"]), (vec![3, 2], layers));
    let (counts, apart) = runs(&["matmul"]);
    assert!(counts == [9] && apart > layers, "{counts:?}, {apart} ops");
    // No plan has both.
    assert_eq!(runs(&["linear_forward", "matmul"]), (vec![0, 9], apart));
}

/// What is fused computes what its parts do: in f64 there is no rounding to tell the two plans apart.
#[test]
fn a_fused_plan_gives_the_same_bits_in_the_reference() {
    let dataset = shapes(3, 20, 1);
    for network in [Network::load("lenet").unwrap(), Network::parse(EVERY_LAYER, "every layer").unwrap()] {
        let setup = Setup { network: &network, dataset: &dataset, batch: 5, optimiser: TUTORIAL, noise: NOISE };
        let [mut apart, mut fused] =
            [CpuMachine::new(&setup).unwrap(), CpuMachine::planned(&setup, Fusion::Full).unwrap()];
        assert!(fused.plan().steps.len() < apart.plan().steps.len());
        let state = fresh_state(apart.plan(), 2);
        let mut results = Vec::new();
        for machine in [&mut apart, &mut fused] {
            machine.set_state(&state).unwrap();
            let losses = train(machine, &images(18), 0.01).unwrap();
            let State { parameters, momentum } = machine.state().unwrap();
            results.push(
                [losses, parameters, momentum].map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>()),
            );
        }
        assert_eq!(results[0], results[1]);
    }
}

/// Ten steps of the tutorial network as PyTorch did them, in f64; see golden/generate.py.
#[test]
fn ten_steps_agree_with_pytorch() {
    let bytes =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ten_steps.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let read = |name: &str| golden.tensor(name).unwrap();
    let labels = read("labels");
    let labels = labels.data().chunks_exact(4).map(|bytes| bytes[0]).collect();
    let pixels = read("pixels").data().to_vec();
    let dataset = Dataset {
        name: "golden".into(),
        source: "PyTorch".into(),
        classes: (0..10).map(|class| class.to_string()).collect(),
        shape: ImageShape { channels: 3, height: 32, width: 32 },
        train: Split::new(labels, pixels),
        test: Split::default(),
    };
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let mut gpu = gpu(&setup, &GpuOptions::default());
    let mut state = fresh_state(gpu.plan(), 0);
    for parameter in &gpu.plan().parameters {
        let values = read(&parameter.name);
        let values: Vec<f32> = values.data().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        state.parameters[parameter.range()].copy_from_slice(&values);
    }
    gpu.set_state(&state).unwrap();
    let losses = train(&mut gpu, &images(40), 0.001).unwrap();
    let f64s =
        |name: &str| -> Vec<f64> { read(name).data().chunks_exact(8).map(bytemuck::pod_read_unaligned).collect() };
    for (loss, expected) in losses.iter().zip(f64s("losses")) {
        // f32 against f64 over ten steps of a network five layers deep.
        approx::assert_relative_eq!(f64::from(*loss), expected, max_relative = 1e-5);
    }
    let trained = gpu.state().unwrap();
    for parameter in &gpu.plan().parameters {
        let expected = f64s(&format!("final.{}", parameter.name));
        for (&actual, expected) in trained.parameters[parameter.range()].iter().zip(expected) {
            // Ten updates of about 1e-3 × the gradient, each with f32's relative error, on weights below 1.
            approx::assert_abs_diff_eq!(f64::from(actual), expected, epsilon = 1e-6);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_resident_or_streamed() {
    let dataset = shapes(5, 150, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let run = |options: GpuOptions| {
        let mut machine = gpu(&setup, &options);
        let state = fresh_state(machine.plan(), 7);
        machine.set_state(&state).unwrap();
        let losses = train(&mut machine, &images(150), 0.01).unwrap();
        (losses, machine.state().unwrap(), machine.is_resident())
    };
    let first = run(GpuOptions::default());
    assert!(first.2 && first.0.len() == 38);
    assert_eq!(first, run(GpuOptions::default()));
    let streamed = run(GpuOptions { resident_bytes: 0, ..GpuOptions::default() });
    assert!(!streamed.2);
    assert_eq!((first.0, first.1), (streamed.0, streamed.1));
}

/// Tensors that take turns in the same memory leave no trace in the result, and are refused rather than read as each other.
#[test]
fn shared_memory_gives_the_same_bits() {
    let dataset = shapes(5, 60, 8);
    let every_layer = Network::parse(EVERY_LAYER, "every layer").unwrap();
    let lenet = Network::load("lenet").unwrap();
    let lenet = Fusion::ALL.map(|fusion| (&lenet, fusion));
    for (network, fusion) in [(&every_layer, Fusion::None), (&every_layer, Fusion::Full)].into_iter().chain(lenet) {
        let setup = Setup { network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: NOISE };
        let run = |keep_tensors| {
            let mut machine = gpu(&setup, &GpuOptions { fusion, keep_tensors, ..GpuOptions::default() });
            let state = fresh_state(machine.plan(), 7);
            machine.set_state(&state).unwrap();
            let losses = train(&mut machine, &images(58), 0.01).unwrap();
            let logits = machine.logits(&dataset.test, 0..8).unwrap();
            let names = machine.plan().tensors.iter().map(|tensor| machine.tensor(&tensor.name));
            let refused: Vec<_> = names.filter_map(Result::err).map(|error| error.to_string()).collect();
            ((losses, machine.state().unwrap(), logits), machine.bytes(), refused)
        };
        let (alone, sharing) = (run(true), run(false));
        assert_eq!(alone.0, sharing.0);
        assert!(sharing.1 < alone.1, "{} bytes shared, {} not", sharing.1, alone.1);
        assert_eq!(alone.2, [""; 0]);
        assert!(
            !sharing.2.is_empty() && sharing.2.iter().all(|error| error.ends_with(" was not kept")),
            "{:?}",
            sharing.2
        );
    }
}

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

/// Two epochs of images that are drawn anew in each, in an order that is not theirs.
#[test]
fn augmented_training_agrees_with_the_reference_resident_or_streamed() {
    let dataset = shapes(5, 101, 1);
    let network = Network::load("lenet").unwrap();
    let order: Vec<u32> = (0..101).map(|place| place * 30 % 101).collect();
    let train = |machine: &mut dyn Machine| -> Vec<f32> {
        let state = fresh_state(machine.plan(), 7);
        machine.set_state(&state).unwrap();
        let epochs = [1, 2].map(|epoch| {
            let segment = Segment { images: &order, first_step: 1, epoch, learning_rates: &[0.01; 26] };
            machine.train(&segment, &mut |_| true).unwrap()
        });
        assert_ne!(epochs[0], epochs[1]);
        epochs.concat()
    };
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: NOISE };
    let run = |setup: &Setup<'_>, resident_bytes| {
        let mut machine = gpu(setup, &GpuOptions { resident_bytes, ..GpuOptions::default() });
        assert_eq!(machine.is_resident(), resident_bytes > 0);
        (train(&mut machine), machine.state().unwrap())
    };
    let resident = run(&setup, 1 << 30);
    assert_eq!(resident, run(&setup, 1 << 30));
    assert_eq!(resident, run(&setup, 0));
    let other = Setup { noise: Noise { seed: 8, ..NOISE }, ..setup };
    assert_ne!(resident.0, run(&other, 1 << 30).0);

    let on_cpu = train(&mut CpuMachine::new(&setup).unwrap());
    for (&gpu, &cpu) in resident.0.iter().zip(&on_cpu) {
        // As for two hundred steps without.
        approx::assert_relative_eq!(gpu, cpu, max_relative = 1e-3);
    }
}

/// Batches of other sizes and in another order see the same images, whatever came before them.
#[test]
fn an_image_is_augmented_alike_in_every_batch() {
    let dataset = shapes(5, 12, 1);
    let network = Network::load("lenet").unwrap();
    let input = |batch: u32, order: &[u32], resident_bytes| {
        let setup = Setup { network: &network, dataset: &dataset, batch, optimiser: TUTORIAL, noise: NOISE };
        let options = GpuOptions { resident_bytes, keep_tensors: true, ..GpuOptions::default() };
        let mut machine = gpu(&setup, &options);
        let segment = Segment { images: order, first_step: 1, epoch: 3, learning_rates: &[0.01; 2] };
        machine.train(&segment, &mut |_| true).unwrap();
        let input = machine.tensor("input").unwrap().unwrap();
        input.chunks_exact(dataset.shape.len()).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let all = input(12, &images(12), 1 << 30);
    let last = input(5, &[0, 1, 2, 3, 4, 11, 5, 8], 0);
    for (row, image) in [11, 5, 8].into_iter().enumerate() {
        assert_eq!(last[row], all[image], "image {image}");
    }
    assert!(last[3..].iter().flatten().all(|&value| value == 0.0));
    // Evaluation sees the images as they are.
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: NOISE };
    let logits = |setup: &Setup<'_>| gpu(setup, &GpuOptions::default()).logits(&dataset.train, 0..12).unwrap();
    assert_eq!(logits(&setup), logits(&Setup { noise: Noise::default(), ..setup }));
}

#[test]
fn dropout_agrees_with_the_reference_and_draws_anew_in_every_step() {
    let dataset = shapes(5, 100, 1);
    let network = dropping();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: NOISE };
    let state = |plan: &Plan| fresh_state(plan, 7);
    let train = |machine: &mut dyn Machine, first_step, learning_rate| {
        let state = state(machine.plan());
        machine.set_state(&state).unwrap();
        let learning_rates = &[learning_rate; 25];
        let segment = Segment { images: &images(100), first_step, epoch: 1, learning_rates };
        machine.train(&segment, &mut |_| true).unwrap()
    };
    let run = |setup: &Setup<'_>, first_step, learning_rate| {
        train(&mut gpu(setup, &GpuOptions::default()), first_step, learning_rate)
    };
    let losses = run(&setup, 1, 0.01);
    assert_eq!(losses, run(&setup, 1, 0.01));
    assert_ne!(losses, run(&Setup { noise: Noise { seed: 8, ..NOISE }, ..setup }, 1, 0.01));
    assert_ne!(losses[0], run(&setup, 2, 0.01)[0]);
    for (gpu, cpu) in losses.iter().zip(train(&mut CpuMachine::new(&setup).unwrap(), 1, 0.01)) {
        // As for two hundred steps without.
        approx::assert_relative_eq!(*gpu, cpu, max_relative = 1e-3);
    }

    // Evaluation drops nothing: the same weights under either network give the same logits, bit for bit.
    let lenet = Network::load("lenet").unwrap();
    let logits = |network| {
        let mut machine = gpu(&Setup { network, ..setup }, &GpuOptions::default());
        let state = state(machine.plan());
        machine.set_state(&state).unwrap();
        machine.logits(&dataset.train, 0..100).unwrap()
    };
    assert_eq!(logits(&network), logits(&lenet));
}

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
fn every_step_of_a_segment_has_its_own_learning_rate() {
    let dataset = shapes(6, 18, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: NOISE };
    let machines: [Box<dyn Machine + '_>; 2] =
        [Box::new(gpu(&setup, &GpuOptions::default())), Box::new(CpuMachine::new(&setup).unwrap())];
    let rates = [0.01, 0.0, 0.5, 0.002, 0.03];
    for mut machine in machines {
        let fresh = fresh_state(machine.plan(), 3);
        let mut train = |state: &State, first_step: u64, images: &[u32], learning_rates: &[f32]| {
            machine.set_state(state).unwrap();
            machine.train(&Segment { images, first_step, epoch: 1, learning_rates }, &mut |_| true).unwrap();
            machine.state().unwrap()
        };
        let together = train(&fresh, 1, &images(18), &rates);
        let steps = images(18);
        let one_by_one = steps
            .chunks(4)
            .zip(1..)
            .zip(&rates)
            .fold(fresh, |state, ((images, step), &rate)| train(&state, step, images, &[rate]));
        assert_eq!(together, one_by_one);
    }
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

/// The tutorial's network with dropout between its last layers.
fn dropping() -> Network {
    let lenet = Network::load("lenet").unwrap();
    let mut layers: Vec<Layer> = lenet.layers.iter().map(|named| named.layer).collect();
    layers.insert(layers.len() - 1, Layer::Dropout { p: 0.25 });
    layers.insert(layers.len() - 4, Layer::Dropout { p: 0.5 });
    Network::new("dropping", layers)
}

/// A small run with everything that is drawn; `stop_after` asks it to end once that many steps are done.
fn run(folder: &Path, resume: bool, epochs: u32, stop_after: Option<u64>) -> (Result<Outcome>, Vec<Event>) {
    run_with(Schedule::Constant, folder, resume, epochs, stop_after)
}

fn run_with(
    schedule: Schedule,
    folder: &Path,
    resume: bool,
    epochs: u32,
    stop_after: Option<u64>,
) -> (Result<Outcome>, Vec<Event>) {
    let augment = NOISE.augmentation;
    let (data, lr, seed, log_every) = ("shapes".into(), 0.01, 9, 20);
    let settings = Settings { data, epochs, lr, schedule, seed, log_every, augment, ..Settings::default() };
    let job = Job {
        network: dropping(),
        dataset: shapes(7, 203, 40),
        adapter: Some(adapter()),
        checks: Checks::Unchecked,
        gpu_options: GpuOptions::default(),
        tuner: None,
        run: if resume { RunTarget::Resume(folder.into()) } else { RunTarget::New(folder.into()) },
        begun: Instant::now(),
        settings,
    };
    let (sender, events) = flume::unbounded();
    let stop = Stop::default();
    let trainer = spawn(job, sender, stop.clone()).unwrap();
    let mut seen = Vec::new();
    for event in events {
        if let (Event::Progress { step, .. }, Some(after)) = (&event, stop_after)
            && *step >= after
        {
            stop.request();
        }
        seen.push(event);
    }
    (trainer.join().unwrap(), seen)
}

fn lines_of(folder: &Path, kinds: &[&str]) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let wanted = |line: &&str| kinds.iter().any(|kind| line.starts_with(&format!("{{\"event\":\"{kind}\"")));
    text.lines().filter(wanted).map(String::from).collect()
}

#[test]
fn an_interrupted_run_ends_as_the_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let (uninterrupted, events) = run_with(Schedule::Cosine, &whole, false, 3, None);
    let uninterrupted = uninterrupted.unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Done { steps: 153, .. })), "{events:?}");

    let mut resume = false;
    let mut interruptions = 0;
    let outcome = loop {
        // A little further every time.
        match run_with(Schedule::Cosine, &parts, resume, 3, Some(17 * (interruptions + 1))).0 {
            Err(Error::Interrupted { run, .. }) => {
                assert_eq!(run, parts);
                interruptions += 1;
                resume = true;
            }
            other => break other.unwrap(),
        }
    };
    assert!(interruptions >= 2, "only {interruptions} interruptions");
    assert_eq!(outcome.weights_sha256, uninterrupted.weights_sha256);
    assert_eq!(outcome.evaluation, uninterrupted.evaluation);
    assert_eq!(lines_of(&parts, &["loss", "eval"]), lines_of(&whole, &["loss", "eval"]));
    let losses = lines_of(&whole, &["loss"]);
    assert_eq!(losses.len(), 2 * 3);
    let fifth: serde_json::Value = serde_json::from_str(&losses[4]).unwrap();
    assert_eq!(fifth["step"], 122);
    let half_turns = 121.0 / 153.0 * std::f64::consts::PI;
    approx::assert_relative_eq!(fifth["lr"].as_f64().unwrap(), 0.005 * (1.0 + half_turns.cos()), max_relative = 1e-12);
}

#[test]
fn a_finished_run_can_be_extended() {
    let folder = tempfile::tempdir().unwrap();
    let (longer, extended) = (folder.path().join("longer"), folder.path().join("extended"));
    let longer_hash = run(&longer, false, 2, None).0.unwrap().weights_sha256;
    run(&extended, false, 1, None).0.unwrap();
    assert_eq!(run(&extended, true, 2, None).0.unwrap().weights_sha256, longer_hash);
    // And asking again changes nothing.
    assert_eq!(run(&extended, true, 2, None).0.unwrap().weights_sha256, longer_hash);
}

#[test]
fn a_run_belongs_to_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    run(&path, false, 1, None).0.unwrap();
    let held = RunFolder::open(&path).unwrap();
    let error = run(&path, true, 2, None).0.unwrap_err();
    assert!(error.to_string().ends_with("run is being trained by another process"), "{error}");
    drop(held);
    run(&path, true, 2, None).0.unwrap();
}

#[test]
fn another_data_set_is_not_resumed_on() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("run");
    run(&path, false, 1, None).0.unwrap();
    let job = Job {
        network: Network::load("lenet").unwrap(),
        dataset: shapes(8, 203, 40),
        adapter: Some(adapter()),
        checks: Checks::Unchecked,
        gpu_options: GpuOptions::default(),
        tuner: None,
        run: RunTarget::Resume(path),
        begun: Instant::now(),
        settings: Settings::default(),
    };
    let error = spawn(job, flume::unbounded().0, Stop::default()).unwrap().join().unwrap().unwrap_err();
    assert!(error.to_string().contains("holds other images than the run was trained on"), "{error}");
}
