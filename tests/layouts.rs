//! The same photographs in every layout on disk: the same data set, and the same training.

#[path = "common/contents.rs"]
mod contents;
#[path = "common/python.rs"]
mod python;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use contents::contents;
use image::{ImageFormat, RgbImage};
use shadegrad::data::{DataSpec, Dataset, Options, load};
use shadegrad::random::{Purpose, Random};
use tempfile::tempdir;

const PIXELS: usize = 3 * 32 * 32;
const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

fn read(folder: &Path, options: &Options) -> Dataset {
    load(&DataSpec::Folder(folder.into()), options, &mut |_| {}).unwrap_or_else(|error| panic!("{error}")).dataset
}

/// Pixels channel by channel; the classes take turns, as image folders are read.
fn photographs(count: usize, index: u64) -> Vec<(u8, Vec<u8>)> {
    let mut random = Random::new(5, Purpose::Test, index);
    (0..count).map(|place| ((place % 10) as u8, (0..PIXELS).map(|_| random.bits() as u8).collect())).collect()
}

fn write_png(path: &Path, planes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let at = |x: u32, y: u32, channel: usize| planes[channel * 1024 + (y * 32 + x) as usize];
    let picture = RgbImage::from_fn(32, 32, |x, y| image::Rgb(std::array::from_fn(|channel| at(x, y, channel))));
    picture.save_with_format(path, ImageFormat::Png).unwrap();
}

/// One of CIFAR's binary files: these images, then zeros that cost no disk. Each label is written as `label_bytes` bytes.
fn write_binary(path: &Path, images: &[(u8, Vec<u8>)], records: usize, label_bytes: usize) {
    let mut file = File::create(path).unwrap();
    for (label, pixels) in images {
        // The coarse label is never read.
        file.write_all(&[99, *label][2 - label_bytes..]).unwrap();
        file.write_all(pixels).unwrap();
    }
    file.set_len((records * (label_bytes + PIXELS)) as u64).unwrap();
}

/// One of CIFAR's python files: these images, then zeros that cost no disk.
fn write_python(path: &Path, images: &[(u8, Vec<u8>)], records: usize, labels_key: &str) {
    let mut labels: Vec<u8> = images.iter().map(|(label, _)| *label).collect();
    labels.resize(records, 0);
    let (before, after) = python::batch(&labels, labels_key, PIXELS);
    let mut file = File::create(path).unwrap();
    file.write_all(&before).unwrap();
    images.iter().for_each(|(_, pixels)| file.write_all(pixels).unwrap());
    file.seek(SeekFrom::Start((before.len() + records * PIXELS) as u64)).unwrap();
    file.write_all(&after).unwrap();
}

