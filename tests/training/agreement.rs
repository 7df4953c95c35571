//! The GPU against the reference and against PyTorch, step by step.

use std::path::Path;

use safetensors::SafeTensors;
use shadegrad::data::{Dataset, ImageShape, Split, shapes};
use shadegrad::machine::{Classifier, CpuMachine, GpuMachine, GpuOptions, Machine, Setup};
use shadegrad::nn::{Fusion, Network, Noise, Optimiser};

use crate::{EVERY_LAYER, NOISE, TUTORIAL, fresh_state, gpu, images, train};

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
        // The bound: rounding errors of f32 grow along a run, 200 steps at ten times the tutorial's learning rate stay below.
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
