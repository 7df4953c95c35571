//! Writes the first batches of a training run and its initial weights, as `shadegrad train` would draw them, for the peers to train on.

use std::path::Path;

use safetensors::serialize_to_file;
use safetensors::tensor::{Dtype, TensorView};
use shadegrad::data::{DataSpec, Dataset, Options, load};
use shadegrad::nn::{Fusion, Images, Network, PlanRequest, initialise};
use shadegrad::random::{Purpose, Random};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, model, batch, count, seed, file] = &arguments[..] else {
        return Err("usage: batches shapes|DIR MODEL BATCH COUNT SEED FILE.safetensors".into());
    };
    let Ok(spec) = data.parse::<DataSpec>();
    let dataset = load(&spec, &Options::default(), &mut |_| {})?.dataset;
    write(&dataset, model, batch.parse()?, count.parse()?, seed.parse()?, Path::new(file))
}

fn write(dataset: &Dataset, model: &str, batch: u32, count: u32, seed: u64, file: &Path) -> Result<(), Failure> {
    let train = &dataset.train;
    let order = Random::new(seed, Purpose::Shuffle, 1).permutation(train.len() as u32);
    let used = order.get(..(batch * count) as usize).ok_or("there are not so many images in an epoch")?;

    let shape = [dataset.shape.channels, dataset.shape.height, dataset.shape.width];
    let images = Images::streamed(shape, dataset.classes.len() as u32, batch);
    let normalise = |level: &u8| ((f32::from(*level) / 255.0 - images.mean) / images.deviation).to_le_bytes();
    let mut pixels = Vec::new();
    for &image in used {
        pixels.extend(train.image(image as usize)?.iter().flat_map(normalise));
    }
    let labels: Vec<u8> =
        used.iter().flat_map(|&image| i64::from(train.labels[image as usize]).to_le_bytes()).collect();

    let network = Network::load(model)?;
    let plan =
        PlanRequest { network: &network, images, batch, max_bytes: u64::MAX, fusion: Fusion::Full }.inference()?;
    let values = initialise(&plan, seed);
    let bytes: Vec<Vec<u8>> = plan
        .parameters
        .iter()
        .map(|parameter| values[parameter.range()].iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();

    let sizes = |sizes: &[u32]| sizes.iter().map(|&size| size as usize).collect::<Vec<_>>();
    let mut tensors = Vec::new();
    for (parameter, bytes) in plan.parameters.iter().zip(&bytes) {
        tensors.push((&*parameter.name, TensorView::new(Dtype::F32, sizes(&parameter.shape), bytes)?));
    }
    let [channels, height, width] = shape;
    let all = sizes(&[count, batch, channels, height, width]);
    tensors.push(("images", TensorView::new(Dtype::F32, all, &pixels)?));
    tensors.push(("labels", TensorView::new(Dtype::I64, sizes(&[count, batch]), &labels)?));
    Ok(serialize_to_file(tensors, None, file)?)
}
