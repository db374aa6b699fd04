//! A picture of an image for people.
//!
//! The image is shrunk by a whole number, each pixel of the picture the mean of a square. Between
//! the 1st and the 99.5th percentile, brightness goes with the inverse hyperbolic sine (Lupton and
//! others, "Preparing red-green-blue images from CCD data", PASP 116, 133, 2004): faint and bright
//! objects are seen together. What has no value is transparent. The first row of an image is the
//! lowest; that of a picture the highest.

use taps::{Error, Result};

/// Percentile that is black.
const BLACK: f64 = 0.01;
/// Percentile that is white.
const WHITE: f64 = 0.995;
/// How strongly faint pixels are raised.
const STRETCH: f64 = 10.0;

/// A picture while the rows of the image come in.
pub(crate) struct Preview {
    width: usize,
    height: usize,
    /// Side of the square of pixels that become one.
    shrink: usize,
    sums: Vec<f64>,
    counts: Vec<u32>,
}

impl Preview {
    /// A picture of an image of that many pixels, its longer side at most `largest`.
    pub(crate) fn new(width: u64, height: u64, largest: u32) -> Result<Self> {
        let shrink = width.max(height).div_ceil(u64::from(largest.max(1))).max(1);
        let side = |pixels: u64| usize::try_from(pixels.div_ceil(shrink));
        let too_large = |_| Error::app("BadFits", "an image too large for a picture");
        let (width, height) = (
            side(width).map_err(too_large)?,
            side(height).map_err(too_large)?,
        );
        let pixels = width.saturating_mul(height);
        Ok(Self {
            width,
            height,
            shrink: usize::try_from(shrink).map_err(too_large)?,
            sums: vec![0.0; pixels],
            counts: vec![0; pixels],
        })
    }

    /// Adds a row of the image.
    pub(crate) fn add_row(&mut self, number: u64, row: &[f64]) {
        let line = (number / self.shrink as u64) as usize;
        if line >= self.height {
            return;
        }
        let start = (self.height - 1 - line) * self.width;
        for (place, square) in (start..start + self.width).zip(row.chunks(self.shrink)) {
            for value in square.iter().filter(|value| value.is_finite()) {
                self.sums[place] += value;
                self.counts[place] += 1;
            }
        }
    }

    /// Grey and opacity of each pixel.
    fn shades(&self) -> Vec<u8> {
        let pixels = self.sums.iter().zip(&self.counts);
        let means: Vec<Option<f64>> = pixels
            .map(|(sum, count)| (*count > 0).then(|| sum / f64::from(*count)))
            .collect();
        let mut sorted: Vec<f64> = means.iter().copied().flatten().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let percentile = |part: f64| {
            let last = sorted.len().saturating_sub(1);
            let place = (part * last as f64) as usize;
            sorted.get(place).copied().unwrap_or(0.0)
        };
        let (black, white) = (percentile(BLACK), percentile(WHITE));
        let range = if white > black { white - black } else { 1.0 };
        let shade = |mean: f64| {
            let part = ((mean - black) / range).clamp(0.0, 1.0);
            let stretched = libm::asinh(STRETCH * part) / libm::asinh(STRETCH);
            (255.0 * stretched + 0.5) as u8
        };
        means
            .iter()
            .flat_map(|mean| mean.map_or([0, 0], |mean| [shade(mean), u8::MAX]))
            .collect()
    }

    /// The picture as a PNG file.
    pub(crate) fn png(&self) -> Result<Vec<u8>> {
        let failed = |error: &dyn std::fmt::Display| Error::app("PictureError", error);
        let side = |pixels: usize| u32::try_from(pixels).map_err(|error| failed(&error));
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::GrayscaleAlpha);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|error| failed(&error))?;
        let written = writer.write_image_data(&self.shades());
        written.map_err(|error| failed(&error))?;
        writer.finish().map_err(|error| failed(&error))?;
        Ok(file)
    }
}
