//! The loss over a whole run in a few characters, which also say how far it is.

/// From the lowest loss to the highest.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Done, its loss not read back yet.
const DONE: char = '▒';
const TO_DO: char = '·';
const CELLS: usize = 20;

/// Losses by their part of the run.
#[derive(Default)]
pub struct Sparkline {
    /// Steps of the run.
    steps: u64,
    /// Sum of the losses of each part, and how many there are.
    cells: [(f64, u32); CELLS],
}

impl Sparkline {
    pub fn new(steps: u64) -> Self {
        Self { steps, ..Self::default() }
    }

    /// Adds the losses of consecutive steps, of which `first` counts from 1.
    pub fn add(&mut self, first: u64, losses: &[f32]) {
        for (step, &loss) in (first..).zip(losses) {
            let (sum, count) = &mut self.cells[self.cell(step)];
            *sum += f64::from(loss);
            *count += 1;
        }
    }

    /// The part of the run that a step is in.
    fn cell(&self, step: u64) -> usize {
        let cell = u128::from(step.saturating_sub(1)) * CELLS as u128 / u128::from(self.steps.max(1));
        (cell as usize).min(CELLS - 1)
    }

    /// A character a part, when `done` steps are.
    pub fn draw(&self, done: u64) -> String {
        let means = self.cells.map(|(sum, count)| (count > 0).then(|| sum / f64::from(count)));
        let known = means.iter().flatten().copied();
        let (low, high) = (known.clone().fold(f64::INFINITY, f64::min), known.fold(f64::NEG_INFINITY, f64::max));
        let height = |mean: f64| {
            let share = if high > low { (mean - low) / (high - low) } else { 0.5 };
            HEIGHTS[((share * HEIGHTS.len() as f64) as usize).min(HEIGHTS.len() - 1)]
        };
        let character = |(cell, mean): (usize, &Option<f64>)| match mean {
            Some(mean) => height(*mean),
            None if done > 0 && cell <= self.cell(done) => DONE,
            None => TO_DO,
        };
        means.iter().enumerate().map(character).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_as_the_loss_does() {
        let mut sparkline = Sparkline::new(40);
        assert_eq!(sparkline.draw(0), "····················");
        assert_eq!(sparkline.draw(3), "▒▒··················");
        sparkline.add(1, &[2.0, 2.5, 2.0, 2.0, 1.0]);
        assert_eq!(sparkline.draw(8), "█▇▁▒················");
        sparkline.add(6, &[2.0; 30]);
        assert_eq!(sparkline.draw(40), "█▆▁▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▒▒");
        assert_eq!(Sparkline::new(0).draw(0).chars().count(), CELLS);
    }
}
