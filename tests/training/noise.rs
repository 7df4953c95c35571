//! What training draws: augmentation and dropout, against the reference and against themselves.

use shadegrad::data::shapes;
use shadegrad::machine::{Classifier, CpuMachine, GpuOptions, Machine, Segment, Setup};
use shadegrad::nn::{Network, Noise, Plan};

use crate::{NOISE, TUTORIAL, dropping, fresh_state, gpu, images};

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
