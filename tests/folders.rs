//! Image folders as people have them: with and without a split, of any size, with other things lying about.

#[path = "common/contents.rs"]
mod contents;

use std::fs;
use std::path::Path;

use contents::contents;
use image::{Rgb, RgbImage};
use shadegrad::data::{DataSpec, Loaded, Options, Progress, load};
use shadegrad::{Error, Result};
use tempfile::{TempDir, tempdir};

fn read_with(folder: &Path, options: &Options) -> Result<Loaded> {
    load(&DataSpec::Folder(folder.into()), options, &mut |_| {})
}

fn read(folder: &Path) -> Result<Loaded> {
    read_with(folder, &Options::default())
}

/// A flat picture whose red value tells it from others.
fn picture(path: &Path, red: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(40 + u32::from(red), 36, Rgb([red, 0, 0])).save(path).unwrap();
}

/// `count` pictures in each class folder; the red value is 10 times the class, plus the place.
fn write_classes(folder: &Path, classes: &[&str], count: u8) {
    for (class, name) in classes.iter().enumerate() {
        (0..count).for_each(|place| picture(&folder.join(name).join(format!("{place}.png")), 10 * class as u8 + place));
    }
}

fn classes_only(count: u8) -> TempDir {
    let dir = tempdir().unwrap();
    write_classes(dir.path(), &["bee", "cat", "dog"], count);
    dir
}

fn reds(split: &shadegrad::data::Split) -> Vec<u8> {
    (0..split.len()).map(|place| split.image(place).unwrap()[0]).collect()
}

#[test]
fn a_split_on_disk_is_kept_and_its_classes_take_turns() {
    let dir = tempdir().unwrap();
    write_classes(&dir.path().join("train"), &["bee", "cat", "dog"], 3);
    write_classes(&dir.path().join("test"), &["bee", "dog"], 1);
    let loaded = read(dir.path()).unwrap();
    assert_eq!(loaded.notes.len() + loaded.warnings.len(), 0);
    assert_eq!(loaded.options, Options { image_size: Some(32), ..Options::default() });
    let dataset = loaded.dataset;
    assert_eq!(dataset.name, "folders");
    assert_eq!(dataset.classes, ["bee", "cat", "dog"]);
    assert_eq!((dataset.shape.channels, dataset.shape.height, dataset.shape.width), (3, 32, 32));
    assert_eq!(reds(&dataset.train), [0, 10, 20, 1, 11, 21, 2, 12, 22]);
    assert_eq!(dataset.train.labels, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    assert_eq!((reds(&dataset.test), dataset.test.labels), (vec![0, 10], vec![0, 2]));

    fs::rename(dir.path().join("test"), dir.path().join("val")).unwrap();
    assert_eq!(read(dir.path()).unwrap().dataset.test.labels, [0, 2]);
    let error = read_with(dir.path(), &Options { test_share: Some(0.5), ..Options::default() }).unwrap_err();
    assert_eq!(error.to_string(), "--test-share is for data without test images: folders has its own");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn without_test_images_a_share_of_each_class_is_held_out() {
    let dir = classes_only(10);
    let loaded = read(dir.path()).unwrap();
    let (train, test) = (&loaded.dataset.train, &loaded.dataset.test);
    assert_eq!((train.len(), test.len()), (24, 6));
    assert!((0..3).all(|class| test.labels.iter().filter(|&&label| label == class).count() == 2));
    let mut all = [reds(train), reds(test)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<u8>>());
    assert_eq!(loaded.notes, ["split: 6 of 30 images are held out for testing (--test-share 0.2, --split-seed 0)"]);

    // What the run keeps finds the same images again; another seed finds others.
    let again = read_with(dir.path(), &loaded.options).unwrap();
    assert_eq!(contents(&again.dataset.train), contents(train));
    assert_eq!(contents(&again.dataset.test), contents(test));
    let other = read_with(dir.path(), &Options { split_seed: Some(1), ..Options::default() }).unwrap();
    assert_ne!(contents(&other.dataset.test), contents(test));
    let none = read_with(dir.path(), &Options { test_share: Some(0.0), ..Options::default() }).unwrap();
    assert_eq!((none.dataset.train.len(), none.dataset.test.len()), (30, 0));

    // `train/CLASS` alone is the same.
    let outer = tempdir().unwrap();
    fs::rename(dir.path(), outer.path().join("train")).unwrap();
    assert_eq!(contents(&read(outer.path()).unwrap().dataset.train), contents(train));
}

#[test]
fn a_limit_keeps_every_class_and_decodes_no_more() {
    let dir = classes_only(10);
    let broken = dir.path().join("dog/99.png");
    fs::write(&broken, &fs::read(dir.path().join("dog/0.png")).unwrap()[..60]).unwrap();
    let options = Options { limit: Some(3), test_share: Some(0.0), ..Options::default() };
    let loaded = read_with(dir.path(), &options).unwrap();
    assert_eq!(loaded.dataset.train.labels, [2, 0, 1], "the class with the most pictures comes first");
    assert_eq!(loaded.options.limit, Some(3));

    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} is damaged: ", broken.display())), "{error}");
}

#[test]
fn the_size_is_chosen_and_progress_reaches_the_end() {
    let dir = classes_only(2);
    let mut seen = Vec::new();
    let spec = DataSpec::Folder(dir.path().into());
    let options = Options { image_size: Some(8), ..Options::default() };
    let loaded = load(&spec, &options, &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(loaded.dataset.shape.len(), 3 * 8 * 8);
    assert_eq!((loaded.dataset.train.len(), loaded.dataset.train.image_bytes()), (3, loaded.dataset.shape.len()));
    assert_eq!(
        seen,
        [Progress::Reading, Progress::Decoding { done: 0, total: 6 }, Progress::Decoding { done: 3, total: 6 }]
    );
    for (options, message) in [
        (Options { image_size: Some(0), ..Options::default() }, "--image-size must be 1 to 4096 (got 0)"),
        (
            Options { test_share: Some(1.0), ..Options::default() },
            "--test-share must be at least 0 and below 1 (got 1)",
        ),
        (
            Options { test_share: Some(f64::NAN), ..Options::default() },
            "--test-share must be at least 0 and below 1 (got NaN)",
        ),
        (Options { limit: Some(0), ..Options::default() }, "--limit must be at least 1 (got 0)"),
    ] {
        let error = read_with(dir.path(), &options).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.exit_code()), (message, 2));
    }
}

