//! Predictions as Kaggle takes them: a CSV file with a header and a row a picture, `id,label`.

use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder, Writer};

use crate::durable::replace;
use crate::error::{Error, Result};

const HEADER: [&str; 2] = ["id", "label"];

/// A submission that is being written, to a file beside its own: it gets its name when it is whole, and a killed one can be continued.
pub struct Submission {
    path: PathBuf,
    partial: PathBuf,
    writer: Writer<File>,
    next: usize,
}

impl Submission {
    /// The file at `path`, continued where an earlier one ended that was killed. `model` tells models apart: rows of another are not
    /// continued. `id` is that of each of `count` pictures, in the order of the rows; with `may_skip`, some may have no row.
    ///
    /// # Errors
    /// Rows of other pictures; a file that cannot be read or written.
    pub fn open(path: &Path, model: &str, count: usize, id: &dyn Fn(usize) -> String, may_skip: bool) -> Result<Self> {
        let partial = path.with_added_extension(format!("{model:.12}.partial"));
        let unusable = || Error::file("write", &partial);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(&partial).map_err(unusable())?;
        // A file system without locks still gets the file.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::usage(format!("{} is being written by another process", partial.display())));
        }
        let (next, end) = written(&mut file, &partial, count, id, may_skip)?;
        // Behind the last whole row a kill may have left half of one.
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(unusable())?;
        let mut submission = Self { path: path.into(), writer: Writer::from_writer(file), partial, next };
        if end == 0 {
            submission.write(HEADER)?;
        }
        Ok(submission)
    }

    /// Place of the first picture that has no row yet.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Where the rows are until all are there.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// # Errors
    /// A full disk.
    pub fn row(&mut self, id: &str, label: &str) -> Result<()> {
        self.write([&*harmless(id), &*harmless(label)])
    }

    fn write(&mut self, cells: [&str; 2]) -> Result<()> {
        self.writer.write_record(cells).map_err(|error| Error::file("write", &self.partial)(error.into()))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<()> {
        let Self { path, partial, writer, .. } = self;
        let file = writer.into_inner().map_err(|error| Error::file("write", &partial)(error.into_error()))?;
        let synced = file.sync_all();
        // Some systems rename no open file.
        drop(file);
        synced.and_then(|()| replace(&partial, &path)).map_err(Error::file("write", &path))
    }
}

/// The place of the first picture without a row, and the bytes up to the end of the last whole row.
fn written(
    file: &mut File,
    path: &Path,
    count: usize,
    id: &dyn Fn(usize) -> String,
    may_skip: bool,
) -> Result<(usize, u64)> {
    let other = |problem: String| {
        Error::data(format!("{} is of other pictures: {problem}", path.display()))
            .with_hint("remove it to start from the first picture")
    };
    let unreadable = || Error::file("read", path);
    let length = file.seek(SeekFrom::End(0)).map_err(unreadable())?;
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(unreadable())?;
    }
    file.rewind().map_err(unreadable())?;
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let (mut next, mut end) = (0, 0);
    // Bytes: a kill may have left half a character.
    let mut row = ByteRecord::new();
    let mut is_header = true;
    while reader.read_byte_record(&mut row).map_err(|error| unreadable()(error.into()))? {
        if reader.position().byte() == length && last != [b'\n'] {
            break;
        }
        if std::mem::take(&mut is_header) {
            if row != HEADER[..] {
                return Err(other(format!("its first row is not {}", HEADER.join(","))));
            }
        } else {
            let found = row.get(0).unwrap_or_default();
            let fits = |place: usize| harmless(&id(place)).as_bytes() == found;
            let candidates = next..if may_skip { count } else { count.min(next + 1) };
            next = match candidates.into_iter().find(|&place| fits(place)) {
                Some(place) => place + 1,
                None => {
                    let found = String::from_utf8_lossy(found);
                    return Err(other(match next < count {
                        true => format!("got id {found}, expected {}", id(next)),
                        false => format!("got id {found} behind the last"),
                    }));
                }
            };
        }
        end = reader.position().byte();
    }
    Ok((next, end))
}

/// A spreadsheet takes a cell that starts so for a formula. Source: OWASP, "CSV Injection".
fn harmless(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}").into() } else { cell.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Writes rows for `ids` from where it stands up to `end`, then finishes or is killed in the middle of a row.
    fn write(path: &Path, model: &str, ids: &[&str], end: usize, torn: &str) -> Result<usize> {
        let mut submission = Submission::open(path, model, ids.len(), &|place| ids[place].into(), false)?;
        let next = submission.next();
        for id in &ids[next..end] {
            submission.row(id, "a \"b\", c")?;
        }
        if end == ids.len() {
            submission.finish()?;
        } else {
            let partial = submission.partial().to_path_buf();
            drop(submission);
            fs::write(&partial, fs::read_to_string(&partial).unwrap() + torn).unwrap();
        }
        Ok(next)
    }

    #[test]
    fn a_killed_submission_continues_where_it_ended() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("submission.csv");
        let (model, ids) = ("0123456789abcdef", ["1", "2", "=3", "4"]);
        let mut begun = 0;
        for (end, torn) in [(0, "id"), (0, ""), (1, "2,\"a \"\"b"), (1, "2"), (3, ""), (4, "")] {
            assert_eq!(write(&path, model, &ids, end, torn).unwrap(), begun, "{end} {torn}");
            assert_eq!(path.exists(), end == ids.len());
            begun = end;
        }
        let text = fs::read_to_string(&path).unwrap();
        let row = |id: &str| format!("{id},\"a \"\"b\"\", c\"\n");
        assert_eq!(text, format!("id,label\n{}{}{}{}", row("1"), row("2"), row("'=3"), row("4")));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn rows_of_another_model_or_of_other_pictures_are_not_continued() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("submission.csv");
        write(&path, "0123456789abcdef", &["1", "2", "3"], 2, "").unwrap();
        assert_eq!(write(&path, "fedcba9876543210", &["1", "2", "3"], 1, "").unwrap(), 0);
        let error = write(&path, "0123456789abcdef", &["2", "3"], 2, "").unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("submission.csv.0123456789ab.partial is of other pictures: got id 1, expected 2")
        );
        let error = write(&path, "0123456789abcdef", &["1"], 1, "").unwrap_err();
        assert!(error.to_string().ends_with("got id 2 behind the last"), "{error}");

        let first = Submission::open(&path, "0123456789abcdef", 4, &|place| ["1", "2", "3", "4"][place].into(), false);
        let second = write(&path, "0123456789abcdef", &["1", "2", "3"], 2, "").unwrap_err();
        assert!(second.to_string().ends_with(".partial is being written by another process"), "{second}");
        drop(first);

        // Where pictures may have been left out, the rest is looked through.
        let ids = ["0", "1", "2", "3"];
        let open = |may_skip| Submission::open(&path, "0123456789abcdef", 4, &|place| ids[place].into(), may_skip);
        assert!(open(false).is_err());
        assert_eq!(open(true).unwrap().next(), 3);
    }
}
