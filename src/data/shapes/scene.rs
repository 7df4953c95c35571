//! One image: background, clutter, the figure, noise.

use super::canvas::{Canvas, Colour, WIDTH, mix};
use super::figure::{Figure, RADIUS, SAMPLES};
use crate::random::Random;

/// Brightest channel of a background colour.
const GROUND: f32 = 190.0;
/// Most a figure is turned either way, in radians.
const TURN: f32 = 0.8;
/// How much lighter than the background a figure should be.
const CONTRAST: f32 = 45.0;
/// Cells of background texture along one side.
const CELLS: usize = 6;

pub fn draw(figure: Figure, random: &mut Random) -> Canvas {
    let ground = [colour(GROUND, random), colour(GROUND, random)];
    let mut canvas = background(ground, random);
    let paint = lighter(ground, random);
    for _ in 0..random.below(4) + 2 {
        stroke(&mut canvas, random);
    }
    place(figure, paint, &mut canvas, random);
    canvas.add_noise(random.range(3.0, 18.0), random);
    canvas
}

/// A gradient between two colours in a random direction, under smooth texture.
fn background(ground: [Colour; 2], random: &mut Random) -> Canvas {
    let (sin, cos) = libm::sincosf(random.range(0.0, std::f32::consts::TAU));
    let strength = random.range(0.0, 40.0);
    let texture: [[f32; CELLS + 1]; CELLS + 1] =
        std::array::from_fn(|_| std::array::from_fn(|_| random.range(-strength, strength)));
    let half = WIDTH as f32 / 2.0;
    // Of a column and of a row alike.
    let places: [_; WIDTH] = std::array::from_fn(|i| split(centre(i)));
    Canvas::fill(|column, row| {
        let along = (cos * (centre(column) - half) + sin * (centre(row) - half)) / WIDTH as f32;
        let gradient = mix(ground[0], ground[1], (along + 0.5).clamp(0.0, 1.0));
        let light = interpolate(&texture, places[column], places[row]);
        gradient.map(|value| value + light)
    })
}

/// The middle of a column or a row.
fn centre(i: usize) -> f32 {
    i as f32 + 0.5
}

/// The cell of texture that a position is in, and the smooth step from its beginning to its end.
fn split(position: f32) -> (usize, f32) {
    let position = position * (CELLS as f32 / WIDTH as f32);
    let cell = position as usize;
    let t = position - cell as f32;
    (cell, t * t * (3.0 - 2.0 * t))
}

/// Value noise: the texture's grid points, joined by smooth steps.
fn interpolate(
    texture: &[[f32; CELLS + 1]; CELLS + 1],
    (column, right): (usize, f32),
    (row, down): (usize, f32),
) -> f32 {
    let across = |row: usize| texture[row][column] + (texture[row][column + 1] - texture[row][column]) * right;
    across(row) + (across(row + 1) - across(row)) * down
}

/// A short line or a blob, of any colour.
fn stroke(canvas: &mut Canvas, random: &mut Random) {
    let side = WIDTH as f32;
    let (x, y) = (random.range(0.0, side), random.range(0.0, side));
    let (sin, cos) = libm::sincosf(random.range(0.0, std::f32::consts::TAU));
    let reach = random.range(0.0, 7.0);
    let thickness = random.range(0.6, 2.0);
    let paint = colour(255.0, random);
    canvas.paint(
        (x, y),
        reach + thickness + 1.0,
        |_, _| paint,
        |column, row| {
            let (dx, dy) = (centre(column) - x, centre(row) - y);
            let along = (dx * cos + dy * sin).clamp(-reach, reach);
            let (dx, dy) = (dx - along * cos, dy - along * sin);
            (thickness + 0.5 - libm::sqrtf(dx * dx + dy * dy)).clamp(0.0, 1.0)
        },
    );
}

/// The figure somewhere, at some size, turned and stretched, shaded from one side.
fn place(figure: Figure, paint: Colour, canvas: &mut Canvas, random: &mut Random) {
    let size = random.range(7.0, 12.5);
    let margin = 0.85 * size;
    let x = random.range(margin, WIDTH as f32 - margin);
    let y = random.range(margin, WIDTH as f32 - margin);
    let (sin, cos) = libm::sincosf(random.range(-TURN, TURN));
    let stretch = random.range(0.85, 1.18);
    let (scale_x, scale_y) = (1.0 / (size * stretch), stretch / size);
    let shade = random.range(-35.0, 35.0);

    // Of the points along a side of each pixel of a side of the image, so that little is left to do for a point.
    let times = |factor: f32, from: f32| -> [[f32; SAMPLES]; WIDTH] {
        let at = |pixel: usize, i: usize| (pixel * SAMPLES + i) as f32 / SAMPLES as f32 + 0.5 / SAMPLES as f32;
        std::array::from_fn(|pixel| std::array::from_fn(|i| factor * (at(pixel, i) - from)))
    };
    let (cos_dx, sin_dx, cos_dy, sin_dy) = (times(cos, x), times(sin, x), times(cos, y), times(sin, y));
    // Pixels whose centres are farther than this, on the figure, have no point on it.
    let reach = RADIUS + scale_x.max(scale_y);

    let shaded = |_, row: usize| paint.map(|value| value + shade * (centre(row) - y) / size);
    canvas.paint((x, y), 1.5 * size, shaded, |column, row| {
        let (dx, dy) = (centre(column) - x, centre(row) - y);
        let (across, down) = ((cos * dx + sin * dy) * scale_x, (cos * dy - sin * dx) * scale_y);
        if across * across + down * down > reach * reach {
            return 0.0;
        }
        let (cos_dx, sin_dx, cos_dy, sin_dy) = (cos_dx[column], sin_dx[column], cos_dy[row], sin_dy[row]);
        let across = sin_dy.map(|sin_dy| cos_dx.map(|cos_dx| (cos_dx + sin_dy) * scale_x));
        let down = cos_dy.map(|cos_dy| sin_dx.map(|sin_dx| (cos_dy - sin_dx) * scale_y));
        figure.covered(&across, &down) as f32 / (SAMPLES * SAMPLES) as f32
    });
}

/// A colour with channels from 0 to `brightest`.
fn colour(brightest: f32, random: &mut Random) -> Colour {
    std::array::from_fn(|_| random.range(0.0, brightest))
}

/// A colour lighter than the whole background; the lightest of a bounded number of draws where none is light enough.
fn lighter(ground: [Colour; 2], random: &mut Random) -> Colour {
    let enough = luminance(ground[0]).max(luminance(ground[1])) + CONTRAST;
    let mut best = colour(255.0, random);
    for _ in 0..16 {
        if luminance(best) >= enough {
            break;
        }
        let candidate = colour(255.0, random);
        if luminance(candidate) > luminance(best) {
            best = candidate;
        }
    }
    best
}

/// Luma of ITU-R BT.601, 0 to 255.
fn luminance([red, green, blue]: Colour) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}
