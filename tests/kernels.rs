//! Every kernel against the f64 reference: every case in every variant, with and without wgpu's checks, from poisoned outputs and
//! between guard bands. Then what no single result shows: the same bits every time, and relations between results.

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use common::adapter;
use shadegrad::cases::{self, evaluate, gamma};
use shadegrad::check::{self, POISONS, Rig};
use shadegrad::geometry::{Conv2d, Matmul as MatmulShape, Pool2d, Window};
use shadegrad::gpu::{Checks, Device, StepRow};
use shadegrad::ops::avg_pool2d::AvgPool2dForward;
use shadegrad::ops::bias::BiasGrad;
use shadegrad::ops::conv2d::{Conv2dForward, Conv2dGradInput, Conv2dGradWeight};
use shadegrad::ops::matmul::Matmul;
use shadegrad::ops::max_pool2d::MaxPool2dForward;
use shadegrad::ops::relu::{ReluBackward, ReluForward};
use shadegrad::ops::sgd::Sgd;
use shadegrad::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use shadegrad::ops::{Access, Element, Op};
use shadegrad::random::{Purpose, Random};

const STEP: StepRow = StepRow { step: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.1 };

/// One row of the printed table.
#[derive(Default)]
struct Tally {
    cases: usize,
    failures: usize,
    worst: f64,
    seconds: f64,
}

