//! Files made to do harm, or broken as files break: a clear error for each, nothing run, memory bounded.

#[path = "common/end.rs"]
mod end;
#[path = "common/python.rs"]
mod python;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use end::End;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use image::{ImageFormat, Rgb, RgbImage};
use tempfile::tempdir;

/// Of the whole process, at its peak.
#[cfg(target_os = "linux")]
const MAX_MIB: i64 = 200;

fn run(folder: &Path, arguments: &[&str]) -> End {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadegrad"));
    command.args(arguments).current_dir(folder);
    end::run(command.env("ALL_PROXY", "http://127.0.0.1:9").env_remove("SHADEGRAD_DATA"))
}

/// Asserts that `train --data set` refuses what `write` puts into `set`, with exit code 3 and a message that contains `message`.
#[track_caller]
fn refused(write: impl FnOnce(&Path), message: &str) {
    let dir = tempdir().unwrap();
    let set = dir.path().join("set");
    fs::create_dir(&set).unwrap();
    write(&set);
    let end = run(dir.path(), &["train", "--data", "set", "--device", "cpu"]);
    expect(&end, 3, message);
    assert!(!dir.path().join("runs").exists() && !dir.path().join("owned").exists());
}

#[track_caller]
fn expect(end: &End, code: i32, message: &str) {
    assert_eq!(end.code, Some(code), "{}", end.stderr);
    let error = end.stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
    assert!(error.contains(message), "{message:?} is not in\n{}", end.stderr);
    assert!(!end.stderr.contains("panicked"), "{}", end.stderr);
    #[cfg(target_os = "linux")]
    assert!(end.peak_mib < MAX_MIB, "{} MiB at the peak: {}", end.peak_mib, end.stderr);
}

fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 9])).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Two classes with a good picture each.
fn classes(set: &Path) {
    ["cat", "dog"].iter().for_each(|class| put(set.join(class).join("0.png"), png()));
}

/// A PNG chunk with its checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc.sum().to_be_bytes()].concat()
}

/// Half a gigabyte of zeros, through a compressor.
fn half_a_gigabyte(mut into: impl Write) {
    let zeros = vec![0; 1 << 20];
    (0..512).for_each(|_| into.write_all(&zeros).unwrap());
}

#[test]
fn pictures() {
    let put_picture = |bytes: Vec<u8>| {
        move |set: &Path| {
            classes(set);
            put(set.join("dog/1.png"), bytes);
        }
    };
    refused(put_picture(png()[..90].to_vec()), "set/dog/1.png is damaged: ");
    // 60,000 × 60,000 pixels of 16 bits, and next to nothing behind them.
    let header = [&60_000u32.to_be_bytes()[..], &60_000u32.to_be_bytes(), &[16, 6, 0, 0, 0]].concat();
    let bomb = [&png()[..8], &chunk(b"IHDR", &header), &chunk(b"IDAT", &[0; 9]), &chunk(b"IEND", b"")].concat();
    refused(put_picture(bomb), "set/dog/1.png is too large to decode (got 60000×60000 pixels, 28800000000 bytes");

    // A profile and a text of half a gigabyte each, in half a megabyte: nobody asked for them, so they may stay packed.
    let mut zeros = ZlibEncoder::new(Vec::new(), Compression::fast());
    half_a_gigabyte(&mut zeros);
    let zeros = zeros.finish().unwrap();
    let packed = [&b"name\0\0"[..], &zeros].concat();
    let good = png();
    let bomb = [&good[..33], &chunk(b"iCCP", &packed), &chunk(b"zTXt", &packed), &good[33..]].concat();
    let dir = tempdir().unwrap();
    put_picture(bomb)(&dir.path().join("set"));
    let arguments = ["train", "--data", "set", "--device", "cpu", "--epochs", "1", "--test-share", "0"];
    let end = run(dir.path(), &arguments);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    #[cfg(target_os = "linux")]
    assert!(end.peak_mib < MAX_MIB, "{} MiB at the peak", end.peak_mib);
}

