//! What a plan makes one op of: what it leaves to a user's own kernels, and that the results stay the same.

use std::path::Path;

use shadegrad::cases;
use shadegrad::data::shapes;
use shadegrad::gpu::{Checks, Device};
use shadegrad::machine::{Classifier, CpuMachine, GpuMachine, GpuOptions, Machine, Setup, State};
use shadegrad::nn::{Fusion, Network, Noise};
use shadegrad::ops::custom::CustomKernel;
use shadegrad::ops::{PLAIN, Selection};

use crate::common::adapter;
use crate::{EVERY_LAYER, NOISE, TUTORIAL, fresh_state, images, train};

/// A plan is fused as far as it leaves the most to a user's own kernels.
#[test]
fn a_kernel_of_ones_own_runs_for_every_layer() {
    let dataset = shapes(3, 8, 1);
    let network = Network::load("lenet").unwrap();
    let setup = Setup { network: &network, dataset: &dataset, batch: 4, optimiser: TUTORIAL, noise: Noise::default() };
    let device = Device::open(&adapter(), Checks::Unchecked).unwrap();
    let own = |name: &str| {
        let op = cases::of(name).remove(0).op;
        let file = op.lower(PLAIN).unwrap().dispatches[0].shader.text();
        CustomKernel::parse(Path::new("mine.wgsl"), &file, &*op).unwrap()
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
