//! Does `check` notice? Kernels broken on purpose, each by one small replacement in the real WGSL text, each run through the cases of its
//! op in both modes: every one has to be caught.

mod common;
#[path = "broken/patches/mod.rs"]
mod patches;

use std::collections::BTreeMap;
use std::time::Instant;

use common::adapter;
use patches::Patch;
use shadegrad::cases::{self, Case};
use shadegrad::check;
use shadegrad::gpu::{Checks, Device, DeviceOptions, Part, Reflection, Shader};
use shadegrad::ops::{self, Lowering};

/// A shader with a replacement in one of its files; `None` where it is not made of that file. A patch that no longer fits the text fails here,
/// rather than test the sound kernel.
fn broken(patch: &Patch, sound: &Shader) -> Option<&'static Shader> {
    let own = Part { name: sound.name.split('+').next().unwrap_or_default(), text: sound.file() };
    let mut files = [&[own], sound.parts()].concat();
    let Part { text, .. } = files.iter_mut().find(|file| file.name == patch.shader)?;
    let found = text.matches(patch.from).count();
    assert_eq!(found, patch.times, "`{}`: {} has `{}` {found} times", patch.name, patch.shader, patch.from);
    assert_ne!(patch.from, patch.to, "{}", patch.name);
    // Leaked: a dispatch holds its shader for ever, and a device tells its modules apart by name.
    *text = text.replace(patch.from, patch.to).leak();
    let name: &str = format!("{} with {}", sound.name, patch.name).leak();
    let [own, parts @ ..] = &*files.leak() else { unreachable!("there is its own file") };
    let shader = Shader::new(name, own.text, parts);
    // What does not compile would be caught by the compiler, and prove nothing about check.
    Reflection::new(name, &shader.text()).unwrap_or_else(|error| panic!("{name} is not valid WGSL: {error}"));
    Some(Box::leak(Box::new(shader)))
}

/// The broken shaders of a patch, by the sound one's name.
type Broken = BTreeMap<&'static str, Option<&'static Shader>>;

/// The lowering of a case with the broken shader in place of the sound one; `None` where the case does not use it.
fn swapped(case: &Case, patch: &Patch, shaders: &mut Broken) -> Option<Lowering> {
    if !case.op.variants().contains(&patch.variant) {
        return None;
    }
    let mut lowering = case.op.lower(patch.variant).unwrap();
    let mut swapped = 0;
    for dispatch in &mut lowering.dispatches {
        let sound = dispatch.shader;
        if let Some(shader) = *shaders.entry(sound.name).or_insert_with(|| broken(patch, sound)) {
            dispatch.shader = shader;
            swapped += 1;
        }
    }
    (swapped > 0).then_some(lowering)
}

#[test]
fn every_broken_kernel_is_caught() {
    let devices = [Checks::Checked, Checks::Unchecked].map(|checks| {
        let options = DeviceOptions { checks, experimental: true, ..DeviceOptions::default() };
        Device::open_with(&adapter(), options).unwrap_or_else(|error| panic!("{error}"))
    });
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
        let mut shaders = Broken::new();
        let cases = cases.get(patch.op).unwrap_or_else(|| panic!("{}: no op {}", patch.name, patch.op));
        let mut tried = 0;
        let mut caught = [None, None];
        'cases: for case in cases {
            let Some(lowering) = swapped(case, patch, &mut shaders) else { continue };
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
