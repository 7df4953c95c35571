//! The mean loss of a batch.

/// Σ over all rows of row_loss / count, where `count` is the number of real rows: the rows that fill up a short batch
/// hold 0.
///
/// Source: PyTorch `torch.nn.CrossEntropyLoss(reduction="mean")`.
pub fn rows(count: usize, row_loss: &[f64]) -> f64 {
    row_loss.iter().sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_rows_do_not_count() {
        assert_eq!(rows(2, &[1.0, 3.0, 0.0, 0.0]), 2.0);
    }
}