#[test]
fn every_case_in_every_variant_is_within_its_bound() {
    let devices = [device(Checks::Checked), device(Checks::Unchecked)];
    println!("{} ({})", devices[0].info().name, devices[0].info().driver);
    let mut tallies: BTreeMap<(&str, &str, &str), Tally> = BTreeMap::new();
    let mut failures = Vec::new();
    let started = Instant::now();
    // By value: what a case holds goes with it.
    for case in cases::all() {
        for &variant in case.op.variants() {
            for (device, mode) in devices.iter().zip(["checked", "unchecked"]) {
                let name = case.op.name();
                let clock = Instant::now();
                let outcome = check::run(device, &case, variant)
                    .unwrap_or_else(|error| panic!("{name} {variant} {mode} {}: {error}", case.shape()));
                let tally = tallies.entry((name, variant, mode)).or_default();
                tally.cases += 1;
                tally.seconds += clock.elapsed().as_secs_f64();
                tally.worst = tally.worst.max(outcome.error_of_bound);
                if let Some(failure) = outcome.failure {
                    tally.failures += 1;
                    failures.push(format!("{name} {variant} {mode} {}: {failure}", case.shape()));
                }
            }
        }
    }
    println!(
        "{:26} {:8} {:9} {:>6} {:>7} {:>12} {:>8}",
        "op", "variant", "mode", "cases", "failed", "worst share", "seconds"
    );
    for ((op, variant, mode), tally) in &tallies {
        let Tally { cases, failures, worst, seconds } = tally;
        println!("{op:26} {variant:8} {mode:9} {cases:6} {failures:7} {worst:12.4} {seconds:8.2}");
    }
    let runs: usize = tallies.values().map(|tally| tally.cases).sum();
    println!("{runs} runs in {:.1} s", started.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} of {runs} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_self_test_passes() {
    let names: std::collections::BTreeSet<_> = cases::all().iter().map(|case| case.op.name()).collect();
    assert_eq!(check::self_test(&device(Checks::Unchecked)).unwrap(), names.len());
}

#[test]
fn the_same_input_gives_the_same_bits_twenty_times() {
    let device = device(Checks::Unchecked);
    let split = Conv2d::new(5, 2, 3, [32, 32], Window::square(3)).unwrap();
    let ops: [Box<dyn Op>; 5] = [
        Box::new(Conv2dForward(Conv2d::new(4, 3, 6, [32, 32], Window::square(5)).unwrap())),
        Box::new(Conv2dGradWeight(split)),
        Box::new(Matmul(MatmulShape { m: 9, k: 9001, n: 10, transpose_a: false, transpose_b: true })),
        Box::new(BiasGrad(shadegrad::geometry::Channels { batch: 20, channels: 5, size: 784 })),
        Box::new(SoftmaxCrossEntropy { rows: 65, classes: 10, label_smoothing: 0.1 }),
    ];
    for op in &ops {
        let inputs = uniform(&**op, 1);
        for variant in op.variants() {
            let rig = Rig::new(&device, &**op, variant, &STEP).unwrap();
            let first = rig.run(&inputs, POISONS[0]).unwrap().operands;
            for run in 1..20 {
                let again = rig.run(&inputs, POISONS[run % 2]).unwrap().operands;
                assert!(again == first, "{} {variant}: run {run} differs", op.name());
            }
        }
    }
}

#[test]
fn a_batch_is_its_images_one_by_one() {
    let device = device(Checks::Unchecked);
    let [one, many] = [1, 5].map(|batch| Conv2d::new(batch, 3, 6, [9, 7], Window::square(3).padding(1)).unwrap());
    let [row, rows] = [1, 5].map(|m| MatmulShape { m, k: 37, n: 10, transpose_a: false, transpose_b: true });
    // With the place of the operand that, like the result, has one part for each image.
    let pairs: [([Box<dyn Op>; 2], usize); 3] = [
        ([Box::new(Conv2dForward(one)), Box::new(Conv2dForward(many))], 0),
        ([Box::new(Conv2dGradInput(one)), Box::new(Conv2dGradInput(many))], 1),
        ([Box::new(Matmul(row)), Box::new(Matmul(rows))], 0),
    ];
    for ([one, many], place) in pairs {
        let inputs = uniform(&*many, 2);
        for variant in one.variants() {
            let result = outputs(&device, &*many, variant, &inputs);
            let image_length = result.len() / 5;
            for image in 0..5 {
                let mut single = inputs.clone();
                let length = inputs[place].len() / 5;
                single[place] = inputs[place][image * length..(image + 1) * length].to_vec();
                // Bit for bit: an image's sums run in the same order whatever lies beside it.
                let alone = outputs(&device, &*one, variant, &single);
                assert_eq!(alone, result[image * image_length..(image + 1) * image_length], "{} {variant}", one.name());
            }
        }
    }
}

#[test]
fn padding_is_zeros_around_the_input() {
    let device = device(Checks::Unchecked);
    let window = Window { padding: [1, 2], ..Window::square(3) };
    let padded = Conv2dForward(Conv2d::new(2, 3, 5, [6, 7], window).unwrap());
    let explicit = Conv2dForward(Conv2d::new(2, 3, 5, [8, 11], Window::square(3)).unwrap());
    let inputs = uniform(&padded, 3);
    let mut wide = inputs.clone();
    wide[0] = vec![0; 2 * 3 * 8 * 11];
    for (row, values) in inputs[0].chunks_exact(7).enumerate() {
        let start = ((row / 6) * 8 + row % 6 + 1) * 11 + 2;
        wide[0][start..start + 7].copy_from_slice(values);
    }
    for variant in padded.variants() {
        // As values, for a zero may have either sign: adding w · 0 changes nothing else.
        let [left, right] = [
            floats(&outputs(&device, &padded, variant, &inputs)),
            floats(&outputs(&device, &explicit, variant, &wide)),
        ];
        assert_eq!(left, right, "{variant}");
    }
}

/// ⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ = ⟨w, grad_weight⟩: the three kernels are one trilinear form. Each result is within γ_k times its sum of
/// absolute values, so each form is within γ_k · Σ|x·w·y|.
#[test]
fn forward_and_backward_are_adjoint() {
    let device = device(Checks::Unchecked);
    let window = Window { kernel_size: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2] };
    let shape = Conv2d::new(3, 4, 6, [9, 8], window).unwrap();
    let (forward, grad_input, grad_weight) = (Conv2dForward(shape), Conv2dGradInput(shape), Conv2dGradWeight(shape));
    let mut inputs = uniform(&forward, 4);
    inputs[2].fill(0);
    let (input, weight) = (inputs[0].clone(), inputs[1].clone());
    let grad_output = uniform(&grad_input, 5)[1].clone();
    let magnitudes = evaluate(&forward, &STEP, &inputs, f64::abs);
    let total: f64 = magnitudes[3].iter().zip(floats(&grad_output)).map(|(x, y)| x * y.abs()).sum();
    // The longest of the three sums: grad_weight's, over images and places.
    let terms = 3 * u64::from(shape.output[0] * shape.output[1]);
    let bound = 2.0 * gamma(terms) * total;
    for variant in forward.variants() {
        let forms = [
            dot(&outputs(&device, &forward, variant, &inputs), &grad_output),
            dot(&outputs(&device, &grad_input, variant, &[weight.clone(), grad_output.clone(), Vec::new()]), &input),
            dot(&outputs(&device, &grad_weight, variant, &[input.clone(), grad_output.clone(), Vec::new()]), &weight),
        ];
        for form in &forms[1..] {
            assert!((form - forms[0]).abs() <= bound, "{variant}: {forms:?} ± {bound:e}");
        }
    }
}

