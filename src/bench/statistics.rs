//! What a list of times says, and what it does not.

/// A summary of samples, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub p5: f64,
    pub p95: f64,
    /// Where the median of many more samples would lie, with a confidence of about 95 %.
    pub median_interval: [f64; 2],
    pub runs: usize,
}

impl Summary {
    /// # Panics
    /// Without samples.
    pub fn new(samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "a summary of no samples");
        let sorted = sorted(samples.to_vec());
        Self {
            median: quantile(&sorted, 0.5),
            p5: quantile(&sorted, 0.05),
            p95: quantile(&sorted, 0.95),
            median_interval: median_interval(&sorted),
            runs: sorted.len(),
        }
    }

    /// Of samples that were taken in rounds with a pause between them. Samples of a round resemble each other more than those of another:
    /// it is the rounds' medians that tell how far the median can be trusted.
    ///
    /// # Panics
    /// Without a sample in every round.
    pub fn of_rounds(rounds: &[Vec<f64>]) -> Self {
        let whole = Self::new(&rounds.concat());
        if rounds.len() < 2 {
            return whole;
        }
        let medians = rounds.iter().map(|round| quantile(&sorted(round.clone()), 0.5)).collect();
        let [low, high] = median_interval(&sorted(medians));
        Self { median_interval: [low.min(whole.median), high.max(whole.median)], ..whole }
    }

    /// p5 to p95 as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.p95 - self.p5) / self.median
    }

    /// How many times as long as `other` this takes, and the interval of that ratio that both medians' intervals allow.
    pub fn ratio(&self, other: &Self) -> (f64, [f64; 2]) {
        let [low, high] = self.median_interval;
        let [other_low, other_high] = other.median_interval;
        (self.median / other.median, [low / other_high, high / other_low])
    }
}

fn sorted(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_by(f64::total_cmp);
    samples
}

/// Order statistics, as many places from either end, from the normal approximation of the binomial with its correction for whole numbers:
/// no assumption about how the samples are distributed. Fewer than six samples cannot give 95 %: it is all of them then.
fn median_interval(sorted: &[f64]) -> [f64; 2] {
    let length = sorted.len() as f64;
    let low = ((length - 1.96 * length.sqrt() - 1.0) / 2.0).floor().max(0.0) as usize;
    [sorted[low], sorted[sorted.len() - 1 - low]]
}

/// By linear interpolation between the two nearest of the sorted samples.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of `length` tosses of a coin at most `heads` are heads.
    fn chance(length: usize, heads: usize) -> f64 {
        let mut term = 0.5f64.powi(length as i32);
        let mut sum = term;
        for tossed in 0..heads {
            term *= (length - tossed) as f64 / (tossed + 1) as f64;
            sum += term;
        }
        sum
    }

    #[test]
    fn the_interval_of_a_median_holds_it_as_often_as_it_says() {
        for length in 1..=200 {
            let samples: Vec<f64> = (0..length).map(|place| place as f64).collect();
            let [low, high] = median_interval(&samples).map(|place| place as usize);
            assert_eq!(low, length - 1 - high, "as many places from either end of {length}");
            // The median lies outside where at most so many samples lie on one side of it.
            let held = |low: usize| 1.0 - 2.0 * chance(length, low);
            assert!(length < 6 && low == 0 || held(low) >= 0.95, "{length} samples: {}", held(low));
            assert!(held(low + 1) < 0.952, "{length} samples: a narrower one would do");
        }
    }
}
