//! Ten whole training steps.

use shadegrad::geometry::{Channels, Conv2d, Pool2d, Window};
use shadegrad::reference::{bias, conv2d, gather, max_pool2d, mean_loss, relu, sgd, softmax_cross_entropy};

use crate::case::{Case, Golden};
use crate::linear::{Linear, multiply};
use crate::poisoned;

/// The tutorial network, step by step in reference functions: what the plan of the library must amount to.
#[test]
fn ten_training_steps_agree() {
    const BATCH: u32 = 4;
    const IMAGE: usize = 3 * 32 * 32;
    const PARAMETERS: [&str; 10] = [
        "conv1.weight",
        "conv1.bias",
        "conv2.weight",
        "conv2.bias",
        "fc1.weight",
        "fc1.bias",
        "fc2.weight",
        "fc2.bias",
        "fc3.weight",
        "fc3.bias",
    ];

    let golden = Golden::open("ten_steps");
    let case = Case { tensors: golden.tensors(), prefix: String::new() };
    let mut parameters = PARAMETERS.map(|name| case.floats(name));
    let mut momentum_buffers = parameters.each_ref().map(|parameter| vec![0.0; parameter.len()]);
    let settings = sgd::Settings { learning_rate: 0.001, momentum: 0.9, weight_decay: 0.0, nesterov: false };

    let all_labels = case.integers("labels");
    let pixels = case.tensor("pixels");
    assert_eq!(pixels.shape(), [10, 4, 3, 32, 32]);
    let records: Vec<u32> = pixels
        .data()
        .chunks(IMAGE)
        .zip(&all_labels)
        .flat_map(|(image, &label)| {
            let words = image.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes));
            [label, 0].into_iter().chain(words)
        })
        .collect();

    let conv1 = Conv2d::new(BATCH, 3, 6, [32, 32], Window::square(5)).unwrap();
    let pool1 = Pool2d::new(BATCH * 6, conv1.output, Window::square(2).stride(2)).unwrap();
    let conv2 = Conv2d::new(BATCH, 6, 16, pool1.output, Window::square(5)).unwrap();
    let pool2 = Pool2d::new(BATCH * 16, conv2.output, Window::square(2).stride(2)).unwrap();
    let [fc1, fc2, fc3] = [(400, 120), (120, 84), (84, 10)].map(|(i, o)| Linear::new(BATCH, i, o));

    let mut losses = Vec::new();
    for step in 0..10 {
        let [
            conv1_weight,
            conv1_bias,
            conv2_weight,
            conv2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
            fc3_weight,
            fc3_bias,
        ] = &parameters;
        let positions: Vec<u32> = (step * BATCH..(step + 1) * BATCH).collect();
        let mut input = poisoned(conv1.input_len());
        let mut labels = vec![0; BATCH as usize];
        let normalise = gather::Normalise { mean: 0.5, deviation: 0.5 };
        gather::forward(IMAGE, normalise, &records, &positions, &mut input, &mut labels);

        let conv1_relu = rectify(&convolve(&conv1, &input, conv1_weight, conv1_bias));
        let (pool1_output, pool1_argmax) = pool(&pool1, &conv1_relu);
        let conv2_relu = rectify(&convolve(&conv2, &pool1_output, conv2_weight, conv2_bias));
        let (pool2_output, pool2_argmax) = pool(&pool2, &conv2_relu);
        let fc1_relu = rectify(&fc1.forward(&pool2_output, fc1_weight, fc1_bias));
        let fc2_relu = rectify(&fc2.forward(&fc1_relu, fc2_weight, fc2_bias));
        let logits = fc3.forward(&fc2_relu, fc3_weight, fc3_bias);

        let mut row_loss = poisoned(BATCH as usize);
        let mut grad = poisoned(logits.len());
        let count = BATCH as usize;
        softmax_cross_entropy::forward_backward(10, count, 0.0, &logits, &labels, &mut row_loss, &mut grad);
        losses.push(mean_loss::rows(count, &row_loss));

        let mut gradients: [Vec<f64>; 10] = Default::default();
        for (layer, linear, input, weight) in
            [(4, &fc3, &fc2_relu, fc3_weight), (3, &fc2, &fc1_relu, fc2_weight), (2, &fc1, &pool2_output, fc1_weight)]
        {
            gradients[2 * layer] = multiply(&linear.grad_weight, &grad, input);
            gradients[2 * layer + 1] = sum_channels(&linear.bias, &grad);
            grad = multiply(&linear.grad_input, &grad, weight);
            if layer > 2 {
                grad = mask(input, &grad);
            }
        }

        grad = mask(&conv2_relu, &unpool(&pool2, &pool2_argmax, &grad));
        (gradients[2], gradients[3]) = convolution_gradients(&conv2, &pool1_output, &grad);
        let mut grad_input = poisoned(conv2.input_len());
        conv2d::grad_input(&conv2, conv2_weight, &grad, &mut grad_input);
        grad = mask(&conv1_relu, &unpool(&pool1, &pool1_argmax, &grad_input));
        (gradients[0], gradients[1]) = convolution_gradients(&conv1, &input, &grad);

        for ((parameter, momentum_buffer), gradient) in parameters.iter_mut().zip(&mut momentum_buffers).zip(&gradients)
        {
            sgd::step(&settings, gradient, parameter, momentum_buffer);
        }
    }

    // A loss passes through about 75 + 150 + 400 + 120 + 84 additions of numbers of order 1; γ_1000 ≈ 1.1e-13, and a
    // step is too small (0.001) for an error in the weights to grow.
    case.assert_within("losses", &losses, &[1e-12; 10]);
    for (name, parameter) in PARAMETERS.iter().zip(&parameters) {
        // A gradient is of order 1 and good to γ of its longest sum (4 · 28 · 28 products) on top of the loss's, about
        // 1e-12; ten steps with momentum 0.9 move a weight by at most 0.001 · 41 times that, and round it ten times.
        case.assert_within(&format!("final.{name}"), parameter, &vec![1e-13; parameter.len()]);
    }
}

