//! Today's times against those of another day.

use std::path::Path;

use serde::Deserialize;

use super::measure::Measured;
use super::report::{Report, Row};
use crate::bounded;
use crate::error::{Error, Result};
use crate::gpu::Checks;

/// Far more than every kernel at many sizes takes.
const MAX_BYTES: u64 = 64 << 20;

/// What `--json` wrote before.
#[derive(Clone, Debug, Deserialize)]
pub struct Baseline {
    adapter: BaselineAdapter,
    /// Whether our kernels had their bounds checks; absent in older files.
    checked: Option<bool>,
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
        let text = bounded::read(path, MAX_BYTES).map_err(Error::file("read", path))?;
        let foreign =
            |problem: &str| Error::data(format!("{} is no result of `bench --json` ({problem})", path.display()));
        let baseline: Self = serde_json::from_slice(&text).map_err(|error| foreign(&error.to_string()))?;
        if baseline.cases.iter().flat_map(BaselineCase::times).any(|time| time <= 0.0) {
            return Err(foreign("it has times that are not above 0"));
        }
        Ok(baseline)
    }

    /// Whether it has the time of a kernel.
    pub fn has(&self, op: &str, variant: &str, shape: &str) -> bool {
        self.find(op, variant, shape).is_some_and(|case| case.median_us.is_some())
    }

    fn find(&self, op: &str, variant: &str, shape: &str) -> Option<&BaselineCase> {
        self.cases.iter().find(|case| case.op == op && case.variant == variant && case.shape == shape)
    }

    /// Why the comparison may say more about the machines than about the kernels.
    pub fn mismatch(&self, report: &Report) -> Option<String> {
        let (old, new) = (&self.adapter, &report.adapter);
        if old.name != new.name || !(old.driver.is_empty() || old.driver == new.driver) {
            let [old, new] =
                [(&old.name, &old.driver), (&new.name, &new.driver)].map(|(name, driver)| format!("{name} ({driver})"));
            return Some(format!("the baseline is from {old}, this is {new}"));
        }
        let checked = report.checks == Checks::Checked;
        let words = |checked: bool| if checked { "with" } else { "without" };
        let old = self.checked.filter(|&old| old != checked)?;
        Some(format!("the kernels of the baseline ran {} bounds checks, these {}", words(old), words(checked)))
    }

    /// The cases that both have. `tolerance` is a share: 0.05 lets a kernel become 5 % slower.
    pub fn compare(&self, rows: &[Row], tolerance: f64) -> Vec<Change> {
        rows.iter().filter_map(|row| self.change(row, tolerance)).collect()
    }

    fn change(&self, row: &Row, tolerance: f64) -> Option<Change> {
        let old = self.find(&row.op, &row.variant, &row.shape)?;
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
    /// In microseconds, all that it has.
    fn times(&self) -> impl Iterator<Item = f64> {
        [self.median_us, self.p5_us, self.p95_us]
            .into_iter()
            .flatten()
            .chain(self.median_interval_us.into_iter().flatten())
    }

    /// Today's p5 as a multiple of the baseline's.
    fn fastest_ratio(&self, measured: &Measured) -> f64 {
        self.p5_us.map_or(f64::INFINITY, |p5_us| 1e6 * measured.time.p5 / p5_us)
    }

    /// Of the median; of the samples where the file does not have it, which is wider.
    fn interval(&self, median: f64) -> [f64; 2] {
        self.median_interval_us.unwrap_or([self.p5_us.unwrap_or(median), self.p95_us.unwrap_or(median)])
    }
}
