//! Initial parameters.

use super::plan::Plan;
use crate::random::{Purpose, Random};

/// The flat parameter buffer at step 0: weights and biases uniform in ±1/√fan_in, alignment gaps 0. The same seed gives the same bits on
/// every machine.
///
/// Source: the defaults of PyTorch's nn.Conv2d and nn.Linear (`kaiming_uniform_` with a = √5, and the same bound for the bias).
pub fn initialise(plan: &Plan, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; plan.parameter_length];
    for (index, parameter) in plan.parameters.iter().enumerate() {
        let mut random = Random::new(seed, Purpose::Initialise, index as u64);
        // A square root and a division, both correctly rounded everywhere.
        let bound = 1.0 / (parameter.fan_in as f64).sqrt();
        for value in &mut values[parameter.range()] {
            *value = ((2.0 * f64::from(random.unit()) - 1.0) * bound) as f32;
        }
    }
    values
}
