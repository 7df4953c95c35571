//! `eval`: the same numbers as `train`, for people and for scripts.

use std::fs;

use serde_json::Value;

use crate::{Workplace, events};

#[test]
fn a_run_and_its_weights_are_as_good_as_train_said() {
    let place = Workplace::new();
    let trained = place.run("train --data shapes --limit 60 --lr 0.02 --out run").success();
    let accuracy = trained.after("Accuracy of the network on the 60 test images: ");
    let logged = events(&place.path("run"), "eval").pop().unwrap();

    for weights in ["run", "run/model.safetensors"] {
        let outcome = place.run(&format!("eval {weights}")).success();
        assert_eq!(outcome.after("accuracy: "), format!("{accuracy} of 60 test images"));
        assert_eq!(outcome.after("loss: "), format!("{:.4}", logged["loss"].as_f64().unwrap()));

        let json = place.run(&format!("eval {weights} --json -")).success().stdout;
        let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in\n{json}"));
        for key in ["accuracy", "loss", "per_class", "confusion"] {
            assert_eq!(json[key], logged[key], "{key}");
        }
        let confusion = json["confusion"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
        assert_eq!(confusion.map(|count| count.as_u64().unwrap()).sum::<u64>(), 60);
    }
    place.run("eval run --limit 7 --json seven.json").success();
    let seven: Value = serde_json::from_str(&fs::read_to_string(place.path("seven.json")).unwrap()).unwrap();
    assert_eq!(seven["images"], 7);

    // Weights alone, from anywhere, under PyTorch's names.
    fs::rename(place.path("run/model.safetensors"), place.path("mine.safetensors")).unwrap();
    let alone = place.run("eval mine.safetensors --data shapes --limit 60 --device cpu").success();
    assert_eq!(alone.after("accuracy: "), format!("{accuracy} of 60 test images"));
    place
        .run("eval run")
        .refuses(4, "error: run has no model.safetensors: the run is not finished\nhint: shadegrad train --resume run");
}