#[test]
fn every_layout_of_cifar10_is_the_same_data_and_the_same_training() {
    let (train, test) = (photographs(40, 0), photographs(20, 1));
    let dir = tempdir().unwrap();
    let folder = |name: &str| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };

    let (binary, python) = (folder("binary"), folder("python"));
    for number in 1..=5 {
        let images = if number == 1 { train.as_slice() } else { &[] };
        write_binary(&binary.join(format!("data_batch_{number}.bin")), images, 10_000, 1);
        write_python(&python.join(format!("data_batch_{number}")), images, 10_000, "labels");
    }
    write_binary(&binary.join("test_batch.bin"), &test, 10_000, 1);
    write_python(&python.join("test_batch"), &test, 10_000, "labels");
    fs::write(python.join("batches.meta"), python::names("label_names", &CLASSES)).unwrap();

    let (kaggle, folders) = (folder("kaggle"), folder("folders"));
    let mut rows = "id,label\n".to_string();
    for (place, (label, pixels)) in train.iter().enumerate() {
        let (class, number) = (CLASSES[usize::from(*label)], place + 1);
        rows += &format!("{number},{class}\n");
        write_png(&kaggle.join(format!("train/{number}.png")), pixels);
        write_png(&folders.join(format!("train/{class}/{number:03}.png")), pixels);
    }
    fs::write(kaggle.join("trainLabels.csv"), rows).unwrap();
    for (place, (label, pixels)) in test.iter().enumerate() {
        write_png(&folders.join(format!("test/{}/{place:03}.png", CLASSES[usize::from(*label)])), pixels);
        // Unlabelled.
        write_png(&kaggle.join(format!("test/{place}.png")), pixels);
    }

    let limit = Some(40);
    let expected = read(&binary, &Options { limit, ..Options::default() });
    let (labels, pixels): (Vec<u8>, Vec<Vec<u8>>) = train.iter().cloned().unzip();
    assert!(contents(&expected.train) == (&labels, pixels));
    for layout in [&python, &folders, &kaggle] {
        // Kaggle's test images have no labels: nothing is held out, so that all others train.
        let is_kaggle = *layout == kaggle;
        let test_share = is_kaggle.then_some(0.0);
        let dataset = read(layout, &Options { limit, test_share, ..Options::default() });
        assert_eq!((&dataset.classes, dataset.shape), (&expected.classes, expected.shape), "{}", layout.display());
        assert!(contents(&dataset.train) == contents(&expected.train), "{}", layout.display());
        let test = dataset.test.len().min(20);
        assert_eq!(test, if is_kaggle { 0 } else { 20 });
        let ((labels, images), (expected_labels, expected_images)) =
            (contents(&dataset.test), contents(&expected.test));
        assert!(images[..test] == expected_images[..test], "{}", layout.display());
        assert_eq!(labels[..test], expected_labels[..test]);
    }

    let weights = |name: &str, flags: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shadegrad"));
        command.args([
            "train",
            "--no-tune",
            "--limit",
            "40",
            "--epochs",
            "1",
            "--out",
            &format!("run {name}"),
            "--data",
            name,
        ]);
        let output = command.args(flags.split_whitespace()).current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("weights: sha256 "));
        line.unwrap_or_else(|| panic!("{name}: {text}")).to_string()
    };
    let expected = weights("binary", "");
    assert_eq!(weights("python", ""), expected);
    assert_eq!(weights("folders", ""), expected);
    assert_eq!(weights("kaggle", "--test-share 0"), expected);
}

