//! Class names that come from files.

use crate::error::{Error, Result};

/// A label is a byte.
const MAX_CLASSES: usize = 256;

/// # Errors
/// `Error::Data` for fewer than 2 or more than 256 classes, and for a name that is empty or would not print on one line.
pub(super) fn check(source: &str, classes: &[String]) -> Result<()> {
    if !(2..=MAX_CLASSES).contains(&classes.len()) {
        let plural = if classes.len() == 1 { "class" } else { "classes" };
        return Err(Error::data(format!("{source} has {} {plural}, expected 2 to {MAX_CLASSES}", classes.len())));
    }
    match classes.iter().find(|class| class.trim().is_empty() || class.contains(char::is_control)) {
        None => Ok(()),
        // Escaped: a terminal would obey some control characters.
        Some(class) => Err(Error::data(format!("{source} has a class named {class:?}, expected a name in plain text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_used_are_said() {
        let message = |classes: &[&str]| {
            let classes: Vec<String> = classes.iter().map(|class| class.to_string()).collect();
            check("photos", &classes).map_err(|error| error.to_string())
        };
        assert_eq!(message(&["cat", "Große Hunde"]), Ok(()));
        assert_eq!(message(&["cat"]).unwrap_err(), "photos has 1 class, expected 2 to 256");
        assert_eq!(message(&["a"; 257]).unwrap_err(), "photos has 257 classes, expected 2 to 256");
        let escape = message(&["cat", "\u{1b}[31mdog"]).unwrap_err();
        assert_eq!(escape, r#"photos has a class named "\u{1b}[31mdog", expected a name in plain text"#);
    }
}
