//! Ctrl-C and kills at random moments: a run that continues ends as the run that was never interrupted.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use shadegrad::random::{Purpose, Random};

use crate::{Workplace, assert_no_panic, events};

/// 240 steps in 24 epochs, each of which ends in a checkpoint.
const RUN: &str = "train --data shapes --limit 40 --epochs 24 --lr 0.01 --log-every 5 --out";

/// Runs uninterrupted; how long that took.
fn uninterrupted(place: &Workplace) -> Duration {
    let started = Instant::now();
    place.run(&format!("{RUN} whole")).success();
    started.elapsed()
}

/// Begins the run in a folder, or continues it where there is one.
fn start(place: &Workplace, run: &str) -> Child {
    let arguments = if place.path(run).exists() { format!("train --resume {run}") } else { format!("{RUN} {run}") };
    place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Asserts that a finished run has the uninterrupted one's weights, losses and evaluations.
#[track_caller]
fn assert_same_end(place: &Workplace, run: &str) {
    let (whole, run) = (place.path("whole"), place.path(run));
    let hash = |folder| events(folder, "done").pop().unwrap()["weights_sha256"].clone();
    assert_eq!(hash(&whole), hash(&run));
    assert_eq!(events(&whole, "done").len(), 1);
    for kind in ["loss", "eval"] {
        assert_eq!(events(&whole, kind), events(&run, kind));
    }
    assert_eq!(events(&run, "loss").len(), 48);
    assert_eq!(fs::read(whole.join("model.safetensors")).unwrap(), fs::read(run.join("model.safetensors")).unwrap());
}

/// The step in the header of a run's latest checkpoint.
fn saved_step(place: &Workplace, run: &str) -> u64 {
    let bytes = fs::read(place.path(run).join("checkpoint.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let position = &header.metadata().as_ref().unwrap()["position"];
    serde_json::from_str::<Value>(position).unwrap()["step"].as_u64().unwrap()
}

#[test]
fn an_interrupt_saves_and_says_where() {
    let place = Workplace::new();
    let whole = uninterrupted(&place);
    let mut random = Random::new(0, Purpose::Test, 1);
    let (mut interrupted, mut runs) = (0, 0);
    for turn in 0.. {
        let run = format!("run-{runs}");
        let mut child = start(&place, &run);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // From here on the signal is the trainer's to handle.
        assert!(lines.any(|line| line.starts_with("training: ")));
        std::thread::sleep(whole.mul_f32(random.range(0.0, 0.4)));
        // Ctrl-C, and what a system that shuts down sends.
        let signal = if turn % 2 == 0 { "INT" } else { "TERM" };
        let kill = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).output().unwrap();
        lines.for_each(drop);
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_no_panic(&stderr);
        match child.wait().unwrap().code() {
            Some(130) => {
                assert!(kill.status.success());
                let step = saved_step(&place, &run);
                let message = format!(
                    "error: interrupted at step {step}, saved in {run}\nhint: shadegrad train --resume {run}\n"
                );
                assert!(stderr.ends_with(&message), "the checkpoint is of step {step}, and\n{stderr}");
                interrupted += 1;
            }
            // It was quicker.
            Some(0) => {
                assert_same_end(&place, &run);
                runs += 1;
                if interrupted >= 4 {
                    break;
                }
            }
            code => panic!("exit code {code:?}\n{stderr}"),
        }
    }
}

/// `SHADEGRAD_KILLS` sets how often; 8 by default.
#[test]
fn a_killed_run_always_resumes() {
    let kills = std::env::var("SHADEGRAD_KILLS").map_or(8, |count| count.parse().unwrap());
    let place = Workplace::new();
    let whole = uninterrupted(&place);
    let mut random = Random::new(0, Purpose::Test, 2);
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        let run = format!("run-{runs}");
        let mut child = start(&place, &run);
        // Any moment: while it loads, trains, evaluates, saves.
        std::thread::sleep(whole.mul_f32(random.range(0.0, 0.4)));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            None => killed += 1,
            Some(0) => {
                assert_same_end(&place, &run);
                runs += 1;
            }
            code => panic!("exit code {code:?}\n{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    let run = format!("run-{runs}");
    if !place.path(&run).exists() {
        place.run(&format!("{RUN} {run}")).success();
    } else {
        place.run(&format!("train --resume {run}")).success();
    }
    assert_same_end(&place, &run);
}