#[test]
fn archives_and_idx_files() {
    let mut zeros = GzEncoder::new(Vec::new(), Compression::fast());
    let header = [&[0, 0, 8, 3][..], &[0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]].concat();
    zeros.write_all(&header).unwrap();
    half_a_gigabyte(&mut zeros);
    let bomb = zeros.finish().unwrap();
    let idx = |images: Vec<u8>, labels: Vec<u8>| {
        move |set: &Path| {
            put(set.join("train-images-idx3-ubyte.gz"), images);
            put(set.join("train-labels-idx1-ubyte"), labels);
        }
    };
    let message = "train-images-idx3-ubyte.gz has more than 1568 values, its header says 1568 ([2, 28, 28])";
    refused(idx(bomb.clone(), vec![]), message);
    let cut = bomb[..bomb.len() / 2].to_vec();
    refused(idx(cut, vec![]), message);
    let huge = [&[0, 0, 8, 3][..], &[255; 12]].concat();
    refused(idx(huge, vec![]), "train-images-idx3-ubyte.gz has 4,294,967,295 images, which need ");
    refused(idx(b"\x1f\x8b\x08".to_vec(), vec![]), "train-images-idx3-ubyte.gz is cut short");
    refused(idx(b"plain text".to_vec(), vec![]), "train-images-idx3-ubyte.gz is no IDX file of bytes in 3 dimensions");
    let empty = [&[0, 0, 8, 3][..], &[0, 0, 0, 2], &[0; 8]].concat();
    let labels = [&[0, 0, 8, 1][..], &[0, 0, 0, 2], &[0, 1]].concat();
    refused(idx(empty, labels.clone()), "train-images-idx3-ubyte has 2 images of 0×0, expected some");
    let three = [&[0, 0, 8, 3][..], &[0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1], &[7; 3]].concat();
    refused(idx(three.clone(), labels), "train-labels-idx1-ubyte has 2 labels, expected 3, one an image");
    let labels = [&[0, 0, 8, 1][..], &[0, 0, 0, 3], &[0, 1, 2]].concat();
    refused(idx(three, labels), "set has no t10k-images-idx3-ubyte, plain or .gz");

    // In place of CIFAR-10's archive: its length is known before a byte of it is unpacked.
    let dir = tempdir().unwrap();
    put(dir.path().join("data/cifar-10-binary.tar.gz"), &bomb);
    let message = format!("cifar-10-binary.tar.gz has {} bytes, expected 170052171", bomb.len());
    expect(&run(dir.path(), &["download"]), 3, &message);
    expect(&run(dir.path(), &["train", "--device", "cpu"]), 3, &message);
}

