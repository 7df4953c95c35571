//! A whole training step of the tutorial network on the default adapter, device-bound: many steps to a submit, nothing read back until
//! the end. `cargo bench`.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shadegrad::data::shapes;
use shadegrad::gpu::{Adapters, Checks, Choice, Device, install_hint};
use shadegrad::machine::{Classifier, GpuMachine, GpuOptions, MAX_SEGMENT, Machine, Segment, Setup, State};
use shadegrad::nn::{Network, Noise, initialise};
use shadegrad::train::Settings;

fn training_step(criterion: &mut Criterion) {
    let dataset = shapes(0, 4096, 1);
    let network = Network::load("lenet").expect("a preset");
    let mut group = criterion.benchmark_group("training step, lenet");
    for batch in [4, 128] {
        let adapter = Adapters::list().choose(&Choice::Auto).ok().flatten();
        let adapter = adapter.unwrap_or_else(|| panic!("no adapter: {}", install_hint()));
        let device = Device::open(&adapter, Checks::Unchecked).expect("an adapter that opens");
        let optimiser = Settings::default().optimiser();
        let setup = Setup { network: &network, dataset: &dataset, batch, optimiser, noise: Noise::default() };
        let mut machine = GpuMachine::new(device, &setup, &GpuOptions::default()).expect("a network that fits");
        let parameters = initialise(machine.plan(), 0);
        let momentum = vec![0.0; parameters.len()];
        machine.set_state(&State { parameters, momentum }).expect("a device that answers");

        let segment = u64::from(MAX_SEGMENT).min(4096 / u64::from(batch));
        let images: Vec<u32> = (0..4096).collect();
        let learning_rates = vec![1e-3; segment as usize];
        group.throughput(Throughput::Elements(batch.into()));
        group.bench_function(format!("batch {batch}"), |bencher| {
            bencher.iter_custom(|steps| {
                let mut time = Duration::ZERO;
                let mut left = steps;
                while left > 0 {
                    let now = left.min(segment);
                    let images = &images[..(now * u64::from(batch)) as usize];
                    let started = Instant::now();
                    machine
                        .train(
                            &Segment { images, first_step: 1, epoch: 1, learning_rates: &learning_rates },
                            &mut |_| true,
                        )
                        .expect("a step");
                    time += started.elapsed();
                    left -= now;
                }
                time
            });
        });
    }
}

criterion_group! {
    name = step;
    config = Criterion::default().sample_size(10);
    targets = training_step
}
criterion_main!(step);
