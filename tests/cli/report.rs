//! `report.html`: what `train` leaves behind, however it ends, and `report` writes again.

use std::fs;

use crate::{Workplace, events};

/// The text of the first element with such a start tag, its entities as they are.
#[track_caller]
fn element<'a>(page: &'a str, start: &str) -> &'a str {
    let (_, rest) = page.split_once(start).unwrap_or_else(|| panic!("no {start}"));
    rest.split('<').next().unwrap()
}

#[test]
fn a_report_is_one_file_and_its_command_runs_the_same_again() {
    let place = Workplace::new();
    let flags =
        "--data shapes --limit 80 --lr 0.02 --momentum 0.8 --seed 5 --log-every 7 --nesterov --augment flip,crop=2";
    let trained = place.run(&format!("train {flags} --out run")).success();
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    // Everything is in it: nothing is loaded from anywhere.
    for reference in ["http:", "https:", "src=\"/", "<link rel=\"stylesheet\"", "@import"] {
        let allowed = page.matches("http://www.w3.org/2000/svg").count();
        let count = page.matches(reference).count();
        assert_eq!(count, if reference == "http:" { allowed } else { 0 }, "{reference}");
    }
    assert_eq!(element(&page, "<title>"), "lenet on shapes");
    let accuracy = trained.after("Accuracy of the network on the 80 test images: ");
    assert_eq!(element(&page, "<li><strong>"), accuracy);

    let (_, after) = page.split_once("<code>shadegrad ").unwrap();
    for (part, folder) in [(page.as_str(), "flags"), (after, "config")] {
        let command = element(part, "<code>shadegrad ");
        let again = place.run(&format!("{command} --out {folder}")).success();
        assert_eq!(again.weights_sha256(), trained.weights_sha256(), "{command}");
    }

    // The same page from the folder alone.
    let written = place.run("report run --out elsewhere.html").success();
    assert_eq!(written.after("report: "), "elsewhere.html");
    assert_eq!(fs::read_to_string(place.path("elsewhere.html")).unwrap(), page);
}

#[test]
fn a_run_that_ended_badly_has_a_report_too() {
    let place = Workplace::new();
    let diverged = place.run("train --data shapes --limit 80 --lr 1e20 --log-every 1 --out run");
    let refusal = diverged.refusal(6);
    let reason = refusal.strip_prefix("error: ").unwrap().lines().next().unwrap();
    diverged.after("report: ");
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert_eq!(element(&page, "<p class=\"status failed\">"), reason);
    let [stopped] = events(&place.path("run"), "stopped").try_into().unwrap();
    assert_eq!(stopped["reason"], reason);

    // What a kill leaves: no end, a torn line.
    place.run("train --data shapes --limit 80 --out killed").success();
    let metrics = place.path("killed/metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, &text[..text.find("{\"event\":\"done\"").unwrap() + 9]).unwrap();
    for file in ["model.safetensors", "report.html"] {
        fs::remove_file(place.path("killed").join(file)).unwrap();
    }
    place.run("report killed").success();
    let page = fs::read_to_string(place.path("killed/report.html")).unwrap();
    assert_eq!(element(&page, "<p class=\"status stopped\">"), "not finished, step 40 of 40");
    assert!(page.contains("data:image/jpeg"), "the images of the latest checkpoint");
}

#[test]
fn a_run_does_not_depend_on_its_report() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 20 --epochs 1 --device cpu --out run").success();
    fs::remove_file(place.path("run/report.html")).unwrap();
    // Nothing can be written over a folder.
    fs::create_dir(place.path("run/report.html")).unwrap();
    let resumed = place.run("train --resume run --epochs 2 --device cpu").success();
    assert!(resumed.stderr.starts_with("warning: no report: could not write "), "{}", resumed.stderr);
    assert_eq!(resumed.weights_sha256().len(), 64);
    place.run("report run --device cpu").refusal(4);
}

#[test]
fn a_run_with_two_learning_rates_does_not_claim_to_be_repeatable() {
    let place = Workplace::new();
    let page = || fs::read_to_string(place.path("run/report.html")).unwrap();
    let claim = "the weights come out the same, bit for bit";
    place.run("train --data shapes --limit 20 --epochs 1 --device cpu --out run").success();
    assert!(page().contains(claim));
    place.run("train --resume run --epochs 2 --device cpu").success();
    assert!(page().contains(claim) && page().contains("<dt>resumed</dt><dd>after step 5</dd>"));
    place.run("train --resume run --epochs 3 --lr 0.5 --device cpu").success();
    assert!(!page().contains(claim) && page().contains("resumed with other settings"));
}

#[test]
fn tensorboard_gets_an_event_file() {
    let place = Workplace::new();
    place.run("train --data shapes --limit 20 --epochs 2 --device cpu --out run").success();
    let written = place.run("report run --tensorboard events/run").success();
    let file = fs::read(place.path(written.after("events: "))).unwrap();
    let has = |words: &str| file.windows(words.len()).filter(|window| *window == words.as_bytes()).count();
    assert_eq!([has("brain.Event:2"), has("loss/training"), has("accuracy/test"), has("confusion")], [1, 2, 2, 2]);
    // Again: in its place, not beside it.
    place.run("report run --tensorboard events/run").success();
    assert_eq!(fs::read_dir(place.path("events/run")).unwrap().count(), 1);
}

#[test]
fn a_report_without_its_images_says_so() {
    let place = Workplace::new();
    crate::write_cifar10(&place.path("photos"));
    place.run("train --data photos --limit 20 --epochs 1 --device cpu --out run").success();
    fs::remove_dir_all(place.path("photos")).unwrap();
    let written = place.run("report run --device cpu").success();
    assert!(written.stderr.contains("photos does not exist; the report has no images"), "{}", written.stderr);
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(page.contains("The images themselves are not in this page") && !page.contains("data:image/jpeg"));

    place.run("report run --data photos").refusal(3);
    place.run("report run --limit 0").refuses(2, "error: --limit must be at least 1 (got 0)");
    place.run("report nothing").refusal(4);
    let refusal = place.run("report run --data shapes --device cpu").refusal(3);
    assert!(refusal.contains("other classes than the run was trained on"), "{refusal}");
}
