//! Whole training runs: the GPU against the reference and against PyTorch, the same seed against itself, a resumed run against one
//! that was never interrupted.

mod agreement;
mod ahead;
#[path = "../common/mod.rs"]
mod common;
mod failures;
mod fusion;
mod kept;
mod noise;
mod precision;
mod runs;
mod same_bits;

use common::adapter;
use shadegrad::Result;
use shadegrad::augmentation::Augmentation;
use shadegrad::gpu::{Checks, Device};
use shadegrad::machine::{GpuMachine, GpuOptions, Machine, Segment, Setup, State};
use shadegrad::nn::{Layer, Network, Noise, Optimiser, Plan, initialise};

const TUTORIAL: Optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };

/// Every kind of augmentation.
const NOISE: Noise = Noise {
    seed: 3 << 32 | 7,
    augmentation: Augmentation { flip: true, crop: 4, cutout: 8, brightness: 0.2, contrast: 0.3 },
};

/// Every kind of layer, with strides, padding, dilation and windows that overlap.
const EVERY_LAYER: &str = r#"
layers = [
    { type = "conv2d", out_channels = 5, kernel_size = [5, 3], stride = 2, padding = [2, 1] },
    { type = "relu" },
    { type = "max_pool2d", kernel_size = 3, stride = 2, padding = 1 },
    { type = "conv2d", out_channels = 7, kernel_size = 3, padding = 2, dilation = 2 },
    { type = "relu" },
    { type = "avg_pool2d", kernel_size = [2, 3], stride = [1, 2], padding = [1, 1] },
    { type = "dropout", p = 0.3 },
    { type = "conv2d", out_channels = 6, kernel_size = 1 },
    { type = "global_avg_pool2d" },
    { type = "flatten" },
    { type = "dropout", p = 0.1 },
    { type = "linear", out_features = 10 },
]
"#;

fn gpu<'a>(setup: &Setup<'a>, options: &GpuOptions) -> GpuMachine<'a> {
    let device = Device::open(&adapter(), Checks::Unchecked).unwrap();
    GpuMachine::new(device, setup, options).unwrap()
}

fn fresh_state(plan: &Plan, seed: u64) -> State {
    State { parameters: initialise(plan, seed), momentum: vec![0.0; plan.parameter_length] }
}

fn train(machine: &mut impl Machine, images: &[u32], learning_rate: f32) -> Result<Vec<f32>> {
    let learning_rates = vec![learning_rate; images.len().div_ceil(machine.plan().batch as usize)];
    machine.train(&Segment { images, first_step: 1, epoch: 1, learning_rates: &learning_rates }, &mut |_| true)
}

fn images(count: u32) -> Vec<u32> {
    (0..count).collect()
}

/// The tutorial's network with dropout between its last layers.
fn dropping() -> Network {
    let lenet = Network::load("lenet").unwrap();
    let mut layers: Vec<Layer> = lenet.layers.iter().map(|named| named.layer).collect();
    layers.insert(layers.len() - 1, Layer::Dropout { p: 0.25 });
    layers.insert(layers.len() - 4, Layer::Dropout { p: 0.5 });
    Network::new("dropping", layers)
}
