//! SGD, and the learning rates it is given.

use shadegrad::reference::sgd;
use shadegrad::train::LearningRates;

use crate::case::Golden;
use crate::sum_bound;

#[test]
fn sgd_agrees() {
    let golden = Golden::open("sgd");
    for case in golden.cases(&["plain", "momentum", "nesterov"]) {
        let [learning_rate, momentum, weight_decay, nesterov] = case.floats("settings")[..] else {
            panic!("{}settings holds four numbers", case.prefix)
        };
        let settings = sgd::Settings { learning_rate, momentum, weight_decay, nesterov: nesterov == 1.0 };
        let mut parameters = case.floats("parameters");
        let mut momentum_buffer = vec![0.0; parameters.len()];
        let mut after = Vec::new();
        let mut magnitude = Vec::new();
        for gradients in case.floats("gradients").chunks(parameters.len()) {
            sgd::step(&settings, gradients, &mut parameters, &mut momentum_buffer);
            after.extend_from_slice(&parameters);
            // The gradients of the file lie within ±5, so no direction is longer than 20, and three of them than 60.
            magnitude.extend(parameters.iter().map(|parameter| parameter.abs() + 60.0 * learning_rate));
        }
        // At most 8 roundings a step (two for the decay, momentum, Nesterov and the update each; PyTorch may fuse
        // some).
        case.assert_within("after", &after, &sum_bound(3 * 8, &magnitude));
    }
}

#[test]
fn schedules_agree() {
    let golden = Golden::open("schedules");
    let names = [
        "step:2,0.1",
        "step:1,0.7 warmup 1",
        "constant warmup 0.43",
        "cosine",
        "cosine warmup 2",
        "one-cycle:0.3",
        "one-cycle:0",
        "one-cycle:1",
    ];
    for (case, name) in golden.cases(&names).iter().zip(names) {
        let (schedule, warm_up) = name.split_once(" warmup ").unwrap_or((name, "0"));
        let rates = LearningRates::new(0.1, schedule.parse().unwrap(), warm_up.parse().unwrap(), 7, 5);
        let rates: Vec<f64> = (1..=35).map(|step| rates.at(step)).collect();
        // PyTorch gets most rates from the one before: a few roundings a step, of values up to the peak.
        case.assert_within("rates", &rates, &sum_bound(4 * 35, &[0.1; 35]));
    }
}
