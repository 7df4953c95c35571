//! Pictures as people have them: any size, any colour type, turned, damaged, or no pictures at all.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use shadegrad::data::{ImageShape, picture};
use shadegrad::random::{Purpose, Random};
use shadegrad::{Error, Result};
use tempfile::{TempDir, tempdir};

const COLOUR: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
const GREY: ImageShape = ImageShape { channels: 1, ..COLOUR };

fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    encode(picture, ImageFormat::Png)
}

fn jpeg(picture: impl Into<DynamicImage>) -> Vec<u8> {
    encode(picture, ImageFormat::Jpeg)
}

/// Reads `bytes` from a file of the given name.
fn read_named(name: &str, bytes: &[u8], shape: ImageShape) -> Result<Vec<u8>> {
    let (_dir, path) = file(name, bytes);
    picture::read(&path, shape)
}

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn read(bytes: &[u8], shape: ImageShape) -> Vec<u8> {
    read_named("picture", bytes, shape).unwrap()
}

/// What is wrong with `bytes`, behind the file's name.
fn problem(bytes: &[u8]) -> String {
    let (_dir, path) = file("picture.png", bytes);
    let error = picture::read(&path, COLOUR).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    let text = error.to_string();
    text.strip_prefix(&format!("{} ", path.display())).unwrap_or_else(|| panic!("{text}")).to_string()
}

fn noise(width: u32, height: u32) -> RgbImage {
    let mut random = Random::new(3, Purpose::Test, 0);
    RgbImage::from_fn(width, height, |_, _| Rgb([(); 3].map(|()| random.bits() as u8)))
}

/// The pixels of `picture` channel by channel.
fn planes(picture: &RgbImage) -> Vec<u8> {
    (0..3).flat_map(|channel| picture.pixels().map(move |pixel| pixel[channel])).collect()
}

#[test]
fn a_picture_of_the_right_size_keeps_its_pixels() {
    let picture = noise(32, 32);
    assert_eq!(read(&png(picture.clone()), COLOUR), planes(&picture));
    let tall = ImageShape { channels: 3, height: 50, width: 20 };
    let picture = noise(20, 50);
    assert_eq!(read(&png(picture.clone()), tall), planes(&picture));

    let grey = GrayImage::from_fn(32, 32, |x, y| Luma([(8 * x + y) as u8]));
    assert_eq!(read(&png(grey.clone()), GREY), grey.as_raw().as_slice());
    assert_eq!(read(&png(grey.clone()), COLOUR), grey.as_raw().repeat(3));
}

#[test]
fn every_colour_type_is_read() {
    let picture = noise(32, 32);
    let expected = planes(&picture);
    let dynamic = DynamicImage::from(picture);
    for same in [DynamicImage::from(dynamic.to_rgba8()), dynamic.to_rgb16().into(), dynamic.to_rgba16().into()] {
        assert_eq!(read(&png(same), COLOUR), expected);
    }
    let grey = DynamicImage::from(dynamic.to_luma8());
    for same in [grey.clone(), grey.to_luma_alpha8().into(), grey.to_luma16().into(), grey.to_luma_alpha16().into()] {
        assert_eq!(read(&png(same), GREY), grey.as_bytes());
    }
    let grey = read(&png(RgbImage::from_pixel(32, 32, Rgb([200, 100, 50]))), GREY);
    assert!(grey.iter().all(|&value| value == 118), "0.2126 · 200 + 0.7152 · 100 + 0.0722 · 50 is 117.65");

    let glass = RgbaImage::from_pixel(32, 32, Rgba([200, 0, 100, 51]));
    let seen = read(&png(glass), COLOUR);
    assert_eq!([seen[0], seen[1024], seen[2048]], [244, 204, 224]);
    let clear = RgbaImage::from_pixel(32, 32, Rgba([0, 0, 0, 0]));
    assert!(read(&png(clear), GREY).iter().all(|&value| value == 255));
}