/// Both are within their bound of the truth; here they meet on the same small integers, whose sums are exact: bit for bit.
#[test]
fn tiled_equals_plain_where_nothing_is_rounded() {
    let device = device(Checks::Unchecked);
    let shape = Conv2d::new(3, 5, 7, [10, 11], Window::square(3).stride(2).padding(1)).unwrap();
    let ops: [Box<dyn Op>; 4] = [
        Box::new(Conv2dForward(shape)),
        Box::new(Conv2dGradInput(shape)),
        Box::new(Conv2dGradWeight(shape)),
        Box::new(Matmul(MatmulShape { m: 13, k: 4100, n: 6, transpose_a: true, transpose_b: false })),
    ];
    for op in &ops {
        let mut inputs = uniform(&**op, 6);
        for bits in inputs.iter_mut().flatten() {
            *bits = (f32::from_bits(*bits) * 8.0).trunc().to_bits();
        }
        let plain = floats(&outputs(&device, &**op, "plain", &inputs));
        for variant in &op.variants()[1..] {
            assert_eq!(floats(&outputs(&device, &**op, variant, &inputs)), plain, "{} {variant}", op.name());
        }
    }
}

/// A NaN or an infinity reaches the results that depend on it and no others: each result that the reference leaves alone keeps its bits.
/// Padding is zeros, and zero times NaN is NaN, so a kernel may let a factor that meets padding spread there, where the reference skips
/// the product: those operands are spoilt only in shapes in which every product is inside.
#[test]
fn what_is_not_finite_stays_where_it_belongs() {
    let device = device(Checks::Unchecked);
    let padded = Conv2d::new(2, 3, 5, [7, 6], Window::square(3).stride(2).padding(1)).unwrap();
    let inside = Conv2d::new(2, 3, 5, [7, 6], Window::square(3).stride(2)).unwrap();
    let pointwise = Conv2d::new(2, 6, 5, [7, 6], Window::square(1)).unwrap();
    let pool = Pool2d::new(6, [7, 6], Window::square(3).stride(2).padding(1)).unwrap();
    let ops: [(Box<dyn Op>, &[&str]); 12] = [
        (Box::new(ReluForward { length: 130 }), &["input"]),
        (Box::new(ReluBackward { length: 130 }), &["activation", "grad_output"]),
        (Box::new(Conv2dForward(padded)), &["input", "bias"]),
        (Box::new(Conv2dForward(inside)), &["input", "weight", "bias"]),
        (Box::new(Conv2dGradInput(padded)), &["grad_output"]),
        (Box::new(Conv2dGradInput(pointwise)), &["weight", "grad_output"]),
        (Box::new(Conv2dGradWeight(padded)), &["input"]),
        (Box::new(Conv2dGradWeight(inside)), &["input", "grad_output"]),
        (Box::new(Matmul(MatmulShape { m: 6, k: 9, n: 7, transpose_a: false, transpose_b: true })), &["a", "b"]),
        (Box::new(MaxPool2dForward(pool)), &["input"]),
        (Box::new(AvgPool2dForward(pool)), &["input"]),
        (
            Box::new(Sgd { length: 130, momentum: 0.9, weight_decay: 0.1, nesterov: true }),
            &["gradients", "parameters", "momentum_buffer"],
        ),
    ];
    for (op, spoilt) in &ops {
        let clean = uniform(&**op, 7);
        let truth = evaluate(&**op, &STEP, &clean, |value| value);
        for (variant, value) in
            op.variants().iter().flat_map(|v| [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|x| (v, x)))
        {
            let rig = Rig::new(&device, &**op, variant, &STEP).unwrap();
            let before = rig.run(&clean, POISONS[0]).unwrap().operands;
            for (place, operand) in op.operands().iter().enumerate() {
                if !spoilt.contains(&operand.name) {
                    continue;
                }
                for index in [0, operand.length / 2, operand.length - 1] {
                    let mut inputs = clean.clone();
                    inputs[place][index] = value.to_bits();
                    let touched = evaluate(&**op, &STEP, &inputs, |value| value);
                    let contents = rig.run(&inputs, POISONS[0]).unwrap();
                    assert_eq!(contents.touched, None);
                    for (result, (before, (truth, touched))) in
                        contents.operands.iter().zip(before.iter().zip(truth.iter().zip(&touched)))
                    {
                        let alike = truth.iter().zip(touched).map(|(a, b)| a.to_bits() == b.to_bits());
                        let moved = alike.enumerate().position(|(at, alike)| alike && result[at] != before[at]);
                        let name = op.name();
                        assert_eq!(moved, None, "{name} {variant}: {value} at {}[{index}] moved it", operand.name);
                    }
                }
            }
        }
    }
}

