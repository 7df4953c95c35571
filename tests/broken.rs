//! Does `check` notice? Kernels broken on purpose, each by one small replacement in the real WGSL text, each run through the cases of its
//! op in both modes: every one has to be caught.

mod common;
#[path = "broken/patches/mod.rs"]
mod patches;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use common::adapter;
use patches::Patch;
use shadegrad::cases::{self, Case};
use shadegrad::check;
use shadegrad::gpu::{Checks, Device, Reflection, Shader};
use shadegrad::ops::{self, Lowering};

/// The shader with its replacement. A patch that no longer fits the text fails here, rather than test the sound kernel.
fn broken(patch: &Patch) -> &'static Shader {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(format!("{}.wgsl", patch.shader));
    let text = std::fs::read_to_string(&path).unwrap();
    let found = text.matches(patch.from).count();
    assert_eq!(found, patch.times, "`{}`: {} has `{}` {found} times", patch.name, path.display(), patch.from);
    assert_ne!(patch.from, patch.to, "{}", patch.name);
    let text = text.replace(patch.from, patch.to);
    let name = format!("{} with {}", patch.shader, patch.name);
    // What does not compile would be caught by the compiler, and prove nothing about check.
    Reflection::new(&name, &text).unwrap_or_else(|error| panic!("{name} is not valid WGSL: {error}"));
    // Leaked: a dispatch holds its shader for ever, and a device tells its modules apart by name.
    Box::leak(Box::new(Shader::new(name.leak(), text.leak())))
}

/// The lowering of a case with the broken shader in place of the sound one; `None` where the case does not use it.
fn swapped(case: &Case, patch: &Patch, shader: &'static Shader) -> Option<Lowering> {
    if !case.op.variants().contains(&patch.variant) {
        return None;
    }
    let mut lowering = case.op.lower(patch.variant).unwrap();
    let dispatches = lowering.dispatches.iter_mut().filter(|dispatch| dispatch.shader.name == patch.shader);
    let swapped = dispatches.map(|dispatch| dispatch.shader = shader).count();
    (swapped > 0).then_some(lowering)
}

#[test]
fn every_broken_kernel_is_caught() {
    let devices = [Checks::Checked, Checks::Unchecked]
        .map(|checks| Device::open(&adapter(), checks).unwrap_or_else(|error| panic!("{error}")));
    println!("{} ({})", devices[0].info().name, devices[0].info().driver);
    let started = Instant::now();
    let mut cases: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for case in cases::all() {
        cases.entry(case.op.name()).or_default().push(case);
    }
    // The small ones first: most of the broken kernels do not need a large one.
    for cases in cases.values_mut() {
        cases.sort_by_key(|case| case.op.flops() + case.op.bytes());
    }
    let (run, left_out): (Vec<_>, Vec<_>) = patches::all().partition(|patch| ops::runs_on(&devices[0], patch.variant));
    for patch in left_out {
        println!("NOT RUN {} {}: {} (the adapter has not what the variant needs)", patch.op, patch.variant, patch.name);
    }
    let mut survivors = Vec::new();
    for patch in &run {
        let shader = broken(patch);
        let cases = cases.get(patch.op).unwrap_or_else(|| panic!("{}: no op {}", patch.name, patch.op));
        let mut tried = 0;
        let mut caught = [None, None];
        'cases: for case in cases {
            let Some(lowering) = swapped(case, patch, shader) else { continue };
            tried += 1;
            for (device, caught) in devices.iter().zip(&mut caught) {
                if caught.is_none() {
                    let outcome = check::run_lowering(device, case, &lowering)
                        .unwrap_or_else(|error| panic!("{}: {error}", patch.name));
                    *caught = outcome.failure.map(|failure| (tried, case.shape(), failure));
                }
            }
            if caught.iter().all(Option::is_some) {
                break 'cases;
            }
        }
        assert!(tried > 0, "{}: no case of {} {} uses {}", patch.name, patch.op, patch.variant, patch.shader);
        let modes: Vec<_> = ["checked", "unchecked"].into_iter().zip(&caught).filter(|(_, c)| c.is_some()).collect();
        let label = format!("{} {}: {}", patch.op, patch.variant, patch.name);
        match modes.first() {
            Some((_, Some((case, shape, failure)))) => {
                let modes: Vec<_> = modes.iter().map(|(mode, _)| *mode).collect();
                println!("caught {label}\n       {}, case {case}, {shape}: {failure}", modes.join(" and "));
            }
            _ => {
                println!("MISSED {label} ({tried} cases)");
                survivors.push(label);
            }
        }
    }
    let (count, seconds) = (run.len(), started.elapsed().as_secs_f64());
    println!("{} of {count} broken kernels caught in {seconds:.1} s", count - survivors.len());
    assert!(survivors.is_empty(), "check does not notice:\n{}", survivors.join("\n"));
    assert!(count >= 30, "only {count}");
}
