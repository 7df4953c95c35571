//! The ten classes, each as a question: is this point inside?

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

    /// Whether the figure covers the point. Figures fit the circle of radius 1.25; y points down.
    pub fn contains(self, x: f32, y: f32) -> bool {
        let squared = x * x + y * y;
        match self {
            Self::Circle => squared < 0.92 * 0.92,
            Self::Ring => squared < 1.0 && squared > 0.55 * 0.55,
            Self::Square => x.abs() < 0.8 && y.abs() < 0.8,
            Self::Triangle => {
                // Apothem 0.55; the normals are 120° apart.
                y < 0.55 && 0.866_025_4 * x.abs() - 0.5 * y < 0.55
            }
            Self::Star => {
                // A pentagram's points lie on the inner side of at least four of its five lines.
                PENTAGON.iter().filter(|(cos, sin)| x * sin - y * cos > -0.37).count() >= 4
            }
            Self::Cross => (x.abs() < 0.3 && y.abs() < 1.0) || (y.abs() < 0.3 && x.abs() < 1.0),
            Self::Crescent => {
                let (x, y) = (x + 0.15, y);
                let bite = x - 0.5;
                x * x + y * y < 1.1 && bite * bite + y * y > 0.62
            }
            Self::Heart => {
                // (x² + y² − 1)³ − x²y³ ≤ 0, the classic sextic.
                let (x, y) = (x * 1.1, -y * 1.1 + 0.1);
                let ball = x * x + y * y - 1.0;
                ball * ball * ball < x * x * y * y * y
            }
            Self::Arrow => {
                let head = (-1.0..0.05).contains(&y) && x.abs() < 0.85 * (y + 1.0);
                let shaft = (0.0..1.0).contains(&y) && x.abs() < 0.28;
                head || shaft
            }
            Self::Hourglass => y.abs() < 0.95 && x.abs() < 0.1 + 0.75 * y.abs(),
        }
    }
}
