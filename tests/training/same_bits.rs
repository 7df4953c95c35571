//! The same seed gives the same bits, wherever images and tensors lie and however the steps are asked for.

use shadegrad::Result;
use shadegrad::data::shapes;
use shadegrad::machine::{Classifier, CpuMachine, GpuOptions, Machine, Segment, Setup, State};
use shadegrad::nn::{Fusion, Network, Noise};

use crate::{EVERY_LAYER, NOISE, TUTORIAL, fresh_state, gpu, images, train};

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
