//! TOML files that a person wrote.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use crate::bounded;
use crate::error::{Error, Result};
use crate::place::Place;

/// Far more than the longest network takes.
const MAX_BYTES: u64 = 1 << 20;

/// A TOML file, read.
#[derive(Clone)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// `name` is what a person calls it.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// # Errors
    /// A file that cannot be read, or is far too long for what it should be.
    pub fn open(path: &Path) -> Result<Self> {
        let text = bounded::read_text(path, MAX_BYTES).map_err(Error::file("read", path))?;
        Ok(Self::new(&path.display().to_string(), &text))
    }

    /// The file's name without its folder and its extension.
    pub fn stem(&self) -> &str {
        Path::new(&*self.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(&self.name)
    }

    /// The whole file, every key and value with its place.
    ///
    /// # Errors
    /// Text that is not TOML.
    pub fn parse(&self) -> Result<Spanned<DeTable<'_>>> {
        DeTable::parse(&self.text).map_err(|error| self.refuse(&error))
    }

    /// A table of this file as a `T`.
    ///
    /// # Errors
    /// The key or value that `T` does not have.
    pub fn table<T: DeserializeOwned>(&self, table: Spanned<DeTable<'_>>) -> Result<T> {
        T::deserialize(Deserializer::from(table)).map_err(|error| self.refuse(&error))
    }

    /// A value of this file as a `T`.
    ///
    /// # Errors
    /// As `table`.
    pub fn value<T: DeserializeOwned>(&self, value: Spanned<DeValue<'_>>) -> Result<T> {
        T::deserialize(ValueDeserializer::from(value)).map_err(|error| self.refuse(&error))
    }

    pub fn place(&self, span: Range<usize>) -> Place {
        Place::new(&self.name, &self.text, span)
    }

    fn refuse(&self, error: &toml::de::Error) -> Error {
        Error::usage(error.message()).at(self.place(error.span().unwrap_or_default()))
    }
}
