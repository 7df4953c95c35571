//! `shadegrad plan`.

use std::fmt;
use std::path::Path;

use clap::Args;
use serde_json::json;
use shadegrad::geometry::{Window, product};
use shadegrad::nn::{Activation, Fusion, Images, Layer, Network, Noise, Phase, Plan, PlanRequest, Role, Sharing};
use shadegrad::ops::choose_unseen;
use shadegrad::train::{Recipe, Settings};
use shadegrad::units::{bytes, count, flops, percent};
use shadegrad::{Error, Result};

use super::json;
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
    /// Every layer's op by itself, not those together that one kernel can do
    #[arg(long)]
    unfused: bool,
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
    let fusion = if arguments.unfused { Fusion::None } else { Fusion::Full };
    let request = PlanRequest { network: &network, images, batch, max_bytes: u64::MAX, fusion };
    let plan = request.training(&settings.optimiser(), &Noise::default(), 1)?;
    // What each layer by itself computes, forward and in all.
    let apart = PlanRequest { fusion: Fusion::None, ..request };
    let (forward, whole) = (apart.inference()?, apart.training(&settings.optimiser(), &Noise::default(), 1)?);
    let dispatches = Dispatches::of(&plan)?;
    if arguments.json {
        return json::write(&as_json(&network, &activations, [&plan, &forward], &dispatches), Path::new("-"));
    }
    say(format!("{}: images of {}, {classes} classes, batch {batch}", network.name, shape(&arguments.image)));
    say("");
    layers(&network, &activations, [&plan, &forward], arguments.image);
    say("");
    totals(&plan, &whole, &dispatches);
    if arguments.ops {
        say("");
        ops(&plan, &dispatches);
    }
    Ok(())
}

/// Kernel launches of a step.
struct Dispatches {
    /// For each op, on a device with subgroups, as nearly all are.
    ops: Vec<usize>,
    /// In all, on one without.
    without_subgroups: usize,
}

impl Dispatches {
    fn of(plan: &Plan) -> Result<Self> {
        let count = |has_subgroups| -> Result<Vec<usize>> {
            let lowered = plan.steps.iter().map(|step| step.op.lower(choose_unseen(&*step.op, has_subgroups)));
            lowered.map(|lowering| Ok(lowering?.dispatches.len())).collect()
        };
        Ok(Self { ops: count(true)?, without_subgroups: count(false)?.iter().sum() })
    }

    fn sum(&self) -> usize {
        self.ops.iter().sum()
    }
}

impl fmt::Display for Dispatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dispatches", self.sum())?;
        match self.without_subgroups {
            same if same == self.sum() => Ok(()),
            other => write!(f, " ({other} on a device without subgroups)"),
        }
    }
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

/// Bytes that a training step keeps for what a layer computes: its output, the gradient of its input. Parameters are apart.
fn layer_bytes(plan: &Plan, layer: &str) -> u64 {
    let own = plan.storages.iter().enumerate().filter(|(place, _)| {
        // Other tensors of a storage are views of the first.
        let first = plan.tensors.iter().find(|tensor| tensor.storage == *place);
        first.is_some_and(|tensor| {
            tensor.role == Role::Activation && tensor.name.split_once('.').is_some_and(|(name, _)| name == layer)
        })
    });
    own.map(|(_, storage)| 4 * storage.length as u64).sum()
}

fn shape(sizes: &[u32]) -> String {
    sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("×")
}

/// What there is to say about a layer beside its shapes: `5×5, stride 2`.
fn details(layer: &Layer) -> String {
    let pair = |[height, width]: [u32; 2]| match height == width {
        true => height.to_string(),
        false => format!("{height}×{width}"),
    };
    let window = |window: &Window, stride: [u32; 2]| {
        let mut text = shape(&window.kernel_size);
        for (name, value, default) in [
            ("stride", window.stride, stride),
            ("padding", window.padding, [0; 2]),
            ("dilation", window.dilation, [1; 2]),
        ] {
            if value != default {
                text.push_str(&format!(", {name} {}", pair(value)));
            }
        }
        text
    };
    match layer {
        Layer::Conv2d { window: shape, .. } => window(shape, [1; 2]),
        Layer::MaxPool2d { window: shape } | Layer::AvgPool2d { window: shape } => window(shape, shape.kernel_size),
        Layer::Dropout { p } => format!("p {p}"),
        Layer::GlobalAvgPool2d | Layer::Relu | Layer::Flatten | Layer::Linear { .. } => String::new(),
    }
}

