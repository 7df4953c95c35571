//! From `m=512,k=512,n=512`, in the words of the field, to a case of that size.

use std::cell::RefCell;
use std::fmt::Display;

use super::Case;
use crate::error::{Error, Result};
use crate::geometry::Window;

/// How an op is asked for by its sizes.
pub struct Timed {
    pub op: &'static str,
    /// The sizes that it is timed at unless others are asked for, a small one first.
    pub defaults: &'static [&'static str],
    pub(super) build: fn(&Sizes<'_>) -> Result<Case>,
}

impl Timed {
    /// The op at the given sizes, with inputs in [−1, 1) where it does not need others.
    ///
    /// # Errors
    /// A key that is missing, unknown, given twice or no whole number; sizes that do not fit each other.
    pub fn case(&self, sizes: &str) -> Result<Case> {
        let sizes = Sizes::parse(self, sizes)?;
        let case = (self.build)(&sizes)?;
        sizes.finish()?;
        for operand in case.op.operands() {
            sizes.affordable(operand.name, operand.length)?;
        }
        Ok(case)
    }
}

/// Elements of an operand, 1 GiB of them: inputs are drawn and results referenced on the host, in f64.
const MAX_ELEMENTS: usize = 1 << 28;

/// Keys and values as they were typed, and which of them the op has asked for.
pub struct Sizes<'a> {
    timed: &'a Timed,
    pairs: Vec<(&'a str, &'a str)>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Sizes<'a> {
    fn parse(timed: &'a Timed, text: &'a str) -> Result<Self> {
        let mut sizes = Self { timed, pairs: Vec::new(), known: RefCell::default() };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| sizes.refusal(format!("--shape has a part that is no key=value (got {part})")))?;
            let (key, value) = (key.trim(), value.trim());
            if sizes.pairs.iter().any(|(other, _)| *other == key) {
                return Err(sizes.refusal(format!("--shape gives {key} twice")));
            }
            sizes.pairs.push((key, value));
        }
        Ok(sizes)
    }

    /// What is wrong with the sizes.
    pub(super) fn refusal(&self, problem: impl Display) -> Error {
        Error::usage(format!("{}: {problem}", self.timed.op))
    }

    /// A whole number, if it was given.
    fn find(&self, key: &'static str) -> Result<Option<u32>> {
        self.known.borrow_mut().push(key);
        let Some((_, value)) = self.pairs.iter().find(|(name, _)| *name == key) else { return Ok(None) };
        let number =
            value.parse().map_err(|_| self.refusal(format!("{key} is no whole number below 2³² (got {value})")))?;
        Ok(Some(number))
    }

    /// # Errors
    /// An operand too large to draw.
    pub(super) fn affordable(&self, operand: &str, length: usize) -> Result<()> {
        if length <= MAX_ELEMENTS {
            return Ok(());
        }
        Err(self.refusal(format!("{operand} would have {length} elements, at most {MAX_ELEMENTS} can be drawn")))
    }

    /// A size, which has to be given and is at least 1.
    pub(super) fn get(&self, key: &'static str) -> Result<u32> {
        match self.find(key)? {
            Some(0) => Err(self.refusal(format!("{key} must be at least 1 (got 0)"))),
            Some(number) => Ok(number),
            None => {
                let example = self.timed.defaults.first().copied().unwrap_or_default();
                let missing = self.refusal(format!("--shape does not give {key}"));
                Err(missing.with_hint(format!("for example --shape {example}")))
            }
        }
    }

    fn or(&self, key: &'static str, default: u32) -> Result<u32> {
        Ok(self.find(key)?.unwrap_or(default))
    }

    pub(super) fn flag(&self, key: &'static str) -> Result<bool> {
        match self.or(key, 0)? {
            number @ (0 | 1) => Ok(number == 1),
            number => Err(self.refusal(format!("{key} is 0 or 1 (got {number})"))),
        }
    }

    pub(super) fn window(&self) -> Result<Window> {
        let kernel_size = self.get("kernel_size")?;
        let (stride, padding, dilation) = (self.or("stride", 1)?, self.or("padding", 0)?, self.or("dilation", 1)?);
        Ok(Window::square(kernel_size).stride(stride).padding(padding).dilation(dilation))
    }

    /// Whether every key was one that the op has.
    fn finish(&self) -> Result<()> {
        let known = self.known.borrow();
        match self.pairs.iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(()),
            Some((key, _)) => Err(self.refusal(format!("--shape has no key {key} (expected {})", known.join(", ")))),
        }
    }
}
