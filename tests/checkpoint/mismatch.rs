//! Sound files that are not what the model needs.

use std::fs;

use shadegrad::train::checkpoint::{CURRENT, NamedTensor, PREVIOUS, load, load_model, save, save_model};

use crate::file::{bytes_of, checkpoint_file};
use crate::{checkpoint, expected, folder, message};

#[test]
fn messages_about_another_model() {
    let run = folder();
    save(run.path(), &checkpoint(1000), None).unwrap();
    let with = |name: &str, shape: &[u32]| {
        let mut other = checkpoint(2000);
        for tensors in [&mut other.parameters, &mut other.momentum] {
            tensors.retain(|tensor| tensor.name != name);
            if !shape.is_empty() {
                let values = vec![0.5; shape.iter().product::<u32>() as usize];
                tensors.push(NamedTensor { name: name.into(), shape: shape.to_vec(), values });
            }
        }
        other
    };
    // The last one is larger than what is read at all.
    let cases: [(&str, &[u32], &str); 4] = [
        ("conv1.weight", &[50, 3, 5, 5], "checkpoint has conv1.weight (50, 3, 5, 5), the model needs (6, 3, 5, 5)"),
        ("conv1.bias", &[], "checkpoint has no conv1.bias, the model needs (6)"),
        ("fc9.weight", &[4, 2], "checkpoint has fc9.weight, which the model does not have"),
        ("fc1.weight", &[3000, 1000], "checkpoint has fc1.weight (3000, 1000), the model needs (7, 11)"),
    ];
    for (name, shape, text) in cases {
        let other = folder();
        save(other.path(), &with(name, shape), None).unwrap();
        // The one before fits, which is no reason to go back to it.
        fs::copy(run.path().join(CURRENT), other.path().join(PREVIOUS)).unwrap();
        let error = load(other.path(), &expected()).unwrap_err();
        assert_eq!(message(&error), text);
        assert_eq!(error.hint().unwrap(), "it was trained with another --model");

        let path = other.path().join("model.safetensors");
        save_model(&path, &with(name, shape).parameters).unwrap();
        let error = load_model(&path, &expected()).unwrap_err();
        assert_eq!(message(&error), text.replacen("checkpoint", "model.safetensors", 1));
    }
}

#[test]
fn messages_about_types_and_values() {
    let run = folder();
    let position = serde_json::to_string(&checkpoint(5).position).unwrap();
    let expected = [("fc1.bias".to_string(), vec![2])];
    let (good, bad) = (bytes_of(&[1.0, 2.0]), bytes_of(&[1.0, f32::NAN]));
    let shape: &[u32] = &[2];
    let tensor = ("fc1.bias", "F32", shape, good.clone());
    let momentum = ("momentum.fc1.bias", "F32", shape, good.clone());
    let cases = [
        (&position[..], vec![tensor.clone(), momentum.clone()], None),
        (
            &position,
            vec![("fc1.bias", "F16", shape, vec![0; 4]), momentum.clone()],
            Some("checkpoint has fc1.bias as F16, expected F32"),
        ),
        (
            &position,
            vec![("fc1.bias", "F32", shape, bad.clone()), momentum.clone()],
            Some("checkpoint has a non-finite value in fc1.bias"),
        ),
        (
            &position,
            vec![tensor.clone(), ("momentum.fc1.bias", "F32", shape, bad)],
            Some("checkpoint has a non-finite value in momentum.fc1.bias"),
        ),
        (&position, vec![tensor.clone()], Some("checkpoint has no momentum.fc1.bias, the model needs (2)")),
        ("{}", vec![tensor, momentum], Some("checkpoint.safetensors is damaged: it does not say where the run stands")),
    ];
    for (position, entries, problem) in cases {
        fs::write(run.path().join(CURRENT), checkpoint_file(position, entries)).unwrap();
        match problem {
            None => assert_eq!(load(run.path(), &expected).unwrap().checkpoint.position, checkpoint(5).position),
            Some(problem) => assert_eq!(message(&load(run.path(), &expected).unwrap_err()), problem),
        }
    }
}
