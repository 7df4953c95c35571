//! What was measured of an op's variants, and which of them has won.

use serde::{Deserialize, Serialize};

/// By this share of the default's time a variant has to be faster to take its place: less may be chance, and would change the bits of a
/// training for nothing.
pub const MARGIN: f64 = 0.03;

/// The outcome for an op of one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub op: String,
    /// What the candidates may round the factors of products to.
    #[serde(rename = "type")]
    pub element: String,
    pub shape: String,
    /// SHA-256 of the candidates' sources, common.wgsl included.
    pub kernels_sha256: String,
    pub default: String,
    pub winner: String,
    /// `timestamps` or `wall clock`.
    pub timing: String,
    /// What the candidates were held against: `f64 reference`, or, for a large op, `the bits of` the default variant, which has passed
    /// `check`; of a large op those that were given up were not.
    pub verified: String,
    pub candidates: Vec<Candidate>,
}

/// A variant that may have won.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub variant: String,
    /// Microseconds of one execution, in the order in which they were taken.
    pub samples_us: Vec<f64>,
    /// Given up as far slower than another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// What is wrong with it; it has no samples then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Record {
    /// What is wrong with a variant.
    pub fn failure(&self, variant: &str) -> Option<&str> {
        self.candidates.iter().find(|candidate| candidate.variant == variant)?.failure.as_deref()
    }
}

impl Candidate {
    /// The fastest sample, which is the least disturbed; `None` without one.
    pub fn best_us(&self) -> Option<f64> {
        self.samples_us.iter().copied().min_by(f64::total_cmp)
    }

    /// `None` without a sample.
    pub fn median_us(&self) -> Option<f64> {
        let mut sorted = self.samples_us.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
    }
}

/// The fastest by its median, where it is faster than the default by more than [`MARGIN`], by its median and by its best sample; else the
/// default, unless that failed and another did not.
pub fn winner<'a>(candidates: &'a [Candidate], default: &'a str) -> &'a str {
    let entrants = candidates.iter().filter(|candidate| !candidate.dropped);
    let times = |candidate: &Candidate| Some([candidate.median_us()?, candidate.best_us()?]);
    let timed = entrants.filter_map(|candidate| Some((&*candidate.variant, times(candidate)?)));
    let Some((fastest, its)) = timed.min_by(|a, b| a.1[0].total_cmp(&b.1[0])) else { return default };
    match candidates.iter().find(|candidate| candidate.variant == default).and_then(times) {
        Some(defaults) if its.iter().zip(defaults).any(|(time, default)| *time >= (1.0 - MARGIN) * default) => default,
        _ => fastest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(variant: &str, samples_us: &[f64]) -> Candidate {
        Candidate { variant: variant.into(), samples_us: samples_us.into(), ..Candidate::default() }
    }

    #[test]
    fn the_default_stays_unless_another_is_clearly_faster() {
        let tiled = candidate("tiled", &[100.0, 101.0, 250.0]);
        let won = |samples: &[f64]| winner(&[tiled.clone(), candidate("plain", samples)], "tiled").to_string();
        assert_eq!(won(&[98.0, 98.0, 98.0]), "tiled");
        assert_eq!(won(&[96.9, 300.0, 96.9]), "plain");
        // One good sample is not enough, nor is a default that was disturbed most of the time.
        assert_eq!(won(&[10.0, 101.0, 102.0]), "tiled");
        assert_eq!(won(&[97.5, 97.5, 97.5]), "tiled");
        assert_eq!(won(&[]), "tiled");
        let subgroup = candidate("subgroup", &[50.0]);
        let all = [tiled.clone(), candidate("plain", &[60.0]), subgroup];
        assert_eq!(winner(&all, "tiled"), "subgroup");
    }

    #[test]
    fn what_failed_or_was_dropped_does_not_win() {
        let failed = |variant: &str| Candidate { failure: Some("wrong".into()), ..candidate(variant, &[]) };
        let dropped = Candidate { dropped: true, ..candidate("plain", &[50.0]) };
        // Given up after its first sample, which another beat by far, whatever came of that one later.
        assert_eq!(winner(&[candidate("tiled", &[10.0, 90.0, 90.0]), dropped], "tiled"), "tiled");
        assert_eq!(winner(&[candidate("tiled", &[90.0]), failed("plain")], "tiled"), "tiled");
        assert_eq!(winner(&[failed("tiled"), candidate("plain", &[500.0])], "tiled"), "plain");
        assert_eq!(winner(&[failed("tiled"), failed("plain")], "tiled"), "tiled");
        assert_eq!(candidate("", &[3.0, 1.0, 9.0, 2.0]).median_us(), Some(2.5));
    }
}
