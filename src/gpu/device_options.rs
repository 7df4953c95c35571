//! How a device is opened.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Checks;
use crate::error::{Error, Result};

/// What a device is asked for beyond what every adapter has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceOptions {
    pub checks: Checks,
    /// The least that the factors of a product are rounded to by kernels that are chosen for their speed.
    pub precision: Precision,
    /// Whether to ask for what wgpu calls experimental, which may be wrong or gone tomorrow.
    pub experimental: bool,
}

/// What the factors of products are rounded to; sums are of f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    F16,
    #[default]
    F32,
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::F32, Self::F16].into_iter().find(|precision| precision.name() == text);
        known.ok_or_else(|| Error::usage(format!("--precision is f32 or f16 (got {text})")))
    }
}

impl Precision {
    /// The word used on the command line, in files and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}
