//! Unpacking: exactly the members an [`Archive`] names, nothing else, never more bytes than it allows.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::{Archive, Member, Progress};
use crate::durable::write_whole;
use crate::error::{Error, Result};

/// Whether every member is in `folder` with a length it may have.
pub(super) fn is_complete(archive: &Archive, folder: &Path) -> bool {
    archive.members.iter().all(|member| {
        fs::metadata(folder.join(&member.name))
            .is_ok_and(|metadata| metadata.is_file() && member.bytes.contains(&metadata.len()))
    })
}

/// Writes the members of the `.tar.gz` at `path` into `folder`.
///
/// A member is a regular file at exactly `FOLDER/NAME`. Links, absolute paths, paths with `..` and unknown names never match,
/// and no path from the archive is ever used on disk.
pub(super) fn extract(archive: &Archive, path: &Path, folder: &Path, progress: &mut dyn FnMut(Progress)) -> Result<()> {
    let name = archive.file_name();
    let unreadable = |error: io::Error| Error::data(format!("{name} cannot be unpacked: {error}"));
    let total = archive.members.len() as u32;
    let mut missing: Vec<&Member> = archive.members.iter().collect();
    progress(Progress::Extracting { done: 0, total });
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;

    let file = File::open(path).map_err(Error::file("read", path))?;
    // Files nobody asked for are inflated to get past them; this bounds how much.
    let wanted: u64 = archive.members.iter().map(|member| member.bytes.end()).sum();
    let inflated = GzDecoder::new(BufReader::new(file)).take(2 * wanted + (1 << 20));
    for entry in tar::Archive::new(inflated).entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let entry_path = entry.path_bytes();
        let is_entry = |member: &&Member| *entry_path == *format!("{}/{}", archive.folder, member.name).as_bytes();
        let Some(at) = missing.iter().position(is_entry) else { continue };
        drop(entry_path);

        let member = missing.swap_remove(at);
        if !member.bytes.contains(&entry.size()) {
            return Err(wrong_length(member, entry.size()));
        }
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        entry.by_ref().take(*member.bytes.end()).read_to_end(&mut bytes).map_err(unreadable)?;
        if !member.bytes.contains(&(bytes.len() as u64)) {
            return Err(wrong_length(member, bytes.len() as u64));
        }
        let path = folder.join(&member.name);
        write_whole(&path, &bytes).map_err(Error::file("write", &path))?;
        progress(Progress::Extracting { done: total - missing.len() as u32, total });
        if missing.is_empty() {
            return Ok(());
        }
    }
    let names: Vec<&str> = missing.iter().map(|member| member.name.as_str()).collect();
    Err(Error::data(format!("{name} has no {}", names.join(", "))))
}

fn wrong_length(member: &Member, bytes: u64) -> Error {
    let (least, most) = (member.bytes.start(), member.bytes.end());
    let expected = if least == most { most.to_string() } else { format!("{least} to {most}") };
    Error::data(format!("{} has {bytes} bytes, expected {expected}", member.name))
}
