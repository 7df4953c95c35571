//! Today's times against those of another day.

use std::path::Path;

use serde::Deserialize;

use super::measure::Measured;
use super::report::{Report, Row};
use crate::error::{Error, Result};

/// What `--json` wrote before.
#[derive(Clone, Debug, Deserialize)]
pub struct Baseline {
    adapter: BaselineAdapter,
    cases: Vec<BaselineCase>,
}

#[derive(Clone, Debug, Deserialize)]
struct BaselineAdapter {
    name: String,
    #[serde(default)]
    driver: String,
}

#[derive(Clone, Debug, Deserialize)]
struct BaselineCase {
    op: String,
    variant: String,
    shape: String,
    /// Absent where the kernel failed.
    median_us: Option<f64>,
    p5_us: Option<f64>,
    p95_us: Option<f64>,
    median_interval_us: Option<[f64; 2]>,
}

/// How a time compares with the baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The intervals of the two medians overlap.
    Noise,
    Faster,
    /// Slower beyond noise, but within the tolerance.
    Slower,
    /// Slower beyond noise and beyond the tolerance, in its fastest runs too: what disturbs a machine only ever adds time, and to some
    /// runs more than to others. Or it fails, and did not.
    Regression,
}

/// A case that both have.
#[derive(Clone, Debug)]
pub struct Change {
    pub op: String,
    pub variant: String,
    pub shape: String,
    /// Today's median as a multiple of the baseline's, and what the intervals of both medians allow; `None` where it fails today.
    pub ratio: Option<(f64, [f64; 2])>,
    pub verdict: Verdict,
}

impl Baseline {
    /// # Errors
    /// A file that cannot be read or that no bench wrote.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::data(format!("{} is no result of `bench --json` ({error})", path.display())))
    }

    /// Why the comparison may say more about the machines than about the kernels.
    pub fn mismatch(&self, report: &Report) -> Option<String> {
        let (old, new) = (&self.adapter, &report.adapter);
        let same = old.name == new.name && (old.driver.is_empty() || old.driver == new.driver);
        (!same).then(|| {
            format!("the baseline is from {} ({}), this is {} ({})", old.name, old.driver, new.name, new.driver)
        })
    }

    /// The cases that both have. `tolerance` is a share: 0.05 lets a kernel become 5 % slower.
    pub fn compare(&self, rows: &[Row], tolerance: f64) -> Vec<Change> {
        rows.iter().filter_map(|row| self.change(row, tolerance)).collect()
    }

    fn change(&self, row: &Row, tolerance: f64) -> Option<Change> {
        let same = |case: &&BaselineCase| case.op == row.op && case.variant == row.variant && case.shape == row.shape;
        let old = self.cases.iter().find(same)?;
        let old_median = old.median_us?;
        let [old_low, old_high] = old.interval(old_median);
        let (ratio, verdict) = match &row.outcome {
            Err(_) => (None, Verdict::Regression),
            Ok(measured) => {
                let median = 1e6 * measured.time.median;
                let [low, high] = measured.time.median_interval.map(|seconds| 1e6 * seconds);
                let ratio = median / old_median;
                let verdict = if low <= old_high && old_low <= high {
                    Verdict::Noise
                } else if ratio < 1.0 {
                    Verdict::Faster
                } else if ratio.min(old.fastest_ratio(measured)) <= 1.0 + tolerance {
                    Verdict::Slower
                } else {
                    Verdict::Regression
                };
                (Some((ratio, [low / old_high, high / old_low])), verdict)
            }
        };
        Some(Change { op: row.op.clone(), variant: row.variant.clone(), shape: row.shape.clone(), ratio, verdict })
    }
}

impl BaselineCase {
    /// Today's p5 as a multiple of the baseline's.
    fn fastest_ratio(&self, measured: &Measured) -> f64 {
        self.p5_us.map_or(f64::INFINITY, |p5_us| 1e6 * measured.time.p5 / p5_us)
    }

    /// Of the median; of the samples where the file does not have it, which is wider.
    fn interval(&self, median: f64) -> [f64; 2] {
        self.median_interval_us.unwrap_or([self.p5_us.unwrap_or(median), self.p95_us.unwrap_or(median)])
    }
}
