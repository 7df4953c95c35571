//! `train --init`: a run that starts from given weights, and says so for good.

use std::fs;

use crate::Workplace;

/// So small that no weight moves.
const STILL: &str = "train --data shapes --limit 4 --epochs 1 --lr 1e-30";

#[test]
fn a_run_starts_from_given_weights() {
    let place = Workplace::new();
    let first = place.run("train --data shapes --limit 8 --epochs 1 --lr 0.01 --seed 5 --out first").success();
    for (init, out) in [("first", "second"), ("first/model.safetensors", "third")] {
        let started = place.run(&format!("{STILL} --init {init} --out {out}")).success();
        assert_eq!(started.weights_sha256().len(), 64);
        assert_eq!(started.after("weights: sha256 "), first.after("weights: sha256 "));
        let said = started.after("initial weights: ");
        let config: toml::Table = fs::read_to_string(place.path(out).join("config.toml")).unwrap().parse().unwrap();
        let recorded = &config["train"]["init"];
        let file = place.path("first/model.safetensors").canonicalize().unwrap();
        assert_eq!(recorded["file"].as_str(), file.to_str());
        assert_eq!(format!("{}, sha256 {}", file.display(), recorded["sha256"].as_str().unwrap()), said);
    }
    // From here on the run is its own.
    fs::remove_dir_all(place.path("first")).unwrap();
    place.run("train --resume second --epochs 2").success();
    place.run("train --resume second --init third").refuses(2, "error: --init cannot change when a run is resumed");
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 4 --epochs 1 --model wide --out wide").success();
    let shapes = "model.safetensors has conv1.weight (50, 3, 5, 5), the model needs (6, 3, 5, 5)";
    place.run(&format!("{STILL} --init wide --out run")).refuses(4, &format!("error: {shapes}"));
    let missing = "error: could not read missing: no such file or directory";
    place.run(&format!("{STILL} --init missing --out run")).refuses(4, missing);
    assert!(!place.path("run").exists(), "a refused run left a folder behind");
}

/// A zip since PyTorch 1.6, a pickle before. The line was tried with both, written by PyTorch 2.15.
#[test]
fn what_torch_save_wrote_is_converted_by_one_line() {
    let place = Workplace::new();
    let line = "python -c \"import sys, torch; from safetensors.torch import save_file; \
                save_file(torch.load(sys.argv[1], map_location='cpu', weights_only=True), sys.argv[2])\"";
    for start in [b"PK\x03\x04\0\0\x08\x08", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46"] {
        fs::write(place.path("net.pth"), start).unwrap();
        let message = "error: net.pth was written by torch.save, expected a safetensors file";
        let refuses = |command: &str, folder: &str| {
            let hint = format!("hint: {line} '{folder}net.pth' '{folder}net.safetensors'");
            place.run(command).refuses(4, &format!("{message}\n{hint}"));
        };
        refuses("eval net.pth --data shapes --limit 4", "");
        let folder = place.0.path().canonicalize().unwrap();
        refuses(&format!("{STILL} --init net.pth"), &format!("{}/", folder.display()));
    }
}
