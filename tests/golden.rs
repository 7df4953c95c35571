//! The reference against PyTorch: every tensor in `tests/golden/` was computed by PyTorch in float64, by
//! `tests/golden/generate.py`.
//!
//! Where both sides add up the same k products in different orders, each is within γ_k · Σ|a·b| of the true sum, γ_k =
//! k·u/(1 − k·u) (Higham, "Accuracy and Stability of Numerical Algorithms", §3.1), so they are within twice that of
//! each other. Σ|a·b| is the same operation run on absolute values. Where nothing is rounded, the values must be equal.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use shadegrad::augmentation::Augmentation;
use shadegrad::geometry::{Channels, Conv2d, Matmul, Pool2d, Window};
use shadegrad::reference::augment::Draw;
use shadegrad::reference::{
    avg_pool2d, bias, conv2d, dropout, gather, global_avg_pool2d, matmul, max_pool2d, mean_loss, relu, sgd,
    softmax_cross_entropy,
};
use shadegrad::train::LearningRates;

/// The unit roundoff of f64.
const U: f64 = f64::EPSILON / 2.0;

struct Golden(Vec<u8>);

impl Golden {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.safetensors"));
        Self(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// The names before the `/`, which must be `expected`: a case that gets lost fails.
    fn cases(&self, expected: &[&str]) -> Vec<Case<'_>> {
        let tensors = self.tensors();
        let found: BTreeSet<&str> = tensors.names().into_iter().filter_map(|name| name.split('/').next()).collect();
        assert_eq!(found, expected.iter().copied().collect());
        expected.iter().map(|name| Case { tensors: self.tensors(), prefix: format!("{name}/") }).collect()
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).expect("a golden file is a safetensors file")
    }
}

/// The tensors whose names start with `prefix`.
struct Case<'a> {
    tensors: SafeTensors<'a>,
    prefix: String,
}

impl Case<'_> {
    fn shape(&self, name: &str) -> Vec<u32> {
        self.tensor(name).shape().iter().map(|&size| size as u32).collect()
    }

    fn floats(&self, name: &str) -> Vec<f64> {
        let tensor = self.tensor(name);
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
            other => panic!("{}{name} holds {other:?}, not floats", self.prefix),
        }
    }

    fn integers(&self, name: &str) -> Vec<u32> {
        let tensor = self.tensor(name);
        assert_eq!(tensor.dtype(), Dtype::I32, "{}{name}", self.prefix);
        tensor.data().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect()
    }

    fn window(&self) -> Window {
        let values = self.integers("window");
        let pair = |row: usize| [values[2 * row], values[2 * row + 1]];
        Window { kernel_size: pair(0), stride: pair(1), padding: pair(2), dilation: pair(3) }
    }

    fn pool2d(&self) -> Pool2d {
        let shape = self.shape("input");
        let pool = Pool2d::new(shape[0] * shape[1], [shape[2], shape[3]], self.window()).unwrap();
        assert_eq!(pool.output, self.shape("output")[2..], "{}output", self.prefix);
        pool
    }

    fn tensor(&self, name: &str) -> safetensors::tensor::TensorView<'_> {
        let name = format!("{}{name}", self.prefix);
        self.tensors.tensor(&name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Every value of the tensor `name` within its own bound; NaN agrees with NaN only.
    #[track_caller]
    fn assert_within(&self, name: &str, actual: &[f64], bound: &[f64]) {
        let expected = self.floats(name);
        assert_eq!(expected.len(), actual.len(), "{}{name}: length", self.prefix);
        assert_eq!(expected.len(), bound.len(), "{}{name}: bounds", self.prefix);
        let excess = |i: usize| {
            let (expected, actual): (f64, f64) = (expected[i], actual[i]);
            if expected == actual || expected.is_nan() && actual.is_nan() {
                return 0.0;
            }
            let share = (expected - actual).abs() / bound[i];
            if share.is_nan() { f64::INFINITY } else { share }
        };
        let worst = (0..actual.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b))).expect("no tensor is empty");
        assert!(
            excess(worst) <= 1.0,
            "{}{name}[{worst}]: expected {:e}, actual {:e}, which is {:.3} times the bound {:e}",
            self.prefix,
            expected[worst],
            actual[worst],
            excess(worst),
            bound[worst]
        );
    }

    /// The very same values.
    #[track_caller]
    fn assert_exact(&self, name: &str, actual: &[f64]) {
        self.assert_within(name, actual, &vec![0.0; actual.len()]);
    }
}