#[test]
fn the_shorter_side_fits_and_the_rest_is_cropped_evenly() {
    // A band of ten columns on the left, eleven on the right: the middle is untouched.
    let middle = noise(32, 32);
    let wide = RgbImage::from_fn(53, 32, |x, y| match x.checked_sub(10) {
        Some(x) if x < 32 => *middle.get_pixel(x, y),
        _ => Rgb([255, 0, 255]),
    });
    assert_eq!(read(&png(wide.clone()), COLOUR), planes(&middle));
    let tall = image::imageops::rotate90(&wide);
    assert_eq!(read(&png(tall), COLOUR), planes(&image::imageops::rotate90(&middle)));

    // Twice and a third of the size: flat stays flat, a ramp stays a ramp.
    for (width, height) in [(64, 64), (200, 64), (10, 10), (1, 1), (1, 5000), (5000, 1), (33, 34)] {
        let flat = RgbImage::from_pixel(width, height, Rgb([7, 90, 250]));
        let seen = read(&png(flat), COLOUR);
        assert!(
            (0..3).all(|c| seen[1024 * c..][..1024].iter().all(|&value| value == [7, 90, 250][c])),
            "{width}×{height}"
        );
    }
    let ramp = GrayImage::from_fn(256, 256, |x, _| Luma([x as u8]));
    for row in read(&png(ramp), GREY).chunks(32) {
        assert!(row.windows(2).all(|pair| pair[0] < pair[1]), "{row:?}");
        assert!((3..=4).contains(&row[0]) && (251..=252).contains(&row[31]), "{row:?}");
    }
}

#[test]
fn a_picture_is_known_by_its_content() {
    let picture = RgbImage::from_pixel(40, 40, Rgb([200, 100, 50]));
    let seen = read_named("really-a-jpeg.png", &jpeg(picture), COLOUR).unwrap();
    assert!([(0, 200), (1024, 100), (2048, 50)].iter().all(|&(at, value)| seen[at].abs_diff(value) <= 2), "{seen:?}");

    for text in [&b"some notes"[..], b"", b"\x89PN", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", b"\xff"] {
        assert_eq!(problem(text), "is not a PNG or JPEG image");
    }
}

/// An APP1 segment with an orientation, and a thumbnail's end marker in it.
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xd9]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&[0xff, 0xe1], &length[..], &exif].concat()
}

fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    [&jpeg[..2], &exif(orientation), &jpeg[2..]].concat()
}

#[test]
fn a_turned_photograph_is_turned_back() {
    // Lighter to the right; orientation 6 shows the left side at the top.
    let ramp = GrayImage::from_fn(64, 64, |x, _| Luma([4 * x as u8]));
    let seen = read(&with_orientation(&jpeg(ramp), 6), GREY);
    assert!(seen.chunks(32).all(|row| row[0].abs_diff(row[31]) <= 3), "{seen:?}");
    assert!(seen[0] < 10 && seen[1023] > 240, "{seen:?}");
}

#[test]
fn a_cut_picture_is_damaged() {
    let whole = png(noise(40, 40));
    for cut in [20, 40, 100, whole.len() / 2, whole.len() - 20] {
        let problem = problem(&whole[..cut]);
        assert!(problem.starts_with("is damaged: "), "{cut} of {}: {problem}", whole.len());
    }
    let whole = with_orientation(&jpeg(noise(40, 40)), 1);
    for cut in [4, 30, 60, 300, 700, whole.len() / 2, whole.len() - 2] {
        let problem = problem(&whole[..cut]);
        assert!(problem.starts_with("is damaged: "), "{cut} of {}: {problem}", whole.len());
    }
    assert!(read_named("whole", &whole, COLOUR).is_ok());
}

/// A PNG that claims to be `width` × `height`, RGBA of 8 bits, with next to nothing in it.
fn claim(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(RgbaImage::new(1, 1));
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

#[test]
fn a_header_with_absurd_sizes_is_refused_at_once() {
    assert_eq!(
        problem(&claim(60_000, 60_000)),
        "is too large to decode (got 60000×60000 pixels, 14400000000 bytes, expected at most 134217728 pixels and 536870912 bytes)"
    );
    let problems = [claim(u32::MAX, u32::MAX), claim(0, 7), claim(1 << 27, 2)].map(|bytes| problem(&bytes));
    assert!(problems.iter().all(|problem| !problem.is_empty()), "{problems:?}");
    // Just below the limit: a gigabyte is not taken for granted, and what is not there is missed.
    assert!(problem(&claim(11_000, 11_000)).starts_with("is damaged: "));
}

#[test]
fn what_is_no_file_is_said_so() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("folder.png");
    fs::create_dir(&folder).unwrap();
    let error = picture::read(&folder, COLOUR).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is not a file", folder.display()));
    let absent = picture::read(&dir.path().join("absent.png"), COLOUR).unwrap_err();
    assert!(matches!(absent, Error::File { .. }), "{absent}");

    let huge = dir.path().join("huge.png");
    fs::write(&huge, claim(1, 1)).unwrap();
    fs::File::options().write(true).open(&huge).unwrap().set_len(1 << 40).unwrap();
    let error = picture::read(&huge, COLOUR).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has more than 268435456 bytes", huge.display()));
    let two = ImageShape { channels: 2, ..COLOUR };
    let error = read_named("fine.png", &png(noise(1, 1)), two).unwrap_err();
    assert_eq!(error.to_string(), "a picture has 1 or 3 channels (got 2)");
}
