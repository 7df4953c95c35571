//! candle, on the CPU.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::loss::cross_entropy;
use common::{LEARNING_RATE, MOMENTUM, Task, Values, Workload, announce, factors, repeat};

/// Weight and bias.
type Layer = (Var, Var);

struct Network {
    conv1: Layer,
    conv2: Layer,
    fc1: Layer,
    fc2: Layer,
    fc3: Layer,
}

impl Network {
    fn new(file: &Workload) -> Result<Self> {
        let var = |name: String| {
            let Values { shape, values } = file.parameter(&name);
            Var::from_vec(values, shape, &Device::Cpu)
        };
        let layer =
            |name: &str| -> Result<Layer> { Ok((var(format!("{name}.weight"))?, var(format!("{name}.bias"))?)) };
        Ok(Self {
            conv1: layer("conv1")?,
            conv2: layer("conv2")?,
            fc1: layer("fc1")?,
            fc2: layer("fc2")?,
            fc3: layer("fc3")?,
        })
    }

    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let x = max_pool(&conv(&self.conv1, images)?.relu()?)?;
        let x = max_pool(&conv(&self.conv2, &x)?.relu()?)?;
        let x = linear(&self.fc1, &x.flatten_from(1)?)?.relu()?;
        let x = linear(&self.fc2, &x)?.relu()?;
        linear(&self.fc3, &x)
    }

    fn parameters(&self) -> Vec<&Var> {
        let layers = [&self.conv1, &self.conv2, &self.fc1, &self.fc2, &self.fc3];
        layers.into_iter().flat_map(|(weight, bias)| [weight, bias]).collect()
    }
}

fn conv((weight, bias): &Layer, input: &Tensor) -> Result<Tensor> {
    input.conv2d(weight, 0, 1, 1, 1)?.broadcast_add(&bias.reshape((1, (), 1, 1))?)
}

/// 2×2. Not candle's own `max_pool2d`: its gradient is a quarter of what it should be (candle 0.11.1: the mask of the maxima is averaged over
/// the window to share the gradient between equal ones, and so multiplied by 1/4 where there is one).
fn max_pool(input: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = input.dims4()?;
    let windows = input.reshape(&[batch * channels, height / 2, 2, width / 2, 2])?.transpose(2, 3)?;
    let windows = windows.reshape((batch, channels, height / 2, width / 2, 4))?;
    windows.gather(&windows.argmax_keepdim(4)?, 4)?.squeeze(4)
}

fn linear((weight, bias): &Layer, input: &Tensor) -> Result<Tensor> {
    input.matmul(&weight.t()?)?.broadcast_add(bias)
}

fn main() -> Result<()> {
    announce("CPU");
    match Task::from_arguments() {
        Task::Train { file, every } => train(&file, every),
        Task::Matmul { size, every } => matmul(size, every),
    }
}

fn train(file: &Workload, every: usize) -> Result<()> {
    let network = Network::new(file)?;
    let parameters = network.parameters();
    let batch = |(images, labels): (Values<f32>, Vec<i64>)| -> Result<(Tensor, Tensor)> {
        let images = Tensor::from_vec(images.values, images.shape, &Device::Cpu)?;
        Ok((images, Tensor::new(labels, &Device::Cpu)?))
    };
    let batches = file.batches().into_iter().map(batch).collect::<Result<Vec<_>>>()?;
    // candle's own SGD has no momentum.
    let mut momentum = parameters.iter().map(|parameter| parameter.zeros_like()).collect::<Result<Vec<_>>>()?;
    let mut step = |step: usize| -> Result<Tensor> {
        let (images, labels) = &batches[step % batches.len()];
        let loss = cross_entropy(&network.forward(images)?, labels)?;
        let gradients = loss.backward()?;
        for (parameter, momentum) in parameters.iter().zip(&mut momentum) {
            let gradient = gradients.get(parameter).expect("every parameter has a gradient");
            // Detached: the graph of every step before would hang on to it.
            *momentum = ((&*momentum * MOMENTUM)? + gradient)?.detach();
            parameter.set(&(parameter.as_tensor() - (&*momentum * LEARNING_RATE)?)?)?;
        }
        Ok(loss)
    };
    repeat(every, |at| step(at).expect("a step"), |loss: Tensor| loss.to_scalar().expect("a loss"))
}

/// The value of a line is how far one element of the last product is from what it should be.
fn matmul(size: usize, every: usize) -> Result<()> {
    let (a, b) = factors(size);
    let expected = b[0];
    let a = Tensor::from_vec(a, (size, size), &Device::Cpu)?;
    let mut b = Tensor::from_vec(b, (size, size), &Device::Cpu)?;
    let first = |product: Tensor| product.get(0)?.get(0)?.to_scalar::<f32>();
    repeat(
        every,
        |_| {
            b = a.matmul(&b).expect("a product");
            b.clone()
        },
        |product| (first(product).expect("an element") - expected).abs(),
    )
}
