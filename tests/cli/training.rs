//! `train`: what it prints, what it writes, and that it does so again.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::common::adapter;
use crate::{Outcome, SOFTWARE_ADAPTER, Workplace, assert_no_panic, events, write_cifar10};

/// (epoch, batch, loss) of a line that is, to the space, the tutorial's `[1,  2000] loss: 2.208`.
fn loss_line(line: &str) -> Option<(u32, u32, f64)> {
    let (place, loss) = line.strip_prefix('[')?.split_once("] loss: ")?;
    let (epoch, batch) = place.split_once(", ")?;
    let (epoch, batch, loss) = (epoch.parse().ok()?, batch.trim_start().parse().ok()?, loss.parse().ok()?);
    (format!("[{epoch}, {batch:5}] loss: {loss:.3}") == line).then_some((epoch, batch, loss))
}

/// Names and shapes of PyTorch's state_dict for the tutorial network, in its order.
const STATE_DICT: [(&str, &[usize]); 10] = [
    ("conv1.weight", &[6, 3, 5, 5]),
    ("conv1.bias", &[6]),
    ("conv2.weight", &[16, 6, 5, 5]),
    ("conv2.bias", &[16]),
    ("fc1.weight", &[120, 400]),
    ("fc1.bias", &[120]),
    ("fc2.weight", &[84, 120]),
    ("fc2.bias", &[84]),
    ("fc3.weight", &[10, 84]),
    ("fc3.bias", &[10]),
];

#[test]
fn a_run_prints_what_the_tutorial_prints() {
    let place = Workplace::new();
    let outcome = place.run("train --data shapes --limit 90 --log-every 10 --seed 3").success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines[0].starts_with("adapter: "), "{}", outcome.stdout);
    let data = "data: shapes (drawn from seed 0), 90 training and 90 test images of 3×32×32, 10 classes";
    assert_eq!(lines[1], data);
    assert!(lines[2].starts_with("model: lenet, 62,006 parameters, "), "{}", lines[2]);
    assert!(lines[3].starts_with("memory: "), "{}", lines[3]);
    assert_eq!(lines[4], "training: 2 epochs of 23 batches of 4, lr 0.001, momentum 0.9, seed 3");

    let losses: Vec<_> = lines[5..9].iter().map(|line| loss_line(line).unwrap_or_else(|| panic!("{line}"))).collect();
    let places: Vec<_> = losses.iter().map(|&(epoch, batch, _)| (epoch, batch)).collect();
    assert_eq!(places, [(1, 10), (1, 20), (2, 10), (2, 20)]);
    // An untrained network is near ln 10.
    assert!(losses.iter().all(|(.., loss)| (2.2..2.4).contains(loss)), "{losses:?}");
    assert_eq!(lines[9], "Finished Training");
    assert!(lines[10].starts_with("46 steps in "), "{}", lines[10]);
    let accuracy = lines[11].strip_prefix("Accuracy of the network on the 90 test images: ").unwrap();
    assert!(accuracy.ends_with(" %"), "{accuracy}");
    let classes = ["circle", "ring", "square", "triangle", "star", "cross", "crescent", "heart", "arrow", "hourglass"];
    for (class, line) in classes.iter().zip(&lines[12..22]) {
        let accuracy =
            line.strip_prefix(&format!("Accuracy for class: {class:5} is ")).unwrap_or_else(|| panic!("{line}"));
        assert!(accuracy.ends_with(" %"), "{line}");
    }
    assert_eq!(outcome.weights_sha256().len(), 64);
    assert_eq!(Path::new(outcome.after("run: ")), Path::new("runs").join("lenet-1"));
    assert_eq!(Path::new(outcome.after("report: ")), Path::new("runs").join("lenet-1").join("report.html"));
    assert_eq!(lines.len(), 25, "{}", outcome.stdout);
    let noise: Vec<&str> = outcome.stderr.lines().filter(|line| !line.starts_with(SOFTWARE_ADAPTER)).collect();
    assert!(noise.is_empty(), "{noise:?}");

    let second = place.run("train --data shapes --limit 4 --epochs 1 --device cpu").success();
    assert_eq!(Path::new(second.after("run: ")), Path::new("runs").join("lenet-2"));
}

