//! Images for a run without data: a known sky seen by overlapping exposures, each with a
//! background of its own.
//!
//! ```text
//!  ┌──────┐           an exposure = the stars of the sky
//!  │  ┌───┼──┐                    + a tilted plane, different for each exposure
//!  └──┼───┘  │                    + noise
//!     └──────┘        neighbours overlap by a third; each is a little shifted and turned
//! ```
//!
//! What a good mosaic looks like is known: all planes are one plane, and every star has its
//! brightness (see `truth`).

use crate::fits::Writer;
use crate::plane::Plane;
use crate::wcs::{Place, Sky, Tangent};

/// Degrees per pixel: 2 seconds of arc.
const STEP: f64 = 2.0 / 3600.0;
/// Middle of the field.
const CENTRE: Sky = Sky {
    right_ascension: 150.0,
    declination: 2.0,
};
/// Distance of neighbours as a part of their side: they overlap by the rest.
const SPACING: f64 = 0.7;
/// Largest shift from the regular place, in pixels.
const LARGEST_SHIFT: f64 = 1.5;
/// Largest rotation, in degrees.
const LARGEST_TURN: f64 = 4.0;
/// Largest level of a background, in counts, up and down.
const LARGEST_LEVEL: f64 = 50.0;
/// Largest rise of a background from one edge to the other, in counts.
const LARGEST_RISE: f64 = 10.0;
/// A level below all, so that values are positive, as those of a camera.
const BASE_LEVEL: f64 = 100.0;
/// Standard deviation of the noise of a pixel, in counts.
const NOISE: f64 = 0.2;
/// Standard deviation of the image of a star, in pixels.
const STAR_WIDTH: f64 = 1.5;
/// Pixels around a star beyond which it gives less than the noise.
pub(crate) const STAR_REACH: f64 = 9.0;
/// Range of the brightness of a star, in counts over all its pixels.
const BRIGHTNESS: (f64, f64) = (5000.0, 20_000.0);
/// Stars per exposure.
const STARS: u64 = 3;

/// Numbers for one purpose, from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64, purpose: u64) -> Self {
        let mut numbers = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // Neighbouring purposes shall not give neighbouring streams.
        Self(numbers.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    /// From 0 up to 1, without 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between -`limit` and `limit`.
    fn symmetric(&mut self, limit: f64) -> f64 {
        (2.0 * self.fraction() - 1.0) * limit
    }

    /// Normally distributed: two numbers by the method of Box and Muller.
    fn normal(&mut self) -> (f64, f64) {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.fraction()));
        let angle = 2.0 * std::f64::consts::PI * self.fraction();
        (radius * libm::cos(angle), radius * libm::sin(angle))
    }
}

/// A star.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Star {
    pub(crate) sky: Sky,
    /// Counts over all its pixels.
    pub(crate) brightness: f64,
}

/// The exposures of one run, all made from its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) seed: u64,
    /// Exposures.
    pub(crate) images: u32,
    /// Side of an exposure, in pixels.
    pub(crate) side: u32,
}

impl Survey {
    /// Columns and rows of exposures; the last row may be shorter.
    fn layout(self) -> (u32, u32) {
        let columns = self.images.isqrt();
        let columns = columns + u32::from(columns * columns < self.images);
        (columns, self.images.div_ceil(columns))
    }

    /// Distance of neighbours, in pixels.
    fn spacing(self) -> f64 {
        SPACING * f64::from(self.side)
    }

    /// The plane of the whole field, its middle at (0, 0).
    fn field() -> Tangent {
        Tangent {
            reference: CENTRE,
            pixel: Place { x: 0.0, y: 0.0 },
            step_x: -STEP,
            step_y: STEP,
            rotation: 0.0,
        }
    }

    /// Name of the file of an exposure.
    pub(crate) fn name(image: u32) -> String {
        format!("exposure-{image:06}.fits")
    }

    /// Where an exposure looks.
    pub(crate) fn projection(self, image: u32) -> Tangent {
        let mut numbers = Numbers::new(self.seed, 2 * u64::from(image) + 2);
        let (columns, rows) = self.layout();
        let place = |index: u32, count: u32| {
            (f64::from(index) - f64::from(count - 1) / 2.0) * self.spacing()
        };
        let middle = Place {
            x: place(image % columns, columns) + numbers.symmetric(LARGEST_SHIFT),
            y: place(image / columns, rows) + numbers.symmetric(LARGEST_SHIFT),
        };
        let centre = f64::midpoint(1.0, f64::from(self.side));
        Tangent {
            reference: Self::field().to_sky(middle),
            pixel: Place {
                x: centre,
                y: centre,
            },
            rotation: numbers.symmetric(LARGEST_TURN),
            ..Self::field()
        }
    }

