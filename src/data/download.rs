//! Fetching a data set's archive: resumable, checked against a known length and SHA-256, unpacked file by file.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cifar::{self, CIFAR10_BINARY};
use super::{Progress, extract};
use crate::checksum::file_sha256;
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Without a byte for this long the connection counts as lost.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests in one download, each resuming where the one before it was cut.
const ATTEMPTS: usize = 8;

/// A `.tar.gz` on a server, and what of it is wanted.
#[derive(Clone, Debug)]
pub struct Archive {
    pub url: String,
    /// Length of the archive.
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// The folder inside the archive, and on disk, that holds the members.
    pub folder: String,
    /// The only files that are unpacked.
    pub members: Vec<Member>,
}

/// A file inside an archive.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    /// Lengths it may have; anything else is damage, and is not written to disk.
    pub bytes: RangeInclusive<u64>,
}

impl Archive {
    pub fn cifar10() -> Self {
        let cifar = &CIFAR10_BINARY;
        let images = cifar.files().map(|(name, images)| (name, cifar.max_bytes(images)));
        let mut members: Vec<Member> =
            images.map(|(name, bytes)| Member { name: name.into(), bytes: bytes..=bytes }).collect();
        members.push(Member { name: cifar.names.into(), bytes: 1..=cifar::NAMES_BYTES });
        Self {
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".into(),
            bytes: 170_052_171,
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".into(),
            folder: cifar.folder.into(),
            members,
        }
    }

    /// The last part of the URL.
    pub fn file_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }
}

/// Why a download failed: [`DataSpec::Auto`](super::DataSpec::Auto) forgives a network, never damage.
#[derive(Debug)]
pub(super) enum Failure {
    Network(Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Network(error) | Failure::Other(error) => error,
        }
    }
}

/// Downloads and unpacks `archive` into `dir` and returns the folder with its members; returns at once where they are
/// already there. An unfinished download stays as `NAME.part` and is resumed by the next call. An archive that someone put
/// into `dir` by hand is used, and kept.
///
/// # Errors
/// `Error::Data` where the server cannot be reached, or sends something else than the archive; `Error::File` for the disk.
pub fn download(archive: &Archive, dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf> {
    Ok(fetch(archive, dir, progress)?)
}

pub(super) fn fetch(archive: &Archive, dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, Failure> {
    let folder = dir.join(&archive.folder);
    if extract::is_complete(archive, &folder) {
        return Ok(folder);
    }
    let by_hand = dir.join(archive.file_name());
    if by_hand.is_file() {
        verify(archive, &by_hand, progress)
            .map_err(|error| error.with_hint(format!("remove {} and try again", by_hand.display())))?;
        extract::extract(archive, &by_hand, &folder, progress)?;
        return Ok(folder);
    }
    let part = dir.join(format!("{}.part", archive.file_name()));
    transfer(archive, &part, progress)?;
    verify(archive, &part, progress).inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })?;
    extract::extract(archive, &part, &folder, progress)?;
    fs::remove_file(&part).map_err(Error::file("remove", &part))?;
    Ok(folder)
}

/// Requests the archive until all of it is in `part`, or an attempt brings nothing new.
fn transfer(archive: &Archive, part: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), Failure> {
    for attempt in 1.. {
        let have = match length(part)? {
            have if have == archive.bytes => break,
            have if have > archive.bytes => 0,
            have => have,
        };
        match receive(archive, part, have, progress) {
            Err(Failure::Network(_)) if attempt < ATTEMPTS && length(part)? > have => {}
            result => result?,
        }
    }
    Ok(())
}

/// One request for the bytes from `offset` on, appended to `part`; from 0 on, `part` is started over.
fn receive(archive: &Archive, part: &Path, offset: u64, progress: &mut dyn FnMut(Progress)) -> Result<(), Failure> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(READ_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .accept_encoding("identity")
        .build()
        .new_agent();
    let mut request = agent.get(&archive.url);
    if offset > 0 {
        request = request.header("Range", format!("bytes={offset}-"));
    }
    let response = request.call().map_err(|error| unreachable(archive, part, describe(error)))?;
    let mut done = match response.status().as_u16() {
        200 => 0,
        206 if offset > 0 && range_start(&response) == Some(offset) => offset,
        206 | 416 if offset > 0 => return receive(archive, part, 0, progress),
        status => return Err(unreachable(archive, part, format!("the server answered {status}"))),
    };
    if let Some(rest) = response.body().content_length()
        && done + rest != archive.bytes
    {
        return Err(wrong_length(archive, done + rest).into());
    }

    // Nothing is created before the server has answered: without a network no empty folder is left behind.
    let mut file = open(part, done)?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    progress(Progress::Downloading { done, total: archive.bytes });
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreachable(archive, part, describe(error.into()))),
        };
        done += count as u64;
        if done > archive.bytes {
            drop(file);
            fs::remove_file(part).map_err(Error::file("remove", part))?;
            return Err(wrong_length(archive, done).into());
        }
        file.write_all(&buffer[..count]).map_err(Error::file("write", part))?;
        progress(Progress::Downloading { done, total: archive.bytes });
    }
    if done < archive.bytes {
        let cut = format!("the connection ended after {done} of {} bytes", archive.bytes);
        return Err(unreachable(archive, part, cut));
    }
    Ok(())
}

/// Opens `part` for writing from byte `from` on, and keeps other processes from doing the same.
fn open(part: &Path, from: u64) -> Result<File> {
    if let Some(folder) = part.parent() {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    let mut file =
        File::options().create(true).truncate(false).write(true).open(part).map_err(Error::file("write", part))?;
    // A file system without locks still gets the file; the checksum catches two writers.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(Error::data(format!("another process is downloading {}", part.display())));
    }
    file.set_len(from).and_then(|()| file.seek(io::SeekFrom::Start(from))).map_err(Error::file("write", part))?;
    Ok(file)
}

/// Checks length and SHA-256.
fn verify(archive: &Archive, path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<()> {
    progress(Progress::Verifying);
    let bytes = length(path)?;
    if bytes != archive.bytes {
        return Err(wrong_length(archive, bytes));
    }
    let sha256 = file_sha256(path)?;
    if sha256 != archive.sha256 {
        let name = archive.file_name();
        return Err(Error::data(format!("{name} has SHA-256 {sha256}, expected {}", archive.sha256))
            .with_hint("the download was damaged on its way; try again"));
    }
    Ok(())
}

/// Length of the file, 0 where there is none.
fn length(path: &Path) -> Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// The first byte of a `Content-Range: bytes FIRST-LAST/TOTAL`.
fn range_start(response: &ureq::http::Response<ureq::Body>) -> Option<u64> {
    let range = response.headers().get("Content-Range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn wrong_length(archive: &Archive, bytes: u64) -> Error {
    Error::data(format!("{} has {bytes} bytes, expected {}", archive.file_name(), archive.bytes))
        .with_hint(format!("{} is not the known archive any more, or something in between replaced it", archive.url))
}

/// ureq's text without its `io: ` in front.
fn describe(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn unreachable(archive: &Archive, part: &Path, cause: impl std::fmt::Display) -> Failure {
    let folder = part.parent().unwrap_or(part).display();
    Failure::Network(
        Error::data(format!("could not download {}: {cause}", archive.url)).with_hint(format!(
            "`--data shapes` needs no download; or put {} into {folder} yourself",
            archive.file_name()
        )),
    )
}
