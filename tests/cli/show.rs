//! `show`: images and labels; with a run, what it takes them for.

use std::fs;

use serde_json::Value;
use shadegrad::data::shapes;

use crate::{Outcome, Workplace};

/// The words after the start of the one line that begins so.
fn names<'a>(outcome: &'a Outcome, start: &str) -> Vec<&'a str> {
    outcome.after(start).split_whitespace().collect()
}

#[test]
fn labels_come_in_the_tutorials_manner() {
    let place = Workplace::new();
    let dataset = shapes(0, 40, 40);
    let label = |label: &u8| dataset.classes[usize::from(*label)].clone();
    let all = "show --data shapes --limit 40";
    let first: Vec<String> = dataset.test.labels[..4].iter().map(label).collect();
    let padded: Vec<String> = first.iter().map(|name| format!("{name:5}")).collect();
    let outcome = place.run(&format!("{all} --split test")).success();
    assert_eq!(outcome.stdout.trim_end(), padded.join(" ").trim_end());
    assert!(outcome.stderr.contains("data: shapes"), "{}", outcome.stderr);

    // Training images come at random, the same for the same seed; 100 are more than there are.
    let shown = |flags: &str| place.run(&format!("{all} --count 100 {flags}")).success().stdout;
    assert_eq!(shown(""), shown("--seed 0"));
    assert_ne!(shown(""), shown("--seed 1"));
    let sorted = |text: &str| {
        let mut names: Vec<String> = text.split_whitespace().map(String::from).collect();
        names.sort();
        names
    };
    let mut labels: Vec<String> = dataset.train.labels.iter().map(label).collect();
    labels.sort();
    assert_eq!(sorted(&shown("")), labels);
    assert_eq!(shown("").lines().count(), 5);
    place.run("show --count 0").refuses(2, "error: --count must be at least 1 (got 0)");
}

#[test]
fn a_run_is_held_against_the_truth() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 60 --lr 0.02 --out run").success();
    let outcome = place.run("show --run run --count 6 --out grid.png --device cpu").success();
    let (truth, predicted) = (names(&outcome, "GroundTruth:  "), names(&outcome, "Predicted:    "));
    assert_eq!((truth.len(), predicted.len()), (6, 6));
    let right = truth.iter().zip(&predicted).filter(|(truth, predicted)| truth == predicted).count();
    assert_eq!(outcome.stdout.lines().last(), Some(&*format!("{right} of 6 right")));
    let eval = place.run("eval run --limit 6 --json - --device cpu").success().stdout;
    let eval: Value = serde_json::from_str(&eval).unwrap();
    assert_eq!((eval["accuracy"].as_f64().unwrap() * 6.0).round() as usize, right);

    let grid = image::open(place.path("grid.png")).unwrap().into_rgb8();
    // Six pictures of 160 pixels in a row.
    assert!(grid.width() > 6 * 160 && grid.width() < 7 * 180, "{}", grid.width());
    let dataset = shapes(0, 1, 6);
    let first = |channel: usize| dataset.test.image(0).unwrap()[1024 * channel];
    assert_eq!(grid.get_pixel(12, 12).0, [first(0), first(1), first(2)]);
    fs::remove_file(place.path("grid.png")).unwrap();
    place.run("show --run run --data shapes --out nowhere/grid.png --device cpu").refuses(
        4,
        "data: shapes (drawn from seed 0), 60 training and 60 test images of 3×32×32, 10 classes\n\
         adapter: none · CPU reference in f64\n\
         error: could not write nowhere/grid.png: no such file or directory",
    );
}
