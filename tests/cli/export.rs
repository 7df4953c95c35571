//! `export`: a folder that PyTorch loads, never over another's files. tests/export.rs holds its logits against ours.

use std::fs;

use crate::Workplace;

#[test]
fn a_run_becomes_a_folder_for_pytorch() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 4 --epochs 1 --out run").success();
    let outcome = place.run("export run --to for/torch").success();
    assert_eq!(outcome.stdout.lines().next(), Some("for/torch holds lenet, 62,006 parameters"));
    let weights = |folder: &str| fs::read(place.path(folder).join("model.safetensors")).unwrap();
    assert_eq!(weights("for/torch"), weights("run"));
    let script = fs::read_to_string(place.path("for/torch/model.py")).unwrap();
    for line in [
        "CHANNELS, HEIGHT, WIDTH = 3, 32, 32",
        "    \"hourglass\",",
        "        self.conv1 = nn.Conv2d(3, 6, kernel_size=5)",
        "        self.pool2 = nn.MaxPool2d(kernel_size=2)",
        "        self.fc3 = nn.Linear(84, 10)",
        "        x = self.flatten1(x)  # (400)",
    ] {
        assert!(script.lines().any(|other| other == line), "{line} in\n{script}");
    }

    // The same again is fine, into the run as well; another's file stays.
    place.run("export run --to for/torch").success();
    place.run("export run/model.safetensors --to run").success();
    place.write("for/torch/model.py", "mine");
    let message = "error: for/torch/model.py exists and is another\nhint: give another folder, or remove it";
    place.run("export run --to for/torch").refuses(2, message);
    assert_eq!(fs::read_to_string(place.path("for/torch/model.py")).unwrap(), "mine");
}

#[test]
fn weights_that_nothing_is_known_about_are_refused() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 4 --epochs 1 --out run").success();
    fs::copy(place.path("run/model.safetensors"), place.path("alone.safetensors")).unwrap();
    let hint = "the run's config.toml says which images and classes the weights are for";
    place
        .run("export alone.safetensors --to out")
        .refuses(2, &format!("error: alone.safetensors lies in no run folder\nhint: {hint}"));
    place.run("export . --to out").refuses(4, "error: . is not a run folder: it has no config.toml");
    assert!(!place.path("out").exists());
}