#[test]
fn what_lies_about_is_passed_over_and_counted() {
    let dir = classes_only(5);
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    put("readme.txt", "beside the classes");
    put("cat/.DS_Store", "hidden");
    put("cat/notes.txt", "no picture");
    put("dog/movie.webp", "RIFF....WEBP");
    picture(&dir.path().join("dog/more/0.png"), 0);
    fs::create_dir(dir.path().join("bee/folder.png")).unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    let loaded = read(dir.path()).unwrap();
    assert_eq!(loaded.dataset.train.len() + loaded.dataset.test.len(), 15);
    let path = |name: &str| dir.path().join(name).display().to_string();
    assert_eq!(
        loaded.warnings,
        [
            format!("2 files are no PNG or JPEG images: skipped, the first is {}", path("cat/notes.txt")),
            format!("2 folders lie within class folders: skipped, the first is {}", path("bee/folder.png")),
        ]
    );
}

#[test]
fn folders_that_are_no_data_set_are_explained() {
    let problem = |folder: &Path| {
        let error = read(folder).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error}");
        error.to_string().replace(&folder.display().to_string(), "X")
    };
    let dir = classes_only(2);
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert_eq!(problem(dir.path()), "X/empty holds no PNG or JPEG image");

    let dir = tempdir().unwrap();
    write_classes(dir.path(), &["cat"], 2);
    assert_eq!(problem(dir.path()), "X has 1 class, expected 2 to 256");

    let dir = tempdir().unwrap();
    write_classes(&dir.path().join("train"), &["cat", "dog"], 1);
    write_classes(&dir.path().join("test"), &["cat", "zebra"], 1);
    assert_eq!(problem(dir.path()), "X/test/zebra is no class of X/train (got zebra, expected one of cat, dog)");

    let dir = tempdir().unwrap();
    (0..257).for_each(|class| picture(&dir.path().join(format!("class {class}/0.png")), 0));
    assert_eq!(problem(dir.path()), "X has 257 classes, expected 2 to 256");

    // Pictures without class folders.
    let dir = tempdir().unwrap();
    picture(&dir.path().join("0.png"), 0);
    let problem = problem(dir.path());
    assert!(problem.contains("image folders: train/CLASS/* and test/CLASS/*, or CLASS/*"), "{problem}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_end() {
    use std::os::unix::fs::symlink;
    let dir = classes_only(3);
    symlink(dir.path().join("dog"), dir.path().join("wolf")).unwrap();
    // A folder that leads back to itself is one folder within a class folder, not many.
    symlink(dir.path(), dir.path().join("cat/again")).unwrap();
    let loaded = read(dir.path()).unwrap();
    assert_eq!(loaded.dataset.classes, ["bee", "cat", "dog", "wolf"]);
    assert_eq!(loaded.warnings.len(), 1);

    let circle = dir.path().join("cat/circle.png");
    symlink(&circle, &circle).unwrap();
    let error = read(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == circle), "{error}");
}
