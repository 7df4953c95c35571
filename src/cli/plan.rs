//! `shadegrad plan`.

use clap::Args;
use serde_json::json;
use shadegrad::nn::{Activation, Images, Network, Noise, Phase, Plan, PlanRequest};
use shadegrad::ops::choose;
use shadegrad::train::{Recipe, Settings};
use shadegrad::units::{bytes, count, flops};
use shadegrad::{Error, Result};

use super::print::say;
use super::table::{Align, lines};

/// Show a network's layers, shapes, parameters, memory and FLOPs, and the ops of a training step. Needs no GPU.
#[derive(Args)]
#[command(after_help = "Examples:\n  shadegrad plan --model wide --batch 128\n  shadegrad plan --ops")]
pub struct PlanArgs {
    /// lenet, wide, or a network file
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "lenet")]
    model: String,
    /// Images a step [default: the network file's, else 4]
    #[arg(long)]
    batch: Option<u32>,
    /// Channels, height and width of an image
    #[arg(long, value_name = "C×H×W", default_value = "3x32x32", value_parser = image_shape)]
    image: [u32; 3],
    /// Classes of the data, where the network leaves its last layer to them
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    classes: u32,
    /// List every op of a training step too
    #[arg(long)]
    ops: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `3x32x32`.
pub fn image_shape(text: &str) -> Result<[u32; 3], String> {
    let sizes: Option<Vec<u32>> =
        text.split(['x', '×']).map(|size| size.parse().ok().filter(|&size| size > 0)).collect();
    sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| "expected three sizes, such as 3x32x32".into())
}

pub fn run(arguments: &PlanArgs) -> Result<()> {
    let recipe = Recipe::of_model(&arguments.model)?;
    let batch = arguments.batch.unwrap_or(recipe.settings.batch);
    let settings = Settings { batch, ..recipe.settings.clone() };
    recipe.check(&settings)?;
    let network = recipe.network;
    let activations = network.activations(arguments.image, arguments.classes)?;
    let classes = match activations.last().map(|last| last.output.as_slice()) {
        Some(&[classes]) => classes,
        _ => return Err(Error::usage(format!("{} does not end in a linear layer", network.name))),
    };
    let images = Images::streamed(arguments.image, classes, batch);
    let request = PlanRequest { network: &network, images, batch, max_bytes: u64::MAX };
    let plan = request.training(&settings.optimiser(), &Noise::default(), 1)?;
    let dispatches = plan.steps.iter().map(|step| Ok(step.op.lower(choose(&*step.op, None))?.dispatches.len()));
    let dispatches: Vec<usize> = dispatches.collect::<Result<_>>()?;
    if arguments.json {
        say(serde_json::to_string_pretty(&as_json(&network, &activations, &plan, &dispatches)).unwrap_or_default());
        return Ok(());
    }
    layers(&network, &activations, &plan, arguments.image);
    if arguments.ops {
        say("");
        ops(&plan, &dispatches);
    }
    Ok(())
}

/// Floating-point operations of a layer's forward ops over the batch.
fn forward_flops(plan: &Plan, layer: &str) -> u64 {
    let own = plan.steps.iter().filter(|step| {
        step.phase == Phase::Forward && step.label.split_once('.').is_some_and(|(name, _)| name == layer)
    });
    own.map(|step| step.op.flops()).sum()
}

fn layer_parameters(plan: &Plan, layer: &str) -> u64 {
    let own = plan
        .parameters
        .iter()
        .filter(|parameter| parameter.name.split_once('.').is_some_and(|(name, _)| name == layer));
    own.map(|parameter| parameter.length() as u64).sum()
}

fn shape(batch: u32, sizes: &[u32]) -> String {
    std::iter::once(&batch).chain(sizes).map(u32::to_string).collect::<Vec<_>>().join("×")
}

fn layers(network: &Network, activations: &[Activation], plan: &Plan, image: [u32; 3]) {
    let mut rows = vec![["layer", "type", "output", "parameters", "forward"].map(String::from).to_vec()];
    rows.push(vec!["input".into(), "".into(), shape(plan.batch, &image), "".into(), "".into()]);
    for (named, activation) in network.layers.iter().zip(activations) {
        let parameters = layer_parameters(plan, &named.name);
        rows.push(vec![
            named.name.clone(),
            named.layer.kind().into(),
            shape(plan.batch, &activation.output),
            if parameters > 0 { count(parameters) } else { String::new() },
            flops(forward_flops(plan, &named.name)),
        ]);
    }
    lines(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Right], &rows).iter().for_each(say);
    say("");
    say(format!("parameters: {} ({})", count(plan.parameter_count()), bytes(4 * plan.parameter_count())));
    say(format!("a training step: {} ops, {}", plan.steps.len(), flops(plan.flops())));
    say(format!("memory: {} of tensors at batch {}, the training images not counted", bytes(plan.bytes()), plan.batch));
}

fn ops(plan: &Plan, dispatches: &[usize]) {
    let mut rows = vec![["step", "op", "variant", "shape", "dispatches", "work", "traffic"].map(String::from).to_vec()];
    for (step, dispatches) in plan.steps.iter().zip(dispatches) {
        rows.push(vec![
            step.label.clone(),
            step.op.name().into(),
            choose(&*step.op, None).into(),
            step.op.shape(),
            dispatches.to_string(),
            flops(step.op.flops()),
            bytes(step.op.bytes()),
        ]);
    }
    let alignment = [Align::Left, Align::Left, Align::Left, Align::Left, Align::Right, Align::Right, Align::Right];
    lines(&alignment, &rows).iter().for_each(say);
    say(format!("{} dispatches a step", dispatches.iter().sum::<usize>()));
}

fn as_json(network: &Network, activations: &[Activation], plan: &Plan, dispatches: &[usize]) -> serde_json::Value {
    let layers = network.layers.iter().zip(activations).map(|(named, activation)| {
        json!({
            "name": named.name,
            "type": named.layer.kind(),
            "output": activation.output,
            "parameters": layer_parameters(plan, &named.name),
            "forward_flops": forward_flops(plan, &named.name),
        })
    });
    let ops = plan.steps.iter().zip(dispatches).map(|(step, dispatches)| {
        json!({
            "step": step.label,
            "op": step.op.name(),
            "variant": choose(&*step.op, None),
            "shape": step.op.shape(),
            "dispatches": dispatches,
            "flops": step.op.flops(),
            "bytes": step.op.bytes(),
        })
    });
    json!({
        "model": network.name,
        "batch": plan.batch,
        "parameters": plan.parameter_count(),
        "memory_bytes": plan.bytes(),
        "flops": plan.flops(),
        "dispatches": dispatches.iter().sum::<usize>(),
        "layers": layers.collect::<Vec<_>>(),
        "ops": ops.collect::<Vec<_>>(),
    })
}
