//! Places in files that a person wrote, for errors to show.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a file that an error is about.
#[derive(Clone)]
pub struct Place {
    file: Arc<str>,
    text: Arc<str>,
    span: Range<usize>,
    label: String,
}

/// Without the text, which would drown whatever it is in.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, bytes {:?}", self.file, self.span)
    }
}

impl Place {
    /// `file` is what a person calls it, `text` all of it.
    pub fn new(file: &Arc<str>, text: &Arc<str>, span: Range<usize>) -> Self {
        Self { file: file.clone(), text: text.clone(), span, label: String::new() }
    }

    /// With something to say beside the words in question.
    pub fn labelled(&self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self.clone() }
    }

    /// What is said beside them; may be empty.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The file, as a person calls it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Within `text`.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Counted from 1.
    pub fn line(&self) -> usize {
        let before = self.text().as_bytes().iter().take(self.span.start);
        before.filter(|&&byte| byte == b'\n').count() + 1
    }
}