/// A result that no test may find unwritten.
fn poisoned(length: usize) -> Vec<f64> {
    vec![f64::NAN; length]
}

fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

/// 2 · γ_k · magnitude, where `magnitude` is Σ|a·b| over the k products of each value.
fn sum_bound(k: usize, magnitude: &[f64]) -> Vec<f64> {
    let ku = k as f64 * U;
    magnitude.iter().map(|magnitude| 2.0 * ku / (1.0 - ku) * magnitude).collect()
}

#[test]
fn conv2d_agrees() {
    let golden = Golden::open("conv2d");
    for case in golden.cases(&[
        "plain_5x5",
        "one_by_one",
        "strided",
        "stride_larger_than_kernel",
        "padded",
        "dilated",
        "non_square",
        "combined",
    ]) {
        let (input_shape, weight_shape) = (case.shape("input"), case.shape("weight"));
        let shape = Conv2d::new(
            input_shape[0],
            input_shape[1],
            weight_shape[0],
            [input_shape[2], input_shape[3]],
            case.window(),
        )
        .unwrap();
        let channels =
            Channels { batch: shape.batch, channels: shape.out_channels, size: shape.output[0] * shape.output[1] };
        let (input, weight, bias) = (case.floats("input"), case.floats("weight"), case.floats("bias"));
        let grad_output = case.floats("grad_output");

        let forward = |input: &[f64], weight: &[f64], bias: &[f64]| {
            let mut output = poisoned(shape.output_len());
            conv2d::forward(&shape, input, weight, bias, &mut output);
            output
        };
        let k = shape.weight_len() / shape.out_channels as usize + 1;
        let bound = sum_bound(k, &forward(&absolute(&input), &absolute(&weight), &absolute(&bias)));
        case.assert_within("output", &forward(&input, &weight, &bias), &bound);

        let grad_input = |weight: &[f64], grad_output: &[f64]| {
            let mut grad_input = poisoned(shape.input_len());
            conv2d::grad_input(&shape, weight, grad_output, &mut grad_input);
            grad_input
        };
        let k = shape.weight_len() / shape.in_channels as usize;
        let bound = sum_bound(k, &grad_input(&absolute(&weight), &absolute(&grad_output)));
        case.assert_within("grad_input", &grad_input(&weight, &grad_output), &bound);

        let grad_weight = |input: &[f64], grad_output: &[f64]| {
            let mut grad_weight = poisoned(shape.weight_len());
            conv2d::grad_weight(&shape, input, grad_output, &mut grad_weight);
            grad_weight
        };
        let k = shape.output_len() / shape.out_channels as usize;
        let bound = sum_bound(k, &grad_weight(&absolute(&input), &absolute(&grad_output)));
        case.assert_within("grad_weight", &grad_weight(&input, &grad_output), &bound);

        check_grad_bias(&case, &channels, &grad_output);
    }
}

fn check_grad_bias(case: &Case, channels: &Channels, grad_output: &[f64]) {
    let grad = |grad_output: &[f64]| {
        let mut grad_bias = poisoned(channels.channels as usize);
        bias::grad(channels, grad_output, &mut grad_bias);
        grad_bias
    };
    let k = (channels.batch * channels.size) as usize;
    case.assert_within("grad_bias", &grad(grad_output), &sum_bound(k, &grad(&absolute(grad_output))));
}

