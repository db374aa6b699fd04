//! FITS images, as far as this app reads and writes them: the primary image of a file.
//!
//! ```text
//! header   cards of 80 characters, the last `END`, filled with blanks   n × 2880 bytes
//! data     pixels, big-endian, the first axis fastest                   m × 2880 bytes
//! ```
//!
//! After "Definition of the Flexible Image Transport System (FITS)", version 4.0, IAU 2018.

mod header;
mod pixels;
mod write;

pub(crate) use header::{Header, Shape};
pub(crate) use pixels::Image;
pub(crate) use write::Writer;

use taps::{Error, Payload, Result};

/// Bytes of a block; header and data are whole blocks.
pub(crate) const BLOCK_BYTES: usize = 2880;
/// Bytes of a card of the header.
const CARD_BYTES: usize = 80;

/// Where the bytes of a file come from.
pub(crate) trait Source {
    /// Length in bytes.
    fn size(&self) -> u64;
    /// Up to `length` bytes from `offset`; fewer only at the end.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>>;
}

impl Source for Payload {
    fn size(&self) -> u64 {
        Payload::size(self)
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        Payload::read(self, offset, length)
    }
}

#[cfg(test)]
impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let start = usize::try_from(offset)
            .map_or(self.len(), |offset| offset)
            .min(self.len());
        let end = start.saturating_add(length).min(self.len());
        Ok(self[start..end].to_vec())
    }
}

/// A file that is no image, or one that we do not understand.
fn bad(what: impl std::fmt::Display) -> Error {
    Error::app("BadFits", what)
}

/// Whether a file is compressed with gzip, which Montage reads and we do not.
pub(crate) fn is_gzip(source: &(impl Source + ?Sized)) -> Result<bool> {
    Ok(source.read(0, 2)? == [0x1f, 0x8b])
}
