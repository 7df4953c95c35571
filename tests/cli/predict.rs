//! `predict`: pictures from disk, for people, for scripts and for Kaggle.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use image::RgbImage;
use serde_json::Value;
use shadegrad::data::{Dataset, shapes};

use crate::Workplace;

const IMAGES: u32 = 60;

/// A run on a few shapes, and its test images as the PNG files 1.png, 2.png …
fn prepare(place: &Workplace) -> Dataset {
    place.run(&format!("train --data shapes --limit {IMAGES} --lr 0.02 --out run")).success();
    let dataset = shapes(0, 1, IMAGES);
    fs::create_dir(place.path("test")).unwrap();
    for i in 0..dataset.test.len() {
        let planes = dataset.test.image(i).unwrap();
        let pixel = |x: u32, y: u32| [0, 1024, 2048].map(|plane| planes[plane + (32 * y + x) as usize]);
        let picture = RgbImage::from_fn(32, 32, |x, y| pixel(x, y).into());
        picture.save(place.path("test").join(format!("{}.png", i + 1))).unwrap();
    }
    dataset
}

/// Labels by id; the ids in their order.
fn read_csv(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    let rows = text.strip_prefix("id,label\n").unwrap().lines();
    rows.map(|row| row.split_once(',').unwrap()).map(|(id, label)| (id.into(), label.into())).collect()
}

#[test]
fn pictures_are_taken_for_what_eval_takes_them_for() {
    let place = Workplace::new();
    let dataset = prepare(&place);
    let outcome = place.run("predict run test --csv submission.csv").success();
    assert!(outcome.after("submission.csv: ").starts_with("60 pictures in "), "{}", outcome.stdout);
    let rows = read_csv(&place.path("submission.csv"));
    assert!(rows.iter().map(|(id, _)| id.parse::<u32>().unwrap()).eq(1..=IMAGES));
    let class = |label: &String| dataset.classes.iter().position(|class| class == label).unwrap();
    let mut confusion = vec![vec![0; 10]; 10];
    for ((_, label), &truth) in rows.iter().zip(&dataset.test.labels) {
        confusion[usize::from(truth)][class(label)] += 1;
    }
    let eval: Value = serde_json::from_str(&place.run("eval run --json -").success().stdout).unwrap();
    assert_eq!(serde_json::to_value(confusion).unwrap(), eval["confusion"]);

    // The same for a script, with probabilities that fall.
    let json = place.run("predict run test --json - --top 10 --device cpu").success().stdout;
    let json: Vec<Value> = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in\n{json}"));
    assert_eq!(json.len(), 60);
    for (object, (id, label)) in json.iter().zip(&rows) {
        assert_eq!(Path::new(object["image"].as_str().unwrap()), Path::new("test").join(format!("{id}.png")));
        let predictions = object["predictions"].as_array().unwrap();
        assert_eq!(predictions[0]["class"], **label);
        let probabilities: Vec<f64> = predictions.iter().map(|best| best["probability"].as_f64().unwrap()).collect();
        assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities.len() == 10, "{object}");
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{object}");
    }

    // And for people: a line a picture, in the order they were named.
    let outcome = place.run("predict run test/10.png test/2.png --top 2").success();
    let lines: Vec<Vec<&str>> = outcome.stdout.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2, "{}", outcome.stdout);
    for (line, (name, row)) in lines.iter().zip([("test/10.png", 9), ("test/2.png", 1)]) {
        assert_eq!((line.len(), line[0], line[1]), (7, name, &*rows[row].1), "{}", outcome.stdout);
        let best = json[row]["predictions"][0]["probability"].as_f64().unwrap();
        assert!((line[2].parse::<f64>().unwrap() - 100.0 * best).abs() < 0.051, "{} {best}", outcome.stdout);
    }
}

#[test]
fn pictures_of_any_size_and_weights_of_no_run() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 4 --epochs 1 --out run").success();
    fs::rename(place.path("run/model.safetensors"), place.path("mine.safetensors")).unwrap();
    RgbImage::from_pixel(301, 77, [200, 30, 40].into()).save(place.path("wide.jpg")).unwrap();
    let outcome = place.run("predict mine.safetensors wide.jpg --model lenet --top 99 --device cpu").success();
    let line = outcome.after("wide.jpg  ");
    let classes: Vec<&str> = line.split_whitespace().step_by(3).collect();
    let mut sorted = classes.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    #[cfg(target_os = "linux")]
    {
        let mut command = place.command("predict mine.safetensors wide.jpg --device cpu --json -");
        let output = command.stdout(fs::File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.ends_with("error: could not write standard output: no space left on device\n"), "{message}");
        assert_eq!(output.status.code(), Some(4));
    }
    let refusal = place.run("predict mine.safetensors wide.jpg --image 3x33x36 --device cpu").refusal(4);
    assert_eq!(refusal, "error: mine.safetensors has fc1.weight (120, 400), the model needs (120, 480)");
}