#[test]
fn max_pool2d_agrees() {
    let golden = Golden::open("max_pool2d");
    for case in
        golden.cases(&["plain", "rows_left_over", "overlapping", "padded", "dilated", "combined", "ties", "not_finite"])
    {
        let shape = case.pool2d();
        let mut output = poisoned(shape.output_len());
        let mut argmax = vec![u32::MAX; shape.output_len()];
        max_pool2d::forward(&shape, &case.floats("input"), &mut output, &mut argmax);
        case.assert_exact("output", &output);
        for (i, (expected, actual)) in case.integers("argmax").iter().zip(&argmax).enumerate() {
            assert_eq!(expected, actual, "{}argmax[{i}]", case.prefix);
        }

        let backward = |grad_output: &[f64]| {
            let mut grad_input = poisoned(shape.input_len());
            max_pool2d::backward(&shape, &argmax, grad_output, &mut grad_input);
            grad_input
        };
        let grad_output = case.floats("grad_output");
        // An input is the maximum of at most KH·KW windows.
        let k = (shape.window.kernel_size[0] * shape.window.kernel_size[1]) as usize;
        case.assert_within("grad_input", &backward(&grad_output), &sum_bound(k, &backward(&absolute(&grad_output))));
    }
}

#[test]
fn avg_pool2d_agrees() {
    let golden = Golden::open("avg_pool2d");
    for case in golden.cases(&["plain", "rows_left_over", "overlapping", "padded", "non_square"]) {
        let shape = case.pool2d();
        // At most KH·KW summands either way, and one division each.
        let k = (shape.window.kernel_size[0] * shape.window.kernel_size[1]) as usize + 1;
        let forward = |input: &[f64]| {
            let mut output = poisoned(shape.output_len());
            avg_pool2d::forward(&shape, input, &mut output);
            output
        };
        let input = case.floats("input");
        case.assert_within("output", &forward(&input), &sum_bound(k, &forward(&absolute(&input))));

        let backward = |grad_output: &[f64]| {
            let mut grad_input = poisoned(shape.input_len());
            avg_pool2d::backward(&shape, grad_output, &mut grad_input);
            grad_input
        };
        let grad_output = case.floats("grad_output");
        case.assert_within("grad_input", &backward(&grad_output), &sum_bound(k, &backward(&absolute(&grad_output))));
    }
}

#[test]
fn global_avg_pool2d_agrees() {
    let golden = Golden::open("global_avg_pool2d");
    for case in golden.cases(&["one_pixel", "primes"]) {
        let input_shape = case.shape("input");
        let planes = (input_shape[0] * input_shape[1]) as usize;
        let size = (input_shape[2] * input_shape[3]) as usize;
        let forward = |input: &[f64]| {
            let mut output = poisoned(planes);
            global_avg_pool2d::forward(planes, size, input, &mut output);
            output
        };
        let input = case.floats("input");
        // `size` summands and one division.
        case.assert_within("output", &forward(&input), &sum_bound(size + 1, &forward(&absolute(&input))));

        let mut grad_input = poisoned(planes * size);
        global_avg_pool2d::backward(planes, size, &case.floats("grad_output"), &mut grad_input);
        // PyTorch may multiply by a rounded 1/size: two roundings where the reference has one.
        case.assert_within("grad_input", &grad_input, &sum_bound(2, &absolute(&grad_input)));
    }
}

#[test]
fn matmul_agrees() {
    let golden = Golden::open("matmul");
    for (case, (transpose_a, transpose_b)) in golden
        .cases(&["transpose_00", "transpose_01", "transpose_10", "transpose_11"])
        .into_iter()
        .zip([(false, false), (false, true), (true, false), (true, true)])
    {
        let output_shape = case.shape("output");
        let k = case.shape("a")[usize::from(!transpose_a)];
        let shape = Matmul { m: output_shape[0], k, n: output_shape[1], transpose_a, transpose_b };
        check_matmul(&case, "output", &shape, &case.floats("a"), &case.floats("b"));
    }
}

fn multiply(shape: &Matmul, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut output = poisoned((shape.m * shape.n) as usize);
    matmul::forward(shape, a, b, &mut output);
    output
}

fn check_matmul(case: &Case, name: &str, shape: &Matmul, a: &[f64], b: &[f64]) {
    let bound = sum_bound(shape.k as usize, &multiply(shape, &absolute(a), &absolute(b)));
    case.assert_within(name, &multiply(shape, a, b), &bound);
}

