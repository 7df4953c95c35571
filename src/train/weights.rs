//! Flat buffers as named tensors, and back.

use super::checkpoint::{Checkpoint, NamedTensor, Position};
use crate::machine::State;
use crate::nn::{Parameter, Plan};

/// Names and shapes that a checkpoint of this plan has.
pub fn expected(plan: &Plan) -> Vec<(String, Vec<u32>)> {
    plan.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect()
}

/// Named tensors back into a flat buffer.
pub fn flatten(plan: &Plan, tensors: &[NamedTensor]) -> Vec<f32> {
    let mut values = vec![0.0; plan.parameter_length];
    for (parameter, tensor) in plan.parameters.iter().zip(tensors) {
        values[parameter.range()].copy_from_slice(&tensor.values);
    }
    values
}

/// What a checkpoint holds, as flat buffers.
pub fn state(plan: &Plan, checkpoint: &Checkpoint) -> State {
    State { parameters: flatten(plan, &checkpoint.parameters), momentum: flatten(plan, &checkpoint.momentum) }
}

/// Flat buffers as what a checkpoint holds.
pub fn checkpoint(plan: &Plan, state: &State, position: Position) -> Checkpoint {
    Checkpoint {
        position,
        parameters: named(&plan.parameters, &state.parameters),
        momentum: named(&plan.parameters, &state.momentum),
    }
}

/// The parts of a flat buffer under their parameters' names.
pub fn named(parameters: &[Parameter], values: &[f32]) -> Vec<NamedTensor> {
    let tensor = |parameter: &Parameter| NamedTensor {
        name: parameter.name.clone(),
        shape: parameter.shape.clone(),
        values: values[parameter.range()].to_vec(),
    };
    parameters.iter().map(tensor).collect()
}