fn convolve(shape: &Conv2d, input: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let mut output = poisoned(shape.output_len());
    conv2d::forward(shape, input, weight, bias, &mut output);
    output
}

/// grad_weight and grad_bias.
fn convolution_gradients(shape: &Conv2d, input: &[f64], grad_output: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut grad_weight = poisoned(shape.weight_len());
    conv2d::grad_weight(shape, input, grad_output, &mut grad_weight);
    let channels =
        Channels { batch: shape.batch, channels: shape.out_channels, size: shape.output[0] * shape.output[1] };
    (grad_weight, sum_channels(&channels, grad_output))
}

fn sum_channels(shape: &Channels, grad_output: &[f64]) -> Vec<f64> {
    let mut grad_bias = poisoned(shape.channels as usize);
    bias::grad(shape, grad_output, &mut grad_bias);
    grad_bias
}

fn rectify(input: &[f64]) -> Vec<f64> {
    let mut output = poisoned(input.len());
    relu::forward(input, &mut output);
    output
}

fn mask(output: &[f64], grad_output: &[f64]) -> Vec<f64> {
    let mut grad_input = poisoned(output.len());
    relu::backward(output, grad_output, &mut grad_input);
    grad_input
}

fn pool(shape: &Pool2d, input: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let mut output = poisoned(shape.output_len());
    let mut argmax = vec![u32::MAX; shape.output_len()];
    max_pool2d::forward(shape, input, &mut output, &mut argmax);
    (output, argmax)
}

fn unpool(shape: &Pool2d, argmax: &[u32], grad_output: &[f64]) -> Vec<f64> {
    let mut grad_input = poisoned(shape.input_len());
    max_pool2d::backward(shape, argmax, grad_output, &mut grad_input);
    grad_input
}