/// The three matrix products of a linear layer.
struct Linear {
    output: Matmul,
    grad_input: Matmul,
    grad_weight: Matmul,
    bias: Channels,
}

impl Linear {
    fn new(batch: u32, inputs: u32, outputs: u32) -> Self {
        let plain = Matmul { m: 0, k: 0, n: 0, transpose_a: false, transpose_b: false };
        Self {
            output: Matmul { m: batch, k: inputs, n: outputs, transpose_b: true, ..plain },
            grad_input: Matmul { m: batch, k: outputs, n: inputs, ..plain },
            grad_weight: Matmul { m: outputs, k: batch, n: inputs, transpose_a: true, ..plain },
            bias: Channels { batch, channels: outputs, size: 1 },
        }
    }

    fn forward(&self, input: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let product = multiply(&self.output, input, weight);
        let mut output = poisoned(product.len());
        bias::add(&self.bias, &product, bias, &mut output);
        output
    }
}

#[test]
fn linear_agrees() {
    let golden = Golden::open("linear");
    for case in golden.cases(&["one", "primes", "batch_4"]) {
        let (input_shape, weight_shape) = (case.shape("input"), case.shape("weight"));
        let linear = Linear::new(input_shape[0], input_shape[1], weight_shape[0]);
        let (input, weight, bias) = (case.floats("input"), case.floats("weight"), case.floats("bias"));
        let grad_output = case.floats("grad_output");

        let magnitude = linear.forward(&absolute(&input), &absolute(&weight), &absolute(&bias));
        let bound = sum_bound(linear.output.k as usize + 1, &magnitude);
        case.assert_within("output", &linear.forward(&input, &weight, &bias), &bound);
        check_matmul(&case, "grad_input", &linear.grad_input, &grad_output, &weight);
        check_matmul(&case, "grad_weight", &linear.grad_weight, &grad_output, &input);
        check_grad_bias(&case, &linear.bias, &grad_output);
    }
}

#[test]
fn relu_agrees() {
    let golden = Golden::open("relu");
    for case in golden.cases(&["zeros_among"]) {
        let input = case.floats("input");
        let mut output = poisoned(input.len());
        relu::forward(&input, &mut output);
        case.assert_exact("output", &output);
        let mut grad_input = poisoned(input.len());
        relu::backward(&output, &case.floats("grad_output"), &mut grad_input);
        case.assert_exact("grad_input", &grad_input);
    }
}

/// What is drawn is chance; what becomes of the image is not.
#[test]
fn augmentation_agrees_given_the_draw() {
    let golden = Golden::open("augment");
    let names = ["as_it_is", "flipped", "shifted", "cut_at_an_edge", "pale", "stark", "grey", "everything"];
    for case in golden.cases(&names) {
        let shape = case.shape("levels");
        let levels: Vec<u8> = case.integers("levels").iter().map(|&level| level as u8).collect();
        let [flip, crop, top, left, cutout, y, x] = case.integers("draw").try_into().unwrap();
        let [contrast, brightness, mean, deviation] = case.floats("factors").try_into().unwrap();
        let [grey] = case.floats("grey").try_into().unwrap();
        let augmentation = Augmentation { crop, cutout, ..Augmentation::default() };
        let draw = Draw { flip: flip == 1, offset: [top, left], centre: [y, x], contrast, brightness };
        let mut input = poisoned(levels.len());
        let size = [shape[1] as usize, shape[2] as usize];
        let normalise = gather::Normalise { mean, deviation };
        gather::vary(size, normalise, &augmentation, &draw, (&levels, grey), &mut input);
        // A dozen roundings there and here; before the last division no number is above brightness · (1 + 2 · contrast) + mean.
        let largest = (brightness * (1.0 + 2.0 * contrast) + mean) / deviation;
        case.assert_within("input", &input, &vec![24.0 * U * largest; levels.len()]);
    }
}

