//! The bench: its statistics and comparisons on made-up numbers, its ways of timing against each other, and that a wrong kernel gets no time.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::adapter;
use shadegrad::Error;
use shadegrad::bench::{
    self, Baseline, Bound, Ceilings, Clock, Contender, Measured, ROUNDS, Report, Row, Summary, Timing, Verdict,
    implausible,
};
use shadegrad::cases;
use shadegrad::check;
use shadegrad::gpu::{AdapterInfo, Checks, Device, DeviceKind};
use shadegrad::nn::{Fusion, Network};
use shadegrad::ops::{self, PLAIN};
use shadegrad::train::Settings;

fn device() -> Device {
    Device::open(&adapter(), Checks::Unchecked).unwrap()
}

const CEILINGS: Ceilings = Ceilings { fma_gflops: 100.0, copy_gbps: 10.0, dispatch_us: 5.0 };

/// A kernel of 1 GFLOP and 1 MB whose samples lie evenly between `low` and `high`, in seconds.
fn row(low: f64, high: f64) -> Row {
    let samples: Vec<f64> = (0..21).map(|place| low + (high - low) * f64::from(place) / 20.0).collect();
    let measured = Measured {
        time: Summary::new(&samples),
        rounds: vec![samples],
        timing: Timing::Timestamps,
        executions: 1,
        rotated_bytes: 0,
    };
    Row {
        op: "matmul".into(),
        variant: PLAIN.into(),
        shape: "made up".into(),
        flops: 1_000_000_000,
        bytes: 1_000_000,
        is_ours: true,
        outcome: Ok(measured),
    }
}

fn report(device: &Device, rows: Vec<Row>) -> Report {
    Report { adapter: device.info().clone(), checks: Checks::Unchecked, ceilings: CEILINGS, rows }
}

#[test]
fn summaries_are_order_statistics() {
    let samples: Vec<f64> = (0..=100).rev().map(f64::from).collect();
    let summary = Summary::new(&samples);
    assert_eq!((summary.median, summary.p5, summary.p95, summary.runs), (50.0, 5.0, 95.0, 101));
    // 50 ± 1.96 · √101 / 2.
    assert_eq!(summary.median_interval, [40.0, 60.0]);
    assert_eq!(summary.spread(), 90.0 / 50.0);
    assert_eq!(Summary::new(&[3.0]).median_interval, [3.0, 3.0]);
    let (ratio, [low, high]) = summary.ratio(&summary);
    assert!(ratio == 1.0 && low < 1.0 && high > 1.0);
}

#[test]
fn rounds_that_differ_widen_the_interval_of_the_median() {
    // Ten rounds of six samples, each steady in itself: seven at 1, three at 2.
    let rounds: Vec<Vec<f64>> = (0..10).map(|round| vec![if round < 7 { 1.0 } else { 2.0 }; 6]).collect();
    assert_eq!(Summary::new(&rounds.concat()).median_interval, [1.0, 1.0]);
    let summary = Summary::of_rounds(&rounds);
    assert_eq!((summary.median, summary.median_interval, summary.runs), (1.0, [1.0, 2.0], 60));
    assert_eq!(Summary::of_rounds(&rounds[..1]), Summary::new(&rounds[0]));
}

#[test]
fn the_roofline_has_two_sides() {
    let (memory, compute) = ((10_000, 10_000), (10_000_000, 10_000));
    assert_eq!(CEILINGS.bound(memory.0, memory.1, 1e-3), Bound::Memory);
    assert_eq!(CEILINGS.bound(compute.0, compute.1, 1e-3), Bound::Compute);
    // Four empty dispatches of 5 µs.
    assert_eq!(CEILINGS.bound(compute.0, compute.1, 20e-6), Bound::Dispatch);
    assert_eq!(CEILINGS.ridge(), 10.0);
    let row = row(0.02, 0.02);
    let measured = row.outcome.as_ref().unwrap();
    // 1 GFLOP at 100 GFLOP/s takes 10 ms at best.
    assert!((row.percent_of_roofline(measured, &CEILINGS) - 50.0).abs() < 1e-9);
    assert!((row.gflops(measured) - 50.0).abs() < 1e-9);
}

