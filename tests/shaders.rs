//! No GPU: every shader parses and validates, is reached by some case, agrees with its host side field by field and binding by binding,
//! and translates to the languages of all three backends. Two more compilers have their say where the machine has them.

#[path = "common/translations.rs"]
mod translations;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use shadegrad::cases;
use shadegrad::gpu::{
    self, COMMON, Dispatch, EntryPoint, Feature, MAX_STORAGE_BUFFERS, Params, ParamsField, Reflection, Shader, StepRow,
};
use shadegrad::ops;
use translations::Translations;

/// Every shader that some case runs, by name.
fn shaders() -> BTreeMap<&'static str, &'static Shader> {
    let mut shaders = BTreeMap::new();
    for_each_dispatch(|dispatch, _| {
        shaders.insert(dispatch.shader.name, dispatch.shader);
    });
    shaders
}

fn entry_points() -> impl Iterator<Item = (&'static str, &'static EntryPoint)> {
    let shaders = shaders().into_iter();
    shaders.flat_map(|(name, shader)| shader.reflection().entry_points.iter().map(move |entry| (name, entry)))
}

/// Calls `visit` with every dispatch of every case and variant, and what it does with each of its operands.
fn for_each_dispatch(mut visit: impl FnMut(&Dispatch, &BTreeMap<&str, ops::Access>)) {
    for case in cases::all() {
        for variant in case.op.variants() {
            let lowering =
                case.op.lower(variant).unwrap_or_else(|error| panic!("{} {variant}: {error}", case.op.name()));
            let operands = case.op.operands();
            for dispatch in &lowering.dispatches {
                let places = dispatch.bindings.iter();
                let accesses = places.filter_map(|&(name, place)| Some((name, operands.get(place)?.access)));
                visit(dispatch, &accesses.collect());
                for (name, place) in &dispatch.bindings {
                    let known = operands.len() + lowering.scratch.len();
                    assert!(*place < known, "{}: {name} has no operand", dispatch.entry_point);
                }
            }
        }
    }
}

#[test]
fn every_file_and_every_entry_point_is_reached_by_a_case() {
    let shaders = shaders();
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders")).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let names = shaders.values().flat_map(|shader| {
        let own = shader.name.split('+').next().unwrap();
        shader.parts().iter().map(|part| part.name).chain([own, "common"])
    });
    assert_eq!(files, names.map(|name| format!("{name}.wgsl")).collect());

    // Whoever reads a file finds the rest of its shader.
    for shader in shaders.values() {
        for part in shader.parts() {
            assert!(
                shader.text().contains(&format!("{}.wgsl", part.name)),
                "{} does not name {}",
                shader.name,
                part.name
            );
        }
    }

    let declared: BTreeSet<_> = entry_points().map(|(shader, entry)| (shader, &*entry.name)).collect();
    let mut reached = BTreeSet::new();
    for_each_dispatch(|dispatch, _| {
        reached.insert((dispatch.shader.name, dispatch.entry_point));
    });
    assert_eq!(declared, reached);
}

#[test]
fn host_and_shader_declare_the_same_params_and_bindings() {
    let mut seen = BTreeSet::new();
    for_each_dispatch(|dispatch, accesses| {
        let name = dispatch.entry_point;
        let entry = dispatch.shader.reflection().entry_point(name).unwrap();
        let (uniforms, storage): (Vec<_>, Vec<_>) = entry
            .bindings
            .iter()
            .filter(|binding| binding.group == 0)
            .partition(|binding| binding.access == gpu::Access::Uniform);
        let [params] = uniforms[..] else { panic!("{name} has {} params structs", uniforms.len()) };
        assert_eq!(fields(params), dispatch.fields, "{name}");
        assert!(params.bytes as usize <= dispatch.params.len().next_multiple_of(16), "{name}");

        let bound: BTreeSet<_> = dispatch.bindings.iter().map(|(binding, _)| *binding).collect();
        let declared: BTreeSet<_> = storage.iter().map(|binding| &*binding.name).collect();
        assert_eq!(bound, declared, "{name}");
        assert!(storage.len() <= MAX_STORAGE_BUFFERS, "{name} uses {} storage buffers", storage.len());
        for binding in storage {
            // A slice's result goes to scratch memory, which the op does not declare.
            if let Some(access) = accesses.get(&*binding.name) {
                let expected = if *access == ops::Access::Read { gpu::Access::Read } else { gpu::Access::ReadWrite };
                assert_eq!(binding.access, expected, "{name} {}", binding.name);
            }
        }
        for binding in entry.bindings.iter().filter(|binding| binding.group != 0) {
            assert_eq!((&*binding.name, binding.group, binding.binding), ("now", 1, 0), "{name}");
            assert_eq!(fields(binding), StepRow::FIELDS, "{name}");
        }
        seen.insert(name);
    });
    assert!(seen.len() >= 20, "only {seen:?}");
}

