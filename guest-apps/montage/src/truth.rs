//! A mosaic of a known sky, held against it.

use taps::Result;

use crate::fits::{Image, Source};
use crate::plane::{Plane, PlaneFit};
use crate::statistics::Moments;
use crate::synthetic::{STAR_REACH, Survey};
use crate::wcs::{Place, Tangent};

/// Largest spread of the background around one plane, in counts. Before the correction the
/// exposures differ by tens of counts; the noise alone gives 0.2, and over a hundred exposures the
/// corrections wander by another half.
pub(crate) const LARGEST_SPREAD: f64 = 1.0;
/// Largest relative error of the brightness of a star.
pub(crate) const LARGEST_ERROR: f64 = 0.03;

/// The background of a star is taken from the pixels beyond its reach, up to this many times it.
const RING: f64 = 1.5;

/// How well a mosaic shows the sky that the exposures saw.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Truth {
    /// Standard deviation of the background around the plane nearest to it, in counts.
    pub(crate) background_spread: Option<f64>,
    /// Stars that lie whole within the mosaic.
    pub(crate) stars: u64,
    /// Largest relative error of the brightness of one of them.
    pub(crate) brightness_error: f64,
}

/// Pixels of a mosaic by their place.
struct Field {
    pixels: Vec<f64>,
    width: usize,
    height: usize,
}

impl Field {
    /// Where a pixel is.
    fn place(&self, pixel: usize) -> Place {
        Place {
            x: (pixel % self.width + 1) as f64,
            y: (pixel / self.width + 1) as f64,
        }
    }

    /// The pixels within a distance of a star; `None` for each that is not in the mosaic.
    fn disc(&self, star: Place, reach: f64) -> impl Iterator<Item = Option<usize>> {
        let range = move |middle: f64| {
            let first = libm::ceil(middle - reach) as i64;
            first..=libm::floor(middle + reach) as i64
        };
        let near = move |x: i64, y: i64| {
            let (dx, dy) = (x as f64 - star.x, y as f64 - star.y);
            dx * dx + dy * dy <= reach * reach
        };
        let column = |x: i64| usize::try_from(x - 1).ok().filter(|x| *x < self.width);
        let row = |y: i64| usize::try_from(y - 1).ok().filter(|y| *y < self.height);
        range(star.y)
            .flat_map(move |y| range(star.x).map(move |x| (x, y)))
            .filter(move |(x, y)| near(*x, *y))
            .map(move |(x, y)| Some(row(y)? * self.width + column(x)?))
    }

    /// The plane nearest to the pixels that no star reaches, and how far they spread around it.
    fn background(&self, stars: &[(Place, f64)]) -> (Background, Option<f64>) {
        let mut pixels = self.pixels.clone();
        for (star, _) in stars {
            for pixel in self.disc(*star, STAR_REACH).flatten() {
                pixels[pixel] = f64::NAN;
            }
        }
        let mut background = Background {
            plane: Plane::default(),
            x: self.width as f64 / 2.0,
            y: self.height as f64 / 2.0,
            rest: Vec::new(),
        };
        let mut fit = PlaneFit::default();
        for (pixel, value) in pixels.iter().enumerate() {
            if value.is_finite() {
                let place = self.place(pixel);
                fit.add(place.x - background.x, place.y - background.y, *value);
            }
        }
        background.plane = fit.plane().unwrap_or_default();
        for (pixel, value) in pixels.iter_mut().enumerate() {
            *value -= background.at(self.place(pixel));
        }
        let mut moments = Moments::default();
        moments.add_row(&pixels);
        background.rest = pixels;
        (background, moments.deviation())
    }

    /// Counts of a star above the background around it; `None` if not all of it is in the mosaic.
    fn brightness(&self, star: Place, background: &Background) -> Option<f64> {
        let around = self.disc(star, RING * STAR_REACH).flatten();
        let ring: Vec<f64> = around
            .map(|pixel| background.rest[pixel])
            .filter(|rest| rest.is_finite())
            .collect();
        let level = ring.iter().sum::<f64>() / ring.len().max(1) as f64;
        let mut sum = 0.0;
        for pixel in self.disc(star, STAR_REACH) {
            let pixel = pixel?;
            sum += self.pixels[pixel] - background.at(self.place(pixel)) - level;
        }
        sum.is_finite().then_some(sum)
    }
}

/// A plane over a mosaic, its origin in the middle.
struct Background {
    plane: Plane,
    x: f64,
    y: f64,
    /// What is above it; NaN where a star is.
    rest: Vec<f64>,
}

impl Background {
    fn at(&self, place: Place) -> f64 {
        self.plane.at(place.x - self.x, place.y - self.y)
    }
}

/// Holds a mosaic against the sky.
pub(crate) fn compare<S: Source + ?Sized>(mosaic: &S, survey: Survey) -> Result<Truth> {
    let image = Image::open(mosaic)?;
    let projection = Tangent::of(&image.header)?;
    let field = Field {
        pixels: image.pixels()?,
        width: image.shape.width as usize,
        height: image.shape.height as usize,
    };
    let stars: Vec<_> = survey
        .stars()
        .into_iter()
        .filter_map(|star| Some((projection.to_pixel(star.sky)?, star.brightness)))
        .collect();
    let (background, background_spread) = field.background(&stars);
    let errors: Vec<f64> = stars
        .iter()
        .filter_map(|(star, brightness)| {
            let measured = field.brightness(*star, &background)?;
            Some((measured / brightness - 1.0).abs())
        })
        .collect();
    Ok(Truth {
        background_spread,
        stars: errors.len() as u64,
        brightness_error: errors.iter().copied().fold(0.0, f64::max),
    })
}