#[test]
fn timestamps_that_make_no_sense_are_refused() {
    assert_eq!(implausible(0.01, 0.02, 0.021), None);
    assert!(implausible(0.0, 0.0, 0.02).unwrap().contains("do not advance"));
    // Ten times the wall clock; a tenth of it; no more for twice the work.
    assert!(implausible(0.1, 0.2, 0.02).is_some());
    assert!(implausible(0.001, 0.002, 0.02).is_some());
    assert!(implausible(0.018, 0.019, 0.02).unwrap().contains("twice the work"));
}

#[test]
fn a_baseline_tells_noise_from_regressions() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.json");
    fs::write(&path, report(&device, vec![row(0.95, 1.05)]).to_json().to_string()).unwrap();
    let baseline = Baseline::load(&path).unwrap();
    let verdict = |row: Row| baseline.compare(&[row], 0.05)[0].verdict;
    assert_eq!(verdict(row(0.97, 1.07)), Verdict::Noise);
    assert_eq!(verdict(row(0.45, 0.55)), Verdict::Faster);
    assert_eq!(verdict(row(1.039, 1.041)), Verdict::Slower);
    assert_eq!(verdict(row(1.15, 1.25)), Verdict::Regression);
    // Disturbed: its fastest runs are what they were.
    assert_eq!(verdict(row(0.95, 1.55)), Verdict::Slower);
    assert_eq!(verdict(Row { outcome: Err("wrong".into()), ..row(1.0, 1.0) }), Verdict::Regression);
    // What the baseline does not know is no change.
    assert!(baseline.compare(&[Row { shape: "another".into(), ..row(9.0, 9.0) }], 0.05).is_empty());
    let today = report(&device, Vec::new());
    assert_eq!(baseline.mismatch(&today), None);
    let checked = baseline.mismatch(&Report { checks: Checks::Checked, ..today.clone() }).unwrap();
    assert_eq!(checked, "the kernels of the baseline ran without bounds checks, these with");
    let adapter = AdapterInfo { driver: "another".into(), ..today.adapter.clone() };
    let foreign = baseline.mismatch(&Report { adapter, ..today }).unwrap();
    assert!(foreign.ends_with(" (another)"), "{foreign}");
    assert!(baseline.has("matmul", PLAIN, "made up") && !baseline.has("matmul", PLAIN, "another"));

    let zero = report(&device, vec![row(1.0, 1.0)]).to_json().to_string().replace("1000000.0", "0.0");
    fs::write(&path, zero).unwrap();
    let refusal = Baseline::load(&path).unwrap_err().to_string();
    assert!(refusal.ends_with(" is no result of `bench --json` (it has times that are not above 0)"), "{refusal}");
    fs::write(&path, "{}").unwrap();
    assert!(matches!(Baseline::load(&path), Err(Error::Data { .. })));
    assert!(matches!(Baseline::load(Path::new("no such file")), Err(Error::File { .. })));
}

