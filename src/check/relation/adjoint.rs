//! ⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ = ⟨w, grad_weight⟩: the three kernels are one trilinear form.

use super::{Kind, Outcome, Relation, STEP, conv2d, floats, result, uniform};
use crate::cases::{evaluate, gamma};
use crate::check::Worst;
use crate::error::Result;
use crate::geometry::{Conv2d, Window};
use crate::gpu::Device;
use crate::ops::Op;
use crate::ops::conv2d::{Conv2dForward, Conv2dGradInput, Conv2dGradWeight};

pub fn relations() -> Vec<Relation> {
    let window = Window { kernel_size: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2] };
    let shapes = [conv2d(3, 4, 6, [9, 8], window), conv2d(2, 7, 5, [8, 9], Window::square(3).padding(2).dilation(2))];
    let mut relations = Vec::new();
    for shape in shapes {
        for &variant in Conv2dForward(shape).variants() {
            let name = "⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩";
            let input = Conv2dGradInput(shape);
            let run = move |device: &Device, variant: &str| {
                compare(device, shape, variant, "⟨x, grad_input⟩", &|inputs, grad_output| {
                    let operands = [inputs[1].clone(), grad_output.to_vec(), Vec::new()];
                    Ok(dot(&result(device, &input, variant, &operands)?, &inputs[0]))
                })
            };
            relations.push(Relation::new(Kind::Metamorphic, name, &input, variant, run));

            let name = "⟨conv(x), y⟩ = ⟨w, grad_weight⟩";
            let weight = Conv2dGradWeight(shape);
            let run = move |device: &Device, variant: &str| {
                compare(device, shape, variant, "⟨w, grad_weight⟩", &|inputs, grad_output| {
                    let operands = [inputs[0].clone(), grad_output.to_vec(), Vec::new()];
                    Ok(dot(&result(device, &weight, variant, &operands)?, &inputs[1]))
                })
            };
            relations.push(Relation::new(Kind::Metamorphic, name, &weight, variant, run));
        }
    }
    relations
}

/// Another way to the number, from the forward's inputs and the gradient of its output.
type Form<'a> = dyn Fn(&[Vec<u32>], &[u32]) -> Result<f64> + 'a;

/// Each result is within γ_k times its sum of absolute values, so each form is within γ_k · Σ|x·w·y|, and two of them within twice that.
fn compare(device: &Device, shape: Conv2d, variant: &str, form: &'static str, other: &Form) -> Result<Outcome> {
    let forward = Conv2dForward(shape);
    let mut inputs = uniform(&forward, 4);
    inputs[2].fill(0);
    let grad_output = uniform(&Conv2dGradInput(shape), 5).swap_remove(1);
    let magnitudes = evaluate(&forward, &STEP, &inputs, f64::abs);
    let total: f64 = magnitudes[3].iter().zip(floats(&grad_output)).map(|(x, y)| x * y.abs()).sum();
    // The longest of the three sums.
    let [height, width] = shape.window.kernel_size;
    let terms =
        [shape.batch * shape.output[0] * shape.output[1], shape.in_channels.max(shape.out_channels) * height * width];
    let bound = 2.0 * gamma(u64::from(terms[0].max(terms[1])) + 1) * total;
    let expected = dot(&result(device, &forward, variant, &inputs)?, &grad_output);
    let actual = other(&inputs, &grad_output)?;
    let mut outcome = Outcome::default();
    outcome.weigh(Worst { operand: form, index: 0, actual, expected, bound });
    Ok(outcome)
}

fn dot(a: &[u32], b: &[u32]) -> f64 {
    floats(a).zip(floats(b)).map(|(a, b)| a * b).sum()
}