#[test]
fn the_run_folder_holds_what_is_promised() {
    let place = Workplace::new();
    let outcome = place.run("train --data shapes --limit 40 --log-every 5 --seed 2 --out run").success();
    let run = place.path("run");
    let mut files: Vec<_> = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // The lock of the process that trains.
    files.retain(|name| name != ".lock");
    files.sort();
    let expected = ["checkpoint.prev.safetensors", "checkpoint.safetensors", "config.toml", "metrics.jsonl"];
    assert_eq!(files, [expected.as_slice(), &["model.safetensors", "report.html"]].concat());

    let [start] = events(&run, "start").try_into().unwrap();
    assert!(!start["adapter"].as_str().unwrap().is_empty() && !start["driver"].as_str().unwrap().is_empty());
    assert!(outcome.stdout.starts_with(&format!("adapter: {} · ", start["adapter"].as_str().unwrap())));
    assert_eq!((&start["model"], &start["data"]), (&"lenet".into(), &"shapes".into()));
    assert_eq!([&start["parameters"], &start["batch"], &start["seed"]], [62_006, 4, 2]);
    let losses = events(&run, "loss");
    assert_eq!(losses.len(), 4);
    for ((line, event), step) in outcome.stdout.lines().filter_map(loss_line).zip(&losses).zip([5, 10, 15, 20]) {
        assert_eq!([&event["epoch"], &event["batch"], &event["step"]], [line.0, line.1, step]);
        assert!((event["loss"].as_f64().unwrap() - line.2).abs() <= 0.0005, "{event}");
    }
    let evaluations = events(&run, "eval");
    assert_eq!(evaluations.iter().map(|event| event["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    for event in &evaluations {
        assert!(event["accuracy"].is_f64() && event["loss"].is_f64(), "{event}");
        assert_eq!(event["per_class"].as_array().unwrap().len(), 10);
        let confusion = event["confusion"].as_array().unwrap();
        let images = confusion.iter().flat_map(|row| row.as_array().unwrap()).map(|count| count.as_u64().unwrap());
        assert_eq!((confusion.len(), images.sum::<u64>()), (10, 40));
    }
    let [done] = events(&run, "done").try_into().unwrap();
    assert_eq!(done["steps"], 20);
    assert!(done["seconds"].as_f64().unwrap() > 0.0 && done["images_per_second"].as_f64().unwrap() > 0.0, "{done}");
    assert_eq!(done["weights_sha256"], outcome.weights_sha256());

    let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["adapter"]["name"].as_str(), start["adapter"].as_str());
    assert_eq!(config["adapter"]["driver"].as_str(), start["driver"].as_str());
    assert_eq!(config["versions"]["shadegrad"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(config["train"]["seed"].as_integer(), Some(2));

    let bytes = fs::read(run.join("model.safetensors")).unwrap();
    let model = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(model.len(), STATE_DICT.len());
    let mut hash = Sha256::new();
    for (name, shape) in STATE_DICT {
        let tensor = model.tensor(name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, shape), "{name}");
        hash.update(tensor.data());
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(outcome.weights_sha256(), hash);
}

#[test]
fn the_same_seed_gives_the_same_weights() {
    adapter();
    let place = Workplace::new();
    let run = |seed: u32, flags: &str| {
        let outcome = place.run(&format!("train --data shapes --limit 42 --seed {seed} {flags}")).success();
        outcome.weights_sha256().to_string()
    };
    let first = run(1, "");
    assert_eq!(first, run(1, ""));
    assert_ne!(first, run(2, ""));
    assert_eq!(first, run(1, "--stream"));
    // Bounds checks and loop guards change no arithmetic.
    assert_eq!(first, run(1, "--checked"));
}

#[test]
fn augmented_runs_say_so_and_continue_as_they_began() {
    let place = Workplace::new();
    let settings = "train --data shapes --limit 42 --seed 1 --augment flip,crop=4,cutout=8,brightness=0.2,contrast=0.2";
    let whole = place.run(&format!("{settings} --epochs 2 --out whole")).success();
    assert_eq!(whole.after("augmentation: "), "flip, crop 4, cutout 8, brightness ±0.2, contrast ±0.2");
    let config: toml::Table = fs::read_to_string(place.path("whole/config.toml")).unwrap().parse().unwrap();
    let augment = &config["train"]["augment"];
    assert_eq!((augment["flip"].as_bool(), augment["crop"].as_integer()), (Some(true), Some(4)));

    place.run(&format!("{settings} --epochs 1 --out run")).success();
    let resumed = place.run("train --resume run --epochs 2").success();
    assert_eq!(resumed.weights_sha256(), whole.weights_sha256());
    assert_eq!(resumed.after("augmentation: "), whole.after("augmentation: "));
    let plain = place.run("train --data shapes --limit 42 --seed 1 --augment none --out plain").success();
    assert!(plain.weights_sha256() != whole.weights_sha256() && !plain.stdout.contains("augmentation"));

    place
        .run("train --data shapes --limit 4 --augment crop=32 --out refused")
        .refuses(2, "error: --augment: crop must be smaller than the images (got 32, they have 32×32 pixels)");
    assert!(!place.path("refused").exists());
    let checked = place.run("check --model lenet --steps 3 --augment flip,crop=4,contrast=0.5").success();
    assert_eq!(checked.after("augmentation: "), "flip, crop 4, contrast ±0.5");
}

#[test]
fn a_schedule_is_shown_logged_and_kept() {
    let place = Workplace::new();
    let settings = "train --data shapes --limit 40 --lr 0.1 --schedule step:1,0.5 --warmup 0.5 --log-every 2";
    let whole = place.run(&format!("{settings} --epochs 3 --out whole")).success();
    assert_eq!(whole.after("schedule: "), "step:1,0.5, a warm-up of 5 steps");
    let rates = |run: &str| -> Vec<f64> {
        events(&place.path(run), "loss").iter().map(|event| event["lr"].as_f64().unwrap()).collect()
    };
    let expected = [[0.04, 0.08, 0.1, 0.1, 0.1], [0.05; 5], [0.025; 5]].concat();
    assert_eq!(rates("whole"), expected);

    place.run(&format!("{settings} --epochs 2 --out run")).success();
    let resumed = place.run("train --resume run --epochs 3").success();
    assert_eq!(resumed.after("schedule: "), "step:1,0.5, a warm-up of 5 steps");
    assert_eq!((resumed.weights_sha256(), rates("run")), (whole.weights_sha256(), expected));

    // The whole curve changes with its peak and with its end.
    place
        .run("train --data shapes --limit 40 --epochs 1 --lr 0.1 --schedule cosine --log-every 5 --out cosine")
        .success();
    let resumed = place.run("train --resume cosine --epochs 2 --lr 0.2").success();
    let warning = "warning: the learning rate goes on as if the cosine schedule had been for 2 epochs from the start";
    assert!(resumed.stderr.lines().any(|line| line == warning), "{}", resumed.stderr);
    let half_turns = [4.0 / 10.0, 9.0 / 10.0, 14.0 / 20.0, 19.0 / 20.0];
    for ((rate, half_turns), peak) in rates("cosine").into_iter().zip(half_turns).zip([0.1, 0.1, 0.2, 0.2]) {
        let expected = peak * (1.0 + (std::f64::consts::PI * half_turns).cos()) / 2.0;
        approx::assert_relative_eq!(rate, expected, max_relative = 1e-12);
    }
}

#[test]
fn the_reference_agrees_with_the_adapter() {
    adapter();
    let place = Workplace::new();
    let settings = "--data shapes --limit 200 --epochs 1 --log-every 10";
    place.run(&format!("train {settings} --out gpu")).success();
    let outcome = place.run(&format!("train {settings} --out cpu --device cpu")).success();
    assert_eq!(outcome.stdout.lines().next(), Some("adapter: none · CPU reference in f64"));
    assert_eq!(outcome.stderr, "");
    let losses = |run: &str| -> Vec<f64> {
        events(&place.path(run), "loss").iter().map(|event| event["loss"].as_f64().unwrap()).collect()
    };
    let (gpu, cpu) = (losses("gpu"), losses("cpu"));
    assert_eq!((gpu.len(), cpu.len()), (5, 5));
    for (gpu, cpu) in gpu.iter().zip(&cpu) {
        // The bound for the first 200 steps.
        approx::assert_relative_eq!(gpu, cpu, max_relative = 1e-3);
    }
}

#[test]
fn cifar10_is_found_where_it_lies() {
    let place = Workplace::new();
    let folder = Path::new("data").join("cifar-10-batches-bin");
    write_cifar10(&place.path("data").join("cifar-10-batches-bin"));
    let found = place.run("train --limit 4 --epochs 1 --device cpu").success();
    assert!(
        found.after("data: cifar10 (").starts_with(&format!("{}), 4 training and 4 test images", folder.display()))
    );
    assert_eq!(found.stderr, "");

    fs::rename(place.path("data"), place.path("elsewhere")).unwrap();
    let refusal = place.run("train --resume runs/lenet-1 --epochs 2 --device cpu").refusal(3);
    assert!(refusal.contains("cifar-10-batches-bin does not exist"), "{refusal}");
    // Moved images are named once, and found from then on.
    place.run("train --resume runs/lenet-1 --epochs 2 --device cpu --data elsewhere").success();
    place.run("train --resume runs/lenet-1 --epochs 3 --device cpu").success();
    place.run("eval runs/lenet-1 --device cpu").success();
}

#[test]
fn without_a_network_the_shapes_stand_in_loudly() {
    let place = Workplace::new();
    // A proxy that refuses, so that nothing is downloaded on a machine that has a network either.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut request = BufReader::new(&stream).lines();
        let first = request.next().unwrap().unwrap();
        request.find(|line| line.as_ref().is_ok_and(String::is_empty));
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").unwrap();
        first
    });
    let mut command = place.command("train --limit 10 --epochs 1 --device cpu");
    command.env("ALL_PROXY", &address).env("HTTPS_PROXY", &address);
    let outcome = Outcome::of(command).success();
    assert!(asked.join().unwrap().starts_with("CONNECT www.cs.toronto.edu:443 "));
    assert!(outcome.stdout.contains("\ndata: shapes ("), "{}", outcome.stdout);
    assert!(
        outcome.stderr.starts_with("warning: could not download https://www.cs.toronto.edu/"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("\nwarning: NO CIFAR-10: using the built-in shapes"), "{}", outcome.stderr);

    // Who asks for CIFAR-10 by name gets it or an error.
    let refusal = place.run("train --data cifar10 --limit 10 --device cpu").refusal(3);
    assert!(refusal.starts_with("error: could not download "), "{refusal}");
    assert!(refusal.contains("\nhint: `--data shapes` needs no download"), "{refusal}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Workplace::new();
    for arguments in ["train --data shapes --limit 40 --out run", "plan --ops", "plan --json", "devices"] {
        let mut command = place.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(child.wait().unwrap().success(), "shadegrad {arguments}\n{stderr}");
        assert_no_panic(&stderr);
    }
    assert_eq!(events(&place.path("run"), "done").len(), 1);
}
