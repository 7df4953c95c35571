//! IDX files: a header of sizes, then bytes; plain or gzipped (<http://yann.lecun.com/exdb/mnist/>).

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::memory;
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
    let file = File::open(path).map_err(Error::file("read", path))?;
    let mut start = Vec::new();
    let mut plain = BufReader::new(file);
    plain.by_ref().take(2).read_to_end(&mut start).map_err(Error::file("read", path))?;
    let whole = std::io::Cursor::new(start.clone()).chain(plain);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if start == GZIP { parse(&name, GzDecoder::new(whole)) } else { parse(&name, whole) }
}

fn parse<const N: usize>(name: &str, mut reader: impl Read) -> Result<([u32; N], Vec<u8>)> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::data(format!("{name} is cut short")),
        _ => Error::data(format!("{name} cannot be read: {error}")),
    };
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(unreadable)?;
    let expected = [0, 0, UNSIGNED_BYTES, N as u8];
    if magic != expected {
        return Err(Error::data(format!(
            "{name} is no IDX file of bytes in {N} dimensions (it starts with {magic:02x?}, expected {expected:02x?})"
        )));
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(unreadable)?;
        *size = u32::from_be_bytes(bytes);
    }
    let item = sizes[1..].iter().fold(1, |item: u64, &size| item.saturating_mul(size.into()));
    memory::require(name, sizes[0].into(), item)?;
    let length = u64::from(sizes[0]).saturating_mul(item);
    // Grown as bytes arrive: a header alone allocates nothing, a gzip bomb is left after one byte too many.
    let mut values = Vec::new();
    reader.take(length.saturating_add(1)).read_to_end(&mut values).map_err(unreadable)?;
    let more = if values.len() as u64 > length { "more than " } else { "" };
    if values.len() as u64 != length {
        let actual = length.min(values.len() as u64);
        return Err(Error::data(format!("{name} has {more}{actual} values, its header says {length} ({sizes:?})")));
    }
    Ok((sizes, values))
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
