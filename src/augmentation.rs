//! How training images are varied from epoch to epoch: what a person asks for, as a flag spells it, and as that or a table in a file.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Variations of every training image, drawn anew in every epoch; nothing by default. `reference/augment.rs` says what each means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct Augmentation {
    /// Half of the images are mirrored, left to right.
    pub flip: bool,
    /// Black pixels added on every side before a window of the image's own size is taken out of it.
    pub crop: u32,
    /// Side in pixels of a square that is replaced by the mean; its centre is any pixel, so it may reach over an edge.
    pub cutout: u32,
    /// A factor of 1 ± this, at most 1.
    pub brightness: f64,
    /// A factor of 1 ± this for the distance from the image's grey mean, at most 1.
    pub contrast: f64,
}

const WORDS: &str = "flip, crop=PIXELS, cutout=PIXELS, brightness=SHARE, contrast=SHARE or none";

impl Augmentation {
    /// Whether images are left as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    /// A share that is not from 0 to 1.
    pub fn check(&self) -> Result<()> {
        for (word, share) in [("brightness", self.brightness), ("contrast", self.contrast)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::usage(format!("--augment: {word} must be from 0 to 1 (got {share})")));
            }
        }
        Ok(())
    }

    /// Whether something of an image of `height` × `width` pixels is always left.
    ///
    /// # Errors
    /// A border or a square as large as the image.
    pub fn fits(&self, height: u32, width: u32) -> Result<()> {
        for (word, pixels) in [("crop", self.crop), ("cutout", self.cutout)] {
            if pixels > 0 && pixels >= height.min(width) {
                return Err(Error::usage(format!(
                    "--augment: {word} must be smaller than the images (got {pixels}, they have {height}×{width} pixels)"
                )));
            }
        }
        Ok(())
    }
}

/// As the flag takes it: `flip,crop=4`.
impl FromStr for Augmentation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut augmentation = Self::default();
        let mut seen = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (word, value) = part.split_once('=').map_or((part, None), |(word, value)| (word, Some(value)));
            if seen.contains(&word) {
                return Err(Error::usage(format!("--augment gives {word} twice")));
            }
            seen.push(word);
            match word {
                "flip" if value.is_none() => augmentation.flip = true,
                "none" if value.is_none() => {}
                "crop" => augmentation.crop = number(word, value, "a whole number of pixels")?,
                "cutout" => augmentation.cutout = number(word, value, "a whole number of pixels")?,
                "brightness" => augmentation.brightness = number(word, value, "a number from 0 to 1")?,
                "contrast" => augmentation.contrast = number(word, value, "a number from 0 to 1")?,
                _ => return Err(Error::usage(format!("--augment has no {part:?} (expected {WORDS})"))),
            }
        }
        if seen.len() > 1 && seen.contains(&"none") {
            return Err(Error::usage(format!("--augment is none or something else (got {text})")));
        }
        augmentation.check()?;
        Ok(augmentation)
    }
}

/// A table.
impl Serialize for Augmentation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// A table, or text as the flag takes it.
impl<'de> Deserialize<'de> for Augmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Augmentation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table or text such as \"flip,crop=4\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Augmentation, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Augmentation, A::Error> {
        let augmentation = Augmentation::deserialize(MapAccessDeserializer::new(map))?;
        augmentation.check().map_err(serde::de::Error::custom)?;
        Ok(augmentation)
    }
}

fn number<T: FromStr>(word: &str, value: Option<&str>, expected: &str) -> Result<T> {
    let text = value.unwrap_or("nothing");
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Error::usage(format!("--augment: {word} takes {expected} (got {text})")))
}

/// For people: `flip, crop 4`.
impl fmt::Display for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flip, crop, cutout, brightness, contrast } = self;
        let mut words = Vec::new();
        if *flip {
            words.push("flip".into());
        }
        for (word, pixels) in [("crop", crop), ("cutout", cutout)] {
            if *pixels > 0 {
                words.push(format!("{word} {pixels}"));
            }
        }
        for (word, share) in [("brightness", brightness), ("contrast", contrast)] {
            if *share > 0.0 {
                words.push(format!("{word} ±{share}"));
            }
        }
        f.write_str(&if words.is_empty() { "none".into() } else { words.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_printed() {
        let printed = |text: &str| text.parse::<Augmentation>().unwrap().to_string();
        assert_eq!(printed("flip,crop=4"), "flip, crop 4");
        assert_eq!(
            printed("contrast=0.2, brightness=1,cutout=8,flip,crop=2"),
            "flip, crop 2, cutout 8, brightness ±1, contrast ±0.2"
        );
        assert_eq!(printed("none"), "none");
        assert_eq!(printed("crop=0"), "none");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let message = |text: &str| text.parse::<Augmentation>().unwrap_err().to_string();
        assert_eq!(
            message("rotate=3"),
            "--augment has no \"rotate=3\" (expected flip, crop=PIXELS, cutout=PIXELS, brightness=SHARE, contrast=SHARE or none)"
        );
        assert!(message("").starts_with("--augment has no \"\""));
        assert!(message("flip=2").starts_with("--augment has no \"flip=2\""));
        assert_eq!(message("crop=-4"), "--augment: crop takes a whole number of pixels (got -4)");
        assert_eq!(message("cutout"), "--augment: cutout takes a whole number of pixels (got nothing)");
        assert_eq!(message("brightness=dark"), "--augment: brightness takes a number from 0 to 1 (got dark)");
        assert_eq!(message("contrast=1.5"), "--augment: contrast must be from 0 to 1 (got 1.5)");
        assert_eq!(message("contrast=nan"), "--augment: contrast must be from 0 to 1 (got NaN)");
        assert_eq!(message("flip,crop=4,flip"), "--augment gives flip twice");
        assert_eq!(message("none,flip"), "--augment is none or something else (got none,flip)");
        let fits = |text: &str| text.parse::<Augmentation>().unwrap().fits(28, 32);
        assert!(fits("crop=27,cutout=27").is_ok());
        assert_eq!(
            fits("flip,cutout=28").unwrap_err().to_string(),
            "--augment: cutout must be smaller than the images (got 28, they have 28×32 pixels)"
        );
    }
}
