//! Pixels in memory on which plotters draws.
//!
//! Lines, circles and areas are plotters' own, pixel by pixel. Text is drawn here, from letters that
//! were rasterised beforehand, in the size nearest to the one asked for.

use std::convert::Infallible;

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

/// Bytes of a pixel: red, green, blue.
const PIXEL_BYTES: usize = 3;
/// Shown for a character that has no raster.
const UNKNOWN: char = '?';

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// A picture, row by row from the top, three bytes a pixel.
pub(crate) struct Canvas<'a> {
    pixels: &'a mut [u8],
    width: u32,
    height: u32,
}

impl<'a> Canvas<'a> {
    /// A canvas on bytes of [`Canvas::bytes`].
    pub(crate) fn new(pixels: &'a mut [u8], width: u32, height: u32) -> Self {
        debug_assert_eq!(pixels.len(), Self::bytes(width, height));
        Self {
            pixels,
            width,
            height,
        }
    }

    /// Bytes of a picture.
    pub(crate) fn bytes(width: u32, height: u32) -> usize {
        width as usize * height as usize * PIXEL_BYTES
    }

    /// Lays a colour over a pixel; outside of the picture nothing happens.
    fn blend(&mut self, (x, y): BackendCoord, color: BackendColor) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        if x >= self.width || y >= self.height {
            return;
        }
        let at = (y as usize * self.width as usize + x as usize) * PIXEL_BYTES;
        let (red, green, blue) = color.rgb;
        let alpha = color.alpha.clamp(0.0, 1.0);
        for (below, above) in self.pixels[at..at + PIXEL_BYTES]
            .iter_mut()
            .zip([red, green, blue])
        {
            let mixed = f64::from(*below) * (1.0 - alpha) + f64::from(above) * alpha;
            *below = mixed.round() as u8;
        }
    }
}

/// The size of letters that is nearest to what was asked for.
fn raster_height(size: f64) -> RasterHeight {
    if size < 18.0 {
        RasterHeight::Size16
    } else {
        RasterHeight::Size20
    }
}

/// A distance as a coordinate; what is farther than any picture stays so.
fn pixels(distance: usize) -> i32 {
    i32::try_from(distance).unwrap_or(i32::MAX)
}

/// Width and height of a line of text in pixels.
pub(crate) fn text_size(text: &str, size: f64) -> (u32, u32) {
    let height = raster_height(size);
    let letters = text.chars().count();
    let width = letters * get_raster_width(FontWeight::Regular, height);
    (width as u32, height.val() as u32)
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.blend(point, color);
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (left, top): BackendCoord,
    ) -> Drawn {
        let height = raster_height(style.size());
        let (width, rows) = text_size(text, style.size());
        let (width, rows) = (width.cast_signed(), rows.cast_signed());
        let anchor_x = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Right => -width,
            HPos::Center => -width / 2,
        };
        let anchor_y = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -rows / 2,
            VPos::Bottom => -rows,
        };
        let transform = style.transform();
        let color = style.color();
        let advance = get_raster_width(FontWeight::Regular, height);
        for (position, character) in text.chars().enumerate() {
            let letter = get_raster(character, FontWeight::Regular, height)
                .or_else(|| get_raster(UNKNOWN, FontWeight::Regular, height));
            let Some(letter) = letter else { continue };
            for (row, line) in letter.rows().enumerate() {
                for (column, coverage) in line.iter().enumerate().filter(|(_, part)| **part > 0) {
                    let x = pixels(position * advance + column).saturating_add(anchor_x);
                    let y = pixels(row).saturating_add(anchor_y);
                    let (x, y) = transform.transform(x, y);
                    let color = color.mix(f64::from(*coverage) / 255.0);
                    self.blend((left.saturating_add(x), top.saturating_add(y)), color);
                }
            }
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok(text_size(text, style.size()))
    }
}