fn layers(network: &Network, activations: &[Activation], [plan, forward]: [&Plan; 2], image: [u32; 3]) {
    let heading = ["layer", "type", "window", "output", "parameters", "share", "forward", "share", "memory"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    let input =
        ["input", "", "", &shape(&image), "", "", "", "", &bytes(4 * plan.batch as u64 * product(&image) as u64)];
    rows.push(input.map(String::from).to_vec());
    let total: u64 = network.layers.iter().map(|named| forward_flops(forward, &named.name)).sum();
    let or_nothing = |amount: u64, text: fn(u64) -> String| if amount > 0 { text(amount) } else { String::new() };
    let share = |part: u64, whole: u64| if part > 0 { percent(part as f64 / whole as f64) } else { String::new() };
    for (named, activation) in network.layers.iter().zip(activations) {
        let (parameters, work) = (layer_parameters(plan, &named.name), forward_flops(forward, &named.name));
        rows.push(vec![
            named.name.clone(),
            named.layer.kind().into(),
            details(&named.layer),
            shape(&activation.output),
            or_nothing(parameters, count),
            share(parameters, plan.parameter_count()),
            or_nothing(work, flops),
            share(work, total),
            or_nothing(layer_bytes(plan, &named.name), bytes),
        ]);
    }
    let mut alignment = [Align::Right; 9];
    alignment[..3].fill(Align::Left);
    lines(&alignment, &rows).iter().for_each(say);
}

fn totals(plan: &Plan, apart: &Plan, dispatches: &Dispatches) {
    let of = |roles: &[Role]| {
        let held = plan.storages.iter().enumerate().filter(|(place, _)| {
            plan.tensors.iter().any(|tensor| tensor.storage == *place && roles.contains(&tensor.role))
        });
        held.map(|(_, storage)| 4 * storage.length as u64).sum::<u64>()
    };
    let trained = plan.parameter_count();
    say(format!("parameters: {} ({})", count(trained), bytes(4 * trained)));
    let phase = |phases: &[Phase]| {
        apart.steps.iter().filter(|step| phases.contains(&step.phase)).map(|step| step.op.flops()).sum::<u64>()
    };
    say(format!(
        "a training step: {}: forward {}, backward {}, update {}; {} ops, {dispatches}",
        flops(plan.flops()),
        flops(phase(&[Phase::Gather, Phase::Forward, Phase::Loss])),
        flops(phase(&[Phase::Backward])),
        flops(phase(&[Phase::Update])),
        plan.steps.len(),
    ));
    let (shared, alone, activations) = (shared_bytes(plan), plan.bytes(), of(&[Role::Activation]));
    say(format!(
        "memory: {} at batch {}: {} of parameters, gradients and momentum, {} of activations and their gradients, which take turns; \
         without sharing {} and {}; the training images not counted",
        bytes(shared),
        plan.batch,
        bytes(of(&[Role::Parameter, Role::Gradient, Role::Momentum])),
        bytes(activations - (alone - shared)),
        bytes(alone),
        bytes(activations)
    ));
}

/// Bytes of a training step's buffers on a device, where tensors that are not needed together share their memory.
fn shared_bytes(plan: &Plan) -> u64 {
    Sharing::of(plan, u64::MAX).bytes()
}

fn ops(plan: &Plan, dispatches: &Dispatches) {
    let mut rows = vec![["step", "op", "variant", "shape", "dispatches", "work", "traffic"].map(String::from).to_vec()];
    for (step, dispatches) in plan.steps.iter().zip(&dispatches.ops) {
        rows.push(vec![
            step.label.clone(),
            step.op.name().into(),
            choose_unseen(&*step.op, true).into(),
            step.op.shape(),
            dispatches.to_string(),
            flops(step.op.flops()),
            bytes(step.op.bytes()),
        ]);
    }
    let alignment = [Align::Left, Align::Left, Align::Left, Align::Left, Align::Right, Align::Right, Align::Right];
    lines(&alignment, &rows).iter().for_each(say);
    say(format!("a step: {dispatches}"));
}

fn as_json(
    network: &Network,
    activations: &[Activation],
    [plan, forward]: [&Plan; 2],
    dispatches: &Dispatches,
) -> serde_json::Value {
    let layers = network.layers.iter().zip(activations).map(|(named, activation)| {
        json!({
            "name": named.name,
            "type": named.layer.kind(),
            "details": details(&named.layer),
            "input": activation.input,
            "output": activation.output,
            "parameters": layer_parameters(plan, &named.name),
            "forward_flops": forward_flops(forward, &named.name),
            "memory_bytes": layer_bytes(plan, &named.name),
        })
    });
    let ops = plan.steps.iter().zip(&dispatches.ops).map(|(step, dispatches)| {
        json!({
            "step": step.label,
            "op": step.op.name(),
            "variant": choose_unseen(&*step.op, true),
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
        "memory_bytes": shared_bytes(plan),
        "memory_bytes_unshared": plan.bytes(),
        "flops": plan.flops(),
        "dispatches": dispatches.sum(),
        "dispatches_without_subgroups": dispatches.without_subgroups,
        "layers": layers.collect::<Vec<_>>(),
        "ops": ops.collect::<Vec<_>>(),
    })
}