/// Which elements are kept is chance; what becomes of them is not.
#[test]
fn dropout_agrees_given_the_mask() {
    let golden = Golden::open("dropout");
    for case in golden.cases(&["half", "a_tenth", "none", "nearly_all"]) {
        let (p, mask) = (case.floats("p")[0], case.integers("mask"));
        for (from, to) in [("input", "output"), ("grad_output", "grad_input")] {
            let from = case.floats(from);
            let mut result = poisoned(from.len());
            dropout::apply(p, |i| mask[i] != 0, &from, &mut result);
            // PyTorch multiplies by a rounded 1 / (1 − p) where we divide by a rounded 1 − p: three roundings there, two here.
            let bound: Vec<f64> = result.iter().map(|value| 5.0 * U * value.abs()).collect();
            case.assert_within(to, &result, &bound);
        }
    }
}

#[test]
fn softmax_cross_entropy_agrees() {
    let golden = Golden::open("softmax_cross_entropy");
    for case in golden.cases(&["plain", "primes", "smoothed", "huge", "huge_smoothed"]) {
        let logits = case.floats("logits");
        let labels = case.integers("labels");
        let (rows, classes) = (labels.len(), logits.len() / labels.len());
        let mut row_loss = poisoned(rows);
        let mut grad_logits = poisoned(logits.len());
        let label_smoothing = case.floats("label_smoothing")[0];
        softmax_cross_entropy::forward_backward(
            classes,
            rows,
            label_smoothing,
            &logits,
            &labels,
            &mut row_loss,
            &mut grad_logits,
        );

        // A log-probability is logit − maximum − log Σ exp, rounded at the size of the spread of its row: two
        // subtractions, and a sum of `classes` exponentials whose relative error log turns into an absolute one. exp
        // and log are good to 1 ulp = 2u. The loss averages log-probabilities, so `classes` + 2 more roundings of the
        // same size.
        let spread: Vec<f64> = logits
            .chunks(classes)
            .map(|row| {
                let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let minimum = row.iter().copied().fold(f64::INFINITY, f64::min);
                maximum - minimum + (classes as f64).ln()
            })
            .collect();
        let roundings = 2 * classes + 8;
        let magnitude: Vec<f64> = spread.iter().map(|spread| 1.0 + spread).collect();
        case.assert_within("row_loss", &row_loss, &sum_bound(roundings, &magnitude));

        let mean_magnitude = magnitude.iter().sum::<f64>() / rows as f64;
        case.assert_within(
            "loss",
            &[mean_loss::rows(rows, &row_loss)],
            &sum_bound(roundings + rows, &[mean_magnitude]),
        );

        // A probability is exp of a log-probability whose absolute error is at most that of the loss times the
        // probability; p · |log p| ≤ 1/e, and a shift common to the row weighs at most 1. The target and the division
        // add 4 roundings.
        let bound = sum_bound(roundings + 4, &vec![3.0 / rows as f64; logits.len()]);
        case.assert_within("grad_logits", &grad_logits, &bound);
    }
}

#[test]
fn sgd_agrees() {
    let golden = Golden::open("sgd");
    for case in golden.cases(&["plain", "momentum", "nesterov"]) {
        let [learning_rate, momentum, weight_decay, nesterov] = case.floats("settings")[..] else {
            panic!("{}settings holds four numbers", case.prefix)
        };
        let settings = sgd::Settings { learning_rate, momentum, weight_decay, nesterov: nesterov == 1.0 };
        let mut parameters = case.floats("parameters");
        let mut momentum_buffer = vec![0.0; parameters.len()];
        let mut after = Vec::new();
        let mut magnitude = Vec::new();
        for gradients in case.floats("gradients").chunks(parameters.len()) {
            sgd::step(&settings, gradients, &mut parameters, &mut momentum_buffer);
            after.extend_from_slice(&parameters);
            // The gradients of the file lie within ±5, so no direction is longer than 20, and three of them than 60.
            magnitude.extend(parameters.iter().map(|parameter| parameter.abs() + 60.0 * learning_rate));
        }
        // At most 8 roundings a step (two for the decay, momentum, Nesterov and the update each; PyTorch may fuse
        // some).
        case.assert_within("after", &after, &sum_bound(3 * 8, &magnitude));
    }
}

