//! Runs with a folder: interrupted, resumed, extended, held by another process, on other data.

use std::path::{Path, PathBuf};
use std::time::Instant;

use shadegrad::data::shapes;
use shadegrad::gpu::Checks;
use shadegrad::machine::GpuOptions;
use shadegrad::nn::Network;
use shadegrad::train::{Event, Job, Outcome, RunFolder, RunTarget, Schedule, Settings, Stop, spawn};
use shadegrad::{Error, Result};

use crate::common::adapter;
use crate::{NOISE, dropping};

/// A small run with everything that is drawn; `stop_after` asks it to end once that many steps are done, of 0 before it begins.
fn run(folder: &Path, resume: bool, epochs: u32, stop_after: Option<u64>) -> (Result<Outcome>, Vec<Event>) {
    run_with(Schedule::Constant, folder, resume, epochs, stop_after)
}

fn run_with(
    schedule: Schedule,
    folder: &Path,
    resume: bool,
    epochs: u32,
    stop_after: Option<u64>,
) -> (Result<Outcome>, Vec<Event>) {
    let augment = NOISE.augmentation;
    let (data, lr, seed, log_every) = ("shapes".into(), 0.01, 9, 20);
    let settings = Settings { data, epochs, lr, schedule, seed, log_every, augment, ..Settings::default() };
    let job = Job {
        network: dropping(),
        dataset: shapes(7, 203, 40),
        adapter: Some(adapter()),
        checks: Checks::Unchecked,
        gpu_options: GpuOptions::default(),
        tuner: None,
        run: if resume { RunTarget::Resume(folder.into()) } else { RunTarget::New(folder.into()) },
        begun: Instant::now(),
        settings,
    };
    let (sender, events) = flume::unbounded();
    let stop = Stop::default();
    if stop_after == Some(0) {
        stop.request();
    }
    let trainer = spawn(job, sender, stop.clone()).unwrap();
    let mut seen = Vec::new();
    for event in events {
        if let (Event::Progress { step, .. }, Some(after)) = (&event, stop_after)
            && *step >= after
        {
            stop.request();
        }
        seen.push(event);
    }
    (trainer.join().unwrap(), seen)
}

fn lines_of(folder: &Path, kinds: &[&str]) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let wanted = |line: &&str| kinds.iter().any(|kind| line.starts_with(&format!("{{\"event\":\"{kind}\"")));
    text.lines().filter(wanted).map(String::from).collect()
}

#[test]
fn an_interrupted_run_ends_as_the_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let (uninterrupted, events) = run_with(Schedule::Cosine, &whole, false, 3, None);
    let uninterrupted = uninterrupted.unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Done { steps: 153, .. })), "{events:?}");

    let mut resume = false;
    let mut interruptions = 0;
    let outcome = loop {
        // A little further every time.
        match run_with(Schedule::Cosine, &parts, resume, 3, Some(17 * (interruptions + 1))).0 {
            Err(Error::Interrupted { run, .. }) => {
                assert_eq!(run, parts);
                interruptions += 1;
                resume = true;
            }
            other => break other.unwrap(),
        }
    };
    assert!(interruptions >= 2, "only {interruptions} interruptions");
    assert_eq!(outcome.weights_sha256, uninterrupted.weights_sha256);
    assert_eq!(outcome.evaluation, uninterrupted.evaluation);
    assert_eq!(lines_of(&parts, &["loss", "eval"]), lines_of(&whole, &["loss", "eval"]));
    let losses = lines_of(&whole, &["loss"]);
    assert_eq!(losses.len(), 2 * 3);
    let fifth: serde_json::Value = serde_json::from_str(&losses[4]).unwrap();
    assert_eq!(fifth["step"], 122);
    let half_turns = 121.0 / 153.0 * std::f64::consts::PI;
    approx::assert_relative_eq!(fifth["lr"].as_f64().unwrap(), 0.005 * (1.0 + half_turns.cos()), max_relative = 1e-12);
}

#[test]
fn a_run_that_is_stopped_before_its_first_step_takes_none() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    for resume in [false, true] {
        let error = run(&stopped, resume, 1, Some(0)).0.unwrap_err();
        assert!(matches!(error, Error::Interrupted { step: 0, .. }), "{error}");
    }
    let hash = run(&whole, false, 1, None).0.unwrap().weights_sha256;
    assert_eq!(run(&stopped, true, 1, None).0.unwrap().weights_sha256, hash);
    // There is nothing to stop in one that is finished but its evaluation.
    let error = run(&stopped, true, 1, Some(0)).0.unwrap_err();
    assert!(matches!(error, Error::Interrupted { step: 51, .. }), "{error}");
}

#[test]
fn a_finished_run_can_be_extended() {
    let folder = tempfile::tempdir().unwrap();
    let (longer, extended) = (folder.path().join("longer"), folder.path().join("extended"));
    let longer_hash = run(&longer, false, 2, None).0.unwrap().weights_sha256;
    run(&extended, false, 1, None).0.unwrap();
    assert_eq!(run(&extended, true, 2, None).0.unwrap().weights_sha256, longer_hash);
    // And asking again changes nothing.
    assert_eq!(run(&extended, true, 2, None).0.unwrap().weights_sha256, longer_hash);
}

#[test]
fn a_run_belongs_to_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    run(&path, false, 1, None).0.unwrap();
    let held = RunFolder::open(&path).unwrap();
    let error = run(&path, true, 2, None).0.unwrap_err();
    assert!(error.to_string().ends_with("run is being trained by another process"), "{error}");
    drop(held);
    run(&path, true, 2, None).0.unwrap();
}

#[test]
fn another_data_set_is_not_resumed_on() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("run");
    run(&path, false, 1, None).0.unwrap();
    let job = Job {
        network: Network::load("lenet").unwrap(),
        dataset: shapes(8, 203, 40),
        adapter: Some(adapter()),
        checks: Checks::Unchecked,
        gpu_options: GpuOptions::default(),
        tuner: None,
        run: RunTarget::Resume(path),
        begun: Instant::now(),
        settings: Settings::default(),
    };
    let error = spawn(job, flume::unbounded().0, Stop::default()).unwrap().join().unwrap().unwrap_err();
    assert!(error.to_string().contains("holds other images than the run was trained on"), "{error}");
}