#[test]
fn shapes_are_refused_by_their_key() {
    let refusal = |op: &str, sizes: &str| cases::sized(op, sizes).err().map(|error| error.to_string()).unwrap();
    assert_eq!(refusal("matmul", "m=2,k=3"), "matmul: --shape does not give n");
    assert_eq!(refusal("matmul", "m=2,k=3,n=0"), "matmul: n must be at least 1 (got 0)");
    for (op, sizes) in [
        ("relu_forward", "length=4294967295"),
        ("gather", "batch=4294967295,image_length=4294967295"),
        ("max_pool2d_backward", "planes=4000000,height=4000,width=4000,kernel_size=2,stride=2"),
    ] {
        assert!(refusal(op, sizes).ends_with(" elements, at most 268435456 can be drawn"), "{op}");
    }
    assert_eq!(refusal("matmul", "m=2,k=three,n=4"), "matmul: k is no whole number below 2³² (got three)");
    assert_eq!(refusal("matmul", "m=2,k=3,n=4,n=5"), "matmul: --shape gives n twice");
    assert_eq!(refusal("matmul", "m=2,k"), "matmul: --shape has a part that is no key=value (got k)");
    assert_eq!(
        refusal("matmul", "m=2,k=3,n=4,width=5"),
        "matmul: --shape has no key width (expected m, k, n, transpose_a, transpose_b)"
    );
    let window = "batch=1,in_channels=1,out_channels=1,height=2,width=9,kernel_size=3";
    assert_eq!(
        refusal("conv2d_forward", window),
        "conv2d_forward: the padded input is smaller than the kernel along height (got 2, expected at least 3)"
    );
    assert_eq!(refusal("matmull", "m=2"), "no op matmull");
}

#[test]
fn every_op_has_sizes_and_is_right_at_them() {
    let device = device();
    let cased: BTreeSet<_> = cases::all().iter().map(|case| case.op.name()).collect();
    assert_eq!(cases::timed().map(|timed| timed.op).collect::<BTreeSet<_>>(), cased, "ops with a case and ops to time");
    for timed in cases::timed() {
        // The first size of each is the small one.
        let case = timed.case(timed.defaults[0]).unwrap();
        assert_eq!(case.op.name(), timed.op);
        for contender in bench::variants(&device, &case, &[]).unwrap() {
            let outcome = check::run_lowering(&device, &case, &contender.lowering).unwrap();
            assert_eq!(outcome.failure, None, "{} {}", timed.op, contender.label);
        }
    }
}

/// Tiles in workgroup memory are for hardware; elsewhere they are neither the default nor timed, unless they are named.
#[test]
fn variants_that_are_not_made_for_an_adapter_are_timed_by_name_alone() {
    let device = device();
    let is_hardware = device.info().kind != DeviceKind::Software;
    for (op, sizes, variant) in [
        ("matmul", "m=64,k=64,n=64", "shared_32"),
        (
            "conv2d_forward",
            "batch=4,in_channels=6,out_channels=16,height=14,width=14,kernel_size=5",
            "implicit_gemm_32",
        ),
    ] {
        let case = cases::sized(op, sizes).unwrap();
        let labels = |named: &[String]| -> Vec<String> {
            let contenders = bench::variants(&device, &case, named).unwrap();
            contenders.into_iter().map(|contender| contender.label).collect()
        };
        assert_eq!(labels(&[variant.into()]), [variant]);
        assert_eq!(labels(&[]).iter().any(|label| label == variant), is_hardware);
        assert!(is_hardware || ops::choose(&*case.op, &device) != variant);
        assert_ne!(ops::choose_unseen(&*case.op, true), variant);
    }
}

#[test]
fn a_wrong_kernel_gets_no_time_and_a_right_one_does() {
    let device = device();
    let mut clock = Clock::new(&device).unwrap();
    let case = cases::sized("matmul", "m=8,k=16,n=8").unwrap();
    let mut contenders = bench::variants(&device, &case, &[]).unwrap();
    // The same kernel with a and b in each other's place.
    let mut lowering = case.op.lower(ops::PLAIN).unwrap();
    for (name, place) in &mut lowering.dispatches[0].bindings {
        match *name {
            "a" => *place = 1,
            "b" => *place = 0,
            _ => {}
        }
    }
    contenders.push(Contender { label: "swapped".into(), lowering, is_ours: true });
    let outcomes = bench::measure(&mut clock, &case, &contenders).unwrap();
    let rows: Vec<Row> =
        contenders.iter().zip(outcomes).map(|(contender, outcome)| Row::new(&case, contender, outcome)).collect();
    let json = report(&device, rows).to_json();

    assert!(json["adapter"]["name"].is_string());
    assert!(json["peak"]["fma_gflops"].is_number() && json["peak"]["copy_gbps"].is_number());
    let cases = json["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in &cases[..2] {
        for key in ["median_us", "p5_us", "p95_us", "gflops", "gbps", "percent_of_roofline"] {
            assert!(case[key].as_f64().unwrap() > 0.0, "{key} in {case}");
        }
        assert!(["timestamps", "slope"].contains(&case["timing"].as_str().unwrap()));
        assert_eq!(case["verified"], true);
        assert_eq!(case["op"], "matmul");
    }
    assert_eq!((&cases[2]["variant"], &cases[2]["verified"]), (&"swapped".into(), &false.into()));
    assert!(cases[2]["median_us"].is_null(), "{}", cases[2]);
    assert!(cases[2]["failure"].as_str().unwrap().starts_with("output["), "{}", cases[2]);
}

