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

/// A folder of `classes` classes with a picture each for training and testing.
fn write_folders(place: &Workplace, classes: usize) {
    for split in ["train", "test"] {
        for class in 0..classes {
            let folder = place.path(&format!("data/{split}/class number {class}"));
            fs::create_dir_all(&folder).unwrap();
            let colour = [class as u8, 255 - class as u8, 7];
            image::RgbImage::from_pixel(32, 32, colour.into()).save(folder.join("1.png")).unwrap();
        }
    }
}

#[test]
fn a_table_is_never_wider_than_it_can_be_read() {
    for classes in [3, 10, 100] {
        let place = Workplace::new();
        write_folders(&place, classes);
        place.run("train --data data --epochs 1 --device cpu --out run").success();
        let outcome = place.run("eval run --device cpu").success();
        assert!(outcome.stdout.lines().skip(2).all(|line| line.chars().count() <= 100), "{}", outcome.stdout);
        let has = |text: &str| outcome.stdout.contains(text);
        assert_eq!(has("how many of its images"), classes < 100, "{}", outcome.stdout);
        assert_eq!(has("\nmost frequent confusions\nclass "), classes == 100, "{}", outcome.stdout);
        // In full where there is room.
        assert_eq!(has("  class number 2\n"), classes == 3, "{}", outcome.stdout);
        for class in 0..classes {
            assert!(has(&format!("class number {class} ")), "{class} in\n{}", outcome.stdout);
        }
    }
}
