//! IDX files: a header of sizes, then bytes; plain or gzipped (<http://yann.lecun.com/exdb/mnist/>).

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::memory;
use super::record_file::{RecordFile, RecordLayout};
use super::split::Pixels;
use crate::error::{Error, Result};

/// The type byte of unsigned bytes.
const UNSIGNED_BYTES: u8 = 0x08;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The sizes, outermost first, and the values of a file with `N` dimensions. Known as gzipped by its content.
///
/// # Errors
/// `Error::Data` for a file of another type or number of dimensions, with other than as many values as its header says, or with
/// more than memory holds; `Error::File` where it cannot be read.
pub(super) fn read<const N: usize>(path: &Path) -> Result<([u32; N], Vec<u8>)> {
    parse(&name(path), open(path)?.0)
}

/// The number, the height and the width of images, and their pixels, which stay in the file unless that is gzipped.
///
/// # Errors
/// As `read`, but that what stays in the file may be more than memory holds.
pub(super) fn images(path: &Path) -> Result<([u32; 3], Pixels)> {
    let name = name(path);
    let (mut reader, is_gzipped) = open(path)?;
    if is_gzipped {
        return parse(&name, reader).map(|(sizes, values)| (sizes, Pixels::Memory(values)));
    }
    let sizes = header(&name, &mut reader)?;
    // Only an image at a time is read.
    let image_bytes = item_bytes(&sizes);
    memory::require(&name, 1, image_bytes).or_else(|_| memory::require(&name, sizes[0].into(), image_bytes))?;
    let actual = io::copy(&mut reader.take(length(&sizes).saturating_add(1)), &mut io::sink());
    check_length(&name, &sizes, actual.map_err(unreadable(&name))?)?;
    let layout = RecordLayout {
        header_bytes: header_bytes(sizes.len()),
        label_bytes: 0,
        image_bytes: image_bytes as usize,
        records: sizes[0] as usize,
    };
    Ok((sizes, Pixels::File(RecordFile::open(path, layout)?.into())))
}

/// What is in a file, and whether it was gzipped.
fn open(path: &Path) -> Result<(Box<dyn Read>, bool)> {
    let file = File::open(path).map_err(Error::file("read", path))?;
    let mut start = Vec::new();
    let mut plain = BufReader::new(file);
    plain.by_ref().take(2).read_to_end(&mut start).map_err(Error::file("read", path))?;
    let is_gzipped = start == GZIP;
    let whole = Cursor::new(start).chain(plain);
    Ok(if is_gzipped { (Box::new(GzDecoder::new(whole)), true) } else { (Box::new(whole), false) })
}

fn name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

fn unreadable(name: &str) -> impl Fn(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::data(format!("{name} is cut short")),
        _ => Error::data(format!("{name} cannot be read: {error}")),
    }
}

fn parse<const N: usize>(name: &str, mut reader: impl Read) -> Result<([u32; N], Vec<u8>)> {
    let sizes = header(name, &mut reader)?;
    memory::require(name, sizes[0].into(), item_bytes(&sizes))?;
    // Grown as bytes arrive: a header alone allocates nothing, a gzip bomb is left after one byte too many.
    let mut values = Vec::new();
    reader.take(length(&sizes).saturating_add(1)).read_to_end(&mut values).map_err(unreadable(name))?;
    check_length(name, &sizes, values.len() as u64)?;
    Ok((sizes, values))
}

fn header_bytes(dimensions: usize) -> usize {
    4 + 4 * dimensions
}

/// The sizes.
fn header<const N: usize>(name: &str, reader: &mut impl Read) -> Result<[u32; N]> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(unreadable(name))?;
    let expected = [0, 0, UNSIGNED_BYTES, N as u8];
    if magic != expected {
        return Err(Error::data(format!(
            "{name} is no IDX file of bytes in {N} dimensions (it starts with {magic:02x?}, expected {expected:02x?})"
        )));
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(unreadable(name))?;
        *size = u32::from_be_bytes(bytes);
    }
    Ok(sizes)
}

/// Values of one of the outermost.
fn item_bytes(sizes: &[u32]) -> u64 {
    sizes[1..].iter().fold(1, |item: u64, &size| item.saturating_mul(size.into()))
}

/// Values of all of them.
fn length(sizes: &[u32]) -> u64 {
    u64::from(sizes[0]).saturating_mul(item_bytes(sizes))
}

/// # Errors
/// Another number of values than the header says; `actual` is at most one more.
fn check_length(name: &str, sizes: &[u32], actual: u64) -> Result<()> {
    let length = length(sizes);
    if actual == length {
        return Ok(());
    }
    let (more, actual) = if actual > length { ("more than ", length) } else { ("", actual) };
    Err(Error::data(format!("{name} has {more}{actual} values, its header says {length} ({sizes:?})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<const N: usize>(bytes: &[u8]) -> String {
        parse::<N>("x", bytes).unwrap_err().to_string()
    }

    #[test]
    fn headers_that_lie_are_refused() {
        assert_eq!(parse("x", &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 7, 9][..]).unwrap(), ([2, 1], vec![7, 9]));
        assert_eq!(message::<1>(&[0, 0, 8, 1, 0, 0, 0, 3, 7, 9]), "x has 2 values, its header says 3 ([3])");
        assert_eq!(message::<1>(&[0, 0, 8, 1, 0, 0, 0, 1, 7, 9]), "x has more than 1 values, its header says 1 ([1])");
        assert_eq!(message::<1>(&[0, 0, 8, 1, 0, 0]), "x is cut short");
        assert!(message::<3>(&[0, 0, 8, 1, 0, 0, 0, 0]).starts_with("x is no IDX file of bytes in 3 dimensions"));
        let huge = [&[0, 0, 8, 3][..], &[255; 12]].concat();
        assert!(message::<3>(&huge).starts_with("x has 4,294,967,295 images, which need "), "{}", message::<3>(&huge));
    }
}
