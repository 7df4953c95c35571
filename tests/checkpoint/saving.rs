//! A save that is killed, refused or has no room leaves a checkpoint that loads.

use std::fs;

use shadegrad::train::checkpoint::{CURRENT, Checkpoint, PREVIOUS, Restored, load_model, save, save_model};

use crate::{TEMPORARY, checkpoint, expected, folder, message, restore, tensors};

#[test]
fn the_one_before_is_kept() {
    let run = folder();
    for step in [1000, 2000, 3000] {
        save(run.path(), &checkpoint(step), None).unwrap();
    }
    assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(3000), warning: None });
    fs::remove_file(run.path().join(CURRENT)).unwrap();
    let warning =
        "checkpoint.safetensors is missing; continuing from step 2000 (checkpoint.prev.safetensors)".to_string();
    assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(2000), warning: Some(warning) });
}

#[test]
fn a_kill_at_any_point_of_a_save_leaves_a_checkpoint_and_the_next_save_works() {
    let files = [1000, 2000, 3000].map(|step| {
        let run = folder();
        save(run.path(), &checkpoint(step), None).unwrap();
        fs::read(run.path().join(CURRENT)).unwrap()
    });
    let [old, latest, new] = files.each_ref().map(|bytes| Some(bytes.as_slice()));
    let half = Some(&files[2][..files[2].len() / 2]);
    let damaged = Some(&files[1][..files[1].len() - 1]);
    let damaged_old = Some(&files[0][..40]);
    // Temporary, current, previous; the step that loads.
    let states = [
        (Some(&[][..]), latest, old, 2000),
        (half, latest, old, 2000),
        (new, latest, old, 2000),
        (new, None, latest, 2000),
        (None, new, latest, 3000),
        // The first save of a run has no previous file.
        (half, latest, None, 2000),
        (new, None, latest, 2000),
        // A kill while a damaged current file is being replaced.
        (half, damaged, old, 1000),
        (new, damaged, old, 1000),
        (new, latest, damaged_old, 2000),
    ];
    for (index, (temporary, current, previous, step)) in states.into_iter().enumerate() {
        let run = folder();
        for (name, bytes) in [(TEMPORARY, temporary), (CURRENT, current), (PREVIOUS, previous)] {
            if let Some(bytes) = bytes {
                fs::write(run.path().join(name), bytes).unwrap();
            }
        }
        assert_eq!(restore(run.path()).checkpoint, checkpoint(step), "state {index}");

        save(run.path(), &checkpoint(4000), Some(step)).unwrap();
        assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(4000), warning: None }, "state {index}");
        assert!(!run.path().join(TEMPORARY).exists(), "state {index}");
        fs::remove_file(run.path().join(CURRENT)).unwrap();
        assert_eq!(restore(run.path()).checkpoint, checkpoint(step), "state {index}");
    }
}

#[test]
fn a_state_that_would_not_load_is_not_saved() {
    let run = folder();
    save(run.path(), &checkpoint(1000), None).unwrap();
    let change = |change: &dyn Fn(&mut Checkpoint)| {
        let mut changed = checkpoint(2000);
        change(&mut changed);
        changed
    };
    let cases = [
        (change(&|it| it.parameters[2].values[5] = f32::NAN), "fc1.weight has a non-finite value"),
        (change(&|it| it.momentum[1].values[0] = f32::INFINITY), "momentum.conv1.bias has a non-finite value"),
        (change(&|it| it.parameters[1].values.truncate(5)), "conv1.bias (6) has 5 values"),
        (
            change(&|it| {
                it.parameters[3] = it.parameters[1].clone();
                it.momentum[3] = it.momentum[1].clone();
            }),
            "the name conv1.bias is taken",
        ),
        (change(&|it| it.momentum.clear()), "the momentum does not have the parameters' names and shapes"),
    ];
    for (changed, problem) in cases {
        let error = save(run.path(), &changed, Some(1000)).unwrap_err();
        let text = format!("could not save the checkpoint: {problem}; the checkpoint of step 1000 is intact");
        assert_eq!(message(&error), text);
        assert_eq!(restore(run.path()), Restored { checkpoint: checkpoint(1000), warning: None });
    }
    let path = run.path().join("model.safetensors");
    let mut parameters = tensors(0);
    parameters[0].values[0] = f32::NAN;
    let error = save_model(&path, &parameters).unwrap_err();
    let text = format!("could not write {}: conv1.weight has a non-finite value", path.display());
    assert_eq!(message(&error), text);
    assert!(!path.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_checkpoints_alone() {
    use std::os::unix::fs::symlink;

    let run = folder();
    save(run.path(), &checkpoint(3000), None).unwrap();
    save(run.path(), &checkpoint(4000), Some(3000)).unwrap();
    let contents = || [CURRENT, PREVIOUS].map(|name| fs::read(run.path().join(name)).unwrap());
    let before = contents();
    let temporary = run.path().join(TEMPORARY);
    for (intact, tail) in [(Some(4000), "; the checkpoint of step 4000 is intact"), (None, "")] {
        symlink("/dev/full", &temporary).unwrap();
        let error = save(run.path(), &checkpoint(5000), intact).unwrap_err();
        assert_eq!(message(&error), format!("could not save the checkpoint: no space left on device{tail}"));
        assert!(temporary.symlink_metadata().is_err(), "the temporary file is still there");
        assert!(contents() == before);
    }

    let path = run.path().join("model.safetensors");
    save_model(&path, &tensors(1)).unwrap();
    symlink("/dev/full", run.path().join("model.safetensors.tmp")).unwrap();
    let error = save_model(&path, &tensors(2)).unwrap_err();
    assert_eq!(message(&error), format!("could not write {}: no space left on device", path.display()));
    assert_eq!(load_model(&path, &expected()).unwrap(), tensors(1));
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 3);
}
