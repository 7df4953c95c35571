//! Burn, on the backend that this was built with.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{LEARNING_RATE, MOMENTUM, Task, Values, Workload, announce, factors, repeat};

#[derive(Module, Debug)]
struct Network {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Network {
    fn new(file: &Workload, device: &Device) -> Self {
        let conv = |name: &str| {
            let Values { shape, values } = file.parameter(&format!("{name}.weight"));
            let config = Conv2dConfig::new([shape[1], shape[0]], [shape[2], shape[3]]);
            let weight = Param::from_data(TensorData::new(values, shape), device);
            Conv2d { weight, bias: bias(file, name, device), ..config.init(device) }
        };
        let linear = |name: &str| {
            let Values { shape, values } = file.transposed(&format!("{name}.weight"));
            let config = LinearConfig::new(shape[0], shape[1]);
            let weight = Param::from_data(TensorData::new(values, shape), device);
            Linear { weight, bias: bias(file, name, device), ..config.init(device) }
        };
        Self {
            conv1: conv("conv1"),
            conv2: conv("conv2"),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            fc1: linear("fc1"),
            fc2: linear("fc2"),
            fc3: linear("fc3"),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.conv1.forward(images)));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        let x = relu(self.fc1.forward(x.flatten(1, 3)));
        self.fc3.forward(relu(self.fc2.forward(x)))
    }
}

fn bias(file: &Workload, name: &str, device: &Device) -> Option<Param<Tensor<1>>> {
    let Values { shape, values } = file.parameter(&format!("{name}.bias"));
    Some(Param::from_data(TensorData::new(values, shape), device))
}

fn main() {
    let device = open();
    match Task::from_arguments() {
        Task::Train { file, every } => train(&file, every, &device),
        Task::Matmul { size, every } => matmul(size, every, &device),
    }
}

fn train(file: &Workload, every: usize, device: &Device) {
    let tracked = device.clone().autodiff();
    let mut network = Some(Network::new(file, &tracked));
    // Burn's momentum is damped by 0.1 unless told otherwise; PyTorch's is not.
    let momentum = MomentumConfig { momentum: MOMENTUM, dampening: 0.0, nesterov: false };
    let mut optimiser = SgdConfig::new().with_momentum(Some(momentum)).init();
    let loss = CrossEntropyLossConfig::new().init(&tracked);
    let batches: Vec<(Tensor<4>, Tensor<1, Int>)> = file
        .batches()
        .into_iter()
        .map(|(Values { shape, values }, labels)| {
            let labels = Tensor::from_data(&labels[..], &tracked);
            (Tensor::from_data(TensorData::new(values, shape), &tracked), labels)
        })
        .collect();
    repeat(
        every,
        |step| {
            let model = network.take().expect("the network of the step before");
            let (images, labels) = batches[step % batches.len()].clone();
            let loss = loss.forward(model.forward(images), labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            network = Some(optimiser.step(LEARNING_RATE, model, gradients));
            loss
        },
        |loss| loss.into_scalar(),
    )
}

/// The value of a line is how far one element of the last product is from what it should be.
fn matmul(size: usize, every: usize, device: &Device) {
    let (a, b) = factors(size);
    let expected = b[0];
    let a = Tensor::<2>::from_data(TensorData::new(a, [size, size]), device);
    let mut b = Tensor::<2>::from_data(TensorData::new(b, [size, size]), device);
    repeat(
        every,
        |_| {
            b = a.clone().matmul(b.clone());
            b.clone()
        },
        |product| (product.slice([0..1, 0..1]).into_scalar::<f32>() - expected).abs(),
    )
}

/// With the SPIR-V compiler built in, this picks it where the adapter can.
#[cfg(feature = "wgpu")]
fn open() -> Device {
    let device = Device::wgpu(Default::default());
    announce(&device.identity().map_or("unknown".into(), |identity| identity.name));
    device
}

#[cfg(feature = "flex")]
fn open() -> Device {
    announce("flex");
    Device::flex()
}

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "to show that the backend in its place is the faster one")]
fn open() -> Device {
    announce("ndarray");
    Device::ndarray()
}
