//! The ten classes, each as a question: which points are inside?

/// What an image shows; its place in [`Figure::ALL`] is its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Circle,
    Ring,
    Square,
    Triangle,
    Star,
    Cross,
    Crescent,
    Heart,
    Arrow,
    Hourglass,
}

/// Of a circle that every figure fits.
pub const RADIUS: f32 = 1.26;

/// Side of the grid of points that are asked about at a time, those of a pixel.
pub const SAMPLES: usize = 4;

/// A coordinate of each, row by row.
pub type Samples = [[f32; SAMPLES]; SAMPLES];

/// Cosine and sine of 0°, 72°, 144°, 216° and 288°: a pentagon's directions.
const PENTAGON: [(f32, f32); 5] = [
    (1.0, 0.0),
    (0.309_017, 0.951_056_5),
    (-0.809_017, 0.587_785_25),
    (-0.809_017, -0.587_785_25),
    (0.309_017, -0.951_056_5),
];

impl Figure {
    pub const ALL: [Self; 10] = [
        Self::Circle,
        Self::Ring,
        Self::Square,
        Self::Triangle,
        Self::Star,
        Self::Cross,
        Self::Crescent,
        Self::Heart,
        Self::Arrow,
        Self::Hourglass,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Ring => "ring",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Cross => "cross",
            Self::Crescent => "crescent",
            Self::Heart => "heart",
            Self::Arrow => "arrow",
            Self::Hourglass => "hourglass",
        }
    }

    /// How many of the points (x, y) the figure covers. Figures fit the circle of radius [`RADIUS`]; y points down.
    pub fn covered(self, x: &Samples, y: &Samples) -> u32 {
        match self {
            Self::Circle => count(x, y, |x, y| x * x + y * y < 0.92 * 0.92),
            Self::Ring => count(x, y, |x, y| {
                let squared = x * x + y * y;
                (squared < 1.0) & (squared > 0.55 * 0.55)
            }),
            Self::Square => count(x, y, |x, y| (x.abs() < 0.8) & (y.abs() < 0.8)),
            // Apothem 0.55; the normals are 120° apart.
            Self::Triangle => count(x, y, |x, y| (y < 0.55) & (0.866_025_4 * x.abs() - 0.5 * y < 0.55)),
            // A pentagram's points lie on the inner side of at least four of its five lines.
            Self::Star => count(x, y, |x, y| {
                PENTAGON.iter().map(|(cos, sin)| u32::from(x * sin - y * cos > -0.37)).sum::<u32>() >= 4
            }),
            Self::Cross => {
                count(x, y, |x, y| ((x.abs() < 0.3) & (y.abs() < 1.0)) | ((y.abs() < 0.3) & (x.abs() < 1.0)))
            }
            Self::Crescent => count(x, y, |x, y| {
                let x = x + 0.15;
                let bite = x - 0.5;
                (x * x + y * y < 1.1) & (bite * bite + y * y > 0.62)
            }),
            // (x² + y² − 1)³ − x²y³ ≤ 0, the classic sextic.
            Self::Heart => count(x, y, |x, y| {
                let (x, y) = (x * 1.1, -y * 1.1 + 0.1);
                let ball = x * x + y * y - 1.0;
                ball * ball * ball < x * x * y * y * y
            }),
            Self::Arrow => count(x, y, |x, y| {
                let head = (-1.0..0.05).contains(&y) & (x.abs() < 0.85 * (y + 1.0));
                let shaft = (0.0..1.0).contains(&y) & (x.abs() < 0.28);
                head | shaft
            }),
            Self::Hourglass => count(x, y, |x, y| (y.abs() < 0.95) & (x.abs() < 0.1 + 0.75 * y.abs())),
        }
    }
}

/// A loop without branches, for the compiler to do several points at a time.
fn count(x: &Samples, y: &Samples, inside: impl Fn(f32, f32) -> bool) -> u32 {
    x.as_flattened().iter().zip(y.as_flattened()).map(|(&x, &y)| u32::from(inside(x, y))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_fit_their_circle_and_fill_much_of_it() {
        for figure in Figure::ALL {
            let mut inside = 0;
            for (row, column) in (0..400).flat_map(|row| (0..400).map(move |column| (row, column))) {
                let at = |i: i32| (i - 200) as f32 / 100.0;
                let (x, y) = (at(column), at(row));
                if figure.covered(&[[x; SAMPLES]; SAMPLES], &[[y; SAMPLES]; SAMPLES]) > 0 {
                    assert!(x * x + y * y < RADIUS * RADIUS, "{} covers ({x}, {y})", figure.name());
                    inside += 1;
                }
            }
            assert!(inside > 10_000, "{} has an area of {inside}", figure.name());
        }
    }
}
