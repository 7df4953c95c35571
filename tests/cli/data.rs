//! A user's own pictures, from the folder to the accuracy.

use std::fs;

use image::{Rgb, RgbImage};

use crate::Workplace;

/// Pictures of two sizes in three classes, each of a colour of its own.
fn write_photos(place: &Workplace) {
    for (class, name) in ["bee", "cat", "dog"].into_iter().enumerate() {
        let folder = place.path("photos").join(name);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..10u8 {
            let mut colour = [10 * number; 3];
            colour[class] = 250;
            let (width, height) = if number % 2 == 0 { (48, 64) } else { (80, 40) };
            RgbImage::from_pixel(width, height, Rgb(colour)).save(folder.join(format!("{number}.jpg"))).unwrap();
        }
    }
}

#[test]
fn a_folder_of_pictures_trains_resumes_and_evaluates() {
    let place = Workplace::new();
    write_photos(&place);
    fs::write(place.path("photos/cat/notes.txt"), "no picture").unwrap();
    let trained = place.run("train --data photos --lr 0.01 --split-seed 3 --out run").success();
    let data = trained.after("data: ");
    assert_eq!(data, "folders (photos), 24 training and 6 test images of 3×32×32, 3 classes");
    let split = trained.after("split: ");
    assert_eq!(split, "6 of 30 images are held out for testing (--test-share 0.2, --split-seed 3)");
    assert!(trained.stderr.contains("warning: photos/cat/notes.txt is no PNG or JPEG image: skipped"));
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    for line in ["image_size = 32", "test_share = 0.2", "split_seed = 3"] {
        assert!(config.lines().any(|there| there == line), "{line} in\n{config}");
    }

    // The same images again, from anywhere: nothing has to be said twice.
    let accuracy = trained.after("Accuracy of the network on the 6 test images: ");
    let evaluated = place.run("eval run").success();
    assert_eq!(evaluated.after("accuracy: "), format!("{accuracy} of 6 test images"));
    assert_eq!(evaluated.after("split: "), split);
    let resumed = place.run("train --resume run --epochs 3").success();
    let straight = place.run("train --data photos --lr 0.01 --split-seed 3 --epochs 3 --out straight").success();
    assert_eq!(resumed.weights_sha256(), straight.weights_sha256());
    place
        .run("train --resume run --split-seed 0")
        .refuses(2, "error: --split-seed cannot change when a run is resumed");

    // Elsewhere they are split as the run split them.
    fs::rename(place.path("photos"), place.path("moved")).unwrap();
    assert_eq!(place.run("eval run --data moved").success().after("split: "), split);

    // Data with test images of its own is no less welcome to `eval` after that.
    fs::create_dir(place.path("split")).unwrap();
    fs::rename(place.path("moved"), place.path("split/train")).unwrap();
    fs::create_dir_all(place.path("split/test/cat")).unwrap();
    fs::copy(place.path("split/train/cat/1.jpg"), place.path("split/test/cat/1.jpg")).unwrap();
    assert!(place.run("eval run --data split").success().after("accuracy: ").ends_with(" of 1 test images"));
}

#[test]
fn options_without_a_say_are_refused() {
    let place = Workplace::new();
    place
        .run("train --data shapes --limit 2 --image-size 64")
        .refuses(2, "error: --image-size is for pictures in folders: the images of shapes are 32×32 (got 64)");
    let message = "error: --test-share is for data without test images: shapes has its own";
    place.run("train --data shapes --limit 2 --test-share 0.5").refuses(2, message);
    place
        .run("train --data shapes --test-share -1")
        .refuses(2, "error: --test-share must be at least 0 and below 1 (got -1)");
    assert!(!place.path("runs").exists(), "a refused run left a folder behind");
}