#[test]
fn cifar100_is_read_with_its_fine_labels() {
    let names: Vec<String> = (0..100).map(|class| format!("class{class}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut train = photographs(30, 2);
    train[7].0 = 99;
    let test = photographs(10, 3);
    let dir = tempdir().unwrap();
    let (binary, python) = (dir.path().join("b/cifar-100-binary"), dir.path().join("p/cifar-100-python"));
    [&binary, &python].iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    write_binary(&binary.join("train.bin"), &train, 50_000, 2);
    write_binary(&binary.join("test.bin"), &test, 10_000, 2);
    fs::write(binary.join("fine_label_names.txt"), names.join("\n")).unwrap();
    write_python(&python.join("train"), &train, 50_000, "fine_labels");
    write_python(&python.join("test"), &test, 10_000, "fine_labels");
    fs::write(python.join("meta"), python::names("fine_label_names", &names)).unwrap();

    let options = Options { limit: Some(30), ..Options::default() };
    let [binary, python] = ["b", "p"].map(|folder| read(&dir.path().join(folder), &options));
    assert_eq!((binary.name.as_str(), binary.classes.len(), binary.classes[99].as_str()), ("cifar100", 100, "class99"));
    assert_eq!(binary.train.labels[6..9], [6, 99, 8]);
    assert_eq!(binary.train.image(7).unwrap(), train[7].1);
    assert!(contents(&binary.train) == contents(&python.train) && contents(&binary.test) == contents(&python.test));
    assert_eq!(binary.classes, python.classes);
    let whole = read(&dir.path().join("b"), &Options::default());
    assert_eq!((whole.train.len(), whole.test.len()), (50_000, 10_000));
}

#[test]
fn kaggles_rows_decide_order_labels_and_split() {
    let images = photographs(30, 4);
    let dir = tempdir().unwrap();
    // As a spreadsheet saves it: a byte order mark, quotes, CRLF, another column, and the rows in another order.
    let mut rows = "\u{feff}\"label\",\"Id\",\"note\"\r\n".to_string();
    for (place, (label, pixels)) in images.iter().enumerate().rev() {
        rows += &format!("\"{}\", {place} ,\"a \"\"b\"\", c\"\r\n", CLASSES[usize::from(*label)]);
        write_png(&dir.path().join(format!("train/{place}.png")), pixels);
    }
    fs::write(dir.path().join("trainLabels.csv"), rows).unwrap();
    let whole = read(dir.path(), &Options { test_share: Some(0.0), ..Options::default() });
    assert_eq!(whole.classes, CLASSES);
    let place = |reversed: usize| 29 - reversed;
    assert!((0..30).all(|row| whole.train.image(row).unwrap() == images[place(row)].1));
    assert!((0..30).all(|row| whole.train.labels[row] == images[place(row)].0));

    write_png(&dir.path().join("train/extra.png"), &images[0].1);
    let loaded = load(&DataSpec::Folder(dir.path().into()), &Options::default(), &mut |_| {}).unwrap();
    assert_eq!((loaded.dataset.train.len(), loaded.dataset.test.len()), (20, 10));
    assert_eq!(loaded.notes, ["split: 10 of 30 images are held out for testing (--test-share 0.2, --split-seed 0)"]);
    let extra = dir.path().join("train/extra.png");
    let warning = format!("{} has no row in trainLabels.csv: skipped", extra.display());
    assert_eq!(loaded.warnings, [warning]);
    let options = loaded.options;
    assert_eq!((options.image_size, options.test_share, options.split_seed), (Some(32), Some(0.2), Some(0)));
}

/// An IDX file of bytes.
fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Twelve images of 4×3 in training, two in testing.
fn write_idx(folder: &Path, labels: [u8; 12], suffix: &str, pack: fn(&[u8]) -> Vec<u8>) {
    fs::create_dir_all(folder).unwrap();
    let pixels: Vec<u8> = (0..144).collect();
    for (name, bytes) in [
        ("train-images-idx3-ubyte", idx(&[12, 4, 3], &pixels)),
        ("train-labels-idx1-ubyte", idx(&[12], &labels)),
        ("t10k-images-idx3-ubyte", idx(&[2, 4, 3], &pixels[..24])),
        ("t10k-labels-idx1-ubyte", idx(&[2], &[1, 0])),
    ] {
        fs::write(folder.join(format!("{name}{suffix}")), pack(&bytes)).unwrap();
    }
}

#[test]
fn mnist_and_its_kind_are_told_apart_by_their_labels() {
    let dir = tempdir().unwrap();
    write_idx(&dir.path().join("a/MNIST/raw"), [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5], "", <[u8]>::to_vec);
    write_idx(&dir.path().join("b"), [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9], ".gz", gzip);
    write_idx(&dir.path().join("c"), [0, 1, 2, 3, 11, 2, 7, 2, 5, 5, 0, 9], "", gzip);
    let [mnist, fashion, other] = ["a", "b", "c"].map(|folder| read(&dir.path().join(folder), &Options::default()));
    assert_eq!((mnist.name.as_str(), mnist.classes[9].as_str()), ("mnist", "9"));
    assert_eq!((fashion.name.as_str(), fashion.classes[9].as_str()), ("fashion-mnist", "Ankle boot"));
    assert_eq!((other.name.as_str(), other.classes.len(), other.classes[11].as_str()), ("idx", 12, "11"));
    assert_eq!((mnist.shape.channels, mnist.shape.height, mnist.shape.width), (1, 4, 3));
    assert_eq!(
        (mnist.train.image(11).unwrap(), mnist.test.labels.as_slice()),
        ((132..144).collect::<Vec<u8>>(), &[1, 0][..])
    );
    let [mnist, fashion, other] = [&mnist, &fashion, &other].map(|dataset| contents(&dataset.train).1);
    assert!(mnist == fashion && mnist == other);
}
