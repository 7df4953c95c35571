//! Kaggle's CIFAR-10 layout: `trainLabels.csv` with the columns id and label, and a picture `train/ID.png` for each of its rows.
//! The pictures of `test` have no labels and are nothing to train on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::listing::{entries, skipped};
use super::pictures::{self, Labelled};
use super::{Dataset, Loaded, Options, Progress, classes, held_out};
use crate::error::{Error, Result};

const LABELS: &str = "trainLabels.csv";
const TRAIN: &str = "train";
/// A file of labels larger than this is something else.
const MAX_BYTES: u64 = 1 << 24;
/// What makes a spreadsheet take a cell for a formula; a class of that name would end in someone's submission.csv.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];

/// The layout.
pub(super) struct Kaggle;

impl Layout for Kaggle {
    fn title(&self) -> &'static str {
        "Kaggle's CIFAR-10"
    }

    fn signs(&self) -> &'static str {
        "trainLabels.csv and train/*.png"
    }

    fn find(&self, folder: &Path) -> Option<PathBuf> {
        folder.join(LABELS).is_file().then(|| folder.to_path_buf())
    }

    /// Reads the pictures in the order of the rows, and holds out a share of each class for testing. Classes are the labels, sorted.
    ///
    /// # Errors
    /// `Error::Data` for rows without a picture, with an id that was there before, or with a label that is none; fewer than 2 or more
    /// than 256 classes; and what reading pictures can meet.
    fn read(&self, folder: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Loaded> {
        let rows = read_rows(&folder.join(LABELS))?;
        let names: Vec<String> =
            rows.iter().map(|row| &row.label).collect::<BTreeSet<_>>().into_iter().cloned().collect();
        classes::check(LABELS, &names)?;

        let train = folder.join(TRAIN);
        if !train.is_dir() {
            return Err(Error::data(format!("{} has {LABELS} but no folder {TRAIN}", folder.display()))
                .with_hint("unpack train.7z beside it"));
        }
        // A row only picks a picture that is there: no id is ever part of a path.
        let mut files = BTreeMap::new();
        for file in entries(&train)?.files {
            files.insert(file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), Some(file));
        }
        let mut pictures = Vec::with_capacity(rows.len());
        for Row { number, id, label } in rows {
            let refuse = |problem: &str| Error::data(format!("{LABELS} row {number}: {problem} {id:?}"));
            let path = files.get_mut(&id).ok_or_else(|| refuse("train has no picture of the id"))?;
            let path = path.take().ok_or_else(|| refuse("a row before it has the same id"))?;
            let label = names.partition_point(|name| *name < label) as u8;
            pictures.push(Labelled { path, label });
        }
        let unlabelled: Vec<PathBuf> = files.into_values().flatten().collect();
        let warnings = skipped(&unlabelled, "has no row in trainLabels.csv", "pictures have no row in trainLabels.csv");

        let (train, test) = held_out::hold_out(pictures, |picture| picture.label, options);
        let notes = vec![held_out::note(train.len(), test.len(), options)];
        let source = folder.display().to_string();
        let [train, test] = pictures::read(&source, [train, test], options, progress)?;
        let shape = pictures::shape(options);
        let dataset = Dataset { name: "kaggle".into(), source, classes: names, shape, train, test };
        let options = held_out::resolved(options);
        Ok(Loaded { dataset, options, notes, warnings: warnings.into_iter().collect(), fallback: None })
    }
}

struct Row {
    /// As a spreadsheet counts: the header is row 1.
    number: usize,
    id: String,
    label: String,
}

fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(Error::file("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::data(format!("{LABELS} has more than {MAX_BYTES} bytes")));
    }
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let unreadable = |error: csv::Error| Error::data(format!("{LABELS} cannot be read: {error}"));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
    let headers = reader.headers().map_err(unreadable)?.clone();
    let column = |name: &str| {
        headers.iter().position(|header| header.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let got: Vec<&str> = headers.iter().take(8).collect();
            Error::data(format!("{LABELS} has no column {name} (got {got:?}, expected id and label)"))
        })
    };
    let (id, label) = (column("id")?, column("label")?);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let number = rows.len() + 2;
        let row = Row { number, id: record[id].into(), label: record[label].into() };
        if row.label.starts_with(FORMULA) {
            return Err(Error::data(format!("{LABELS} row {number}: the label {:?} starts like a formula", row.label)));
        }
        rows.push(row);
    }
    Ok(rows)
}
