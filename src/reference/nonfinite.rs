//! The search for values that are not finite.

/// The position of the first NaN or infinity, if there is one.
///
/// Source: PyTorch `torch.isfinite`.
pub fn first(values: &[f64]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_found() {
        assert_eq!(first(&[0.0, f64::MAX, -0.0]), None);
        assert_eq!(first(&[]), None);
        assert_eq!(first(&[1.0, f64::NEG_INFINITY, f64::NAN]), Some(1));
        assert_eq!(first(&[f64::NAN]), Some(0));
    }
}
