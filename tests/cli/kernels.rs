//! `kernels`, and `train` with a user's own kernel.

use std::fs;

use crate::Workplace;

#[test]
fn a_starter_kernel_trains_and_stays_with_the_run() {
    let place = Workplace::new();
    assert!(place.run("kernels").success().stdout.contains("\nmatmul "));
    assert!(place.run("kernels matmul").success().stdout.starts_with("matmul\n"));
    place.run("kernels matmul --template mine.wgsl").success();
    place.run("kernels matmul --template mine.wgsl").refusal(4);
    let text = fs::read_to_string(place.path("mine.wgsl")).unwrap();

    let settings = "train --data shapes --limit 40 --kernel matmul=mine.wgsl";
    let whole = place.run(&format!("{settings} --epochs 2 --out whole")).success();
    assert!(whole.stdout.contains("\nkernel: mine.wgsl runs matmul, "), "{}", whole.stdout);
    place.run(&format!("{settings} --epochs 1 --out run")).success();
    let config: toml::Table = fs::read_to_string(place.path("run/config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["kernels"].as_array().unwrap(), &["matmul".into()]);
    assert_eq!(fs::read_to_string(place.path("run/kernels/matmul.wgsl")).unwrap(), text);

    fs::remove_file(place.path("mine.wgsl")).unwrap();
    let resumed = place.run("train --resume run --epochs 2").success();
    assert!(resumed.stdout.contains(" runs matmul, "), "{}", resumed.stdout);
    assert_eq!(resumed.weights_sha256(), whole.weights_sha256());
    assert!(!resumed.stderr.contains("never runs"), "{}", resumed.stderr);

    place.run("kernels avg_pool2d_forward --template pool.wgsl").success();
    let idle = place.run("train --data shapes --limit 4 --epochs 1 --kernel avg_pool2d_forward=pool.wgsl").success();
    let warning = "warning: pool.wgsl never runs: no step of this training has the op avg_pool2d_forward";
    assert!(idle.stderr.contains(warning), "{}", idle.stderr);
}

#[test]
fn a_kernel_that_is_wrong_never_trains() {
    let place = Workplace::new();
    place.run("kernels relu_forward --template mine.wgsl").success();
    let text = fs::read_to_string(place.path("mine.wgsl")).unwrap();
    assert!(text.contains("value <= 0.0"), "{text}");
    place.write("wrong.wgsl", &text.replace("value <= 0.0", "value <= 0.001"));
    place.write("garbage.wgsl", "garbage\n");
    let train = |kernel: &str| place.run(&format!("train --data shapes --limit 4 --kernel {kernel}"));

    let refusal = train("relu_forward=wrong.wgsl").refusal(1);
    assert!(refusal.starts_with("error: wrong.wgsl fails on "), "{refusal}");
    let refusal = train("relu_forward=garbage.wgsl").refusal(2);
    assert!(refusal.contains("garbage.wgsl:1:1"), "{refusal}");
    train("mine.wgsl").refuses(2, "error: --kernel is OP=FILE.wgsl (got mine.wgsl)");
    assert!(train("nonsense=mine.wgsl").refusal(2).starts_with("error: no op nonsense\nhint: the ops are "));
    train("relu_forward=mine.wgsl --device cpu")
        .refuses(2, "error: a kernel of your own needs an adapter (got the CPU reference)");
    assert!(!place.path("runs").exists(), "a refused run left a folder behind");
}
