//! Factors of products in half precision: only where they are asked for, and close to what single precision gives.

use shadegrad::data::shapes;
use shadegrad::geometry;
use shadegrad::gpu::{Device, DeviceOptions, Feature, Precision};
use shadegrad::machine::{Classifier, GpuMachine, GpuOptions, Machine, Setup};
use shadegrad::nn::{Network, Noise};
use shadegrad::ops::matmul::Matmul;
use shadegrad::ops::{Op, PLAIN, Tuned};

use crate::common::adapter;
use crate::{TUTORIAL, fresh_state, images, train};

#[test]
fn half_precision_is_near_and_only_where_it_is_asked_for() {
    let dataset = shapes(3, 64, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 8, optimiser: TUTORIAL, noise: Noise::default() };
    let open = |precision| Device::open_with(&adapter(), DeviceOptions { precision, ..DeviceOptions::default() });
    if !open(Precision::F32).unwrap().has(Feature::F16) {
        let refusal = open(Precision::F16).err().expect("refused");
        assert!(refusal.to_string().ends_with(" has no f16"), "{refusal}");
        return;
    }
    let run = |precision| {
        let mut machine = GpuMachine::new(open(precision).unwrap(), &setup, &GpuOptions::default()).unwrap();
        let state = fresh_state(machine.plan(), 7);
        machine.set_state(&state).unwrap();
        let losses = train(&mut machine, &images(64), 0.01).unwrap();
        (losses, machine.state().unwrap().parameters)
    };
    let (single, half) = (run(Precision::F32), run(Precision::F16));
    assert_ne!(single.1, half.1);
    assert_eq!(half, run(Precision::F16));
    // A factor is off by a thousandth at most, and few of a layer's gradients cancel to less than a tenth of their terms.
    for (single, half) in single.0.iter().zip(&half.0) {
        assert!((single - half).abs() < 0.01 * single, "{single} and {half}");
    }
}

#[test]
fn a_choice_of_half_precision_is_none_where_single_is_asked_for() {
    let open = |precision| Device::open_with(&adapter(), DeviceOptions { precision, ..DeviceOptions::default() });
    let op = Matmul(geometry::Matmul { m: 64, k: 64, n: 64, transpose_a: false, transpose_b: false });
    let chosen = |variant: &str| {
        let mut tuned = Tuned::default();
        tuned.insert(op.name(), &op.shape(), variant);
        tuned
    };
    let half = chosen("shared_32_f16");
    assert!(op.variants().contains(&"shared_32_f16"));
    assert_eq!(half.choice(&op, &open(Precision::F32).unwrap()), None);
    if let Ok(device) = open(Precision::F16) {
        assert_eq!(half.choice(&op, &device), Some("shared_32_f16"));
        assert_eq!(chosen(PLAIN).choice(&op, &device), Some(PLAIN));
    }
}
