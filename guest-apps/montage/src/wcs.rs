//! Where the pixels of an image are in the sky: the gnomonic (tangent-plane) projection.
//!
//! After Calabretta and Greisen, "Representations of celestial coordinates in FITS",
//! Astronomy & Astrophysics 395, 1077 (2002), sections 5.1.1 and 6. All functions of angles are
//! `libm`'s, so that an image is the same in a sandbox and on every host.

use taps::{Error, Result};

use crate::fits::{Header, Writer};

/// Names of the axes of this projection.
const AXES: [&str; 2] = ["RA---TAN", "DEC--TAN"];

/// A place in the sky, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sky {
    pub(crate) right_ascension: f64,
    pub(crate) declination: f64,
}

/// A place in an image: pixels from 1, the centre of the first pixel at (1, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// A gnomonic projection with square axes and a rotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tangent {
    /// The point of contact in the sky.
    pub(crate) reference: Sky,
    /// Where that is in the image.
    pub(crate) pixel: Place,
    /// Degrees per pixel along the first axis; negative where right ascension grows to the left.
    pub(crate) step_x: f64,
    /// Degrees per pixel along the second axis.
    pub(crate) step_y: f64,
    /// Rotation of the second axis, in degrees.
    pub(crate) rotation: f64,
}

impl Tangent {
    /// The projection that a header declares.
    pub(crate) fn of(header: &Header) -> Result<Self> {
        for (keyword, expected) in ["CTYPE1", "CTYPE2"].into_iter().zip(AXES) {
            let axis = header.text(keyword)?;
            if axis != expected {
                let message = format!("{keyword} = {axis}: expected {expected}");
                return Err(Error::app("BadFits", message));
            }
        }
        Ok(Self {
            reference: Sky {
                right_ascension: header.number("CRVAL1")?,
                declination: header.number("CRVAL2")?,
            },
            pixel: Place {
                x: header.number("CRPIX1")?,
                y: header.number("CRPIX2")?,
            },
            step_x: header.number("CDELT1")?,
            step_y: header.number("CDELT2")?,
            rotation: header.optional_number("CROTA2")?.unwrap_or(0.0),
        })
    }

    /// Writes the projection into a header.
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        writer
            .text("CTYPE1", AXES[0])
            .text("CTYPE2", AXES[1])
            .number("EQUINOX", 2000.0)
            .number("CRVAL1", self.reference.right_ascension)
            .number("CRVAL2", self.reference.declination)
            .number("CRPIX1", self.pixel.x)
            .number("CRPIX2", self.pixel.y)
            .number("CDELT1", self.step_x)
            .number("CDELT2", self.step_y)
            .number("CROTA2", self.rotation)
    }

    /// Where a pixel is in the sky.
    pub(crate) fn to_sky(self, place: Place) -> Sky {
        let (x, y) = self.on_plane(place);
        let (x, y) = (x.to_radians(), y.to_radians());
        let declination = self.reference.declination.to_radians();
        let (sine, cosine) = (libm::sin(declination), libm::cos(declination));
        let down = cosine - y * sine;
        let angle = libm::atan2(x, down);
        let distance = libm::sqrt(x * x + down * down);
        Sky {
            right_ascension: self.reference.right_ascension + angle.to_degrees(),
            declination: libm::atan2(sine + y * cosine, distance).to_degrees(),
        }
    }

    /// Where a point of the sky is in the image; `None` if it is not on the side of the sky that
    /// the plane touches.
    pub(crate) fn to_pixel(self, sky: Sky) -> Option<Place> {
        let angle = (sky.right_ascension - self.reference.right_ascension).to_radians();
        let (sin_angle, cos_angle) = (libm::sin(angle), libm::cos(angle));
        let declination = sky.declination.to_radians();
        let (sine, cosine) = (libm::sin(declination), libm::cos(declination));
        let reference = self.reference.declination.to_radians();
        let (sin_reference, cos_reference) = (libm::sin(reference), libm::cos(reference));
        let depth = sin_reference * sine + cos_reference * cosine * cos_angle;
        if depth <= 0.0 {
            return None;
        }
        let x = cosine * sin_angle / depth;
        let y = (cos_reference * sine - sin_reference * cosine * cos_angle) / depth;
        Some(self.off_plane(x.to_degrees(), y.to_degrees()))
    }

    /// From pixels to degrees on the plane.
    fn on_plane(self, place: Place) -> (f64, f64) {
        let (sine, cosine) = self.turn();
        let x = self.step_x * (place.x - self.pixel.x);
        let y = self.step_y * (place.y - self.pixel.y);
        (x * cosine - y * sine, x * sine + y * cosine)
    }

    /// From degrees on the plane to pixels.
    fn off_plane(self, x: f64, y: f64) -> Place {
        let (sine, cosine) = self.turn();
        Place {
            x: self.pixel.x + (x * cosine + y * sine) / self.step_x,
            y: self.pixel.y + (y * cosine - x * sine) / self.step_y,
        }
    }

    fn turn(self) -> (f64, f64) {
        let rotation = self.rotation.to_radians();
        (libm::sin(rotation), libm::cos(rotation))
    }
}
