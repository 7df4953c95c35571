//! Data from outside: files that are damaged, and the shapes every machine must draw alike.

#[path = "common/contents.rs"]
mod contents;

use std::fs;
use std::io::Write;
use std::path::Path;

use contents::contents;
use sha2::{Digest, Sha256};
use shadegrad::Error;
use shadegrad::data::{DataSpec, Options, Split, load, shapes};
use shadegrad::units::hexadecimal;
use tempfile::tempdir;

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn load_folder(folder: &Path) -> Result<shadegrad::data::Dataset, Error> {
    load(&DataSpec::Folder(folder.into()), &Options::default(), &mut |_| {}).map(|loaded| loaded.dataset)
}

fn pixels(split: &Split) -> Vec<u8> {
    contents(split).1.concat()
}

/// Six batch files of the right length in `folder`, all zeros; sparse, so they cost no disk.
fn write_batches(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let train = (1..=5).map(|number| format!("data_batch_{number}.bin"));
    for name in train.chain(["test_batch.bin".to_string()]) {
        fs::File::create(folder.join(name)).unwrap().set_len(30_730_000).unwrap();
    }
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    use std::io::{Seek, SeekFrom};
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn cifar10_is_read_from_a_folder_or_the_one_inside() {
    let dir = tempdir().unwrap();
    let inner = dir.path().join("cifar-10-batches-bin");
    write_batches(&inner);
    // Record 3 of the second batch: label 9, then the first red, the first green and the last blue byte.
    let at = 3 * 3073;
    write_at(&inner.join("data_batch_2.bin"), at, &[9, 11]);
    write_at(&inner.join("data_batch_2.bin"), at + 1 + 1024, &[22]);
    write_at(&inner.join("data_batch_2.bin"), at + 3072, &[33]);

    let dataset = load_folder(dir.path()).unwrap();
    assert_eq!((dataset.name.as_str(), dataset.train.len(), dataset.test.len()), ("cifar10", 50_000, 10_000));
    assert_eq!(dataset.classes[9], "truck");
    assert_eq!(dataset.train.labels[10_003], 9);
    let image = dataset.train.image(10_003).unwrap();
    assert_eq!((image.len(), image[0], image[1024], image[3071]), (dataset.shape.len(), 11, 22, 33));

    fs::write(inner.join("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n").unwrap();
    let mut dataset = load_folder(&inner).unwrap();
    assert_eq!(dataset.classes[9], "j");
    dataset.train.truncate(7);
    assert_eq!((dataset.train.len(), pixels(&dataset.train).len()), (7, 7 * 3072));
}

#[test]
fn damaged_batches_are_named() {
    let dir = tempdir().unwrap();
    write_batches(dir.path());
    write_at(&dir.path().join("data_batch_2.bin"), 812 * 3073, &[17]);
    assert_eq!(load_folder(dir.path()).unwrap_err().to_string(), "data_batch_2.bin record 812: label 17, expected 0–9");

    let third = dir.path().join("data_batch_3.bin");
    fs::File::create(&third).unwrap().set_len(1_234_567).unwrap();
    let error = load_folder(dir.path()).unwrap_err();
    assert_eq!(error.to_string(), "data_batch_3.bin has 1234567 bytes, expected 30730000");
    assert_eq!(error.exit_code(), 3);

    fs::remove_file(third).unwrap();
    let message = load_folder(dir.path()).unwrap_err().to_string();
    assert!(message.ends_with(" has no data_batch_3.bin"), "{message}");
}

#[test]
fn folders_that_are_missing_or_unknown_are_explained() {
    let dir = tempdir().unwrap();
    let absent = load_folder(&dir.path().join("absent")).unwrap_err();
    assert!(absent.to_string().ends_with("absent does not exist"), "{absent}");

    let file = dir.path().join("notes.txt");
    fs::write(&file, "notes").unwrap();
    let error = load_folder(&file).unwrap_err();
    assert!(error.to_string().ends_with("notes.txt is not a folder"), "{error}");

    let error = load_folder(dir.path()).unwrap_err();
    assert!(error.to_string().contains("looked for\n  CIFAR-10 binary: data_batch_1.bin"), "{error}");
    assert_eq!(error.exit_code(), 3);
}

#[test]
fn shapes_are_the_same_bytes_everywhere() {
    let dataset = shapes(0, 1000, 20);
    assert_eq!(sha256(&dataset.train.labels), "98bce10bd082b7d0f90abdbef1f65de2043dc06722e182b8f2534f40ff8bbcde");
    assert_eq!(sha256(&pixels(&dataset.train)), "5e5e8bfc6eded96ee0fdd851c92bcf3e01488235644cb68807fd91287a7c3eb5");

    let fewer = shapes(0, 13, 20);
    assert_eq!(fewer.train.labels, dataset.train.labels[..13]);
    assert_eq!(pixels(&fewer.train), pixels(&dataset.train)[..13 * 3072]);
    assert_eq!(contents(&fewer.test), contents(&dataset.test));
    assert_ne!(dataset.train.image(0).unwrap(), dataset.test.image(0).unwrap());
    assert_ne!(pixels(&dataset.train), pixels(&shapes(1, 1000, 0).train));
}

#[test]
fn shapes_are_balanced() {
    let dataset = shapes(0, 1000, 10);
    assert_eq!(dataset.classes.len(), 10);
    for class in 0..10 {
        assert_eq!(dataset.train.labels.iter().filter(|&&label| label == class).count(), 100);
        assert_eq!(dataset.test.labels.iter().filter(|&&label| label == class).count(), 1);
    }
    assert_ne!(dataset.train.labels[..10], dataset.train.labels[10..20]);
}