    /// The background of an exposure, over pixels around its middle.
    pub(crate) fn background(self, image: u32) -> Plane {
        let mut numbers = Numbers::new(self.seed, 2 * u64::from(image) + 3);
        let slope = LARGEST_RISE / f64::from(self.side);
        Plane {
            a: numbers.symmetric(slope),
            b: numbers.symmetric(slope),
            c: BASE_LEVEL + numbers.symmetric(LARGEST_LEVEL),
        }
    }

    /// The stars: none so near to another or to the edge of the field that they could not be
    /// measured.
    pub(crate) fn stars(self) -> Vec<Star> {
        let mut numbers = Numbers::new(self.seed, 1);
        let (columns, rows) = self.layout();
        let half = |count: u32| {
            let width = f64::from(count - 1) * self.spacing() + f64::from(self.side);
            (width / 2.0 - STAR_REACH - LARGEST_SHIFT).max(0.0)
        };
        let (half_width, half_height) = (half(columns), half(rows));
        let mut places: Vec<Place> = Vec::new();
        for _ in 0..STARS * u64::from(self.images) {
            let place = Place {
                x: numbers.symmetric(half_width),
                y: numbers.symmetric(half_height),
            };
            let apart = |other: &Place| {
                let (x, y) = (place.x - other.x, place.y - other.y);
                x * x + y * y > 4.0 * STAR_REACH * STAR_REACH
            };
            if places.iter().all(apart) {
                places.push(place);
            }
        }
        let star = |place: Place| Star {
            sky: Self::field().to_sky(place),
            brightness: BRIGHTNESS.0 + numbers.fraction() * (BRIGHTNESS.1 - BRIGHTNESS.0),
        };
        places.into_iter().map(star).collect()
    }

    /// The file of an exposure.
    pub(crate) fn exposure(self, image: u32) -> Vec<u8> {
        let side = self.side as usize;
        let projection = self.projection(image);
        let background = self.background(image);
        let middle = projection.pixel;
        let at = |pixel: usize| (pixel + 1) as f64;
        let mut pixels: Vec<f64> = (0..side * side)
            .map(|pixel| background.at(at(pixel % side) - middle.x, at(pixel / side) - middle.y))
            .collect();
        for star in self.stars() {
            if let Some(place) = projection.to_pixel(star.sky) {
                add_star(&mut pixels, side, place, star.brightness);
            }
        }
        let mut numbers = Numbers::new(self.seed ^ 0x6e6f_6973_6500, u64::from(image));
        for pair in pixels.chunks_mut(2) {
            let (first, second) = numbers.normal();
            for (pixel, noise) in pair.iter_mut().zip([first, second]) {
                *pixel += NOISE * noise;
            }
        }
        // `mProject` 6.0 takes slivers of the lowest row for an octant of the sky, after which
        // `mDiff` takes all other pixels for empty. Rows without values are left alone.
        pixels[..side].fill(f64::NAN);
        let writer = projection.write(Writer::new(side, side));
        writer.finish(pixels.into_iter().map(|pixel| pixel as f32))
    }
}

/// Adds the image of a star, a Gaussian, to the pixels that it reaches.
fn add_star(pixels: &mut [f64], side: usize, place: Place, brightness: f64) {
    let peak = brightness / (2.0 * std::f64::consts::PI * STAR_WIDTH * STAR_WIDTH);
    let range = |middle: f64| {
        let first = libm::ceil(middle - STAR_REACH).max(1.0);
        let last = libm::floor(middle + STAR_REACH).min(side as f64);
        first as usize..(last.max(0.0) as usize + 1)
    };
    for y in range(place.y) {
        for x in range(place.x) {
            let (dx, dy) = (x as f64 - place.x, y as f64 - place.y);
            let distance = (dx * dx + dy * dy) / (STAR_WIDTH * STAR_WIDTH);
            pixels[(y - 1) * side + x - 1] += peak * libm::exp(-0.5 * distance);
        }
    }
}
