//! A machine without any adapter: the Vulkan loader is told to use a driver that does not exist.

use crate::{Outcome, Workplace};

const HINT: &str = "install a Vulkan driver: `sudo apt-get install mesa-vulkan-drivers`";

fn run(place: &Workplace, arguments: &str) -> Outcome {
    let mut command = place.command(arguments);
    command.env("VK_DRIVER_FILES", "nonexistent.json").env("VK_ICD_FILENAMES", "nonexistent.json");
    command.env_remove("VK_ADD_DRIVER_FILES");
    Outcome::of(command)
}

#[test]
fn training_falls_back_to_the_reference_loudly() {
    let place = Workplace::new();
    let outcome = run(&place, "train --limit 40 --data shapes").success();
    assert!(outcome.stdout.starts_with("adapter: none · CPU reference in f64\n"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("\nFinished Training\n"), "{}", outcome.stdout);
    assert!(outcome.stderr.starts_with("warning: NO ADAPTER FOUND: this is the CPU reference"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("\nwarning: {HINT}")), "{}", outcome.stderr);
    run(&place, "eval runs/lenet-1").success();
}

#[test]
fn an_adapter_asked_for_is_never_replaced() {
    let place = Workplace::new();
    for device in ["0", "llvmpipe"] {
        let refusal = run(&place, &format!("train --limit 4 --data shapes --device {device}")).refusal(5);
        let start = format!("error: no device {device}\nhint: there is no adapter on this machine: {HINT}");
        assert!(refusal.starts_with(&start), "{refusal}");
    }
    assert!(!place.path("runs").exists(), "a refused run left a folder behind");
}

#[test]
fn what_needs_no_adapter_works() {
    let place = Workplace::new();
    assert!(run(&place, "plan").success().stdout.contains("\nparameters: 62,006 ("));
    let refusal = run(&place, "devices").refusal(5);
    assert!(refusal.starts_with(&format!("error: no adapter on this machine\nhint: {HINT}")), "{refusal}");
    assert_eq!(run(&place, "devices --json").success().stdout, "[]\n");
}
