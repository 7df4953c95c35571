//! One PNG or JPEG file, of any size and colour type, as an image of a given shape.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use super::ImageShape;
use crate::error::{Error, Result};

/// A file larger than this is not read.
const MAX_FILE_BYTES: u64 = 1 << 28;
/// More than any common camera's; at 3 bytes a pixel, 384 MiB.
const MAX_PIXELS: u64 = 1 << 27;
/// At 16 bits a channel, fewer pixels.
const MAX_PIXEL_BYTES: u64 = 1 << 29;
/// What a decoder may allocate beside the pixels: rows, and the profiles and texts in a file, which may be packed bombs.
const MAX_DECODER_BYTES: u64 = 1 << 24;
/// Pictures above this many pixels are decoded one at a time, so that many threads need no more memory than one.
const LARGE_PIXELS: u64 = 1 << 24;
static LARGE: Mutex<()> = Mutex::new(());

/// The C×H×W pixels, 0 to 255, of the picture in a file, known by its content and turned as its EXIF orientation says.
///
/// It is scaled until its shorter side fits and cropped around its centre; a picture of the right size keeps its pixels as they
/// are. Transparency shows white; with one channel, colours become their Rec. 709 luma. The filter is the Catmull-Rom
/// cubic, widened when it shrinks: polynomials alone, so that every machine gets the same bytes.
///
/// # Errors
/// `Error::Data` for a file that is something else, damaged or too large, or a shape of neither 1 nor 3 channels; `Error::File`
/// for one that cannot be read.
pub fn read(path: &Path, shape: ImageShape) -> Result<Vec<u8>> {
    fit(open(path)?, shape)
}

/// The whole picture in a file, as it is meant to be seen.
///
/// # Errors
/// As `read`.
pub fn open(path: &Path) -> Result<RgbImage> {
    let unreadable = || Error::file("read", path);
    // Opening a pipe would wait for whoever writes to it.
    let metadata = fs::metadata(path).map_err(unreadable())?;
    if !metadata.is_file() {
        return Err(Error::data(format!("{} is not a file", path.display())));
    }
    let too_large = || Error::data(format!("{} has more than {MAX_FILE_BYTES} bytes", path.display()));
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    decode(&bytes, path)
}

/// Whether a file starts like a PNG or JPEG; whatever is no file does not.
///
/// # Errors
/// `Error::File` for one that cannot be read.
pub(super) fn is_picture(path: &Path) -> Result<bool> {
    let unreadable = || Error::file("read", path);
    if !fs::metadata(path).map_err(unreadable())?.is_file() {
        return Ok(false);
    }
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(16).read_to_end(&mut start)).map_err(unreadable())?;
    Ok(format(&start).is_some())
}

fn format(bytes: &[u8]) -> Option<ImageFormat> {
    image::guess_format(bytes).ok().filter(|format| matches!(format, ImageFormat::Png | ImageFormat::Jpeg))
}

fn decode(bytes: &[u8], path: &Path) -> Result<RgbImage> {
    let name = path.display();
    let damaged = |error: image::ImageError| Error::data(format!("{name} is damaged: {error}"));
    let Some(format) = format(bytes) else {
        return Err(Error::data(format!("{name} is not a PNG or JPEG image")));
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;

    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_PIXEL_BYTES {
        let expected = format!("expected at most {MAX_PIXELS} pixels and {MAX_PIXEL_BYTES} bytes");
        let actual = format!("got {width}×{height} pixels, {} bytes", decoder.total_bytes());
        return Err(Error::data(format!("{name} is too large to decode ({actual}, {expected})")));
    }
    // The decoder paints grey over what is missing.
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err(Error::data(format!("{name} is damaged: it is cut short")));
    }
    let _one_at_a_time = (pixels > LARGE_PIXELS).then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(on_white(picture))
}

/// Whether a JPEG's end marker follows the start of its first scan; an embedded thumbnail's lies before.
fn has_end(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    while let Some(&[0xff, marker]) = jpeg.get(at..at + 2) {
        if marker == START_OF_SCAN {
            return jpeg[at..].windows(2).any(|pair| pair == END);
        }
        // A marker may be padded with any number of 0xff.
        at += match (marker, jpeg.get(at + 2..at + 4)) {
            (0xff, _) => 1,
            (_, Some(&[high, low])) => 2 + usize::from(u16::from_be_bytes([high, low])),
            (_, _) => return false,
        };
    }
    // Bytes between segments, which decoders skip: what lies behind them is not known to be a thumbnail.
    jpeg.get(at..).is_some_and(|rest| rest.windows(2).any(|pair| pair == END))
}

fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u16::from);
        Rgb([red, green, blue].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

fn fit(picture: RgbImage, shape: ImageShape) -> Result<Vec<u8>> {
    let ImageShape { channels, height, width } = shape;
    // Cropped to the proportions first: fewer pixels to scale.
    let (x, crop_width) = centred(picture.width(), picture.height(), width, height);
    let (y, crop_height) = centred(picture.height(), picture.width(), height, width);
    let crop = imageops::crop_imm(&picture, x, y, crop_width, crop_height);
    let scaled = imageops::resize(&*crop, width, height, FilterType::CatmullRom);
    match channels {
        1 => Ok(scaled.pixels().map(luma).collect()),
        3 => Ok((0..3).flat_map(|channel| scaled.pixels().map(move |pixel| pixel[channel])).collect()),
        _ => Err(Error::data(format!("a picture has 1 or 3 channels (got {channels})"))),
    }
}

/// Rec. 709 weights, rounded to nearest; equal channels keep their value.
fn luma(pixel: &Rgb<u8>) -> u8 {
    let [red, green, blue] = pixel.0.map(u32::from);
    ((2126 * red + 7152 * green + 722 * blue + 5000) / 10_000) as u8
}

/// Start and length, along a side of `length` pixels, of the largest centred crop whose proportion to the other side is that of
/// `wanted` to `other_wanted`.
fn centred(length: u32, other: u32, wanted: u32, other_wanted: u32) -> (u32, u32) {
    let fitting =
        (2 * u64::from(other) * u64::from(wanted) + u64::from(other_wanted)) / (2 * u64::from(other_wanted)).max(1);
    let cropped = fitting.clamp(1, u64::from(length)) as u32;
    ((length - cropped) / 2, cropped)
}
