//! Columns of text.

/// Which side of a column its cells keep to.
#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Right,
}

/// Lines of cells, padded to their columns; the first row is the heading.
pub fn lines(alignment: &[Align], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..alignment.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(alignment).zip(&widths).map(|((cell, align), &width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}
