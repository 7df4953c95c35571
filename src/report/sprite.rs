//! Many small pictures in one.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{GrayImage, ImageEncoder, RgbImage};

use crate::data::{ImageShape, Split};
use crate::error::{Error, Result};

/// Longest side of a picture in a sprite, in pixels; larger images are shrunk.
const MAX_SIDE: u32 = 64;
/// JPEG's blocks: a picture that begins at a multiple does not bleed into the one beside it.
const BLOCK: u32 = 8;
/// Pictures in a row.
const COLUMNS: u32 = 16;

/// The sizes of every sprite of a page, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub width: u32,
    pub height: u32,
    /// From one picture to the next.
    pub pitch: [u32; 2],
}

impl Tile {
    pub fn new(shape: ImageShape) -> Self {
        let longest = shape.width.max(shape.height).max(1);
        let fit = |side: u32| match longest <= MAX_SIDE {
            true => side,
            false => ((u64::from(side) * u64::from(MAX_SIDE)).div_ceil(u64::from(longest))) as u32,
        };
        let (width, height) = (fit(shape.width), fit(shape.height));
        Self { width, height, pitch: [width, height].map(|side| side.next_multiple_of(BLOCK)) }
    }
}

/// A JPEG as a data URL.
#[derive(Clone, Debug)]
pub struct Sprite {
    pub url: String,
    pub columns: u32,
    pub rows: u32,
}

impl Sprite {
    /// The images of a split, [`COLUMNS`] in a row.
    ///
    /// # Errors
    /// What the encoder refuses, an image that cannot be read any more.
    pub fn new(split: &Split, shape: ImageShape, images: &[usize], quality: u8) -> Result<Self> {
        let tile = Tile::new(shape);
        let columns = COLUMNS.min(images.len().max(1) as u32);
        let rows = (images.len() as u32).div_ceil(columns).max(1);
        let mut sheet = RgbImage::new(columns * tile.pitch[0], rows * tile.pitch[1]);
        for (place, &image) in images.iter().enumerate() {
            let picture = shrunk(picture(&split.image(image)?, shape), tile);
            let (column, row) = (place as u32 % columns, place as u32 / columns);
            for y in 0..tile.pitch[1] {
                for x in 0..tile.pitch[0] {
                    // The rest of the last block repeats the edge, which costs JPEG nothing.
                    let pixel = picture.get_pixel(x.min(tile.width - 1), y.min(tile.height - 1));
                    sheet.put_pixel(column * tile.pitch[0] + x, row * tile.pitch[1] + y, *pixel);
                }
            }
        }
        let mut jpeg = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
        let encoded = if shape.channels == 3 {
            sheet.write_with_encoder(encoder)
        } else {
            let grey: Vec<u8> = sheet.pixels().map(|pixel| pixel[0]).collect();
            encoder.write_image(&grey, sheet.width(), sheet.height(), image::ExtendedColorType::L8)
        };
        encoded.map_err(|error| Error::usage(format!("could not write a picture: {error}")))?;
        Ok(Self { url: data_url("jpeg", &jpeg), columns, rows })
    }
}

/// C×H×W pixels; those that are not three channels show their first one in grey.
pub fn picture(pixels: &[u8], shape: ImageShape) -> RgbImage {
    let plane = (shape.width * shape.height) as usize;
    RgbImage::from_fn(shape.width, shape.height, |x, y| {
        let at = (y * shape.width + x) as usize;
        let channel = |channel: usize| pixels[at + if shape.channels == 3 { channel * plane } else { 0 }];
        image::Rgb([channel(0), channel(1), channel(2)])
    })
}

fn shrunk(picture: RgbImage, tile: Tile) -> RgbImage {
    if picture.dimensions() == (tile.width, tile.height) {
        return picture;
    }
    imageops::resize(&picture, tile.width, tile.height, FilterType::Triangle)
}

/// A picture in grey or in colour, exact to the bit, as a data URL.
///
/// # Errors
/// What the encoder refuses.
pub fn png_url(pixels: Vec<u8>, width: u32, height: u32, channels: u32) -> Result<String> {
    let mut png = std::io::Cursor::new(Vec::new());
    let written = match channels {
        3 => RgbImage::from_raw(width, height, pixels).map(|it| it.write_to(&mut png, image::ImageFormat::Png)),
        _ => GrayImage::from_raw(width, height, pixels).map(|it| it.write_to(&mut png, image::ImageFormat::Png)),
    };
    match written {
        Some(Ok(())) => Ok(data_url("png", png.get_ref())),
        Some(Err(error)) => Err(Error::usage(format!("could not write a picture: {error}"))),
        None => Err(Error::usage("could not write a picture: it has no size")),
    }
}

fn data_url(format: &str, bytes: &[u8]) -> String {
    format!("data:image/{format};base64,{}", BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(height: u32, width: u32) -> Tile {
        Tile::new(ImageShape { channels: 3, height, width })
    }

    #[test]
    fn a_tile_fits_blocks_and_keeps_proportions() {
        assert_eq!(tile(32, 32), Tile { width: 32, height: 32, pitch: [32, 32] });
        assert_eq!(tile(28, 28), Tile { width: 28, height: 28, pitch: [32, 32] });
        assert_eq!(tile(224, 448), Tile { width: 64, height: 32, pitch: [64, 32] });
        assert_eq!(tile(1, 4000), Tile { width: 64, height: 1, pitch: [64, 8] });
    }

    #[test]
    fn a_sprite_shows_its_images() {
        let shape = ImageShape { channels: 3, height: 8, width: 8 };
        // Plain red, green, blue.
        let image = |channel: usize| (0..3).flat_map(move |it| vec![if it == channel { 255 } else { 0 }; 64]);
        let split = Split::new(vec![0, 1, 2], (0..3).flat_map(image).collect());
        let sprite = Sprite::new(&split, shape, &[2, 0], 90).unwrap();
        assert_eq!((sprite.columns, sprite.rows), (2, 1));
        let jpeg = BASE64_STANDARD.decode(sprite.url.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
        let sheet = image::load_from_memory(&jpeg).unwrap().into_rgb8();
        assert_eq!(sheet.dimensions(), (16, 8));
        let near =
            |x: u32, colour: [u8; 3]| sheet.get_pixel(x, 4).0.iter().zip(colour).all(|(&a, b)| a.abs_diff(b) < 8);
        assert!(near(4, [0, 0, 255]) && near(12, [255, 0, 0]), "{:?}", sheet.get_pixel(12, 4));
    }
}