fn fields(binding: &gpu::Binding) -> Vec<ParamsField> {
    // Leaked, because a field of the host's side has a static name: a few words in a test.
    binding.fields.iter().map(|field| (&*field.name.clone().leak(), field.offset as usize, field.kind)).collect()
}

#[test]
fn every_entry_point_translates_to_every_backend() {
    let shaders = shaders();
    let folder = tempfile::tempdir().unwrap();
    // An entry point with each of the values that its overrides are given somewhere.
    let mut specialised = BTreeSet::new();
    for_each_dispatch(|dispatch, _| {
        let constants = dispatch.constants.iter().map(|&(name, value)| (name, value as u32)).collect::<Vec<_>>();
        specialised.insert((dispatch.shader.name, dispatch.entry_point, constants));
    });
    let translated = specialised.len();
    let (mut modules, mut written) = (Vec::new(), 0);
    for (number, (shader, name, constants)) in specialised.into_iter().enumerate() {
        let reflection = shaders[shader].reflection();
        let entry = reflection.entry_point(name).unwrap();
        let constants: Vec<(&str, f64)> = constants.into_iter().map(|(name, value)| (name, f64::from(value))).collect();
        let translations = Translations::of(reflection, name, &constants);
        assert_eq!(translations.spirv.first(), Some(&0x0723_0203), "{shader} {name}: SPIR-V's magic number");
        written += usize::from(translations.hlsl.is_some());
        for (language, text) in [("MSL", Some(&translations.msl)), ("HLSL", translations.hlsl.as_ref())] {
            let Some(text) = text else { continue };
            for word in [name].into_iter().chain(entry.bindings.iter().map(|binding| &*binding.name)) {
                assert!(text.contains(word), "{shader} {name}: {language} without {word}");
            }
        }
        if reflection.needs.contains(&Feature::CooperativeMatrices) {
            // Many a spirv-val is older than these.
            continue;
        }
        let path = folder.path().join(format!("{name}-{number}.spv"));
        let bytes: Vec<u8> = translations.spirv.iter().flat_map(|word| word.to_le_bytes()).collect();
        fs::write(&path, bytes).unwrap();
        modules.push(path);
    }
    println!("WGSL: {} shaders, {} entry points validated by naga", shaders.len(), entry_points().count());
    println!("SPIR-V: {translated} modules written by naga, {} for spirv-val", modules.len());
    each_passes("spirv-val", &["--target-env", "vulkan1.1"], &modules);
    println!("MSL and HLSL: {translated} and {written} written by naga; no compiler of either was run");
}

#[test]
fn micro_kernels_translate_to_every_backend() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench/shaders");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let reflection = Reflection::new(name, &fs::read_to_string(&path).unwrap()).unwrap();
        for entry in &reflection.entry_points {
            Translations::of(&reflection, &entry.name, &[]);
        }
        files += 1;
    }
    assert_eq!(files, 3);
}

/// naga accepts barriers in non-uniform control flow; browsers, which compile with tint, do not.
#[test]
fn tint_accepts_every_shader() {
    let folder = tempfile::tempdir().unwrap();
    // Cooperative matrices are naga's own.
    let is_wgsl = |shader: &&Shader| !shader.reflection().needs.contains(&Feature::CooperativeMatrices);
    let sources = shaders().into_values().filter(is_wgsl).map(|shader| {
        let path = folder.path().join(format!("{}.wgsl", shader.name));
        // The files as they are: naga's own reading leaves a directive out.
        fs::write(&path, format!("{}\n{COMMON}", shader.text())).unwrap();
        path
    });
    let sources: Vec<PathBuf> = sources.collect();
    each_passes("tint", &["--format", "wgsl"], &sources);
}

/// Runs a tool over every file; says so where the machine does not have it.
fn each_passes(tool: &str, flags: &[&str], files: &[PathBuf]) {
    for file in files {
        match Command::new(tool).args(flags).arg(file).output() {
            Ok(output) => assert!(
                output.status.success(),
                "{tool} refuses {}:\n{}{}",
                file.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => {
                println!("{tool} was not run: {error}");
                return;
            }
        }
    }
    println!("{tool} accepts all {} files", files.len());
}