#[test]
fn schedules_agree() {
    let golden = Golden::open("schedules");
    let names = [
        "step:2,0.1",
        "step:1,0.7 warmup 1",
        "constant warmup 0.43",
        "cosine",
        "cosine warmup 2",
        "one-cycle:0.3",
        "one-cycle:0",
        "one-cycle:1",
    ];
    for (case, name) in golden.cases(&names).iter().zip(names) {
        let (schedule, warm_up) = name.split_once(" warmup ").unwrap_or((name, "0"));
        let rates = LearningRates::new(0.1, schedule.parse().unwrap(), warm_up.parse().unwrap(), 7, 5);
        let rates: Vec<f64> = (1..=35).map(|step| rates.at(step)).collect();
        // PyTorch gets most rates from the one before: a few roundings a step, of values up to the peak.
        case.assert_within("rates", &rates, &sum_bound(4 * 35, &[0.1; 35]));
    }
}

/// The tutorial network, step by step in reference functions: what the plan of the library must amount to.
#[test]
fn ten_training_steps_agree() {
    const BATCH: u32 = 4;
    const IMAGE: usize = 3 * 32 * 32;
    const PARAMETERS: [&str; 10] = [
        "conv1.weight",
        "conv1.bias",
        "conv2.weight",
        "conv2.bias",
        "fc1.weight",
        "fc1.bias",
        "fc2.weight",
        "fc2.bias",
        "fc3.weight",
        "fc3.bias",
    ];

    let golden = Golden::open("ten_steps");
    let case = Case { tensors: golden.tensors(), prefix: String::new() };
    let mut parameters = PARAMETERS.map(|name| case.floats(name));
    let mut momentum_buffers = parameters.each_ref().map(|parameter| vec![0.0; parameter.len()]);
    let settings = sgd::Settings { learning_rate: 0.001, momentum: 0.9, weight_decay: 0.0, nesterov: false };

    let all_labels = case.integers("labels");
    let pixels = case.tensor("pixels");
    assert_eq!(pixels.shape(), [10, 4, 3, 32, 32]);
    let records: Vec<u32> = pixels
        .data()
        .chunks(IMAGE)
        .zip(&all_labels)
        .flat_map(|(image, &label)| {
            let words = image.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes));
            [label, 0].into_iter().chain(words)
        })
        .collect();

    let conv1 = Conv2d::new(BATCH, 3, 6, [32, 32], Window::square(5)).unwrap();
    let pool1 = Pool2d::new(BATCH * 6, conv1.output, Window::square(2).stride(2)).unwrap();
    let conv2 = Conv2d::new(BATCH, 6, 16, pool1.output, Window::square(5)).unwrap();
    let pool2 = Pool2d::new(BATCH * 16, conv2.output, Window::square(2).stride(2)).unwrap();
    let [fc1, fc2, fc3] = [(400, 120), (120, 84), (84, 10)].map(|(i, o)| Linear::new(BATCH, i, o));

    let mut losses = Vec::new();
    for step in 0..10 {
        let [
            conv1_weight,
            conv1_bias,
            conv2_weight,
            conv2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
            fc3_weight,
            fc3_bias,
        ] = &parameters;
        let positions: Vec<u32> = (step * BATCH..(step + 1) * BATCH).collect();
        let mut input = poisoned(conv1.input_len());
        let mut labels = vec![0; BATCH as usize];
        let normalise = gather::Normalise { mean: 0.5, deviation: 0.5 };
        gather::forward(IMAGE, normalise, &records, &positions, &mut input, &mut labels);

        let conv1_relu = rectify(&convolve(&conv1, &input, conv1_weight, conv1_bias));
        let (pool1_output, pool1_argmax) = pool(&pool1, &conv1_relu);
        let conv2_relu = rectify(&convolve(&conv2, &pool1_output, conv2_weight, conv2_bias));
        let (pool2_output, pool2_argmax) = pool(&pool2, &conv2_relu);
        let fc1_relu = rectify(&fc1.forward(&pool2_output, fc1_weight, fc1_bias));
        let fc2_relu = rectify(&fc2.forward(&fc1_relu, fc2_weight, fc2_bias));
        let logits = fc3.forward(&fc2_relu, fc3_weight, fc3_bias);

        let mut row_loss = poisoned(BATCH as usize);
        let mut grad = poisoned(logits.len());
        let count = BATCH as usize;
        softmax_cross_entropy::forward_backward(10, count, 0.0, &logits, &labels, &mut row_loss, &mut grad);
        losses.push(mean_loss::rows(count, &row_loss));

        let mut gradients: [Vec<f64>; 10] = Default::default();
        for (layer, linear, input, weight) in
            [(4, &fc3, &fc2_relu, fc3_weight), (3, &fc2, &fc1_relu, fc2_weight), (2, &fc1, &pool2_output, fc1_weight)]
        {
            gradients[2 * layer] = multiply(&linear.grad_weight, &grad, input);
            gradients[2 * layer + 1] = sum_channels(&linear.bias, &grad);
            grad = multiply(&linear.grad_input, &grad, weight);
            if layer > 2 {
                grad = mask(input, &grad);
            }
        }

        grad = mask(&conv2_relu, &unpool(&pool2, &pool2_argmax, &grad));
        (gradients[2], gradients[3]) = convolution_gradients(&conv2, &pool1_output, &grad);
        let mut grad_input = poisoned(conv2.input_len());
        conv2d::grad_input(&conv2, conv2_weight, &grad, &mut grad_input);
        grad = mask(&conv1_relu, &unpool(&pool1, &pool1_argmax, &grad_input));
        (gradients[0], gradients[1]) = convolution_gradients(&conv1, &input, &grad);

        for ((parameter, momentum_buffer), gradient) in parameters.iter_mut().zip(&mut momentum_buffers).zip(&gradients)
        {
            sgd::step(&settings, gradient, parameter, momentum_buffer);
        }
    }

    // A loss passes through about 75 + 150 + 400 + 120 + 84 additions of numbers of order 1; γ_1000 ≈ 1.1e-13, and a
    // step is too small (0.001) for an error in the weights to grow.
    case.assert_within("losses", &losses, &[1e-12; 10]);
    for (name, parameter) in PARAMETERS.iter().zip(&parameters) {
        // A gradient is of order 1 and good to γ of its longest sum (4 · 28 · 28 products) on top of the loss's, about
        // 1e-12; ten steps with momentum 0.9 move a weight by at most 0.001 · 41 times that, and round it ten times.
        case.assert_within(&format!("final.{name}"), parameter, &vec![1e-13; parameter.len()]);
    }
}

