//! From `m=512,k=512,n=512` to an op of that size; and the sizes that are timed when nothing is asked for.

use std::cell::RefCell;

use super::subject::{Allowance, Subject};
use crate::cases::{evaluate, gamma};
use crate::error::{Error, Result};
use crate::geometry::{Channels, Conv2d, Matmul as MatmulShape, Pool2d, Window, product};
use crate::ops::avg_pool2d::{AvgPool2dBackward, AvgPool2dForward};
use crate::ops::bias::{BiasAdd, BiasGrad};
use crate::ops::conv2d::{Conv2dForward, Conv2dGradInput, Conv2dGradWeight};
use crate::ops::gather::{Gather, record_words};
use crate::ops::global_avg_pool2d::{GlobalAvgPool2dBackward, GlobalAvgPool2dForward};
use crate::ops::matmul::Matmul;
use crate::ops::max_pool2d::{MaxPool2dBackward, MaxPool2dForward};
use crate::ops::mean_loss::MeanLoss;
use crate::ops::nonfinite::{FINITE, Nonfinite};
use crate::ops::relu::{ReluBackward, ReluForward};
use crate::ops::sgd::Sgd;
use crate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::random::{Purpose, Random};

/// WGSL's division is off by 2.5 ULP at most: three roundings.
const DIVISION: u64 = 3;

const CONV: &[&str] = &[
    // The tutorial's two layers at batch 4, and the wide network's second.
    "batch=4,in_channels=3,out_channels=6,height=32,width=32,kernel_size=5",
    "batch=4,in_channels=6,out_channels=16,height=14,width=14,kernel_size=5",
    "batch=4,in_channels=50,out_channels=100,height=14,width=14,kernel_size=5",
];
const POOL: &[&str] = &["planes=24,height=28,width=28,kernel_size=2,stride=2"];
/// The wide network's first pooling and its activations at batch 32.
const LARGE_POOL: &[&str] =
    &["planes=24,height=28,width=28,kernel_size=2,stride=2", "planes=1600,height=28,width=28,kernel_size=2,stride=2"];
const CHANNELS: &[&str] = &["batch=4,channels=6,size=784", "batch=32,channels=50,size=784"];
const LENGTHS: &[&str] = &["length=18816", "length=1254400"];

/// Every op that can be timed, and its default sizes.
const OPS: &[(&str, &[&str])] = &[
    ("matmul", &["m=4,k=400,n=120,transpose_b=1", "m=256,k=256,n=256", "m=512,k=512,n=512"]),
    ("conv2d_forward", CONV),
    ("conv2d_grad_input", CONV),
    ("conv2d_grad_weight", CONV),
    ("bias_add", CHANNELS),
    ("bias_grad", CHANNELS),
    ("relu_forward", LENGTHS),
    ("relu_backward", LENGTHS),
    ("max_pool2d_forward", LARGE_POOL),
    ("max_pool2d_backward", LARGE_POOL),
    ("avg_pool2d_forward", POOL),
    ("avg_pool2d_backward", POOL),
    ("global_avg_pool2d_forward", &["planes=400,size=49"]),
    ("global_avg_pool2d_backward", &["planes=400,size=49"]),
    ("softmax_cross_entropy", &["rows=4,classes=10", "rows=128,classes=10"]),
    ("mean_loss", &["rows=4", "rows=128"]),
    ("nonfinite", &["length=62006"]),
    ("sgd", &["length=62006", "length=446334"]),
    ("gather", &["batch=4,image_length=3072", "batch=128,image_length=3072"]),
];

/// The ops that can be timed, by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPS.iter().map(|(name, _)| *name)
}

/// The sizes that an op is timed at unless others are asked for.
///
/// # Errors
/// An op that there is not.
pub fn defaults(op: &str) -> Result<&'static [&'static str]> {
    OPS.iter().find(|(name, _)| *name == op).map(|(_, sizes)| *sizes).ok_or_else(|| no_op(op))
}

fn no_op(op: &str) -> Error {
    Error::usage(format!("there is no op {op}"))
        .with_hint(format!("the ops are {}", names().collect::<Vec<_>>().join(", ")))
}

/// An op of the given sizes: `m=512,k=512,n=512`, in the words of the field.
///
/// # Errors
/// A key that is missing, unknown, given twice or no whole number; sizes that do not fit each other.
pub fn subject(op: &str, sizes: &str) -> Result<Subject> {
    let sizes = Sizes::parse(op, sizes)?;
    let subject = build(op, &sizes)?;
    sizes.finish()?;
    Ok(subject)
}