#[test]
fn what_cannot_be_read_is_named_or_left_out() {
    let place = Workplace::new();
    prepare(&place);
    place.write("test/notes.txt", "not a picture, and not called one");
    place.write("notes.txt", "notes");
    place.run("predict run notes.txt").refuses(3, "error: notes.txt is not a PNG or JPEG image");
    place.run("predict run missing.png").refuses(4, "error: could not read missing.png: no such file or directory");
    place.run("predict run run").refuses(3, "error: run holds no PNG or JPEG image");
    place.run("predict run test --top 0").refuses(2, "error: --top must be at least 1 (got 0)");
    place.run("predict . test").refuses(4, "error: . is not a run folder: it has no config.toml");

    let good = fs::read(place.path("test/30.png")).unwrap();
    place.write("test/30.png", "not a picture");
    let hint = "--skip-bad leaves out what cannot be read";
    let message = format!("error: test/30.png is not a PNG or JPEG image\nhint: {hint}");
    place.run("predict run test --csv all.csv").refuses(3, &message);
    let skipped = place.run("predict run test --csv some.csv --skip-bad").success();
    assert!(
        skipped.stderr.contains("warning: test/30.png is not a PNG or JPEG image: left out\n"),
        "{}",
        skipped.stderr
    );
    assert!(skipped.stderr.ends_with("warning: 1 of 60 pictures could not be read\n"), "{}", skipped.stderr);

    // What was done before the bad one is kept.
    assert!(!place.path("all.csv").exists());
    fs::write(place.path("test/30.png"), good).unwrap();
    let continued = place.run("predict run test --csv all.csv").success();
    let after = continued.after("continuing all.csv.");
    assert!(after.ends_with(".partial after 29 pictures"), "{after}");
    let all: BTreeMap<_, _> = read_csv(&place.path("all.csv")).into_iter().collect();
    let some: BTreeMap<_, _> = read_csv(&place.path("some.csv")).into_iter().collect();
    assert_eq!((all.len(), some.len()), (60, 59));
    assert!(some.iter().all(|(id, label)| all[id] == *label));

    fs::create_dir(place.path("more")).unwrap();
    fs::copy(place.path("test/7.png"), place.path("more/7.png")).unwrap();
    let message = Path::new("more").join("7.png");
    let message = format!("error: {} and test/7.png have the same id, 7", message.display());
    place.run("predict run more test --csv twice.csv").refuses(3, &message);
}

#[test]
fn pictures_are_annotated() {
    let place = Workplace::new();
    prepare(&place);
    RgbImage::from_pixel(400, 300, [200, 30, 40].into()).save(place.path("large.jpg")).unwrap();
    place.run("predict run test/3.png large.jpg --annotate out/pictures --top 2 --device cpu").success();
    let size = |name: &str| image::open(place.path("out/pictures").join(name)).unwrap().into_rgb8().dimensions();
    // Two lines of words below; a small picture is enlarged, a large one is not.
    let (small, large) = (size("3.png"), size("large.png"));
    assert_eq!((small.0, large.0), (160 + 24, 400 + 24));
    assert!(
        (160 + 40..160 + 100).contains(&small.1) && (300 + 40..300 + 100).contains(&large.1),
        "{small:?} {large:?}"
    );
    let message = "error: test holds the pictures themselves, which --annotate would replace";
    place
        .run("predict run test/3.png --annotate test")
        .refuses(2, &format!("{message}\nhint: give a folder of its own"));
}

#[cfg(unix)]
#[test]
fn a_killed_submission_continues() {
    let place = Workplace::new();
    prepare(&place);
    fs::create_dir(place.path("many")).unwrap();
    for id in 1..=3000 {
        let picture = place.path("test").join(format!("{}.png", 1 + id % IMAGES));
        fs::hard_link(picture, place.path("many").join(format!("{id}.png"))).unwrap();
    }
    let partials = || {
        let entries = fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap());
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".partial")).collect::<Vec<_>>()
    };
    let mut command = place.command("predict run many --csv killed.csv");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let is_begun = || partials().first().is_some_and(|partial| partial.metadata().unwrap().len() > 100);
    while !is_begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("killed.csv").exists(), "it was done before it was killed");

    let continued = place.run("predict run many --csv killed.csv").success();
    assert!(continued.stdout.contains("\ncontinuing killed.csv."), "{}", continued.stdout);
    place.run("predict run many --csv whole.csv").success();
    assert!(fs::read(place.path("killed.csv")).unwrap() == fs::read(place.path("whole.csv")).unwrap());
    assert_eq!(partials().len(), 0);
}