fn convolve(shape: &Conv2d, input: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let mut output = poisoned(shape.output_len());
    conv2d::forward(shape, input, weight, bias, &mut output);
    output
}

/// grad_weight and grad_bias.
fn convolution_gradients(shape: &Conv2d, input: &[f64], grad_output: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut grad_weight = poisoned(shape.weight_len());
    conv2d::grad_weight(shape, input, grad_output, &mut grad_weight);
    let channels =
        Channels { batch: shape.batch, channels: shape.out_channels, size: shape.output[0] * shape.output[1] };
    (grad_weight, sum_channels(&channels, grad_output))
}

fn sum_channels(shape: &Channels, grad_output: &[f64]) -> Vec<f64> {
    let mut grad_bias = poisoned(shape.channels as usize);
    bias::grad(shape, grad_output, &mut grad_bias);
    grad_bias
}

fn rectify(input: &[f64]) -> Vec<f64> {
    let mut output = poisoned(input.len());
    relu::forward(input, &mut output);
    output
}

fn mask(output: &[f64], grad_output: &[f64]) -> Vec<f64> {
    let mut grad_input = poisoned(output.len());
    relu::backward(output, grad_output, &mut grad_input);
    grad_input
}

fn pool(shape: &Pool2d, input: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let mut output = poisoned(shape.output_len());
    let mut argmax = vec![u32::MAX; shape.output_len()];
    max_pool2d::forward(shape, input, &mut output, &mut argmax);
    (output, argmax)
}

fn unpool(shape: &Pool2d, argmax: &[u32], grad_output: &[f64]) -> Vec<f64> {
    let mut grad_input = poisoned(shape.input_len());
    max_pool2d::backward(shape, argmax, grad_output, &mut grad_input);
    grad_input
}
