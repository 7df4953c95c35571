//! `compare`: what several runs were and how well they did, as a table, a chart and JSON.

use std::fs;

use serde_json::Value;

use crate::{Workplace, events};

#[test]
fn runs_are_told_apart_and_the_best_is_named() {
    let place = Workplace::new();
    let settings = "--data shapes --limit 60 --device cpu --epochs 3 --log-every 5";
    place.run(&format!("train {settings} --out runs/slow --lr 0.0001")).success();
    place.run(&format!("train {settings} --out runs/fast --lr 0.02 --batch 10")).success();
    let table = place.run("compare runs/slow runs/fast --out chart.png").success();
    assert_eq!(table.stderr, "");
    let accuracy =
        |run: &str| events(&place.path("runs").join(run), "eval").pop().unwrap()["accuracy"].as_f64().unwrap();
    let (slow, fast) = (accuracy("slow"), accuracy("fast"));
    for (run, accuracy, other) in [("slow", slow, fast), ("fast", fast, slow)] {
        let line = table.stdout.lines().find(|line| line.starts_with(run)).unwrap();
        assert!(line.contains(&format!("{:.1} %", 100.0 * accuracy)) && line.contains("62,006"), "{line}");
        assert_eq!(line.ends_with("best"), accuracy >= other, "{line}");
    }
    assert!(table.stdout.contains("\naccuracy after epoch"), "{}", table.stdout);
    assert_eq!(table.after("chart: "), "chart.png");
    let chart = image::open(place.path("chart.png")).unwrap().into_rgb8();
    assert!(chart.width() >= 1200 && chart.height() >= 800);
    // A bar and two lines for each run, in its own colour.
    for colour in [[0, 114, 178], [213, 94, 0]] {
        let pixels = chart.pixels().filter(|pixel| pixel.0 == colour).count();
        assert!(pixels > 500, "{pixels} pixels of {colour:?}");
    }

    let json = place.run("compare runs/slow runs/fast --json -").success().stdout;
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in\n{json}"));
    assert_eq!((&json["same_data"], &json["runs"][1]["batch"]), (&true.into(), &10.into()));
    assert_eq!(json["runs"][0]["accuracy"], slow);
    assert_eq!(json["runs"][0]["by_epoch"].as_array().unwrap().len(), 3);
}

#[test]
fn runs_on_other_images_and_unfinished_runs_are_marked() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 40 --device cpu --epochs 1 --out a/lenet-1").success();
    place.run("train --data shapes --limit 30 --device cpu --epochs 1 --out b/lenet-1").success();
    let file = place.path("b/lenet-1/metrics.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.find("{\"event\":\"eval\"").unwrap()]).unwrap();
    let table = place.run("compare a/lenet-1 b/lenet-1 --out chart.png").success();
    assert!(table.stdout.lines().any(|line| line.ends_with("unfinished")), "{}", table.stdout);
    assert!(!table.stdout.contains("best"), "{}", table.stdout);
    let warning = "warning: these runs saw different images, so their accuracies do not compare: ";
    assert!(table.stderr.starts_with(warning), "{}", table.stderr);

    place.run("compare").refusal(2);
    place.run("compare a/lenet-1 nothing").refusal(4);
    place.run("compare a/lenet-1 --out no/such/folder/chart.png").refusal(4);
}
