//! Factors of products in half precision: only where they are asked for, and close to what single precision gives.

use shadegrad::data::shapes;
use shadegrad::gpu::{Device, DeviceOptions, Feature, Precision};
use shadegrad::machine::{Classifier, GpuMachine, GpuOptions, Machine, Setup};
use shadegrad::nn::{Network, Noise};

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
