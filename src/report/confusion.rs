//! The confusion matrix as a page shows it.

use crate::train::Evaluation;
use crate::units::{count, percent};

/// Beyond this many classes there is no room for numbers in the cells.
const MAX_NUMBERED: usize = 20;
/// How many of the most frequent confusions are listed.
const FREQUENT: usize = 12;

/// Rows of cells.
pub struct Confusion {
    pub rows: Vec<Row>,
    /// Whether cells hold numbers.
    pub numbered: bool,
    pub frequent: Vec<Pair>,
}

/// The test images of a class.
pub struct Row {
    pub class: String,
    pub cells: Vec<Cell>,
}

/// The test images of a class that were taken for a class.
pub struct Cell {
    /// `LABEL-PREDICTION`, as numbers.
    pub key: String,
    pub images: u32,
    pub is_right: bool,
    /// How strongly it is coloured, 0 to 100.
    pub strength: u32,
    pub description: String,
}

/// Two classes that are confused.
pub struct Pair {
    pub key: String,
    pub label: String,
    pub prediction: String,
    pub images: u32,
}

impl Confusion {
    pub fn new(evaluation: &Evaluation, classes: &[String]) -> Self {
        let matrix = &evaluation.confusion;
        let wrong = |label: usize, row: &[u32]| {
            let others = row.iter().enumerate().filter(move |(prediction, _)| *prediction != label);
            others.map(|(_, &images)| images).max().unwrap_or(0)
        };
        let worst = matrix.iter().enumerate().map(|(label, row)| wrong(label, row)).max().unwrap_or(0);
        let rows = matrix.iter().zip(classes).enumerate().map(|(label, (row, class))| {
            let total: u32 = row.iter().sum();
            let cells = row.iter().zip(classes).enumerate().map(|(prediction, (&images, taken_for))| {
                let is_right = label == prediction;
                let share = f64::from(images) / f64::from(if is_right { total } else { worst }.max(1));
                Cell {
                    key: format!("{label}-{prediction}"),
                    images,
                    is_right,
                    // Few are to be told from none.
                    strength: (100.0 * if is_right { share } else { share.sqrt() }).round() as u32,
                    description: describe(class, taken_for, images, total),
                }
            });
            Row { class: class.clone(), cells: cells.collect() }
        });
        Self { rows: rows.collect(), numbered: classes.len() <= MAX_NUMBERED, frequent: frequent(matrix, classes) }
    }
}

fn describe(class: &str, taken_for: &str, images: u32, total: u32) -> String {
    // Its sign stays with the number at the end of a line.
    let share = percent(f64::from(images) / f64::from(total.max(1))).replace(' ', "\u{a0}");
    let (images, total) = (count(images.into()), count(total.into()));
    if class == taken_for {
        return format!("{class}, recognised: {images} of {total}, {share}");
    }
    format!("{class} taken for {taken_for}: {images} of {total}, {share}")
}

fn frequent(matrix: &[Vec<u32>], classes: &[String]) -> Vec<Pair> {
    let cells = matrix
        .iter()
        .enumerate()
        .flat_map(|(label, row)| row.iter().enumerate().map(move |(prediction, &images)| (label, prediction, images)));
    let mut wrong: Vec<_> = cells.filter(|&(label, prediction, images)| label != prediction && images > 0).collect();
    wrong.sort_by_key(|&(label, prediction, images)| (std::cmp::Reverse(images), label, prediction));
    let pair = |&(label, prediction, images): &(usize, usize, u32)| {
        let class = |index: usize| classes.get(index).cloned().unwrap_or_default();
        let key = format!("{label}-{prediction}");
        Pair { key, label: class(label), prediction: class(prediction), images }
    };
    wrong.iter().take(FREQUENT).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_classes_by_hand() {
        let confusion = vec![vec![6, 3, 1], vec![0, 0, 0], vec![12, 0, 4]];
        let evaluation =
            Evaluation { images: 26, accuracy: 0.4, loss: 1.0, per_class: vec![0.6, 0.0, 0.25], confusion };
        let confusion = Confusion::new(&evaluation, &["a".into(), "b".into(), "c".into()]);
        let strengths: Vec<Vec<u32>> =
            confusion.rows.iter().map(|row| row.cells.iter().map(|cell| cell.strength).collect()).collect();
        assert_eq!(strengths, [[60, 50, 29], [0, 0, 0], [100, 0, 25]]);
        assert_eq!(confusion.rows[0].cells[0].description, "a, recognised: 6 of 10, 60.0\u{a0}%");
        assert_eq!(confusion.rows[2].cells[0].description, "c taken for a: 12 of 16, 75.0\u{a0}%");
        let keys: Vec<&str> = confusion.frequent.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys, ["2-0", "0-1", "0-2"]);
    }
}
