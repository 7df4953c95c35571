//! Every op in every variant at the first of its default sizes, timed by the GPU's clock where that can be believed: `cargo bench --bench
//! kernels`. `shadegrad bench` says more; this keeps criterion's history.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shadegrad::bench::{self, Clock, MAX_EXECUTIONS};
use shadegrad::cases;
use shadegrad::gpu::{Adapters, Checks, Choice, Device, install_hint};

fn kernels(criterion: &mut Criterion) {
    let adapter = Adapters::list().choose(&Choice::Auto).ok().flatten();
    let adapter = adapter.unwrap_or_else(|| panic!("no adapter: {}", install_hint()));
    let device = Device::open(&adapter, Checks::Unchecked).expect("an adapter that opens");
    let mut clock = Clock::new(&device).expect("a device that answers");
    for timed in cases::timed() {
        let case = timed.case(timed.defaults[0]).expect("sizes that fit");
        let mut group = criterion.benchmark_group(format!("{} {}", timed.op, case.op.shape()));
        group.throughput(Throughput::Elements(case.op.flops().max(1)));
        for contender in bench::variants(&device, &case, &[]).expect("variants of a listed op") {
            let work = bench::prepare(&mut clock, &case, &contender).expect("a kernel that is right");
            group.bench_function(&*contender.label, |bencher| {
                bencher.iter_custom(|executions| {
                    let mut time = Duration::ZERO;
                    let mut left = executions;
                    while left > 0 {
                        let now = left.min(MAX_EXECUTIONS as u64);
                        let seconds = clock.sample(&work, now as usize).expect("a device that answers");
                        time += Duration::from_secs_f64(seconds * now as f64);
                        left -= now;
                    }
                    time
                });
            });
        }
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = kernels
}
criterion_main!(all);