fn device(checks: Checks) -> Device {
    Device::open(&adapter(), checks).unwrap_or_else(|error| panic!("{error}"))
}

/// Uniform values for what is read, small labels for what is made of u32, which for a status flags nothing.
fn uniform(op: &dyn Op, seed: u64) -> Vec<Vec<u32>> {
    let operands = op.operands().into_iter().enumerate();
    let bits = operands.map(|(place, operand)| {
        let mut random = Random::new(seed, Purpose::Test, place as u64);
        match (operand.access, operand.element, operand.name) {
            (Access::Write, ..) => Vec::new(),
            (_, Element::U32, "status") => vec![u32::MAX; operand.length],
            (_, Element::U32, _) => (0..operand.length).map(|_| random.below(10)).collect(),
            (_, Element::F32, _) => (0..operand.length).map(|_| random.range(-1.0, 1.0).to_bits()).collect(),
        }
    });
    bits.collect()
}

/// The bits of the op's last operand after a run.
fn outputs(device: &Device, op: &dyn Op, variant: &str, inputs: &[Vec<u32>]) -> Vec<u32> {
    let contents = Rig::new(device, op, variant, &STEP).and_then(|rig| rig.run(inputs, POISONS[0]));
    contents.unwrap_or_else(|error| panic!("{}: {error}", op.name())).operands.swap_remove(op.operands().len() - 1)
}

fn floats(bits: &[u32]) -> Vec<f64> {
    bits.iter().map(|&bits| f32::from_bits(bits).into()).collect()
}

fn dot(a: &[u32], b: &[u32]) -> f64 {
    floats(a).into_iter().zip(floats(b)).map(|(a, b)| a * b).sum()
}
