//! `train --config` and network files with settings: a run again, or nearly.

use std::fs;

use crate::common::adapter;
use crate::{Workplace, events};

/// Small steps, so that nothing hides that the weights are the same.
const SETTINGS: &str = "train --data shapes --limit 42 --epochs 1 --lr 0.02 --momentum 0.5 --schedule cosine --warmup 0.5 \
                        --label-smoothing 0.1 --weight-decay 0.01 --augment flip,crop=2 --batch 5 --seed 4 --log-every 3";

const NETWORK: &str = r#"
layers = [
    { type = "conv2d", out_channels = 4, kernel_size = 3, stride = 2 },
    { type = "relu" },
    { type = "global_avg_pool2d" },
    { type = "flatten" },
    { type = "linear", out_features = "classes" },
]
"#;

#[test]
fn a_run_is_repeated_by_its_configuration() {
    let place = Workplace::new();
    place.write("tiny.toml", NETWORK);
    let first = place.run(&format!("{SETTINGS} --model tiny.toml --out first")).success();
    // The run holds all it needs.
    fs::remove_file(place.path("tiny.toml")).unwrap();
    for config in ["first", "first/config.toml"] {
        let again = place.run(&format!("train --config {config} --out again")).success();
        assert_eq!(again.weights_sha256(), first.weights_sha256());
        for start in ["model: ", "training: ", "schedule: ", "augmentation: "] {
            assert_eq!(again.after(start), first.after(start));
        }
        let config = |run: &str| fs::read_to_string(place.path(run).join("config.toml")).unwrap();
        assert_eq!(config("again"), config("first"));
        fs::remove_dir_all(place.path("again")).unwrap();
    }

    // Flags win; the rest stays.
    let other =
        place.run("train --config first --seed 5 --epochs 2 --schedule constant --nesterov --out other").success();
    assert_ne!(other.weights_sha256(), first.weights_sha256());
    let config: toml::Table = fs::read_to_string(place.path("other/config.toml")).unwrap().parse().unwrap();
    let train = &config["train"];
    assert_eq!([&train["seed"], &train["epochs"], &train["batch"]].map(|value| value.as_integer().unwrap()), [5, 2, 5]);
    assert_eq!((train["schedule"].as_str(), train["warmup"].as_float()), (Some("constant"), Some(0.5)));
    assert_eq!((train["model"].as_str(), train["nesterov"].as_bool()), (Some("tiny"), Some(true)));
    let back =
        place.run("train --config other --seed 4 --epochs 1 --schedule cosine --nesterov=false --out back").success();
    assert_eq!(back.weights_sha256(), first.weights_sha256());
    let wide = place.run("train --config first --model lenet --limit 5").success();
    assert!(
        wide.after("model: ").starts_with("lenet, ") && wide.after("training: ").contains("of 1 batches of 5, lr 0.02")
    );
    place.run("train --config first --resume first").refusal(2);
}

#[test]
fn kernels_and_initial_weights_belong_to_a_run() {
    adapter();
    let place = Workplace::new();
    place.run("kernels relu_forward --template mine.wgsl").success();
    place.run("train --data shapes --limit 8 --epochs 1 --seed 8 --out start").success();
    let first = place
        .run("train --data shapes --limit 8 --epochs 1 --lr 0.1 --init start --kernel relu_forward=mine.wgsl --out first")
        .success();
    fs::remove_file(place.path("mine.wgsl")).unwrap();
    let again = place.run("train --config first --out again").success();
    assert!(again.after("kernel: ").contains(" runs relu_forward, "), "{}", again.stdout);
    assert_eq!(again.weights_sha256(), first.weights_sha256());
    fs::remove_dir_all(place.path("start")).unwrap();
    let refusal = place.run("train --config first").refusal(4);
    assert!(refusal.starts_with("error: could not ") && refusal.contains("model.safetensors"), "{refusal}");
}

#[test]
fn other_images_are_said() {
    let place = Workplace::new();
    let folder = place.path("photos");
    for class in ["cat", "dog"] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for number in 0..5u8 {
            image::RgbImage::from_pixel(8, 8, image::Rgb([number; 3]))
                .save(folder.join(class).join(format!("{number}.png")))
                .unwrap();
        }
    }
    place.run("train --data photos --image-size 32 --epochs 1 --out first").success();
    let again = place.run("train --config first").success();
    assert!(!again.stderr.contains("other images"), "{}", again.stderr);
    fs::remove_file(folder.join("cat/3.png")).unwrap();
    let again = place.run("train --config first").success();
    assert!(
        again.stderr.contains("/photos holds other images than the run of --config was trained on"),
        "{}",
        again.stderr
    );
    place.run("train --config first --data shapes --limit 8").success();
}

#[test]
fn a_network_file_brings_its_settings() {
    let place = Workplace::new();
    let train = "[train]\ndata = \"shapes\"\nlimit = 20\nbatch = 10\nepochs = 3\nlr = 0.05\nschedule = \"step:1,0.5\"\nlog_every = 1\n";
    place.write("tiny.toml", &format!("{NETWORK}{train}"));
    let run = place.run("train --model tiny.toml --epochs 2 --out run").success();
    assert_eq!(run.after("training: "), "2 epochs of 2 batches of 10, lr 0.05, momentum 0.9, seed 0");
    let rates: Vec<_> = events(&place.path("run"), "loss").iter().map(|event| event["lr"].as_f64().unwrap()).collect();
    assert_eq!(rates, [0.05, 0.05, 0.025, 0.025]);
    assert!(place.run("plan --model tiny.toml").success().stdout.contains("at batch 10"));
    place.run("eval run/model.safetensors --model tiny.toml --data shapes --limit 5").success();

    place.write("wrong.toml", &format!("{NETWORK}[train]\nlr = 0\nbatch = 10\n"));
    let shown = "error: --lr must be finite and above 0 (got 0)\n  --> wrong.toml:10:1\n   |\n10 | lr = 0\n   | ^^^^^^";
    for command in ["train", "plan"] {
        place.run(&format!("{command} --model wrong.toml")).refuses(2, shown);
    }
    // Flags win.
    place.run("train --model wrong.toml --data shapes --limit 4 --epochs 1 --lr 0.1").success();
    place.run("train --model wrong.toml --lr -1").refuses(2, "error: --lr must be finite and above 0 (got -1)");
    place.write("unknown.toml", &format!("{NETWORK}[train]\nbatchs = 10\n"));
    for command in ["train --model", "train --config", "plan --model"] {
        let refusal = place.run(&format!("{command} unknown.toml")).refusal(2);
        assert!(refusal.starts_with("error: unknown field `batchs`, expected one of `data`, "), "{refusal}");
        assert!(refusal.ends_with("\n  --> unknown.toml:10:1\n   |\n10 | batchs = 10\n   | ^^^^^^"), "{refusal}");
    }
}

#[test]
fn every_example_trains() {
    let place = Workplace::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for name in ["all-conv", "mnist", "vgg-small"] {
        let file = folder.join(format!("{name}.toml"));
        let flags = "--data shapes --limit 8 --batch 8 --epochs 2 --log-every 1";
        let run = place.run(&format!("train --model {} {flags} --out {name}", file.display())).success();
        assert!(run.after("model: ").starts_with(&format!("{name}, ")), "{}", run.stdout);
        assert_eq!(events(&place.path(name), "loss").len(), 2);
    }
}
