//! Convolutions.

use shadegrad::geometry::{Channels, Conv2d};
use shadegrad::reference::{bias, conv2d};

use crate::case::{Case, Golden};
use crate::{absolute, poisoned, sum_bound};

#[test]
fn conv2d_agrees() {
    let golden = Golden::open("conv2d");
    for case in golden.cases(&[
        "plain_5x5",
        "one_by_one",
        "strided",
        "stride_larger_than_kernel",
        "padded",
        "dilated",
        "non_square",
        "combined",
    ]) {
        let (input_shape, weight_shape) = (case.shape("input"), case.shape("weight"));
        let shape = Conv2d::new(
            input_shape[0],
            input_shape[1],
            weight_shape[0],
            [input_shape[2], input_shape[3]],
            case.window(),
        )
        .unwrap();
        let channels =
            Channels { batch: shape.batch, channels: shape.out_channels, size: shape.output[0] * shape.output[1] };
        let (input, weight, bias) = (case.floats("input"), case.floats("weight"), case.floats("bias"));
        let grad_output = case.floats("grad_output");

        let forward = |input: &[f64], weight: &[f64], bias: &[f64]| {
            let mut output = poisoned(shape.output_len());
            conv2d::forward(&shape, input, weight, bias, &mut output);
            output
        };
        let k = shape.weight_len() / shape.out_channels as usize + 1;
        let bound = sum_bound(k, &forward(&absolute(&input), &absolute(&weight), &absolute(&bias)));
        case.assert_within("output", &forward(&input, &weight, &bias), &bound);

        let grad_input = |weight: &[f64], grad_output: &[f64]| {
            let mut grad_input = poisoned(shape.input_len());
            conv2d::grad_input(&shape, weight, grad_output, &mut grad_input);
            grad_input
        };
        let k = shape.weight_len() / shape.in_channels as usize;
        let bound = sum_bound(k, &grad_input(&absolute(&weight), &absolute(&grad_output)));
        case.assert_within("grad_input", &grad_input(&weight, &grad_output), &bound);

        let grad_weight = |input: &[f64], grad_output: &[f64]| {
            let mut grad_weight = poisoned(shape.weight_len());
            conv2d::grad_weight(&shape, input, grad_output, &mut grad_weight);
            grad_weight
        };
        let k = shape.output_len() / shape.out_channels as usize;
        let bound = sum_bound(k, &grad_weight(&absolute(&input), &absolute(&grad_output)));
        case.assert_within("grad_weight", &grad_weight(&input, &grad_output), &bound);

        check_grad_bias(&case, &channels, &grad_output);
    }
}

pub fn check_grad_bias(case: &Case, channels: &Channels, grad_output: &[f64]) {
    let grad = |grad_output: &[f64]| {
        let mut grad_bias = poisoned(channels.channels as usize);
        bias::grad(channels, grad_output, &mut grad_bias);
        grad_bias
    };
    let k = (channels.batch * channels.size) as usize;
    case.assert_within("grad_bias", &grad(grad_output), &sum_bound(k, &grad(&absolute(grad_output))));
}
