//! Pixels to draw on.

use super::SIDE;
use crate::random::Random;

pub const WIDTH: usize = SIDE as usize;

/// Red, green and blue, 0 to 255; not yet rounded.
pub type Colour = [f32; 3];

pub struct Canvas(Vec<Colour>);

impl Canvas {
    /// Every pixel from its column and row.
    pub fn fill(colour: impl Fn(usize, usize) -> Colour) -> Self {
        Self((0..WIDTH * WIDTH).map(|i| colour(i % WIDTH, i / WIDTH)).collect())
    }

    /// Mixes `colour(column, row)` in by `coverage(column, row)`, 0 to 1, within `radius` pixels (a square) of (x, y).
    pub fn paint(
        &mut self,
        (x, y): (f32, f32),
        radius: f32,
        colour: impl Fn(usize, usize) -> Colour,
        coverage: impl Fn(usize, usize) -> f32,
    ) {
        // `as` saturates: a figure may reach past the border.
        let range = |centre: f32| (centre - radius) as usize..((centre + radius) as usize + 1).min(WIDTH);
        for row in range(y) {
            for column in range(x) {
                let amount = coverage(column, row);
                if amount > 0.0 {
                    let pixel = &mut self.0[row * WIDTH + column];
                    *pixel = mix(*pixel, colour(column, row), amount);
                }
            }
        }
    }

    /// Adds noise, nearly normal, of the given standard deviation to each value.
    pub fn add_noise(&mut self, deviation: f32, random: &mut Random) {
        // The sum of four uniform bytes has the mean 510 and the standard deviation √(4·(256² − 1)/12) = 147.8.
        let scale = deviation / 147.8;
        let mut bytes = [0; 4 * 3 * WIDTH * WIDTH];
        random.fill(&mut bytes);
        for (value, bytes) in self.0.as_flattened_mut().iter_mut().zip(bytes.as_chunks::<4>().0) {
            let sum: u32 = bytes.iter().copied().map(u32::from).sum();
            *value += scale * (sum as f32 - 510.0);
        }
    }

    /// Rounds to bytes, channel by channel.
    pub fn write(&self, pixels: &mut [u8]) {
        for (channel, plane) in pixels.chunks_exact_mut(self.0.len()).enumerate() {
            for (byte, pixel) in plane.iter_mut().zip(&self.0) {
                *byte = (pixel[channel] + 0.5) as u8;
            }
        }
    }
}

pub fn mix(a: Colour, b: Colour, amount: f32) -> Colour {
    [0, 1, 2].map(|channel| a[channel] + (b[channel] - a[channel]) * amount)
}