fn build(op: &str, sizes: &Sizes<'_>) -> Result<Subject> {
    Ok(match op {
        "matmul" => {
            let (m, k, n) = (sizes.get("m")?, sizes.get("k")?, sizes.get("n")?);
            let (transpose_a, transpose_b) = (sizes.flag("transpose_a")?, sizes.flag("transpose_b")?);
            let shape = MatmulShape { m, k, n, transpose_a, transpose_b };
            Subject::new(Matmul(shape), Allowance::Roundings(k.into()))
        }
        "conv2d_forward" => {
            let shape = sizes.conv2d()?;
            let terms = product(&[shape.in_channels, product(&shape.window.kernel_size) as u32]) as u64;
            Subject::new(Conv2dForward(shape), Allowance::Roundings(terms + 1))
        }
        "conv2d_grad_input" => {
            let shape = sizes.conv2d()?;
            let terms = product(&[shape.out_channels, product(&shape.window.kernel_size) as u32]) as u64;
            Subject::new(Conv2dGradInput(shape), Allowance::Roundings(terms))
        }
        "conv2d_grad_weight" => {
            let shape = sizes.conv2d()?;
            let terms = product(&[shape.batch, shape.output[0], shape.output[1]]) as u64;
            Subject::new(Conv2dGradWeight(shape), Allowance::Roundings(terms))
        }
        "bias_add" => Subject::new(BiasAdd(sizes.channels()?), Allowance::Roundings(1)),
        "bias_grad" => {
            let shape = sizes.channels()?;
            Subject::new(BiasGrad(shape), Allowance::Roundings(product(&[shape.batch, shape.size]) as u64))
        }
        "relu_forward" => Subject::new(ReluForward { length: sizes.get("length")? }, Allowance::Exact),
        "relu_backward" => Subject::new(ReluBackward { length: sizes.get("length")? }, Allowance::Exact),
        "max_pool2d_forward" => Subject::new(MaxPool2dForward(sizes.pool2d()?), Allowance::Exact),
        "max_pool2d_backward" => {
            let shape = sizes.pool2d()?;
            let forward = Subject::new(MaxPool2dForward(shape), Allowance::Exact);
            let results = evaluate(&*forward.op, &forward.step, forward.inputs(), |value| value);
            let winner = results[2].iter().map(|&index| index as u32).collect();
            let taps = product(&shape.window.kernel_size) as u64;
            Subject::new(MaxPool2dBackward(shape), Allowance::Roundings(taps)).given("winner", winner)
        }
        "avg_pool2d_forward" => {
            let shape = sizes.pool2d()?;
            let taps = product(&shape.window.kernel_size) as u64;
            Subject::new(AvgPool2dForward(shape), Allowance::Roundings(taps + DIVISION))
        }
        "avg_pool2d_backward" => {
            let shape = sizes.pool2d()?;
            let taps = product(&shape.window.kernel_size) as u64;
            Subject::new(AvgPool2dBackward(shape), Allowance::Roundings(taps + DIVISION))
        }
        "global_avg_pool2d_forward" => {
            let (planes, size) = (sizes.get("planes")?, sizes.get("size")?);
            Subject::new(GlobalAvgPool2dForward { planes, size }, Allowance::Roundings(u64::from(size) + DIVISION))
        }
        "global_avg_pool2d_backward" => {
            let (planes, size) = (sizes.get("planes")?, sizes.get("size")?);
            Subject::new(GlobalAvgPool2dBackward { planes, size }, Allowance::Roundings(DIVISION))
        }
        "softmax_cross_entropy" => {
            let (rows, classes) = (sizes.get("rows")?, sizes.get("classes")?);
            // exp and log are off by a few ULP, sums by one a class; logits in [−1, 1) differ by less than 2, so that a row's loss is below
            // ln(classes) + 2 and its terms below twice that.
            let largest = f64::from(classes).ln() + 4.0;
            let mut random = Random::new(0, Purpose::Test, 1 << 32);
            let labels = (0..rows).map(|_| random.below(classes)).collect();
            let op = SoftmaxCrossEntropy { rows, classes, label_smoothing: 0.0 };
            let allowance = Allowance::Absolute(gamma(u64::from(classes) + 32) * largest);
            Subject::new(op, allowance).given("labels", labels).count(rows)
        }
        "mean_loss" => {
            let rows = sizes.get("rows")?;
            let roundings = u64::from(rows).div_ceil(64) + 64 + DIVISION;
            Subject::new(MeanLoss { rows, slots: 1 }, Allowance::Roundings(roundings)).count(rows)
        }
        "nonfinite" => {
            let op = Nonfinite { length: sizes.get("length")? };
            Subject::new(op, Allowance::Exact).given("status", vec![FINITE; 2])
        }
        "sgd" => {
            let length = sizes.get("length")?;
            let op = Sgd { length, momentum: 0.9, weight_decay: 5e-4, nesterov: false };
            Subject::new(op, Allowance::Roundings(8)).given("status", vec![FINITE; 2])
        }
        "gather" => gather(sizes.get("batch")?, sizes.get("image_length")?),
        _ => return Err(no_op(op)),
    })
}