#[test]
fn pickles() {
    let pickle = |bytes: Vec<u8>| {
        move |set: &Path| {
            (1..=5).for_each(|number| put(set.join(format!("data_batch_{number}")), &bytes));
            put(set.join("test_batch"), b"");
        }
    };
    let start = "data_batch_1 is not CIFAR's python version: ";
    let refused = |bytes: &[u8], problem: &str| refused(pickle(bytes.to_vec()), &format!("{start}{problem}"));
    let imports = |name: &str| format!("it imports {name}, expected numpy arrays alone; nothing was run");
    refused(b"cos\nsystem\n(S'touch ../owned; touch owned'\ntR.", &imports("os.system"));
    refused(b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.", &imports("builtins.exec"));
    refused(b"\x80\x02cnumpy.core.multiarray\nfromfile\n.", &imports("numpy.core.multiarray.fromfile"));
    refused(b"(ios\nsystem\n.", "byte 1 is opcode 0x69, which no data needs");
    refused(b"", "it is cut short");
    refused(&b"(".repeat(10_000_000), "it has more than 1048576 opcodes");
    refused(&b"]".repeat(10_000_000), "it has more than 1048576 opcodes");
    refused(b"T\xff\xff\xff\x7f", "it is cut short");

    let (before, after) = python::batch(&[3; 10_000], "labels", 3072);
    refused(&[&before[..], &[0; 1000]].concat(), "it is cut short");
    let (few, end) = python::batch(&[3; 10], "labels", 3072);
    refused(&[&few[..], &[0; 10 * 3072], &end].concat(), "it has 10 labels, expected 10000");
    let (other, end) = python::batch(&[3; 10_000], "labels", 12);
    refused(
        &[&other[..], &[0; 120_000], &end].concat(),
        "its array data has shape [10000, 12], expected [10000, 3072]",
    );
    refused(&[b"\x80\x02}(", &python::text("labels")[..], b"]u."].concat(), "it has 0 labels, expected 10000");
    refused(b"\x80\x02}.", "it has no list of integers labels");

    let few_names = |set: &Path| {
        pickle([&before[..], &after].concat())(set);
        put(set.join("batches.meta"), python::names("label_names", &["cat", "dog"]));
    };
    crate::refused(few_names, "batches.meta has 2 class names, expected 10");
    let large = |set: &Path| {
        pickle([&before[..], &after].concat())(set);
        File::options().write(true).open(set.join("data_batch_2")).unwrap().set_len(1 << 40).unwrap();
    };
    crate::refused(large, "data_batch_2 is not CIFAR's python version: it has 1099511627776 bytes, expected at most ");
}

#[test]
fn rows() {
    let kaggle = |rows: &[u8]| {
        let rows = rows.to_vec();
        move |set: &Path| {
            put(set.join("trainLabels.csv"), rows);
            (1..=3).for_each(|id| put(set.join(format!("train/{id}.png")), png()));
            fs::create_dir(set.join("train/4.png")).unwrap();
        }
    };
    let good = "id,label\n1,cat\n2,dog\n";
    let refused = |rows: &[u8], problem: &str| crate::refused(kaggle(rows), &format!("trainLabels.csv {problem}"));
    for formula in ["=HYPERLINK(\"\"http://x\"\")", "+1+1", "-1", "@SUM(A1)", " =1"] {
        let rows = format!("{good}3,\"{formula}\"\n");
        refused(rows.as_bytes(), "row 4: the label \"");
        refused(rows.replace('\n', "\r\n").as_bytes(), "row 4: the label \"");
    }
    refused(format!("{good}1,cat\n").as_bytes(), "row 4: a row before it has the same id \"1\"");
    refused(format!("{good}9,cat\n").as_bytes(), "row 4: train has no picture of the id \"9\"");
    refused(format!("{good}4,cat\n").as_bytes(), "row 4: train has no picture of the id \"4\"");
    refused(format!("{good},cat\n").as_bytes(), "row 4: train has no picture of the id \"\"");
    for id in ["../train/3", "/etc/hostname", "3.png", "\u{1b}[2J"] {
        refused(format!("{good}{id},cat\n").as_bytes(), &format!("row 4: train has no picture of the id {id:?}"));
    }
    refused(format!("{good}3,\n").as_bytes(), "has a class named \"\", expected a name in plain text");
    refused(format!("{good}3,\"a\nb\"\n").as_bytes(), "has a class named \"a\\nb\", expected a name in plain text");
    refused(format!("{good}3\n").as_bytes(), "cannot be read: ");
    refused(b"id,label\n1,cat\n2,\"dog\n3,cat\n", "has a class named \"dog\\n3,cat\", expected a name in plain text");
    refused(&[good.as_bytes(), b"3,\xff\n"].concat(), "cannot be read: ");
    refused(b"", "has no column id (got [], expected id and label)");
    refused(b"1,cat\n2,dog\n", "has no column id (got [\"1\", \"cat\"], expected id and label)");
    refused(b"id,label\n", "has 0 classes, expected 2 to 256");
    let many: String = (0..257).map(|class| format!("{class},class{class}\n")).collect();
    refused(format!("id,label\n{many}").as_bytes(), "has 257 classes, expected 2 to 256");
    let endless = |set: &Path| {
        kaggle(good.as_bytes())(set);
        File::options().write(true).open(set.join("trainLabels.csv")).unwrap().set_len(1 << 40).unwrap();
    };
    crate::refused(endless, "trainLabels.csv has more than 16777216 bytes");
    let packed = |set: &Path| {
        put(set.join("trainLabels.csv"), good);
        put(set.join("train.7z"), b"7z");
    };
    crate::refused(packed, "set has trainLabels.csv but no folder train");
}

#[test]
fn folders() {
    refused(
        |set| {
            classes(set);
            fs::create_dir(set.join("empty")).unwrap();
        },
        "set/empty holds no PNG or JPEG image",
    );
    refused(|set| fs::create_dir_all(set.join("train/cat")).unwrap(), "set/train has 1 class, expected 2 to 256");
    refused(
        |set| (0..257).for_each(|class| put(set.join(format!("{class}/0.png")), png())),
        "set has 257 classes, expected 2 to 256",
    );
    refused(
        |set| {
            classes(set);
            fs::rename(set.join("dog"), set.join("\u{1b}[31mdog")).unwrap();
        },
        r#"set has a class named "\u{1b}[31mdog", expected a name in plain text"#,
    );
}

#[cfg(unix)]
#[test]
fn what_only_looks_like_files() {
    use std::os::unix::fs::symlink;
    // A pipe that nobody writes to, and a device without end: neither is opened.
    refused(
        |set| {
            classes(set);
            fs::remove_file(set.join("dog/0.png")).unwrap();
            let pipe = std::ffi::CString::new(set.join("dog/0.png").to_str().unwrap()).unwrap();
            // SAFETY: a path that ends in a zero byte.
            assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
            symlink("/dev/zero", set.join("dog/1.png")).unwrap();
        },
        "set/dog holds no PNG or JPEG image",
    );
    let dir = tempdir().unwrap();
    let set = dir.path().join("set");
    classes(&set);
    symlink("circle.png", set.join("dog/circle.png")).unwrap();
    let end = run(dir.path(), &["train", "--data", "set", "--device", "cpu"]);
    expect(&end, 4, "could not read set/dog/circle.png: too many levels of symbolic links");
}

/// What a path leads to may have no end.
#[cfg(target_os = "linux")]
#[test]
fn what_never_ends() {
    let dir = tempdir().unwrap();
    for name in ["endless.toml", "endless.wgsl", "endless.json"] {
        std::os::unix::fs::symlink("/dev/zero", dir.path().join(name)).unwrap();
    }
    for (arguments, file) in [
        ("train --config endless.toml", "endless.toml"),
        ("train --model endless.toml", "endless.toml"),
        ("check matmul --shader endless.wgsl", "endless.wgsl"),
        ("bench --baseline endless.json", "endless.json"),
    ] {
        let end = run(dir.path(), &arguments.split(' ').collect::<Vec<_>>());
        expect(&end, 4, &format!("could not read {file}: it has more than "));
    }
}
