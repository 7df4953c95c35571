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

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::nn::{Fusion, Images, Network, PlanRequest};
    use crate::units::hexadecimal;

    #[test]
    fn a_seed_gives_the_same_weights_on_every_machine() {
        let network = Network::load("lenet").unwrap();
        let images = Images::streamed([3, 32, 32], 10, 1);
        let plan = PlanRequest { network: &network, images, batch: 1, max_bytes: u64::MAX, fusion: Fusion::None }
            .inference()
            .unwrap();
        let weights = initialise(&plan, 0);
        let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        assert_eq!(
            hexadecimal(&Sha256::digest(&bytes)),
            "9fb02e4912b8dccb296d8c4401db2a733a588451422cd17019e03bc26a38acc5"
        );
        for parameter in &plan.parameters {
            let bound = 1.0 / (parameter.fan_in as f32).sqrt();
            let values = &weights[parameter.range()];
            assert!(values.iter().all(|value| value.abs() <= bound), "{}", parameter.name);
            assert!(values.iter().any(|value| value.abs() > 0.5 * bound), "{}", parameter.name);
        }
    }
}