/// A batch from a window of streamed records.
fn gather(batch: u32, image_length: u32) -> Subject {
    let op = Gather { batch, image_length, mean: 0.5, deviation: 0.5, records: [batch, 0, 0, 0], order: 0 };
    let mut random = Random::new(0, Purpose::Test, 0);
    let words = record_words(image_length) as usize;
    let mut records: Vec<u32> = (0..product(&[batch]) * words).map(|_| random.bits()).collect();
    for label in records.iter_mut().step_by(words) {
        *label %= 10;
    }
    // A product and a sum of at most 2 and 1, with factors rounded on the host.
    let mut subject = Subject::new(op, Allowance::Absolute(3.0 * gamma(4))).given("records_0", records).count(batch);
    for empty in ["records_1", "records_2", "records_3", "order"] {
        subject = subject.given(empty, vec![0]);
    }
    subject
}

/// Keys and values as they were typed, and which of them an op has asked for.
struct Sizes<'a> {
    op: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Sizes<'a> {
    fn parse(op: &'a str, text: &'a str) -> Result<Self> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| Error::usage(format!("{op}: --shape has a part that is no key=value (got {part})")))?;
            let (key, value) = (key.trim(), value.trim());
            if pairs.iter().any(|(other, _)| *other == key) {
                return Err(Error::usage(format!("{op}: --shape gives {key} twice")));
            }
            pairs.push((key, value));
        }
        Ok(Self { op, pairs, known: RefCell::default() })
    }

    /// A whole number, if it was given.
    fn find(&self, key: &'static str) -> Result<Option<u32>> {
        self.known.borrow_mut().push(key);
        let Some((_, value)) = self.pairs.iter().find(|(name, _)| *name == key) else { return Ok(None) };
        let number = value
            .parse()
            .map_err(|_| Error::usage(format!("{}: {key} is no whole number below 2³² (got {value})", self.op)))?;
        Ok(Some(number))
    }

    /// A size, which has to be given and is at least 1.
    fn get(&self, key: &'static str) -> Result<u32> {
        match self.find(key)? {
            Some(0) => Err(Error::usage(format!("{}: {key} must be at least 1 (got 0)", self.op))),
            Some(number) => Ok(number),
            None => Err(self.missing(key)),
        }
    }

    fn or(&self, key: &'static str, default: u32) -> Result<u32> {
        Ok(self.find(key)?.unwrap_or(default))
    }

    fn flag(&self, key: &'static str) -> Result<bool> {
        match self.or(key, 0)? {
            number @ (0 | 1) => Ok(number == 1),
            number => Err(Error::usage(format!("{}: {key} is 0 or 1 (got {number})", self.op))),
        }
    }

    fn window(&self) -> Result<Window> {
        let kernel_size = self.get("kernel_size")?;
        let (stride, padding, dilation) = (self.or("stride", 1)?, self.or("padding", 0)?, self.or("dilation", 1)?);
        Ok(Window::square(kernel_size).stride(stride).padding(padding).dilation(dilation))
    }

    fn conv2d(&self) -> Result<Conv2d> {
        let (batch, in_channels) = (self.get("batch")?, self.get("in_channels")?);
        let (out_channels, input) = (self.get("out_channels")?, [self.get("height")?, self.get("width")?]);
        Conv2d::new(batch, in_channels, out_channels, input, self.window()?)
            .map_err(|error| Error::usage(format!("{}: {error}", self.op)))
    }

    fn pool2d(&self) -> Result<Pool2d> {
        let (planes, input) = (self.get("planes")?, [self.get("height")?, self.get("width")?]);
        Pool2d::new(planes, input, self.window()?).map_err(|error| Error::usage(format!("{}: {error}", self.op)))
    }

    fn channels(&self) -> Result<Channels> {
        Ok(Channels { batch: self.get("batch")?, channels: self.get("channels")?, size: self.get("size")? })
    }

    fn missing(&self, key: &str) -> Error {
        let example = defaults(self.op).ok().and_then(|sizes| sizes.first()).copied().unwrap_or("");
        Error::usage(format!("{}: --shape does not give {key}", self.op))
            .with_hint(format!("for example --shape {example}"))
    }

    /// Whether every key was one that the op has.
    fn finish(&self) -> Result<()> {
        let known = self.known.borrow();
        match self.pairs.iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(()),
            Some((key, _)) => {
                Err(Error::usage(format!("{}: --shape has no key {key} (expected {})", self.op, known.join(", "))))
            }
        }
    }
}
