//! Hand-written digits, of a kind: strokes that are bent, turned and drawn with a pen of some width.
//!
//! For runs without a data set. They look like those of MNIST: 28 x 28 grey pixels, the digit within
//! the middle 20 x 20, and are as easy to tell apart.

use taps::Array;

use crate::random::{Purpose, Random};

/// Rows and columns of an image.
pub(crate) const SIDE: usize = 28;
/// Height of an unbent digit in pixels.
const HEIGHT: f64 = 19.0;
/// Points of a closed curve.
const CURVE_POINTS: usize = 14;

type Point = (f64, f64);

/// Strokes of each digit in a box of 1 x 1, x to the right, y down.
fn strokes(digit: u8) -> Vec<Vec<Point>> {
    let upper_bow = [
        (0.26, 0.14),
        (0.45, 0.07),
        (0.66, 0.12),
        (0.72, 0.28),
        (0.62, 0.42),
        (0.45, 0.47),
    ];
    let six = [
        (0.66, 0.1),
        (0.45, 0.2),
        (0.3, 0.42),
        (0.25, 0.65),
        (0.33, 0.86),
        (0.5, 0.93),
        (0.68, 0.86),
        (0.74, 0.69),
        (0.66, 0.54),
        (0.5, 0.49),
        (0.33, 0.57),
        (0.26, 0.7),
    ];
    match digit {
        0 => vec![ellipse(0.5, 0.5, 0.27, 0.43)],
        1 => vec![vec![(0.36, 0.26), (0.55, 0.08), (0.54, 0.5), (0.52, 0.93)]],
        2 => vec![vec![
            (0.24, 0.3),
            (0.28, 0.16),
            (0.4, 0.08),
            (0.55, 0.08),
            (0.7, 0.16),
            (0.74, 0.3),
            (0.68, 0.45),
            (0.48, 0.65),
            (0.23, 0.9),
            (0.5, 0.9),
            (0.78, 0.9),
        ]],
        3 => vec![
            upper_bow.to_vec(),
            vec![
                (0.45, 0.47),
                (0.66, 0.54),
                (0.75, 0.7),
                (0.66, 0.87),
                (0.45, 0.93),
                (0.25, 0.85),
            ],
        ],
        4 => vec![
            vec![
                (0.58, 0.08),
                (0.4, 0.35),
                (0.2, 0.62),
                (0.5, 0.62),
                (0.82, 0.62),
            ],
            vec![(0.62, 0.3), (0.61, 0.6), (0.6, 0.93)],
        ],
        5 => vec![vec![
            (0.74, 0.09),
            (0.34, 0.09),
            (0.29, 0.46),
            (0.5, 0.41),
            (0.7, 0.5),
            (0.76, 0.67),
            (0.67, 0.86),
            (0.45, 0.93),
            (0.24, 0.85),
        ]],
        6 => vec![six.to_vec()],
        7 => vec![vec![
            (0.22, 0.1),
            (0.5, 0.1),
            (0.78, 0.1),
            (0.6, 0.5),
            (0.42, 0.93),
        ]],
        8 => vec![ellipse(0.5, 0.28, 0.2, 0.2), ellipse(0.5, 0.7, 0.25, 0.23)],
        _ => vec![six.iter().map(|(x, y)| (1.0 - x, 1.0 - y)).collect()],
    }
}

fn ellipse(x: f64, y: f64, width: f64, height: f64) -> Vec<Point> {
    let point = |step| {
        let angle = std::f64::consts::TAU * step as f64 / CURVE_POINTS as f64;
        (x + width * libm::sin(angle), y - height * libm::cos(angle))
    };
    (0..=CURVE_POINTS).map(point).collect()
}

/// Samples number 0, 1, 2, …: a label and then the pixels.
pub(crate) fn samples(seed: u64, purpose: Purpose, count: usize) -> Array<u8> {
    let mut samples = Array::zeros(&[count, 1 + SIDE * SIDE]);
    for index in 0..count {
        let mut random = Random::new(seed, purpose, index as u64);
        let digit = random.below(10) as u8;
        let (label, pixels) = samples.row_mut(index).split_at_mut(1);
        label[0] = digit;
        draw(digit, &mut random, pixels);
    }
    samples
}

/// Draws a digit as nobody has drawn it before.
fn draw(digit: u8, random: &mut Random, pixels: &mut [u8]) {
    let place = Placement::random(random);
    let width = random.between(0.7, 1.5);
    let mut nearest = [f64::INFINITY; SIDE * SIDE];
    for stroke in strokes(digit) {
        let bent: Vec<Point> = stroke
            .into_iter()
            .map(|(x, y)| place.apply((x + 0.035 * random.normal(), y + 0.035 * random.normal())))
            .collect();
        for ends in bent.windows(2) {
            approach(ends[0], ends[1], &mut nearest);
        }
    }
    for (pixel, distance) in pixels.iter_mut().zip(nearest) {
        let ink = (width + 0.5 - libm::sqrt(distance)).clamp(0.0, 1.0);
        let noise = random.between(-20.0, 20.0);
        *pixel = (255.0 * ink + noise).clamp(0.0, 255.0) as u8;
    }
}

/// Lowers the square of the distance of each pixel near a line.
fn approach(start: Point, end: Point, nearest: &mut [f64; SIDE * SIDE]) {
    const REACH: f64 = 3.0;
    let pixels = |a: f64, b: f64| {
        let bound = |value: f64| value.clamp(0.0, (SIDE - 1) as f64) as usize;
        bound(a.min(b) - REACH)..=bound(a.max(b) + REACH)
    };
    let (along_x, along_y) = (end.0 - start.0, end.1 - start.1);
    let length = (along_x * along_x + along_y * along_y).max(1e-12);
    for row in pixels(start.1, end.1) {
        for column in pixels(start.0, end.0) {
            let (x, y) = (column as f64 - start.0, row as f64 - start.1);
            let part = ((x * along_x + y * along_y) / length).clamp(0.0, 1.0);
            let (x, y) = (x - part * along_x, y - part * along_y);
            let square = &mut nearest[row * SIDE + column];
            *square = square.min(x * x + y * y);
        }
    }
}

/// How a digit is turned, slanted, stretched and moved.
struct Placement {
    xx: f64,
    xy: f64,
    yx: f64,
    yy: f64,
    shift: Point,
}

impl Placement {
    fn random(random: &mut Random) -> Self {
        let angle = random.between(-0.28, 0.28);
        let slant = random.between(-0.25, 0.25);
        let (wide, high) = (random.between(0.75, 1.1), random.between(0.8, 1.1));
        let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
        let centre = (SIDE - 1) as f64 / 2.0;
        Self {
            xx: HEIGHT * wide * cosine,
            xy: HEIGHT * high * (-sine + slant * cosine),
            yx: HEIGHT * wide * sine,
            yy: HEIGHT * high * (cosine + slant * sine),
            shift: (
                centre + random.between(-1.5, 1.5),
                centre + random.between(-1.5, 1.5),
            ),
        }
    }

    fn apply(&self, (x, y): Point) -> Point {
        let (x, y) = (x - 0.5, y - 0.5);
        (
            self.shift.0 + self.xx * x + self.xy * y,
            self.shift.1 + self.yx * x + self.yy * y,
        )
    }
}