#[test]
fn timestamps_and_slope_agree() {
    let device = device();
    let case = cases::sized("matmul", "m=64,k=64,n=64").unwrap();
    let contenders = bench::variants(&device, &case, &[]).unwrap();
    let mut clock = Clock::new(&device).unwrap();
    if let Some(objection) = &clock.objection {
        println!("only the slope here: {objection}");
        return;
    }
    let measured = |clock: &mut Clock| {
        let round = |_| bench::measure(clock, &case, &contenders[..1]).unwrap().remove(0).unwrap();
        (0..ROUNDS).map(round).reduce(|before, round| before.and(&round)).unwrap()
    };
    let stamped = measured(&mut clock);
    clock.use_slope();
    let sloped = measured(&mut clock);
    assert_eq!((stamped.timing, sloped.timing), (Timing::Timestamps, Timing::Slope));
    let ratio = stamped.time.median / sloped.time.median;
    println!("timestamps {:.1} µs, slope {:.1} µs", 1e6 * stamped.time.median, 1e6 * sloped.time.median);
    // Tests run beside each other; on a quiet machine the two are within 10 %.
    assert!((0.4..2.5).contains(&ratio), "timestamps {stamped:?}, slope {sloped:?}");
}

#[test]
fn a_step_is_the_sum_of_its_parts() {
    let device = device();
    let mut clock = Clock::new(&device).unwrap();
    let network = Network::load("lenet").unwrap();
    let optimiser = Settings::default().optimiser();
    let report = bench::step(&mut clock, &network, [3, 32, 32], 10, 4, Fusion::Full, &optimiser).unwrap();
    assert_eq!(report.parts.iter().map(|part| part.flops).sum::<u64>(), report.flops);
    let labels: Vec<&str> = report.parts.iter().map(|part| &*part.label).collect();
    assert!(labels.contains(&"conv1.forward") && labels.contains(&"conv2.grad_weight"), "{labels:?}");
    let ratio = report.parts_seconds() / report.time.median;
    assert!((0.3..4.0).contains(&ratio), "parts take {ratio} times the step");
    assert!((report.images_per_second() / report.steps_per_second() - 4.0).abs() < 1e-9);

    let trace = bench::chrome_trace(&network.name, "adapter", std::slice::from_ref(&report));
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.len(), 1 + labels.len());
    let mut last = 0.0;
    for event in &events[1..] {
        assert_eq!(event["ph"], "X");
        let begin = event["ts"].as_f64().unwrap();
        assert!(begin >= last && event["dur"].as_f64().unwrap() > 0.0, "{event}");
        last = begin;
    }
}

#[test]
fn the_picture_is_a_png_without_the_systems_fonts() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roofline.png");
    let rows = vec![row(0.02, 0.02), Row { outcome: Err("wrong".into()), ..row(1.0, 1.0) }];
    bench::roofline(&report(&device, rows), &path).unwrap();
    let picture = image::open(&path).unwrap().into_rgb8();
    assert!(picture.width() >= 1000 && picture.pixels().any(|pixel| pixel.0 != [255; 3]));
    // Nothing to draw but the roof is no error.
    bench::roofline(&report(&device, Vec::new()), &path).unwrap();
}
