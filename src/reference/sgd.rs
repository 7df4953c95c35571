//! Stochastic gradient descent with momentum.

/// What one step depends on besides the tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub learning_rate: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
}

/// One update of every parameter, in place:
///
/// ```text
/// g = gradient + weight_decay · parameter
/// momentum_buffer = momentum · momentum_buffer + g
/// parameter −= learning_rate · (g + momentum · momentum_buffer if nesterov, else momentum_buffer)
/// ```
///
/// All three slices have one length. The momentum buffer starts at 0, which makes the first step PyTorch's.
///
/// Source: PyTorch `torch.optim.SGD` with dampening 0.
pub fn step(settings: &Settings, gradients: &[f64], parameters: &mut [f64], momentum_buffer: &mut [f64]) {
    debug_assert_eq!(gradients.len(), parameters.len());
    debug_assert_eq!(gradients.len(), momentum_buffer.len());
    let Settings { learning_rate, momentum, weight_decay, nesterov } = *settings;
    for ((parameter, gradient), velocity) in parameters.iter_mut().zip(gradients).zip(momentum_buffer) {
        let gradient = gradient + weight_decay * *parameter;
        *velocity = momentum * *velocity + gradient;
        let direction = if nesterov { gradient + momentum * *velocity } else { *velocity };
        *parameter -= learning_rate * direction;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        // Powers of two throughout, so that every value is exact.
        let settings = Settings { learning_rate: 0.5, momentum: 0.5, weight_decay: 0.25, nesterov: false };
        let (mut parameters, mut momentum_buffer) = ([4.0], [0.0]);
        step(&settings, &[1.0], &mut parameters, &mut momentum_buffer);
        assert_eq!((parameters, momentum_buffer), ([3.0], [2.0]));
        step(&settings, &[0.25], &mut parameters, &mut momentum_buffer);
        assert_eq!((parameters, momentum_buffer), ([2.0], [2.0]));
    }

    #[test]
    fn nesterov_looks_ahead() {
        let settings = Settings { learning_rate: 0.5, momentum: 0.5, weight_decay: 0.0, nesterov: true };
        let (mut parameters, mut momentum_buffer) = ([4.0], [2.0]);
        step(&settings, &[1.0], &mut parameters, &mut momentum_buffer);
        assert_eq!((parameters, momentum_buffer), ([3.0], [2.0]));
    }
}
