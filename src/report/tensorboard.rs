//! A run for TensorBoard: its scalars, and its confusion matrix as a picture.
//!
//! An event file is records of a length, its checksum, an `Event` message and its checksum. Source: TensorFlow's record_writer.h,
//! event.proto and summary.proto, of which only what is written here is declared.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use prost::Message;

use super::confusion_picture;
use crate::durable::write_whole;
use crate::error::{Error, Result};
use crate::train::RunFolder;
use crate::train::history::End;

/// TensorBoard reads what has `tfevents` in its name.
const FILE: &str = "events.out.tfevents.shadegrad";
/// What every file begins with.
const VERSION: &str = "brain.Event:2";
/// Of an image summary.
const RGB: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded_image_string: Vec<u8>,
}

/// Writes a run's event file into a folder, in place of the one it wrote there before; returns its path.
///
/// # Errors
/// A folder that is no run, a disk that is full.
pub fn write(run: &Path, folder: &Path) -> Result<PathBuf> {
    let (config, history) = (RunFolder::config(run)?, RunFolder::history(run)?);
    let wall_time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let version = Event { wall_time, step: 0, file_version: Some(VERSION.into()), summary: None };
    let mut file = record(&version);
    let mut push = |step: u64, value: Vec<Value>| {
        let summary = Some(Summary { value });
        file.extend(record(&Event { wall_time, step: step as i64, file_version: None, summary }));
    };
    for line in &history.losses {
        let mut values = vec![scalar("loss/training", line.loss)];
        values.extend(line.lr.map(|lr| scalar("learning rate", lr)));
        push(line.step, values);
    }
    for end in history.evaluations.iter().filter(|end| end.evaluation.images > 0) {
        let (width, height, png) = confusion_picture::draw(&end.evaluation, &config.data.classes)?;
        let image = Image { height: height as i32, width: width as i32, colorspace: RGB, encoded_image_string: png };
        let confusion = Value { tag: "confusion".into(), simple_value: None, image: Some(image) };
        let evaluation = &end.evaluation;
        push(
            end.step,
            vec![scalar("loss/test", evaluation.loss), scalar("accuracy/test", evaluation.accuracy), confusion],
        );
    }
    if let Some(End::Done(done)) = &history.end {
        push(done.steps, vec![scalar("images per second", done.images_per_second)]);
    }
    std::fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    let path = folder.join(FILE);
    write_whole(&path, &file).map_err(Error::file("write", &path))?;
    Ok(path)
}

fn scalar(tag: &str, value: f64) -> Value {
    Value { tag: tag.into(), simple_value: Some(value as f32), image: None }
}

fn record(event: &Event) -> Vec<u8> {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length).to_le_bytes());
    record.extend(&message);
    record.extend(masked(&message).to_le_bytes());
    record
}

/// A CRC-32C, turned and moved so that the checksum of data with checksums in it stays a good one.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TensorBoard 2.21's own `RecordWriter` made of the same event.
    const RECORD: &str = "3a000000000000001295eae209000000000000f83f10ac022a2c0a100a096c6f73732f7465737415000010400a180a09636f6e6675\
                          73696f6e220b0802100318032203504e47500c48c3";

    #[test]
    fn a_record_is_tensorboards_to_the_byte() {
        let image = Image { height: 2, width: 3, colorspace: RGB, encoded_image_string: b"PNG".to_vec() };
        let confusion = Value { tag: "confusion".into(), simple_value: None, image: Some(image) };
        let summary = Some(Summary { value: vec![scalar("loss/test", 2.25), confusion] });
        let event = Event { wall_time: 1.5, step: 300, file_version: None, summary };
        assert_eq!(crate::units::hexadecimal(&record(&event)), RECORD);
    }
}
