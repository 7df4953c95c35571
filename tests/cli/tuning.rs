//! `train` choosing its kernels by their times: what it prints, what it keeps, and that the choice is the run's from then on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::adapter;
use crate::{Outcome, SOFTWARE_ADAPTER, Workplace, events};

const SETTINGS: &str = "train --data shapes --limit 22 --lr 0.02 --seed 4";

/// Variants by op and shape.
type Choice = BTreeMap<String, BTreeMap<String, String>>;

fn run(place: &Workplace, arguments: &str) -> Outcome {
    run_with(place, arguments, "cache").success()
}

fn run_with(place: &Workplace, arguments: &str, cache: &str) -> Outcome {
    let mut command = place.command_as_is(arguments);
    command.env("SHADEGRAD_CACHE", cache);
    Outcome::of(command)
}

/// The one file of the cache.
fn cache_file(place: &Workplace) -> PathBuf {
    let [file] =
        &fs::read_dir(place.path("cache/tuned")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()[..]
    else {
        panic!("one file for one adapter")
    };
    file.clone()
}

fn cache(place: &Workplace) -> Value {
    serde_json::from_str(&fs::read_to_string(cache_file(place)).unwrap()).unwrap()
}

/// Makes every op's plain variant the one that was found to be the fastest.
fn prefer_plain(place: &Workplace) {
    let mut cache = cache(place);
    for kernel in cache["kernels"].as_array_mut().unwrap() {
        kernel["winner"] = "plain".into();
    }
    fs::write(cache_file(place), cache.to_string()).unwrap();
}

fn config(place: &Workplace, run: &str) -> toml::Table {
    fs::read_to_string(place.path(run).join("config.toml")).unwrap().parse().unwrap()
}

/// What a run has recorded.
fn choice(place: &Workplace, run: &str) -> Choice {
    config(place, run)["tuned"].clone().try_into().unwrap()
}

#[test]
fn every_sample_is_kept_and_found_again() {
    let adapter = adapter();
    let place = Workplace::new();
    let first = run(&place, &format!("{SETTINGS} --epochs 1 --out first"));
    let said = first.after("tuned: ");
    let ops: usize = said.split_once(" ops in ").unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
    let noise: Vec<&str> = first.stderr.lines().filter(|line| !line.starts_with(SOFTWARE_ADAPTER)).collect();
    assert!(noise.is_empty(), "{noise:?}");

    let kept = cache(&place);
    assert_eq!([&kept["adapter"], &kept["driver"]], [&*adapter.info.name, &*adapter.info.driver]);
    let kernels = kept["kernels"].as_array().unwrap();
    let mut winners = Choice::new();
    for kernel in kernels {
        let text = |key: &str| kernel[key].as_str().unwrap().to_string();
        winners.entry(text("op")).or_default().insert(text("shape"), text("winner"));
        assert_eq!((text("type"), text("verified")), ("f32".into(), "f64 reference".into()));
        let candidates = kernel["candidates"].as_array().unwrap();
        assert_eq!(candidates[0]["variant"], kernel["default"]);
        assert!(candidates.iter().any(|candidate| candidate["variant"] == kernel["winner"]), "{kernel}");
        for candidate in candidates {
            let samples = candidate["samples_us"].as_array().unwrap();
            assert!(candidate["failure"].is_null() && !samples.is_empty(), "{kernel}");
            assert!(samples.iter().all(|sample| sample.as_f64().unwrap() > 0.0), "{kernel}");
        }
    }
    assert_eq!((kernels.len(), choice(&place, "first")), (ops, winners));
    let [tuned] = events(&place.path("first"), "tuned").try_into().unwrap();
    assert_eq!([&tuned["ops"], &tuned["timed"], &tuned["cached"]], [ops, ops, 0]);

    let second = run(&place, &format!("{SETTINGS} --epochs 1 --out second"));
    assert_eq!(second.after("tuned: "), format!("{ops} ops (cached)"));
    assert_eq!(second.weights_sha256(), first.weights_sha256());
    assert_eq!(cache(&place), kept);
    let again = run(&place, &format!("{SETTINGS} --epochs 1 --retune --out again"));
    assert!(again.after("tuned: ").starts_with(&format!("{ops} ops in ")), "{}", again.stdout);
    assert_ne!(cache(&place), kept);

    // A kernel that is not the one that was timed, and another driver.
    let whole = fs::read_to_string(cache_file(&place)).unwrap();
    let hash = kernels[0]["kernels_sha256"].as_str().unwrap();
    let same = kernels.iter().filter(|kernel| kernel["kernels_sha256"] == hash).count();
    fs::write(cache_file(&place), whole.replace(hash, "00")).unwrap();
    let changed = run(&place, &format!("{SETTINGS} --epochs 1 --out changed"));
    assert!(changed.after("tuned: ").contains(&format!(" s ({same} anew)")), "{}", changed.stdout);
    fs::write(cache_file(&place), whole.replace(&adapter.info.driver, "another")).unwrap();
    let foreign = run(&place, &format!("{SETTINGS} --epochs 1 --out foreign"));
    assert!(foreign.after("tuned: ").starts_with(&format!("{ops} ops in ")), "{}", foreign.stdout);
    let warning =
        "is damaged: it is not of this adapter and driver, or of another shadegrad; its kernels are timed again";
    assert!(foreign.stderr.contains(warning), "{}", foreign.stderr);
}

#[test]
fn the_choice_stays_with_the_run() {
    let place = Workplace::new();
    run(&place, &format!("{SETTINGS} --epochs 1 --out first"));
    prefer_plain(&place);
    let whole = run(&place, &format!("{SETTINGS} --epochs 2 --out whole"));
    let plain = choice(&place, "whole");
    assert!(plain.values().flatten().all(|(_, variant)| variant == "plain"), "{plain:?}");
    run(&place, &format!("{SETTINGS} --epochs 1 --out run"));

    // Whatever the cache says by now.
    fs::remove_dir_all(place.path("cache")).unwrap();
    let ops = plain.values().map(BTreeMap::len).sum::<usize>();
    for arguments in ["train --resume run --epochs 2", "train --config whole --out again"] {
        let repeated = run(&place, arguments);
        assert_eq!(repeated.after("tuned: "), format!("{ops} ops (as the run was)"));
        assert_eq!(repeated.weights_sha256(), whole.weights_sha256());
    }
    assert_eq!((choice(&place, "run"), choice(&place, "again")), (plain.clone(), plain.clone()));
    assert!(!place.path("cache/tuned").exists());
    // With another batch there are other shapes, and flags win.
    let other = run(&place, "train --config whole --batch 8 --epochs 1 --out other");
    assert!(other.after("tuned: ").contains(" ops in ") && choice(&place, "other") != plain, "{}", other.stdout);
    assert!(run(&place, "train --config whole --retune --epochs 1").after("tuned: ").contains(" ops in "));
    let default = run(&place, "train --config whole --no-tune --out default");
    assert!(!default.stdout.contains("tuned: "), "{}", default.stdout);
    for flag in ["--no-tune", "--retune"] {
        let message = format!("error: {flag} cannot change when a run is resumed");
        run_with(&place, &format!("train --resume run {flag}"), "cache").refuses(2, &message);
    }

    // As on another adapter: what runs there stays.
    let file = place.path("run/config.toml");
    let text = fs::read_to_string(&file).unwrap().replacen("= \"plain\"", "= \"warp\"", 2);
    fs::write(&file, text).unwrap();
    let elsewhere = run(&place, "train --resume run --epochs 3");
    assert_eq!(elsewhere.after("tuned: "), format!("{} ops (as the run was)", ops - 2));
    let warning = format!("warning: 2 of the {ops} kernels that the run was tuned to do not run on ");
    assert!(elsewhere.stderr.contains(&warning), "{}", elsewhere.stderr);
    run(&place, "eval run --data shapes --limit 4");
}

#[test]
fn untuned_runs_say_nothing_and_stay_so() {
    let place = Workplace::new();
    let first = run(&place, &format!("{SETTINGS} --epochs 1 --no-tune --out first"));
    assert!(!first.stdout.contains("tuned: ") && !place.path("cache/tuned").exists(), "{}", first.stdout);
    let again = run(&place, "train --config first --out again");
    assert!(!again.stdout.contains("tuned: "), "{}", again.stdout);
    assert_eq!(again.weights_sha256(), first.weights_sha256());
    assert_eq!(config(&place, "again")["train"]["tune"].as_bool(), Some(false));
    assert!(run(&place, "train --config first --retune").after("tuned: ").contains(" ops in "));
    run_with(&place, "train --no-tune --retune", "cache").refusal(2);
    // The user's own kernel is not one to choose from.
    place.run("kernels matmul --template mine.wgsl").success();
    run(&place, &format!("{SETTINGS} --epochs 1 --kernel matmul=mine.wgsl --out own"));
    assert!(!choice(&place, "own").contains_key("matmul"));
    // Bounds checks change no choice.
    let checked = run(&place, &format!("{SETTINGS} --epochs 1 --checked --kernel matmul=mine.wgsl"));
    assert!(checked.after("tuned: ").ends_with(" ops (cached)"), "{}", checked.stdout);
}

/// What a run was tuned to rounds as it was allowed to: a choice to another precision is another choice.
#[test]
fn flags_that_change_who_contends_begin_anew() {
    let place = Workplace::new();
    let settings = "train --data shapes --limit 64 --batch 64 --epochs 1";
    run(&place, &format!("{settings} --out first"));
    let ops = choice(&place, "first").values().map(BTreeMap::len).sum::<usize>();
    // As a run to half precision has it, on an adapter where that is faster.
    let file = place.path("first/config.toml");
    let text = fs::read_to_string(&file).unwrap().replace("precision = \"f32\"", "precision = \"f16\"");
    let (head, tuned) = text.split_once("[tuned.linear_forward]\n").unwrap();
    let (layer, rest) = tuned.split_once(" = ").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let half = format!("{head}[tuned.linear_forward]\n{layer} = \"shared_32_f16\"\n{rest}");
    assert!(layer.contains("64×") && half.contains("precision = \"f16\""), "{half}");
    fs::write(&file, half).unwrap();

    let single = run(&place, "train --config first --precision f32 --out single");
    assert_eq!(single.after("tuned: "), format!("{ops} ops (cached)"));
    let kept = fs::read_to_string(place.path("single/config.toml")).unwrap();
    assert!(kept.contains("precision = \"f32\"") && !kept.contains("_f16"), "{kept}");
    let experimental = run(&place, "train --config single --experimental --out experimental");
    assert_ne!(experimental.after("tuned: "), format!("{ops} ops (as the run was)"));
    let same = run(&place, "train --config single --precision f32 --out same");
    assert_eq!(same.after("tuned: "), format!("{ops} ops (as the run was)"));
}

#[test]
fn a_folder_that_cannot_be_written_stops_nobody() {
    let place = Workplace::new();
    place.write("file", "");
    let outcome = run_with(&place, &format!("{SETTINGS} --epochs 1 --out run"), "file").success();
    assert!(outcome.after("tuned: ").contains(" ops in "), "{}", outcome.stdout);
    let warning = outcome.refusal(0);
    assert!(warning.starts_with("warning: could not write file/tuned/"), "{warning}");
    assert!(
        warning.ends_with("; the kernels will be timed again next time") && warning.lines().count() == 1,
        "{warning}"
    );
}

#[test]
fn what_is_too_large_for_the_reference_is_held_against_the_default() {
    let place = Workplace::new();
    run(&place, "train --data shapes --limit 128 --batch 128 --epochs 1");
    let kernels = cache(&place)["kernels"].as_array().unwrap().clone();
    let large = kernels.iter().filter(|kernel| kernel["verified"].as_str().unwrap().starts_with("the bits of "));
    assert!(large.clone().count() >= 2, "{kernels:?}");
    for kernel in large {
        let candidates = kernel["candidates"].as_array().unwrap();
        assert!(candidates.iter().all(|it| it["failure"].is_null()), "{kernel}");
        // Of gather the images are many, not the operations: its plain kernel may be the fastest.
        assert!(candidates.iter().all(|it| it["variant"] != "plain") || kernel["op"] == "gather", "{kernel}");
    }
}
