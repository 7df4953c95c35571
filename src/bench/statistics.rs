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

/// Order statistics, from the normal approximation of the binomial: no assumption about how the samples are distributed.
fn median_interval(sorted: &[f64]) -> [f64; 2] {
    let (half, deviation) = (sorted.len() as f64 / 2.0, 1.96 * (sorted.len() as f64).sqrt() / 2.0);
    let low = (half - deviation).floor().max(0.0) as usize;
    let high = ((half + deviation).ceil() as usize).min(sorted.len() - 1);
    [sorted[low], sorted[high]]
}

/// By linear interpolation between the two nearest of the sorted samples.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}
