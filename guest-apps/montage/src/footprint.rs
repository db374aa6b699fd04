//! Which projected images overlap, known as soon as both are there.
//!
//! All projected images share one grid of pixels, the mosaic's; each is a rectangle in it, and
//! its header says which. `mOverlaps` says the same of all of them at once, when the last one has
//! been projected: its table is the one that counts, and this is how a difference need not wait
//! for it.

use taps::Result;

use crate::fits::Header;

/// The pixels of the mosaic that an image covers: edges, not centres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Footprint {
    left: f64,
    right: f64,
    bottom: f64,
    top: f64,
}

impl Footprint {
    /// The footprint that the header of a projected image declares.
    pub(crate) fn of(header: &Header) -> Result<Self> {
        let shape = header.shape()?;
        // The reference pixel is the same point of the sky in all of them.
        let (x, y) = (header.number("CRPIX1")?, header.number("CRPIX2")?);
        let (left, bottom) = (0.5 - x, 0.5 - y);
        Ok(Self {
            left,
            right: left + shape.width as f64,
            bottom,
            top: bottom + shape.height as f64,
        })
    }

    /// Whether two images have pixels in common.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.bottom < other.top
            && other.bottom < self.top
    }
}
